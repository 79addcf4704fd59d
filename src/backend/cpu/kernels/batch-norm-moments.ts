// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import {
  ChannelWork,
  entryBytes,
  gather,
  isNumber,
  loadNextTwo,
  loadPair,
  loadTwo,
  maddDouble,
  rowsSummedTogether,
  storeSums,
  sumHalves,
} from "./batch-norm-work";
import { highHalf, loadPart, lowHalf } from "./simd";

/**
 * Mean and sum of squared deviations of each channel of a unit, in one pass over x.
 *
 * Numerics: sums of x - shift and its square in float64. The shift is a value of the part at first, so at most sqrt(n) standard
 * deviations from its mean, and the mean of the first images then: cancellation costs at most a factor of their n of float64's
 * precision. Constant channels are exact.
 */
export function momentsOfUnit(job: ChannelWork, unit: i32): void {
  beginMoments(job, unit);
  sumUnit(job, unit);
  finishMoments(job, unit);
}

/** Clears the unit's entries and gives each the first value of its channel as shift. */
export function beginMoments(job: ChannelWork, unit: i32): void {
  const part = job.part(unit);
  for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
    const entry = job.entry(part, c);
    // Calling memory.fill for each takes longer than the sums of a few values.
    v128.store(entry, i32x4.splat(0));
    v128.store(entry, i32x4.splat(0), 16);
    const firstValue = job.at(job.x, job.firstImage(part), c, job.place(part));
    store<f64>(entry, shiftAt(firstValue), 32);
  }
}

export function sumUnit(job: ChannelWork, unit: i32): void {
  if (job.S === 1) sumColumns(job, unit);
  else sumPlanes(job, unit, job.firstImage(job.part(unit)));
}

/** Replaces the sums of the unit's entries with [mean, sum of squared deviations]. */
export function finishMoments(job: ChannelWork, unit: i32): void {
  const part = job.part(unit);
  const count = job.count(part);
  for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
    const entry = job.entry(part, c);
    const sum = sumHalves(v128.load(entry));
    const squares = sumHalves(v128.load(entry, 16));
    store<f64>(entry, load<f64>(entry, 32) + sum / count);
    store<f64>(entry, max(squares - (sum * sum) / count, 0), 8);
  }
}

/** What the sums of a part are taken from, its first value; 0 if not finite, which would turn an infinite mean into NaN. */
function shiftAt(first: usize): f64 {
  const value = <f64>load<f32>(first);
  return isNumber(value) ? value : 0;
}

/**
 * S > 1, the images from n on. Four images at a time, and image by image all channels of the block: four long runs of memory. One run
 * alone was read at less than half the speed, since the processor does not look beyond a page.
 */
export function sumPlanes(job: ChannelWork, unit: i32, n: i32): void {
  const part = job.part(unit);
  const firstChannel = job.firstChannel(unit);
  const endChannel = job.endChannel(unit);
  const place = job.place(part);
  const length = job.length(part);
  const firstImage = job.firstImage(part);
  const end = job.endImage(part);
  while (n < end) {
    const images = end - n >= 4 ? 4 : 1;
    for (let c = firstChannel; c < endChannel; c++) {
      const entry = job.entry(part, c);
      const x = job.at(job.x, n, c, place);
      if (images === 4) addRuns(x, job.imageBytes(), length, entry);
      else addPlane(x, length, entry);
      if (n === firstImage) moveShift(entry, <f64>(images * length));
    }
    n += images;
  }
}

/** Adds x - shift and its square to the two vectors of an entry, from four runs of memory `stride` apart. */
function addRuns(x0: usize, stride: usize, length: i32, entry: usize): void {
  const shift = v128.load64_splat(entry, 32);
  const x1 = x0 + stride;
  const x2 = x1 + stride;
  const x3 = x2 + stride;
  let sum0 = v128.load(entry);
  let squares0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let sum2 = sum1;
  let sum3 = sum1;
  let squares1 = sum1;
  let squares2 = sum1;
  let squares3 = sum1;
  const bytes = (<usize>length) << 2;
  let i: usize = 0;
  for (const end = bytes & ~15; i < end; i += 16) {
    const d0 = f64x2.sub(loadTwo(x0 + i), shift);
    sum0 = f64x2.add(sum0, d0);
    squares0 = maddDouble(d0, d0, squares0);
    const d1 = f64x2.sub(loadTwo(x1 + i), shift);
    sum1 = f64x2.add(sum1, d1);
    squares1 = maddDouble(d1, d1, squares1);
    const d2 = f64x2.sub(loadTwo(x2 + i), shift);
    sum2 = f64x2.add(sum2, d2);
    squares2 = maddDouble(d2, d2, squares2);
    const d3 = f64x2.sub(loadTwo(x3 + i), shift);
    sum3 = f64x2.add(sum3, d3);
    squares3 = maddDouble(d3, d3, squares3);
    const e0 = f64x2.sub(loadNextTwo(x0 + i), shift);
    sum0 = f64x2.add(sum0, e0);
    squares0 = maddDouble(e0, e0, squares0);
    const e1 = f64x2.sub(loadNextTwo(x1 + i), shift);
    sum1 = f64x2.add(sum1, e1);
    squares1 = maddDouble(e1, e1, squares1);
    const e2 = f64x2.sub(loadNextTwo(x2 + i), shift);
    sum2 = f64x2.add(sum2, e2);
    squares2 = maddDouble(e2, e2, squares2);
    const e3 = f64x2.sub(loadNextTwo(x3 + i), shift);
    sum3 = f64x2.add(sum3, e3);
    squares3 = maddDouble(e3, e3, squares3);
  }
  for (; i < bytes; i += 4) {
    const values = gather(x0 + i, x1 + i, x2 + i, x3 + i);
    const d0 = f64x2.sub(lowHalf(values), shift);
    const d1 = f64x2.sub(highHalf(values), shift);
    sum0 = f64x2.add(sum0, d0);
    sum1 = f64x2.add(sum1, d1);
    squares0 = maddDouble(d0, d0, squares0);
    squares1 = maddDouble(d1, d1, squares1);
  }
  v128.store(entry, f64x2.add(f64x2.add(sum0, sum1), f64x2.add(sum2, sum3)));
  v128.store(entry, f64x2.add(f64x2.add(squares0, squares1), f64x2.add(squares2, squares3)), 16);
}

/** The same from one plane, whose quarters are the runs. */
function addPlane(x: usize, length: i32, entry: usize): void {
  const quarter = length >> 2;
  addRuns(x, (<usize>quarter) << 2, quarter, entry);
  const rest = length & 3;
  if (rest === 0) return;
  const shift = load<f64>(entry, 32);
  // The shift is a float32, so lanes filled with it count for nothing.
  const values = loadPart(x + ((<usize>quarter) << 4), rest, <f32>shift);
  const d0 = f64x2.sub(lowHalf(values), f64x2.splat(shift));
  const d1 = f64x2.sub(highHalf(values), f64x2.splat(shift));
  const squares = maddDouble(d1, d1, maddDouble(d0, d0, v128.load(entry, 16)));
  v128.store(entry, f64x2.add(v128.load(entry), f64x2.add(d0, d1)));
  v128.store(entry, squares, 16);
}

/** Takes an entry's sums of `count` values from their mean, as a float32, from now on. */
export function moveShift(entry: usize, count: f64): void {
  const sum = sumHalves(v128.load(entry));
  const squares = sumHalves(v128.load(entry, 16));
  const shift = load<f64>(entry, 32);
  const moved = <f64>(<f32>(shift + sum / count));
  if (!isNumber(moved)) return;
  const by = moved - shift;
  const none = f64x2.splat(0);
  v128.store(entry, f64x2.replace_lane(none, 0, sum - count * by));
  v128.store(entry, f64x2.replace_lane(none, 0, squares - by * (2 * sum - count * by)), 16);
  store<f64>(entry, moved, 32);
}

/** S = 1: eight channels side by side, some rows at a time; and what is left, at most four. */
function sumColumns(job: ChannelWork, unit: i32): void {
  const part = job.part(unit);
  const firstChannel = job.firstChannel(unit);
  const endChannel = job.endChannel(unit);
  const endOfEights = firstChannel + ((endChannel - firstChannel) & ~7);
  const firstRow = job.firstImage(part);
  const end = job.endImage(part);
  for (let n = firstRow; n < end; n += rowsSummedTogether) {
    const rows = min(rowsSummedTogether, end - n);
    for (let c = firstChannel; c < endOfEights; c += 8) {
      addColumns(job.entry(part, c), job.at(job.x, n, c, 0), rows, job.imageBytes());
    }
  }
  for (let c = endOfEights; c < endChannel; c += 4) {
    addFewColumns(job, part, c, end - firstRow, min(4, endChannel - c));
  }
}

/** Adds x - shift and its square of eight channels to their entries, whose second lanes stay empty. */
function addColumns(entry: usize, x: usize, rows: i32, rowBytes: usize): void {
  const second = entry + 2 * entryBytes;
  const third = second + 2 * entryBytes;
  const fourth = third + 2 * entryBytes;
  const shift0 = loadPair(entry + 32);
  const shift1 = loadPair(second + 32);
  const shift2 = loadPair(third + 32);
  const shift3 = loadPair(fourth + 32);
  let sum0 = loadPair(entry);
  let sum1 = loadPair(second);
  let sum2 = loadPair(third);
  let sum3 = loadPair(fourth);
  let squares0 = loadPair(entry + 16);
  let squares1 = loadPair(second + 16);
  let squares2 = loadPair(third + 16);
  let squares3 = loadPair(fourth + 16);
  for (; rows > 0; rows--, x += rowBytes) {
    const d0 = f64x2.sub(loadTwo(x), shift0);
    const d1 = f64x2.sub(loadNextTwo(x), shift1);
    const d2 = f64x2.sub(loadTwo(x + 16), shift2);
    const d3 = f64x2.sub(loadNextTwo(x + 16), shift3);
    sum0 = f64x2.add(sum0, d0);
    sum1 = f64x2.add(sum1, d1);
    sum2 = f64x2.add(sum2, d2);
    sum3 = f64x2.add(sum3, d3);
    squares0 = maddDouble(d0, d0, squares0);
    squares1 = maddDouble(d1, d1, squares1);
    squares2 = maddDouble(d2, d2, squares2);
    squares3 = maddDouble(d3, d3, squares3);
  }
  storeSums(entry, 4, sum0, sum1);
  storeSums(third, 4, sum2, sum3);
  storeSums(entry + 16, 4, squares0, squares1);
  storeSums(third + 16, 4, squares2, squares3);
}

function addFewColumns(job: ChannelWork, part: i32, c: i32, rows: i32, channels: i32): void {
  let x = job.at(job.x, job.firstImage(part), c, 0);
  const first = loadPart(x, channels, 0);
  const shift = v128.and(first, f32x4.eq(f32x4.sub(first, first), f32x4.splat(0)));
  const shift0 = lowHalf(shift);
  const shift1 = highHalf(shift);
  let sum0 = f64x2.splat(0);
  let sum1 = sum0;
  let squares0 = sum0;
  let squares1 = sum0;
  for (; rows > 0; rows--, x += job.imageBytes()) {
    const values = loadPart(x, channels, 0);
    const d0 = f64x2.sub(lowHalf(values), shift0);
    const d1 = f64x2.sub(highHalf(values), shift1);
    sum0 = f64x2.add(sum0, d0);
    sum1 = f64x2.add(sum1, d1);
    squares0 = maddDouble(d0, d0, squares0);
    squares1 = maddDouble(d1, d1, squares1);
  }
  storeSums(job.entry(part, c), channels, sum0, sum1);
  storeSums(job.entry(part, c) + 16, channels, squares0, squares1);
}

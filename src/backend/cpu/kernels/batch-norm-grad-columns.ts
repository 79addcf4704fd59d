import { affine } from "./batch-norm-apply";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Backward, centred, gradOfPart, wherePositive } from "./batch-norm-backward";
import {
  entryBytes,
  loadNextTwo,
  loadPair,
  loadTwo,
  maddDouble,
  rowsSummedTogether,
  rowsTogether,
  storeSums,
} from "./batch-norm-work";
import { highHalf, loadPart, lowHalf } from "./simd";

/** S = 1, the sums of a unit: some rows of all its channels, then the next rows. */
export function sumColumns(job: Backward, unit: i32): void {
  const part = job.part(unit);
  const end = job.endImage(part);
  const channels = job.channels(unit);
  const first = job.firstChannel(unit);
  const isMasked = job.isMasked();
  const few = first + (channels & (isMasked ? ~3 : ~7));
  const rowBytes = job.imageBytes();
  for (let n = job.firstImage(part); n < end; n += rowsSummedTogether) {
    const rows = min(rowsSummedTogether, end - n);
    if (isMasked) {
      for (let c = first; c < few; c += 4) addMaskedColumns(job, part, n, c, rows, rowBytes);
    } else {
      for (let c = first; c < few; c += 8) addColumns(job, part, n, c, rows, rowBytes);
    }
  }
  for (let c = few; c < job.endChannel(unit); c += 4) {
    addFewColumns(job, part, c, min(4, job.endChannel(unit) - c));
  }
}

/** Adds dy and dy * (x - mean) of eight channels to their entries, whose second lanes stay empty. */
function addColumns(job: Backward, part: i32, n: i32, c: i32, rows: i32, rowBytes: usize): void {
  const entry = job.entry(part, c);
  const second = entry + 2 * entryBytes;
  const third = second + 2 * entryBytes;
  const fourth = third + 2 * entryBytes;
  const means = job.mean + ((<usize>c) << 3);
  const means0 = v128.load(means);
  const means1 = v128.load(means, 16);
  const means2 = v128.load(means, 32);
  const means3 = v128.load(means, 48);
  let sum0 = loadPair(entry);
  let sum1 = loadPair(second);
  let sum2 = loadPair(third);
  let sum3 = loadPair(fourth);
  let products0 = loadPair(entry + 16);
  let products1 = loadPair(second + 16);
  let products2 = loadPair(third + 16);
  let products3 = loadPair(fourth + 16);
  let dy = job.at(job.dy, n, c, 0);
  let x = job.at(job.x, n, c, 0);
  for (; rows > 0; rows--, dy += rowBytes, x += rowBytes) {
    const g0 = loadTwo(dy);
    sum0 = f64x2.add(sum0, g0);
    products0 = maddDouble(g0, f64x2.sub(loadTwo(x), means0), products0);
    const g1 = loadNextTwo(dy);
    sum1 = f64x2.add(sum1, g1);
    products1 = maddDouble(g1, f64x2.sub(loadNextTwo(x), means1), products1);
    const g2 = loadTwo(dy + 16);
    sum2 = f64x2.add(sum2, g2);
    products2 = maddDouble(g2, f64x2.sub(loadTwo(x + 16), means2), products2);
    const g3 = loadNextTwo(dy + 16);
    sum3 = f64x2.add(sum3, g3);
    products3 = maddDouble(g3, f64x2.sub(loadNextTwo(x + 16), means3), products3);
  }
  storeSums(entry, 4, sum0, sum1);
  storeSums(third, 4, sum2, sum3);
  storeSums(entry + 16, 4, products0, products1);
  storeSums(third + 16, 4, products2, products3);
}

/** The same of dy where ReLU let through, four channels. */
function addMaskedColumns(
  job: Backward,
  part: i32,
  n: i32,
  c: i32,
  rows: i32,
  rowBytes: usize,
): void {
  const entry = job.entry(part, c);
  const means0 = v128.load(job.mean + ((<usize>c) << 3));
  const means1 = v128.load(job.mean + ((<usize>c) << 3), 16);
  const centre = v128.load(job.coefficient(0, c));
  const scale = v128.load(job.coefficient(1, c));
  const shift = v128.load(job.coefficient(2, c));
  const given = job.reluOutput !== 0;
  let sum0 = loadPair(entry);
  let sum1 = loadPair(entry + 2 * entryBytes);
  let products0 = loadPair(entry + 16);
  let products1 = loadPair(entry + 16 + 2 * entryBytes);
  let dy = job.at(job.dy, n, c, 0);
  let x = job.at(job.x, n, c, 0);
  let y = job.at(job.reluOutput, n, c, 0);
  for (; rows > 0; rows--, dy += rowBytes, x += rowBytes, y += rowBytes) {
    const above = given ? v128.load(y) : affine(v128.load(x), centre, scale, shift);
    const g = wherePositive(above, v128.load(dy));
    const g0 = lowHalf(g);
    const g1 = highHalf(g);
    sum0 = f64x2.add(sum0, g0);
    sum1 = f64x2.add(sum1, g1);
    products0 = maddDouble(g0, f64x2.sub(loadTwo(x), means0), products0);
    products1 = maddDouble(g1, f64x2.sub(loadNextTwo(x), means1), products1);
  }
  storeSums(entry, 4, sum0, sum1);
  storeSums(entry + 16, 4, products0, products1);
}

/** The same of at most four channels, all rows of a part. */
function addFewColumns(job: Backward, part: i32, c: i32, channels: i32): void {
  const means = job.mean + ((<usize>c) << 3);
  const means0 = loadDoubles(means, channels);
  const means1 = loadDoubles(means + 16, channels - 2);
  const centre = loadPart(job.coefficient(0, c), channels, 0);
  const scale = loadPart(job.coefficient(1, c), channels, 0);
  const shift = loadPart(job.coefficient(2, c), channels, 0);
  const isMasked = job.isMasked();
  let sum0 = f64x2.splat(0);
  let sum1 = sum0;
  let products0 = sum0;
  let products1 = sum0;
  for (let n = job.firstImage(part); n < job.endImage(part); n++) {
    const at = job.at(0, n, c, 0);
    const xs = loadPart(job.x + at, channels, 0);
    let g = loadPart(job.dy + at, channels, 0);
    if (job.reluOutput !== 0) g = wherePositive(loadPart(job.reluOutput + at, channels, 0), g);
    else if (isMasked) g = wherePositive(affine(xs, centre, scale, shift), g);
    sum0 = f64x2.add(sum0, lowHalf(g));
    sum1 = f64x2.add(sum1, highHalf(g));
    products0 = maddDouble(lowHalf(g), f64x2.sub(lowHalf(xs), means0), products0);
    products1 = maddDouble(highHalf(g), f64x2.sub(highHalf(xs), means1), products1);
  }
  storeSums(job.entry(part, c), channels, sum0, sum1);
  storeSums(job.entry(part, c) + 16, channels, products0, products1);
}

/** At most two float64. */
function loadDoubles(at: usize, count: i32): v128 {
  if (count >= 2) return v128.load(at);
  return count === 1 ? v128.load64_zero(at) : f64x2.splat(0);
}

/** S = 1, dx and dResidual of a unit. */
export function gradOfColumns(job: Backward, unit: i32): void {
  const part = job.part(unit);
  const end = job.endImage(part);
  for (let n = job.firstImage(part); n < end; n += rowsTogether) {
    const rows = min(rowsTogether, end - n);
    const c = gradOfVectors(job, unit, n, rows);
    if (c < job.endChannel(unit)) gradOfFew(job, n, c, job.endChannel(unit), rows);
  }
}

/** Of whole vectors, through the statistics; gives the channel behind the last one. */
function gradOfVectors(job: Backward, unit: i32, n: i32, rows: i32): i32 {
  let c = job.firstChannel(unit);
  if (job.throughStatistics === 0) return c;
  const next = (<usize>job.C) << 2;
  const isMasked = job.isMasked();
  const given = job.reluOutput !== 0;
  const x = job.x - job.dy;
  const y = job.reluOutput - job.dy;
  const dx = job.dx - job.dy;
  const addsResidual = job.dResidual !== 0;
  const dResidual = job.dResidual - job.dy;
  let coefficient = job.coefficient(0, c);
  let top = job.at(job.dy, n, c, 0);
  for (; c + 4 <= job.endChannel(unit); c += 4, top += 16, coefficient += 16) {
    const centre = v128.load(coefficient);
    const scale = v128.load(coefficient + next);
    const shift = v128.load(coefficient + 2 * next);
    const level = v128.load(coefficient + 3 * next);
    const slope = v128.load(coefficient + 4 * next);
    let at = top;
    for (let row = 0; row < rows; row++, at += next) {
      const values = v128.load(at + x);
      let g = v128.load(at);
      if (isMasked) {
        g = wherePositive(given ? v128.load(at + y) : affine(values, centre, scale, shift), g);
      }
      if (addsResidual) v128.store(at + dResidual, g);
      v128.store(at + dx, f32x4.mul(centred(g, values, centre, level, slope), scale));
    }
  }
  return c;
}

function gradOfFew(job: Backward, n: i32, c: i32, endChannel: i32, rows: i32): void {
  for (; c < endChannel; c += 4) {
    const count = min(4, endChannel - c);
    const centre = loadPart(job.coefficient(0, c), count, 0);
    const scale = loadPart(job.coefficient(1, c), count, 0);
    const shift = loadPart(job.coefficient(2, c), count, 0);
    const level = loadPart(job.coefficient(3, c), count, 0);
    const slope = loadPart(job.coefficient(4, c), count, 0);
    for (let row = n; row < n + rows; row++) {
      gradOfPart(job, job.at(0, row, c, 0), count, centre, scale, shift, level, slope);
    }
  }
}

import {
  ChannelSums,
  entryBytes,
  isNumber,
  loadTwo,
  maddDouble,
  storeSums,
  sumHalves,
} from "./batch-norm-work";
import { highHalf, loadPart, lowHalf } from "./simd";

class Moments extends ChannelSums {
  x: usize;
}

/**
 * Mean and sum of squared deviations of each channel of each part, in one pass over x.
 *
 * Numerics: sums of x - shift and its square in float64. The shift is a value of the part, so at most sqrt(n) standard
 * deviations from its mean: cancellation costs at most a factor of n of float64's precision. Constant channels are exact.
 */
export function batchNormMoments(sums: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Moments>(sums);
  const first = chunk * job.unitsPerChunk;
  const end = min(first + job.unitsPerChunk, job.parts * job.channelBlocks);
  for (let unit = first; unit < end; unit++) {
    const part = unit / job.channelBlocks;
    const firstChannel = (unit % job.channelBlocks) * job.channelsPerBlock;
    const endChannel = min(firstChannel + job.channelsPerBlock, job.C);
    memory.fill(job.entry(part, firstChannel), 0, (<usize>(endChannel - firstChannel)) << 5);
    if (job.S === 1) sumColumns(job, part, firstChannel, endChannel);
    else sumPlanes(job, part, firstChannel, endChannel);
    for (let c = firstChannel; c < endChannel; c++) finishMoments(job, part, c);
  }
}

/** What the sums of a part are taken from, its first value; 0 if not finite, which would turn an infinite mean into NaN. */
function shiftAt(first: usize): f64 {
  const value = <f64>load<f32>(first);
  return isNumber(value) ? value : 0;
}

/** S > 1. Image by image, so that memory is read in runs as long as the block of channels. */
function sumPlanes(job: Moments, part: i32, firstChannel: i32, endChannel: i32): void {
  const place = job.place(part);
  const length = job.length(part);
  const planeBytes = (<usize>job.S) << 2;
  for (let n = job.firstImage(part); n < job.endImage(part); n++) {
    let x = job.at(job.x, n, firstChannel, place);
    let first = job.at(job.x, job.firstImage(part), firstChannel, place);
    let entry = job.entry(part, firstChannel);
    for (let c = firstChannel; c < endChannel; c++) {
      addPlane(x, length, shiftAt(first), entry);
      x += planeBytes;
      first += planeBytes;
      entry += entryBytes;
    }
  }
}

/** Adds x - shift and its square to the two vectors of an entry. */
function addPlane(x: usize, length: i32, shift: f64, entry: usize): void {
  const shifts = f64x2.splat(shift);
  let sum0 = v128.load(entry);
  let squares0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let sum2 = sum1;
  let sum3 = sum1;
  let squares1 = sum1;
  let squares2 = sum1;
  let squares3 = sum1;
  const end = x + ((<usize>length) << 2);
  // Four sums of each kind, or the latency of additions would set the pace.
  for (; x + 32 <= end; x += 32) {
    const d0 = f64x2.sub(loadTwo(x), shifts);
    const d1 = f64x2.sub(loadTwo(x + 8), shifts);
    const d2 = f64x2.sub(loadTwo(x + 16), shifts);
    const d3 = f64x2.sub(loadTwo(x + 24), shifts);
    sum0 = f64x2.add(sum0, d0);
    sum1 = f64x2.add(sum1, d1);
    sum2 = f64x2.add(sum2, d2);
    sum3 = f64x2.add(sum3, d3);
    squares0 = maddDouble(d0, d0, squares0);
    squares1 = maddDouble(d1, d1, squares1);
    squares2 = maddDouble(d2, d2, squares2);
    squares3 = maddDouble(d3, d3, squares3);
  }
  for (; x < end; x += 4) {
    const d = f64x2.replace_lane(f64x2.splat(0), 0, <f64>load<f32>(x) - shift);
    sum0 = f64x2.add(sum0, d);
    squares0 = maddDouble(d, d, squares0);
  }
  v128.store(entry, f64x2.add(f64x2.add(sum0, sum1), f64x2.add(sum2, sum3)));
  v128.store(entry, f64x2.add(f64x2.add(squares0, squares1), f64x2.add(squares2, squares3)), 16);
}

/** S = 1: four channels side by side, whose next row lies C floats on. */
function sumColumns(job: Moments, part: i32, firstChannel: i32, endChannel: i32): void {
  for (let c = firstChannel; c < endChannel; c += 4) {
    const channels = min(4, endChannel - c);
    const end = job.at(job.x, job.endImage(part), c, 0);
    let row = job.at(job.x, job.firstImage(part), c, 0);
    const first = loadPart(row, channels, 0);
    const shift = v128.and(first, f32x4.eq(f32x4.sub(first, first), f32x4.splat(0)));
    const shift0 = lowHalf(shift);
    const shift1 = highHalf(shift);
    let sum0 = f64x2.splat(0);
    let sum1 = sum0;
    let squares0 = sum0;
    let squares1 = sum0;
    for (; row < end; row += (<usize>job.C) << 2) {
      const values = loadPart(row, channels, 0);
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
}

/** Replaces an entry's sums with [mean, sum of squared deviations]. */
function finishMoments(job: Moments, part: i32, c: i32): void {
  const entry = job.entry(part, c);
  const count = job.count(part);
  const sum = sumHalves(v128.load(entry));
  const squares = sumHalves(v128.load(entry, 16));
  const first = job.at(job.x, job.firstImage(part), c, job.place(part));
  store<f64>(entry, shiftAt(first) + sum / count);
  store<f64>(entry, max(squares - (sum * sum) / count, 0), 8);
}

/** mean and biased variance (C): the entries of all parts in order, merged as by Chan, Golub and LeVeque (1979). */
export function batchNormJoin(
  sums: usize,
  mean: usize,
  variance: usize,
  _chunk: i32,
  _thread: i32,
): void {
  const job = changetype<Moments>(sums);
  for (let c = 0; c < job.C; c++, mean += 8, variance += 8) {
    let count: f64 = 0;
    let average: f64 = 0;
    let squares: f64 = 0;
    for (let part = 0; part < job.parts; part++) {
      const added = job.count(part);
      const addedMean = load<f64>(job.entry(part, c));
      const addedSquares = load<f64>(job.entry(part, c), 8);
      const distance = addedMean - average;
      const share = added / (count + added);
      squares += addedSquares + distance * distance * count * share;
      average += isNumber(distance) ? distance * share : addedMean;
      count += added;
    }
    store<f64>(mean, average);
    store<f64>(variance, squares / count);
  }
}

/** RunningUpdate of ../../backend.ts; `skipped` is 0 where it is null, and so is `isCumulative` where momentum counts. */
export function batchNormUpdate(
  mean: usize,
  variance: usize,
  C: i32,
  n: f64,
  runningMean: usize,
  runningVar: usize,
  momentum: f64,
  isCumulative: i32,
  batches: f64,
  skipped: usize,
  _chunk: i32,
  _thread: i32,
): void {
  if (skipped !== 0) {
    const bad = firstNotFinite(mean, variance, C, n / (n - 1));
    if (bad >= 0) {
      countSkipped(skipped, bad, <i32>batches);
      return;
    }
  }
  const good = skipped === 0 ? batches : batches - <f64>load<i32>(skipped);
  const f = isCumulative ? 1 / good : momentum;
  for (let c: usize = 0; c < <usize>C; c++) {
    const unbiased = load<f64>(variance + (c << 3)) * (n / (n - 1));
    move(runningMean + (c << 2), load<f64>(mean + (c << 3)), f);
    move(runningVar + (c << 2), unbiased, f);
  }
}

/** The first channel whose mean or unbiased variance is not finite as a float, which is what the buffers hold; or -1. */
function firstNotFinite(mean: usize, variance: usize, C: i32, unbias: f64): i32 {
  for (let c = 0; c < C; c++) {
    const at = (<usize>c) << 3;
    const storedMean = <f32>load<f64>(mean + at);
    const storedVariance = <f32>(load<f64>(variance + at) * unbias);
    if (!isNumber(<f64>storedMean) || !isNumber(<f64>storedVariance)) return c;
  }
  return -1;
}

function countSkipped(skipped: usize, channel: i32, batch: i32): void {
  const before = load<i32>(skipped);
  store<i32>(skipped, before + 1);
  if (before > 0) return;
  store<i32>(skipped, channel, 4);
  store<i32>(skipped, batch, 8);
}

function move(running: usize, observed: f64, f: f64): void {
  store<f32>(running, <f32>((1 - f) * <f64>load<f32>(running) + f * observed));
}

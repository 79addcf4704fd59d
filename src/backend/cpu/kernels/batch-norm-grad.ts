import {
  ChannelPass,
  ChannelSums,
  entryBytes,
  loadTwo,
  maddDouble,
  storeSums,
  sumHalves,
} from "./batch-norm-work";
import { highHalf, loadPart, lowHalf, madd, storePart } from "./simd";

class GradSums extends ChannelSums {
  x: usize;
  dy: usize;
  /** Or 0. */
  reluOutput: usize;
  /** float64 (C). */
  mean: usize;
}

/**
 * For each channel of each part the sums of g and of g * (x - mean), in one pass; g is dy, where there is a `reluOutput` dy
 * only where that is above 0.
 *
 * Numerics: float64 throughout.
 */
export function batchNormGradSums(sums: usize, chunk: i32, _thread: i32): void {
  const job = changetype<GradSums>(sums);
  const first = chunk * job.unitsPerChunk;
  const end = min(first + job.unitsPerChunk, job.parts * job.channelBlocks);
  for (let unit = first; unit < end; unit++) {
    const part = unit / job.channelBlocks;
    const firstChannel = (unit % job.channelBlocks) * job.channelsPerBlock;
    const endChannel = min(firstChannel + job.channelsPerBlock, job.C);
    memory.fill(job.entry(part, firstChannel), 0, (<usize>(endChannel - firstChannel)) << 5);
    if (job.S === 1) sumColumns(job, part, firstChannel, endChannel);
    else sumPlanes(job, part, firstChannel, endChannel);
    for (let c = firstChannel; c < endChannel; c++) {
      const entry = job.entry(part, c);
      store<f64>(entry, sumHalves(v128.load(entry)));
      store<f64>(entry, sumHalves(v128.load(entry, 16)), 8);
    }
  }
}

function sumPlanes(job: GradSums, part: i32, firstChannel: i32, endChannel: i32): void {
  const bytes = (<usize>job.length(part)) << 2;
  for (let n = job.firstImage(part); n < job.endImage(part); n++) {
    let start = job.at(0, n, firstChannel, job.place(part));
    let mean = job.mean + ((<usize>firstChannel) << 3);
    let entry = job.entry(part, firstChannel);
    for (let c = firstChannel; c < endChannel; c++) {
      addPlane(job, start, bytes, load<f64>(mean), entry);
      start += (<usize>job.S) << 2;
      mean += 8;
      entry += entryBytes;
    }
  }
}

/** Adds g and g * (x - mean) to the two vectors of an entry. */
function addPlane(job: GradSums, start: usize, bytes: usize, mean: f64, entry: usize): void {
  const means = f64x2.splat(mean);
  let sum0 = v128.load(entry);
  let products0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let products1 = sum1;
  const x = job.x + start;
  const dy = job.dy + start;
  const reluOutput: usize = job.reluOutput === 0 ? 0 : job.reluOutput + start;
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    let g = v128.load(dy + i);
    if (reluOutput !== 0) g = wherePositive(v128.load(reluOutput + i), g);
    const g0 = lowHalf(g);
    const g1 = highHalf(g);
    sum0 = f64x2.add(sum0, g0);
    sum1 = f64x2.add(sum1, g1);
    products0 = maddDouble(g0, f64x2.sub(loadTwo(x + i), means), products0);
    products1 = maddDouble(g1, f64x2.sub(loadTwo(x + i + 8), means), products1);
  }
  for (; i < bytes; i += 4) {
    const counts = reluOutput === 0 || load<f32>(reluOutput + i) > 0;
    const g: f64 = counts ? <f64>load<f32>(dy + i) : 0;
    const product = g * (<f64>load<f32>(x + i) - mean);
    sum0 = f64x2.add(sum0, f64x2.replace_lane(f64x2.splat(0), 0, g));
    products0 = f64x2.add(products0, f64x2.replace_lane(f64x2.splat(0), 0, product));
  }
  v128.store(entry, f64x2.add(sum0, sum1));
  v128.store(entry, f64x2.add(products0, products1), 16);
}

/** The lanes of g whose y is above 0; NaN is not. */
function wherePositive(y: v128, g: v128): v128 {
  return v128.and(g, f32x4.gt(y, f32x4.splat(0)));
}

/** S = 1: four channels side by side, whose next row lies C floats on. */
function sumColumns(job: GradSums, part: i32, firstChannel: i32, endChannel: i32): void {
  for (let c = firstChannel; c < endChannel; c += 4) {
    const count = min(4, endChannel - c);
    const mean = job.mean + ((<usize>c) << 3);
    const means0 = loadDoubles(mean, count);
    const means1 = loadDoubles(mean + 16, count - 2);
    let sum0 = f64x2.splat(0);
    let sum1 = sum0;
    let products0 = sum0;
    let products1 = sum0;
    for (let n = job.firstImage(part); n < job.endImage(part); n++) {
      const at = job.at(0, n, c, 0);
      const x = loadPart(job.x + at, count, 0);
      let g = loadPart(job.dy + at, count, 0);
      if (job.reluOutput !== 0) g = wherePositive(loadPart(job.reluOutput + at, count, 0), g);
      const g0 = lowHalf(g);
      const g1 = highHalf(g);
      sum0 = f64x2.add(sum0, g0);
      sum1 = f64x2.add(sum1, g1);
      products0 = maddDouble(g0, f64x2.sub(lowHalf(x), means0), products0);
      products1 = maddDouble(g1, f64x2.sub(highHalf(x), means1), products1);
    }
    storeSums(job.entry(part, c), count, sum0, sum1);
    storeSums(job.entry(part, c) + 16, count, products0, products1);
  }
}

/** Two float64, the only one there is, or nothing. */
function loadDoubles(at: usize, count: i32): v128 {
  if (count >= 2) return v128.load(at);
  return count === 1 ? v128.load64_zero(at) : f64x2.splat(0);
}

class GradPass extends ChannelPass {
  dy: usize;
  /** 0 with running statistics, whose gradient does not depend on x. */
  x: usize;
  /** These three or 0. */
  reluOutput: usize;
  dx: usize;
  dResidual: usize;
}

/**
 * dWeight and dBias (or 0) and the coefficients of `batchNormGrad`, from the entries of all parts in order. With batch
 * statistics dx = ((g - level) + slope * (x - centre)) * scale; without, dx = g * scale.
 *
 * Numerics: centre as in batchNormCoefficients. g - level comes first, so that dx of a constant g is nothing but the rounding
 * of the float64 sums.
 */
export function batchNormGradJoin(
  sums: usize,
  pass: usize,
  variance: usize,
  weight: usize,
  eps: f64,
  dWeight: usize,
  dBias: usize,
  _chunk: i32,
  _thread: i32,
): void {
  const entries = changetype<GradSums>(sums);
  const job = changetype<GradPass>(pass);
  const n = <f64>entries.N * <f64>entries.S;
  for (let c = 0; c < entries.C; c++) {
    let sum: f64 = 0;
    let products: f64 = 0;
    for (let part = 0; part < entries.parts; part++) {
      sum += load<f64>(entries.entry(part, c));
      products += load<f64>(entries.entry(part, c), 8);
    }
    const invStd = 1 / sqrt(load<f64>(variance + ((<usize>c) << 3)) + eps);
    if (dBias !== 0) store<f32>(dBias + ((<usize>c) << 2), <f32>sum);
    if (dWeight !== 0) store<f32>(dWeight + ((<usize>c) << 2), <f32>(invStd * products));

    const mean = load<f64>(entries.mean + ((<usize>c) << 3));
    const centre = <f32>mean;
    const slope = (-invStd * invStd * products) / n;
    const w: f64 = weight === 0 ? 1 : <f64>load<f32>(weight + ((<usize>c) << 2));
    store<f32>(job.coefficient(0, c), centre);
    store<f32>(job.coefficient(1, c), <f32>(sum / n + slope * (mean - <f64>centre)));
    store<f32>(job.coefficient(2, c), <f32>slope);
    store<f32>(job.coefficient(3, c), <f32>(w * invStd));
  }
}

/** dx and dResidual, those that are wanted. */
export function batchNormGrad(pass: usize, chunk: i32, _thread: i32): void {
  const job = changetype<GradPass>(pass);
  if (job.S === 1) gradOfRows(job, chunk);
  else gradOfPlanes(job, chunk);
}

function gradOfPlanes(job: GradPass, chunk: i32): void {
  const end = job.end(chunk);
  const place = job.place(chunk);
  const length = job.length(chunk);
  let plane = job.first(chunk);
  let c = plane % job.C;
  for (; plane < end; plane++) {
    gradOfPlane(job, c, (<usize>(plane * job.S + place)) << 2, (<usize>length) << 2);
    c++;
    if (c === job.C) c = 0;
  }
}

function gradOfPlane(job: GradPass, c: i32, start: usize, bytes: usize): void {
  const centre = v128.load32_splat(job.coefficient(0, c));
  const level = v128.load32_splat(job.coefficient(1, c));
  const slope = v128.load32_splat(job.coefficient(2, c));
  const scale = v128.load32_splat(job.coefficient(3, c));
  let i = start;
  for (const end = start + (bytes & ~15); i < end; i += 16) {
    let g = v128.load(job.dy + i);
    if (job.reluOutput !== 0) g = wherePositive(v128.load(job.reluOutput + i), g);
    if (job.dResidual !== 0) v128.store(job.dResidual + i, g);
    if (job.dx === 0) continue;
    if (job.x !== 0) g = centred(g, v128.load(job.x + i), centre, level, slope);
    v128.store(job.dx + i, f32x4.mul(g, scale));
  }
  const rest = (bytes & 15) >> 2;
  if (rest > 0) gradOfPart(job, i, rest, centre, level, slope, scale);
}

/** S = 1: four channels side by side. */
function gradOfRows(job: GradPass, chunk: i32): void {
  for (let row = job.first(chunk); row < job.end(chunk); row++) {
    for (let c = 0; c < job.C; c += 4) {
      const count = min(4, job.C - c);
      const centre = loadPart(job.coefficient(0, c), count, 0);
      const level = loadPart(job.coefficient(1, c), count, 0);
      const slope = loadPart(job.coefficient(2, c), count, 0);
      const scale = loadPart(job.coefficient(3, c), count, 0);
      gradOfPart(job, (<usize>(row * job.C + c)) << 2, count, centre, level, slope, scale);
    }
  }
}

/** At most four elements. */
function gradOfPart(
  job: GradPass,
  i: usize,
  count: usize,
  centre: v128,
  level: v128,
  slope: v128,
  scale: v128,
): void {
  let g = loadPart(job.dy + i, count, 0);
  if (job.reluOutput !== 0) g = wherePositive(loadPart(job.reluOutput + i, count, 0), g);
  if (job.dResidual !== 0) storePart(job.dResidual + i, count, g);
  if (job.dx === 0) return;
  if (job.x !== 0) g = centred(g, loadPart(job.x + i, count, 0), centre, level, slope);
  storePart(job.dx + i, count, f32x4.mul(g, scale));
}

function centred(g: v128, x: v128, centre: v128, level: v128, slope: v128): v128 {
  return madd(f32x4.sub(x, centre), slope, f32x4.sub(g, level));
}

import { affine } from "./batch-norm-apply";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Backward, wherePositive } from "./batch-norm-backward";
import {
  entryBytes,
  loadNextTwo,
  loadTwo,
  maddDouble,
  storeSums,
  sumHalves,
} from "./batch-norm-work";
import { highHalf, loadPart, lowHalf } from "./simd";

/**
 * For each channel of a unit the sums of g and of g * (x - mean), in one pass; g is dy, with ReLU dy only where y is above 0.
 *
 * Numerics: float64 throughout.
 */
export function gradSumsOfUnit(job: Backward, unit: i32): void {
  const part = job.part(unit);
  const first = job.firstChannel(unit);
  const end = job.endChannel(unit);
  memory.fill(job.entry(part, first), 0, <usize>(end - first) * entryBytes);
  if (job.S === 1) sumColumns(job, part, first, end);
  else sumPlanes(job, part, first, end);
  for (let c = first; c < end; c++) {
    const entry = job.entry(part, c);
    store<f64>(entry, sumHalves(v128.load(entry)));
    store<f64>(entry, sumHalves(v128.load(entry, 16)), 8);
  }
}

/** Two images at a time: see sumPlanes of the moments. */
function sumPlanes(job: Backward, part: i32, firstChannel: i32, endChannel: i32): void {
  const length = job.length(part);
  const end = job.endImage(part);
  let n = job.firstImage(part);
  while (n < end) {
    const images = end - n >= 2 ? 2 : 1;
    let start = job.at(0, n, firstChannel, job.place(part));
    for (let c = firstChannel; c < endChannel; c++) {
      const entry = job.entry(part, c);
      if (images === 1) addPlane(job, c, start, length, entry);
      else if (job.isMasked()) addMaskedRuns(job, c, start, job.imageBytes(), length, entry);
      else addRuns(job, c, start, job.imageBytes(), length, entry);
      start += job.planeBytes();
    }
    n += images;
  }
}

/** One plane, whose halves are the runs. */
function addPlane(job: Backward, c: i32, start: usize, length: i32, entry: usize): void {
  const half = length >> 1;
  const stride = (<usize>half) << 2;
  if (job.isMasked()) addMaskedRuns(job, c, start, stride, half, entry);
  else addRuns(job, c, start, stride, half, entry);
  if ((length & 1) === 0) return;
  const last = start + ((<usize>(length - 1)) << 2);
  let g = f64x2.extract_lane(lowHalf(v128.load32_zero(job.dy + last)), 0);
  if (job.isMasked() && !isOpen(job, c, last)) g = 0;
  const centred = <f64>load<f32>(job.x + last) - load<f64>(job.mean + ((<usize>c) << 3));
  store<f64>(entry, load<f64>(entry) + g);
  store<f64>(entry, load<f64>(entry, 16) + g * centred, 16);
}

/** Whether ReLU let the element at this offset through. */
function isOpen(job: Backward, c: i32, at: usize): bool {
  if (job.reluOutput !== 0) return load<f32>(job.reluOutput + at) > 0;
  const centre = v128.load32_zero(job.coefficient(0, c));
  const scale = v128.load32_zero(job.coefficient(1, c));
  const shift = v128.load32_zero(job.coefficient(2, c));
  return f32x4.extract_lane(affine(v128.load32_zero(job.x + at), centre, scale, shift), 0) > 0;
}

/** Adds dy and dy * (x - mean) to the two vectors of an entry, from two runs of memory `stride` apart. */
function addRuns(
  job: Backward,
  c: i32,
  start: usize,
  stride: usize,
  length: i32,
  entry: usize,
): void {
  const mean = v128.load64_splat(job.mean + ((<usize>c) << 3));
  const x0 = job.x + start;
  const x1 = x0 + stride;
  const dy0 = job.dy + start;
  const dy1 = dy0 + stride;
  let sum0 = v128.load(entry);
  let products0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let sum2 = sum1;
  let sum3 = sum1;
  let products1 = sum1;
  let products2 = sum1;
  let products3 = sum1;
  const bytes = (<usize>length) << 2;
  let i: usize = 0;
  for (const end = bytes & ~15; i < end; i += 16) {
    const g0 = loadTwo(dy0 + i);
    sum0 = f64x2.add(sum0, g0);
    products0 = maddDouble(g0, f64x2.sub(loadTwo(x0 + i), mean), products0);
    const g1 = loadTwo(dy1 + i);
    sum1 = f64x2.add(sum1, g1);
    products1 = maddDouble(g1, f64x2.sub(loadTwo(x1 + i), mean), products1);
    const g2 = loadNextTwo(dy0 + i);
    sum2 = f64x2.add(sum2, g2);
    products2 = maddDouble(g2, f64x2.sub(loadNextTwo(x0 + i), mean), products2);
    const g3 = loadNextTwo(dy1 + i);
    sum3 = f64x2.add(sum3, g3);
    products3 = maddDouble(g3, f64x2.sub(loadNextTwo(x1 + i), mean), products3);
  }
  for (; i < bytes; i += 4) {
    const g = lowHalf(v128.load32_lane(dy1 + i, v128.load32_zero(dy0 + i), 1));
    const x = lowHalf(v128.load32_lane(x1 + i, v128.load32_zero(x0 + i), 1));
    sum0 = f64x2.add(sum0, g);
    products0 = maddDouble(g, f64x2.sub(x, mean), products0);
  }
  v128.store(entry, f64x2.add(f64x2.add(sum0, sum1), f64x2.add(sum2, sum3)));
  const products = f64x2.add(f64x2.add(products0, products1), f64x2.add(products2, products3));
  v128.store(entry, products, 16);
}

/** The same of dy where ReLU let through. */
function addMaskedRuns(
  job: Backward,
  c: i32,
  start: usize,
  stride: usize,
  length: i32,
  entry: usize,
): void {
  const mean = v128.load64_splat(job.mean + ((<usize>c) << 3));
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  const x0 = job.x + start;
  const x1 = x0 + stride;
  const dy0 = job.dy + start;
  const dy1 = dy0 + stride;
  const y0: usize = job.reluOutput === 0 ? 0 : job.reluOutput + start;
  const y1 = y0 + stride;
  let sum0 = v128.load(entry);
  let products0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let products1 = sum1;
  const bytes = (<usize>length) << 2;
  let i: usize = 0;
  for (const end = bytes & ~15; i < end; i += 16) {
    const values0 = v128.load(x0 + i);
    const values1 = v128.load(x1 + i);
    const above0 = y0 === 0 ? affine(values0, centre, scale, shift) : v128.load(y0 + i);
    const above1 = y0 === 0 ? affine(values1, centre, scale, shift) : v128.load(y1 + i);
    const g0 = wherePositive(above0, v128.load(dy0 + i));
    const g1 = wherePositive(above1, v128.load(dy1 + i));
    sum0 = f64x2.add(sum0, f64x2.add(lowHalf(g0), highHalf(g0)));
    sum1 = f64x2.add(sum1, f64x2.add(lowHalf(g1), highHalf(g1)));
    products0 = maddDouble(lowHalf(g0), f64x2.sub(loadTwo(x0 + i), mean), products0);
    products1 = maddDouble(lowHalf(g1), f64x2.sub(loadTwo(x1 + i), mean), products1);
    products0 = maddDouble(highHalf(g0), f64x2.sub(loadNextTwo(x0 + i), mean), products0);
    products1 = maddDouble(highHalf(g1), f64x2.sub(loadNextTwo(x1 + i), mean), products1);
  }
  for (; i < bytes; i += 4) {
    const x = v128.load32_lane(x1 + i, v128.load32_zero(x0 + i), 1);
    const above =
      y0 === 0
        ? affine(x, centre, scale, shift)
        : v128.load32_lane(y1 + i, v128.load32_zero(y0 + i), 1);
    const dy = v128.load32_lane(dy1 + i, v128.load32_zero(dy0 + i), 1);
    const g = lowHalf(wherePositive(above, dy));
    sum0 = f64x2.add(sum0, g);
    products0 = maddDouble(g, f64x2.sub(lowHalf(x), mean), products0);
  }
  v128.store(entry, f64x2.add(sum0, sum1));
  v128.store(entry, f64x2.add(products0, products1), 16);
}

/** S = 1: four channels side by side, whose next row lies C floats on. */
function sumColumns(job: Backward, part: i32, firstChannel: i32, endChannel: i32): void {
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
      const g = passed(job, c, at, count, x);
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

/** g of channels from c on, at most four, that lie side by side. */
function passed(job: Backward, c: i32, at: usize, count: i32, x: v128): v128 {
  const dy = loadPart(job.dy + at, count, 0);
  if (job.reluOutput !== 0) return wherePositive(loadPart(job.reluOutput + at, count, 0), dy);
  if (job.repeatsRelu === 0) return dy;
  const centre = loadPart(job.coefficient(0, c), count, 0);
  const scale = loadPart(job.coefficient(1, c), count, 0);
  return wherePositive(affine(x, centre, scale, loadPart(job.coefficient(2, c), count, 0)), dy);
}

/** Two float64, the only one there is, or nothing. */
function loadDoubles(at: usize, count: i32): v128 {
  if (count >= 2) return v128.load(at);
  return count === 1 ? v128.load64_zero(at) : f64x2.splat(0);
}

import { affine } from "./batch-norm-apply";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Backward, wherePositive } from "./batch-norm-backward";
import { sumColumns } from "./batch-norm-grad-columns";
import { entryBytes, gather, loadNextTwo, loadTwo, maddDouble, sumHalves } from "./batch-norm-work";
import { highHalf, lowHalf } from "./simd";

/**
 * For each channel of a unit the sums of g and of g * (x - mean), in one pass; g is dy, with ReLU dy only where y is above 0.
 *
 * Numerics: float64 throughout.
 */
export function gradSumsOfUnit(job: Backward, unit: i32): void {
  beginGradSums(job, unit);
  sumUnit(job, unit);
  finishGradSums(job, unit);
}

/** Clears the unit's entries. */
export function beginGradSums(job: Backward, unit: i32): void {
  const entries = job.entry(job.part(unit), job.firstChannel(unit));
  memory.fill(entries, 0, <usize>job.channels(unit) * entryBytes);
}

export function sumUnit(job: Backward, unit: i32): void {
  if (job.S === 1) sumColumns(job, unit);
  else sumPlanes(job, unit, job.firstImage(job.part(unit)));
}

/** Leaves in the unit's entries the two sums. */
export function finishGradSums(job: Backward, unit: i32): void {
  const part = job.part(unit);
  for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
    const entry = job.entry(part, c);
    store<f64>(entry, sumHalves(v128.load(entry)));
    store<f64>(entry, sumHalves(v128.load(entry, 16)), 8);
  }
}

/** The images from n on, four at a time: see sumPlanes of the moments. */
export function sumPlanes(job: Backward, unit: i32, n: i32): void {
  const part = job.part(unit);
  const length = job.length(part);
  const end = job.endImage(part);
  while (n < end) {
    const images = end - n >= 4 ? 4 : 1;
    for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
      const start = job.at(0, n, c, job.place(part));
      const entry = job.entry(part, c);
      if (images === 1) addPlane(job, c, start, length, entry);
      else if (job.isMasked()) addMaskedRuns(job, c, start, job.imageBytes(), length, entry);
      else addRuns(job, c, start, job.imageBytes(), length, entry);
    }
    n += images;
  }
}

/** One plane, whose quarters are the runs. */
function addPlane(job: Backward, c: i32, start: usize, length: i32, entry: usize): void {
  const quarter = length >> 2;
  const stride = (<usize>quarter) << 2;
  if (job.isMasked()) addMaskedRuns(job, c, start, stride, quarter, entry);
  else addRuns(job, c, start, stride, quarter, entry);
  const end = start + ((<usize>length) << 2);
  for (let at = start + (stride << 2); at < end; at += 4) addOne(job, c, at, entry);
}

function addOne(job: Backward, c: i32, at: usize, entry: usize): void {
  const isOpen = !job.isMasked() || isPositive(job, c, at);
  const g: f64 = isOpen ? <f64>load<f32>(job.dy + at) : 0;
  const centred = <f64>load<f32>(job.x + at) - load<f64>(job.mean + ((<usize>c) << 3));
  store<f64>(entry, load<f64>(entry) + g);
  store<f64>(entry, load<f64>(entry, 16) + g * centred, 16);
}

/** Whether the forward's y at this offset is. */
function isPositive(job: Backward, c: i32, at: usize): bool {
  if (job.reluOutput !== 0) return load<f32>(job.reluOutput + at) > 0;
  const centre = v128.load32_zero(job.coefficient(0, c));
  const scale = v128.load32_zero(job.coefficient(1, c));
  const shift = v128.load32_zero(job.coefficient(2, c));
  return f32x4.extract_lane(affine(v128.load32_zero(job.x + at), centre, scale, shift), 0) > 0;
}

/** Adds dy and dy * (x - mean) to the two vectors of an entry, from four runs of memory `stride` apart. */
function addRuns(
  job: Backward,
  c: i32,
  start: usize,
  stride: usize,
  length: i32,
  entry: usize,
): void {
  const mean = v128.load64_splat(job.mean + ((<usize>c) << 3));
  const x = job.x - job.dy;
  const dy0 = job.dy + start;
  const dy1 = dy0 + stride;
  const dy2 = dy1 + stride;
  const dy3 = dy2 + stride;
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
    const at0 = dy0 + i;
    const g0 = loadTwo(at0);
    sum0 = f64x2.add(sum0, g0);
    products0 = maddDouble(g0, f64x2.sub(loadTwo(at0 + x), mean), products0);
    const at1 = dy1 + i;
    const g1 = loadTwo(at1);
    sum1 = f64x2.add(sum1, g1);
    products1 = maddDouble(g1, f64x2.sub(loadTwo(at1 + x), mean), products1);
    const at2 = dy2 + i;
    const g2 = loadTwo(at2);
    sum2 = f64x2.add(sum2, g2);
    products2 = maddDouble(g2, f64x2.sub(loadTwo(at2 + x), mean), products2);
    const at3 = dy3 + i;
    const g3 = loadTwo(at3);
    sum3 = f64x2.add(sum3, g3);
    products3 = maddDouble(g3, f64x2.sub(loadTwo(at3 + x), mean), products3);
    const h0 = loadNextTwo(at0);
    sum0 = f64x2.add(sum0, h0);
    products0 = maddDouble(h0, f64x2.sub(loadNextTwo(at0 + x), mean), products0);
    const h1 = loadNextTwo(at1);
    sum1 = f64x2.add(sum1, h1);
    products1 = maddDouble(h1, f64x2.sub(loadNextTwo(at1 + x), mean), products1);
    const h2 = loadNextTwo(at2);
    sum2 = f64x2.add(sum2, h2);
    products2 = maddDouble(h2, f64x2.sub(loadNextTwo(at2 + x), mean), products2);
    const h3 = loadNextTwo(at3);
    sum3 = f64x2.add(sum3, h3);
    products3 = maddDouble(h3, f64x2.sub(loadNextTwo(at3 + x), mean), products3);
  }
  for (; i < bytes; i += 4) {
    const g = gather(dy0 + i, dy1 + i, dy2 + i, dy3 + i);
    const xs = gather(dy0 + i + x, dy1 + i + x, dy2 + i + x, dy3 + i + x);
    const g0 = lowHalf(g);
    const g1 = highHalf(g);
    sum0 = f64x2.add(sum0, g0);
    sum1 = f64x2.add(sum1, g1);
    products0 = maddDouble(g0, f64x2.sub(lowHalf(xs), mean), products0);
    products1 = maddDouble(g1, f64x2.sub(highHalf(xs), mean), products1);
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
  const given = job.reluOutput !== 0;
  const x = job.x - job.dy;
  const y = job.reluOutput - job.dy;
  const bytes = (<usize>length) << 2;
  let sum0 = v128.load(entry);
  let products0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let products1 = sum1;
  let sum2 = sum1;
  let products2 = sum1;
  let sum3 = sum1;
  let products3 = sum1;
  let at0 = job.dy + start;
  for (const end = at0 + (bytes & ~15); at0 < end; at0 += 16) {
    const at1 = at0 + stride;
    const at2 = at1 + stride;
    const at3 = at2 + stride;
    let x0 = v128.load(at0 + x);
    let x1 = v128.load(at1 + x);
    let x2 = v128.load(at2 + x);
    let x3 = v128.load(at3 + x);
    if (given) {
      x0 = v128.load(at0 + y);
      x1 = v128.load(at1 + y);
      x2 = v128.load(at2 + y);
      x3 = v128.load(at3 + y);
    } else {
      x0 = affine(x0, centre, scale, shift);
      x1 = affine(x1, centre, scale, shift);
      x2 = affine(x2, centre, scale, shift);
      x3 = affine(x3, centre, scale, shift);
    }
    const g0 = wherePositive(x0, v128.load(at0));
    const g1 = wherePositive(x1, v128.load(at1));
    const g2 = wherePositive(x2, v128.load(at2));
    const g3 = wherePositive(x3, v128.load(at3));
    sum0 = f64x2.add(sum0, f64x2.add(lowHalf(g0), highHalf(g0)));
    products0 = maddDouble(lowHalf(g0), f64x2.sub(loadTwo(at0 + x), mean), products0);
    products0 = maddDouble(highHalf(g0), f64x2.sub(loadNextTwo(at0 + x), mean), products0);
    sum1 = f64x2.add(sum1, f64x2.add(lowHalf(g1), highHalf(g1)));
    products1 = maddDouble(lowHalf(g1), f64x2.sub(loadTwo(at1 + x), mean), products1);
    products1 = maddDouble(highHalf(g1), f64x2.sub(loadNextTwo(at1 + x), mean), products1);
    sum2 = f64x2.add(sum2, f64x2.add(lowHalf(g2), highHalf(g2)));
    products2 = maddDouble(lowHalf(g2), f64x2.sub(loadTwo(at2 + x), mean), products2);
    products2 = maddDouble(highHalf(g2), f64x2.sub(loadNextTwo(at2 + x), mean), products2);
    sum3 = f64x2.add(sum3, f64x2.add(lowHalf(g3), highHalf(g3)));
    products3 = maddDouble(lowHalf(g3), f64x2.sub(loadTwo(at3 + x), mean), products3);
    products3 = maddDouble(highHalf(g3), f64x2.sub(loadNextTwo(at3 + x), mean), products3);
  }
  for (const end = job.dy + start + bytes; at0 < end; at0 += 4) {
    const at1 = at0 + stride;
    const at2 = at1 + stride;
    const at3 = at2 + stride;
    const xs = gather(at0 + x, at1 + x, at2 + x, at3 + x);
    let above = affine(xs, centre, scale, shift);
    if (given) above = gather(at0 + y, at1 + y, at2 + y, at3 + y);
    const g = wherePositive(above, gather(at0, at1, at2, at3));
    const g0 = lowHalf(g);
    const g1 = highHalf(g);
    sum0 = f64x2.add(sum0, g0);
    sum1 = f64x2.add(sum1, g1);
    products0 = maddDouble(g0, f64x2.sub(lowHalf(xs), mean), products0);
    products1 = maddDouble(g1, f64x2.sub(highHalf(xs), mean), products1);
  }
  v128.store(entry, f64x2.add(f64x2.add(sum0, sum1), f64x2.add(sum2, sum3)));
  const products = f64x2.add(f64x2.add(products0, products1), f64x2.add(products2, products3));
  v128.store(entry, products, 16);
}

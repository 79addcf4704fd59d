import { ChannelWork, gather, rowsTogether, scatter } from "./batch-norm-work";
import { loadPart, madd, storePart } from "./simd";

export class Apply extends ChannelWork {
  /** Or 0. */
  residual: usize;
  y: usize;
  /** 0 with ReLU, else -Infinity. */
  floor: f32;
}

/**
 * The coefficients of some channels: y = (x - centre) * scale + shift.
 *
 * Numerics: the centre is the mean rounded to float32, and what that leaves is in the shift. So x - centre is exact near the
 * mean, however far from 0 that is, and a constant channel gives exactly its bias.
 */
export function makeCoefficients(
  job: ChannelWork,
  eps: f64,
  firstChannel: i32,
  endChannel: i32,
): void {
  for (let c = firstChannel; c < endChannel; c++) {
    const average = load<f64>(job.mean + ((<usize>c) << 3));
    const invStd = 1 / sqrt(load<f64>(job.variance + ((<usize>c) << 3)) + eps);
    const scale = invStd * (job.weight === 0 ? 1 : <f64>load<f32>(job.weight + ((<usize>c) << 2)));
    const bias: f64 = job.bias === 0 ? 0 : <f64>load<f32>(job.bias + ((<usize>c) << 2));
    const centre = <f32>average;
    store<f32>(job.coefficient(0, c), centre);
    store<f32>(job.coefficient(1, c), <f32>scale);
    store<f32>(job.coefficient(2, c), <f32>(bias - (average - <f64>centre) * scale));
  }
}

/** (x - centre) * scale + shift. The backward repeats it to the bit to find where ReLU let through. */
export function affine(x: v128, centre: v128, scale: v128, shift: v128): v128 {
  return madd(f32x4.sub(x, centre), scale, shift);
}

/** The unit's y. */
export function applyToUnit(job: Apply, unit: i32): void {
  const part = job.part(unit);
  if (job.S > 1) {
    applyToPlanes(job, unit, job.firstImage(part));
    return;
  }
  const end = job.endImage(part);
  for (let n = job.firstImage(part); n < end; n += rowsTogether) {
    applyToRows(job, unit, n, min(rowsTogether, end - n));
  }
}

/** The same of its images from n on, four at a time: see sumPlanes of the moments. */
export function applyToPlanes(job: Apply, unit: i32, n: i32): void {
  const part = job.part(unit);
  const length = job.length(part);
  const end = job.endImage(part);
  while (n < end) {
    const images = end - n >= 4 ? 4 : 1;
    for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
      const start = job.at(0, n, c, job.place(part));
      if (images === 4) applyToRuns(job, c, start, job.imageBytes(), length);
      else applyToPlane(job, c, start, length);
    }
    n += images;
  }
}

/** One plane, whose quarters are the runs. */
function applyToPlane(job: Apply, c: i32, start: usize, length: i32): void {
  const quarter = (length >> 4) << 2;
  applyToRuns(job, c, start, (<usize>quarter) << 2, quarter);
  for (let i = quarter << 2; i < length; i += 4) {
    applyToPart(job, c, start + ((<usize>i) << 2), min(4, length - i));
  }
}

/** Methods, because only these can be inlined. */
// biome-ignore lint/complexity/noStaticOnlyClass: the decorator is for methods
class Run {
  /** y of a vector; `residual` is its distance from x, or 0. */
  @inline
  static of(x: usize, residual: usize, centre: v128, scale: v128, shift: v128, floor: v128): v128 {
    let values = affine(v128.load(x), centre, scale, shift);
    if (residual !== 0) values = f32x4.add(values, v128.load(x + residual));
    return f32x4.pmax(values, floor);
  }
}

/** Four runs of memory `stride` apart, side by side. */
function applyToRuns(job: Apply, c: i32, start: usize, stride: usize, length: i32): void {
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  const floor = f32x4.splat(job.floor);
  const y = job.y - job.x;
  const residual: usize = job.residual === 0 ? 0 : job.residual - job.x;
  let x0 = job.x + start;
  const bytes = (<usize>length) << 2;
  const endOfRun = x0 + bytes;
  for (const end = x0 + (bytes & ~15); x0 < end; x0 += 16) {
    const x1 = x0 + stride;
    const x2 = x1 + stride;
    const x3 = x2 + stride;
    // All are read before one is written: to the processor runs that lie whole pages apart look alike.
    const y0 = Run.of(x0, residual, centre, scale, shift, floor);
    const y1 = Run.of(x1, residual, centre, scale, shift, floor);
    const y2 = Run.of(x2, residual, centre, scale, shift, floor);
    const y3 = Run.of(x3, residual, centre, scale, shift, floor);
    v128.store(x0 + y, y0);
    v128.store(x1 + y, y1);
    v128.store(x2 + y, y2);
    v128.store(x3 + y, y3);
  }
  for (; x0 < endOfRun; x0 += 4) {
    const x1 = x0 + stride;
    const x2 = x1 + stride;
    const x3 = x2 + stride;
    let values = affine(gather(x0, x1, x2, x3), centre, scale, shift);
    if (residual !== 0) {
      const added = gather(x0 + residual, x1 + residual, x2 + residual, x3 + residual);
      values = f32x4.add(values, added);
    }
    scatter(f32x4.pmax(values, floor), x0 + y, x1 + y, x2 + y, x3 + y);
  }
}

/** At most four elements. */
function applyToPart(job: Apply, c: i32, at: usize, count: i32): void {
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  let values = affine(loadPart(job.x + at, count, 0), centre, scale, shift);
  if (job.residual !== 0) values = f32x4.add(values, loadPart(job.residual + at, count, 0));
  storePart(job.y + at, count, f32x4.pmax(values, f32x4.splat(job.floor)));
}

/** S = 1: four channels of some rows, then the next four. */
function applyToRows(job: Apply, unit: i32, n: i32, rows: i32): void {
  const floor = f32x4.splat(job.floor);
  const next = (<usize>job.C) << 2;
  const y = job.y - job.x;
  const residual: usize = job.residual === 0 ? 0 : job.residual - job.x;
  const endChannel = job.endChannel(unit);
  let c = job.firstChannel(unit);
  let coefficient = job.coefficient(0, c);
  let top = job.at(job.x, n, c, 0);
  for (; c + 4 <= endChannel; c += 4, top += 16, coefficient += 16) {
    const centre = v128.load(coefficient);
    const scale = v128.load(coefficient + next);
    const shift = v128.load(coefficient + 2 * next);
    let x = top;
    for (let row = 0; row < rows; row++, x += next) {
      v128.store(x + y, Run.of(x, residual, centre, scale, shift, floor));
    }
  }
  const count = endChannel - c;
  if (count === 0) return;
  const centre = loadPart(coefficient, count, 0);
  const scale = loadPart(coefficient + next, count, 0);
  const shift = loadPart(coefficient + 2 * next, count, 0);
  for (let row = 0; row < rows; row++, top += next) {
    let values = affine(loadPart(top, count, 0), centre, scale, shift);
    if (residual !== 0) values = f32x4.add(values, loadPart(top + residual, count, 0));
    storePart(top + y, count, f32x4.pmax(values, floor));
  }
}

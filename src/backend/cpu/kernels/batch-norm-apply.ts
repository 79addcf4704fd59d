import { ChannelWork } from "./batch-norm-work";
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

/** The unit's y. The last images come first: their x is what a cache has left if the unit's sums were just taken. */
export function applyToUnit(job: Apply, unit: i32): void {
  const part = job.part(unit);
  const firstChannel = job.firstChannel(unit);
  const endChannel = job.endChannel(unit);
  const firstImage = job.firstImage(part);
  let n = job.endImage(part);
  while (n > firstImage) {
    if (job.S === 1) {
      n--;
      applyToRow(job, n, firstChannel, endChannel);
      continue;
    }
    const images = n - firstImage >= 2 ? 2 : 1;
    n -= images;
    let start = job.at(0, n, firstChannel, job.place(part));
    for (let c = firstChannel; c < endChannel; c++) {
      if (images === 2) applyToRuns(job, c, start, job.imageBytes(), job.length(part));
      else applyToPlane(job, c, start, job.length(part));
      start += job.planeBytes();
    }
  }
}

/** One plane, whose halves are the runs. */
function applyToPlane(job: Apply, c: i32, start: usize, length: i32): void {
  const half = (length + 1) >> 1;
  // Of an odd number the middle one belongs to both.
  applyToRuns(job, c, start, (<usize>(length - half)) << 2, half);
}

/** Two runs of memory `stride` apart: more is under way at a time. */
function applyToRuns(job: Apply, c: i32, start: usize, stride: usize, length: i32): void {
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  const floor = f32x4.splat(job.floor);
  const x0 = job.x + start;
  const x1 = x0 + stride;
  const residual0: usize = job.residual === 0 ? 0 : job.residual + start;
  const residual1 = residual0 + stride;
  const y0 = job.y + start;
  const y1 = y0 + stride;
  const bytes = (<usize>length) << 2;
  let i: usize = 0;
  if (job.residual === 0) {
    for (const end = bytes & ~31; i < end; i += 32) {
      const a0 = affine(v128.load(x0 + i), centre, scale, shift);
      const b0 = affine(v128.load(x0 + i, 16), centre, scale, shift);
      const a1 = affine(v128.load(x1 + i), centre, scale, shift);
      const b1 = affine(v128.load(x1 + i, 16), centre, scale, shift);
      v128.store(y0 + i, f32x4.pmax(a0, floor));
      v128.store(y0 + i, f32x4.pmax(b0, floor), 16);
      v128.store(y1 + i, f32x4.pmax(a1, floor));
      v128.store(y1 + i, f32x4.pmax(b1, floor), 16);
    }
  }
  for (const end = bytes & ~15; i < end; i += 16) {
    let values0 = affine(v128.load(x0 + i), centre, scale, shift);
    let values1 = affine(v128.load(x1 + i), centre, scale, shift);
    if (residual0 !== 0) {
      values0 = f32x4.add(values0, v128.load(residual0 + i));
      values1 = f32x4.add(values1, v128.load(residual1 + i));
    }
    v128.store(y0 + i, f32x4.pmax(values0, floor));
    v128.store(y1 + i, f32x4.pmax(values1, floor));
  }
  const rest = (bytes - i) >> 2;
  if (rest === 0) return;
  let values0 = affine(loadPart(x0 + i, rest, 0), centre, scale, shift);
  let values1 = affine(loadPart(x1 + i, rest, 0), centre, scale, shift);
  if (residual0 !== 0) {
    values0 = f32x4.add(values0, loadPart(residual0 + i, rest, 0));
    values1 = f32x4.add(values1, loadPart(residual1 + i, rest, 0));
  }
  storePart(y0 + i, rest, f32x4.pmax(values0, floor));
  storePart(y1 + i, rest, f32x4.pmax(values1, floor));
}

/** S = 1: four channels side by side. */
function applyToRow(job: Apply, n: i32, firstChannel: i32, endChannel: i32): void {
  const floor = f32x4.splat(job.floor);
  const residual = job.residual;
  const next = (<usize>job.C) << 2;
  let coefficient = job.coefficient(0, firstChannel);
  let x = job.at(job.x, n, firstChannel, 0);
  let y = job.at(job.y, n, firstChannel, 0);
  const offset = residual - job.y;
  let c = firstChannel;
  for (; c + 4 <= endChannel; c += 4, x += 16, y += 16, coefficient += 16) {
    const scale = v128.load(coefficient + next);
    const shift = v128.load(coefficient + 2 * next);
    let values = affine(v128.load(x), v128.load(coefficient), scale, shift);
    if (residual !== 0) values = f32x4.add(values, v128.load(y + offset));
    v128.store(y, f32x4.pmax(values, floor));
  }
  const count = endChannel - c;
  if (count === 0) return;
  const centre = loadPart(coefficient, count, 0);
  const scale = loadPart(coefficient + next, count, 0);
  const shift = loadPart(coefficient + 2 * next, count, 0);
  let values = affine(loadPart(x, count, 0), centre, scale, shift);
  if (residual !== 0) values = f32x4.add(values, loadPart(y + offset, count, 0));
  storePart(y, count, f32x4.pmax(values, floor));
}

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

/** The unit's y. */
export function applyToUnit(job: Apply, unit: i32): void {
  const part = job.part(unit);
  if (job.S > 1) {
    applyToPlanes(job, unit, job.firstImage(part));
    return;
  }
  for (let n = job.firstImage(part); n < job.endImage(part); n++) {
    applyToRow(job, n, job.firstChannel(unit), job.endChannel(unit));
  }
}

/** The same of its images from n on. */
export function applyToPlanes(job: Apply, unit: i32, n: i32): void {
  const part = job.part(unit);
  const length = job.length(part);
  const end = job.endImage(part);
  for (; n < end; n++) {
    for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
      applyToPlane(job, c, job.at(0, n, c, job.place(part)), length);
    }
  }
}

function applyToPlane(job: Apply, c: i32, start: usize, length: i32): void {
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  const floor = f32x4.splat(job.floor);
  const x = job.x + start;
  const y = job.y + start;
  const residual: usize = job.residual === 0 ? 0 : job.residual + start;
  const bytes = (<usize>length) << 2;
  let i: usize = 0;
  if (residual === 0) {
    for (const end = bytes & ~63; i < end; i += 64) {
      const a = affine(v128.load(x + i), centre, scale, shift);
      const b = affine(v128.load(x + i, 16), centre, scale, shift);
      const c = affine(v128.load(x + i, 32), centre, scale, shift);
      const d = affine(v128.load(x + i, 48), centre, scale, shift);
      v128.store(y + i, f32x4.pmax(a, floor));
      v128.store(y + i, f32x4.pmax(b, floor), 16);
      v128.store(y + i, f32x4.pmax(c, floor), 32);
      v128.store(y + i, f32x4.pmax(d, floor), 48);
    }
  }
  for (const end = bytes & ~15; i < end; i += 16) {
    let values = affine(v128.load(x + i), centre, scale, shift);
    if (residual !== 0) values = f32x4.add(values, v128.load(residual + i));
    v128.store(y + i, f32x4.pmax(values, floor));
  }
  const rest = (bytes - i) >> 2;
  if (rest === 0) return;
  let values = affine(loadPart(x + i, rest, 0), centre, scale, shift);
  if (residual !== 0) values = f32x4.add(values, loadPart(residual + i, rest, 0));
  storePart(y + i, rest, f32x4.pmax(values, floor));
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

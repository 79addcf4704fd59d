import { ChannelPass } from "./batch-norm-work";
import { loadPart, madd, storePart } from "./simd";

class Apply extends ChannelPass {
  x: usize;
  /** Or 0. */
  residual: usize;
  y: usize;
  /** 0 with ReLU, else -Infinity. */
  floor: f32;
}

/**
 * The coefficients of `batchNormApply` for each channel: y = (x - centre) * scale + shift.
 *
 * Numerics: the centre is the mean rounded to float32, and what that leaves is in the shift. So x - centre is exact near the
 * mean, however far from 0 that is, and a constant channel gives exactly its bias.
 */
export function batchNormCoefficients(
  pass: usize,
  mean: usize,
  variance: usize,
  weight: usize,
  bias: usize,
  eps: f64,
  _chunk: i32,
  _thread: i32,
): void {
  const job = changetype<Apply>(pass);
  for (let c = 0; c < job.C; c++) {
    const average = load<f64>(mean + ((<usize>c) << 3));
    const invStd = 1 / sqrt(load<f64>(variance + ((<usize>c) << 3)) + eps);
    const scale = invStd * (weight === 0 ? 1 : <f64>load<f32>(weight + ((<usize>c) << 2)));
    const b: f64 = bias === 0 ? 0 : <f64>load<f32>(bias + ((<usize>c) << 2));
    const centre = <f32>average;
    store<f32>(job.coefficient(0, c), centre);
    store<f32>(job.coefficient(1, c), <f32>scale);
    store<f32>(job.coefficient(2, c), <f32>(b - (average - <f64>centre) * scale));
  }
}

/** y = max((x - centre) * scale + shift + residual, floor); NaN stays. */
export function batchNormApply(apply: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Apply>(apply);
  if (job.S === 1) applyToRows(job, chunk);
  else applyToPlanes(job, chunk);
}

function applyToPlanes(job: Apply, chunk: i32): void {
  const end = job.end(chunk);
  const place = job.place(chunk);
  const length = job.length(chunk);
  let plane = job.first(chunk);
  let c = plane % job.C;
  for (; plane < end; plane++) {
    applyToPlane(job, c, (<usize>(plane * job.S + place)) << 2, (<usize>length) << 2);
    c++;
    if (c === job.C) c = 0;
  }
}

function applyToPlane(job: Apply, c: i32, start: usize, bytes: usize): void {
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  const floor = f32x4.splat(job.floor);
  const x = job.x + start;
  const residual: usize = job.residual === 0 ? 0 : job.residual + start;
  const y = job.y + start;
  let added = f32x4.splat(0);
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    if (residual !== 0) added = v128.load(residual + i);
    const values = affine(v128.load(x + i), centre, scale, shift);
    v128.store(y + i, f32x4.pmax(f32x4.add(values, added), floor));
  }
  const rest = (bytes - i) >> 2;
  if (rest === 0) return;
  if (residual !== 0) added = loadPart(residual + i, rest, 0);
  const values = affine(loadPart(x + i, rest, 0), centre, scale, shift);
  storePart(y + i, rest, f32x4.pmax(f32x4.add(values, added), floor));
}

/** S = 1: four channels side by side. */
function applyToRows(job: Apply, chunk: i32): void {
  const floor = f32x4.splat(job.floor);
  let added = f32x4.splat(0);
  for (let row = job.first(chunk); row < job.end(chunk); row++) {
    for (let c = 0; c < job.C; c += 4) {
      const count = min(4, job.C - c);
      const at = (<usize>(row * job.C + c)) << 2;
      const centre = loadPart(job.coefficient(0, c), count, 0);
      const scale = loadPart(job.coefficient(1, c), count, 0);
      const shift = loadPart(job.coefficient(2, c), count, 0);
      if (job.residual !== 0) added = loadPart(job.residual + at, count, 0);
      const values = affine(loadPart(job.x + at, count, 0), centre, scale, shift);
      storePart(job.y + at, count, f32x4.pmax(f32x4.add(values, added), floor));
    }
  }
}

function affine(x: v128, centre: v128, scale: v128, shift: v128): v128 {
  return madd(f32x4.sub(x, centre), scale, shift);
}

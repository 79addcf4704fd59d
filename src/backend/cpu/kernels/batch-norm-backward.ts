import { affine } from "./batch-norm-apply";
import { ChannelWork } from "./batch-norm-work";
import { loadPart, madd, storePart } from "./simd";

/** The job of the backward's kernels. Coefficients: those of the forward (centre, scale, shift), then level and slope. */
export class Backward extends ChannelWork {
  dy: usize;
  /** These or 0. */
  reluOutput: usize;
  dx: usize;
  dResidual: usize;
  dWeight: usize;
  dBias: usize;
  /** Whether a ReLU is to be repeated from x. */
  repeatsRelu: i32;
  /** Whether gradients flow through mean and variance. */
  throughStatistics: i32;

  isMasked(): bool {
    return this.reluOutput !== 0 || this.repeatsRelu !== 0;
  }
}

/** The lanes of dy whose y is above 0; NaN is not. */
export function wherePositive(y: v128, dy: v128): v128 {
  return v128.and(dy, f32x4.gt(y, f32x4.splat(0)));
}

/** At most four elements. */
export function gradOfPart(
  job: Backward,
  i: usize,
  count: i32,
  centre: v128,
  scale: v128,
  shift: v128,
  level: v128,
  slope: v128,
): void {
  const x = loadPart(job.x + i, count, 0);
  let g = loadPart(job.dy + i, count, 0);
  if (job.reluOutput !== 0) g = wherePositive(loadPart(job.reluOutput + i, count, 0), g);
  else if (job.repeatsRelu !== 0) g = wherePositive(affine(x, centre, scale, shift), g);
  if (job.dResidual !== 0) storePart(job.dResidual + i, count, g);
  if (job.dx === 0) return;
  if (job.throughStatistics !== 0) g = centred(g, x, centre, level, slope);
  storePart(job.dx + i, count, f32x4.mul(g, scale));
}

/**
 * Numerics: g - level comes first, so that dx of a constant g is nothing but the rounding of the float64 sums.
 */
export function centred(g: v128, x: v128, centre: v128, level: v128, slope: v128): v128 {
  return madd(f32x4.sub(x, centre), slope, f32x4.sub(g, level));
}

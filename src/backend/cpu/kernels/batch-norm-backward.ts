import { ChannelWork } from "./batch-norm-work";

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

import { ArgumentError } from "../core/errors.ts";
import { groupNorm } from "../ops/normalization.ts";
import { ones, zeros } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";
import { formatPython } from "./repr.ts";
import { refill } from "./running-statistics.ts";
import { checkNumber } from "./slot.ts";

/** What a GroupNorm learns. */
export interface GroupNormLayerOptions {
  /** Added to the variance, inside the root. Default 1e-5. */
  readonly eps?: number;
  /** Learn a weight and a bias per channel. Default true. */
  readonly affine?: boolean;
  /** With `affine`, learn a bias too. Default true. */
  readonly bias?: boolean;
}

/**
 * Normalises each sample over groups of neighbouring channels and all positions, in training and evaluation alike; it keeps no statistics.
 * See `nn.functional.groupNorm`.
 *
 * Shapes: x (N, C, ...) with C of `numChannels`; returns like x.
 * Throws: ArgumentError for counts that are no integers above 0, or groups that do not divide the channels; otherwise as
 * `nn.functional.groupNorm`.
 * Source: PyTorch nn.GroupNorm.
 *
 * @example
 * const norm = new nn.GroupNorm(2, 4);
 */
export class GroupNorm extends Module {
  static override readonly kind: string = "GroupNorm";
  /** Parts that the channels fall into. */
  readonly numGroups: number;
  /** Channels of x; for information: forward compares the sizes of tensors. */
  readonly numChannels: number;
  /** Added to the variance, inside the root. */
  eps: number;
  /** Whether it was made with a weight. For information, as `numChannels`. */
  affine: boolean;
  /** (C), or null for 1. */
  declare weight: Parameter | null;
  /** (C), or null for 0. */
  declare bias: Parameter | null;

  constructor(numGroups: number, numChannels: number, options: GroupNormLayerOptions = {}) {
    super();
    const { eps = 1e-5, affine = true, bias = true } = options;
    const counts = [numGroups, numChannels];
    const areCounts = counts.every((count) => Number.isInteger(count) && count >= 1);
    if (!areCounts || numChannels % numGroups !== 0) {
      throw new ArgumentError({
        op: "GroupNorm",
        expected: "numGroups and numChannels to be integers above 0, the first dividing the second",
        actual: `numGroups ${numGroups}, numChannels ${numChannels}`,
      });
    }
    checkNumber("GroupNorm", "eps to be a number", eps);
    this.numGroups = numGroups;
    this.numChannels = numChannels;
    this.eps = eps;
    this.affine = affine;
    const shape = [numChannels];
    this.registerParameter("weight", affine ? new Parameter(ones(shape)) : null);
    this.registerParameter("bias", affine && bias ? new Parameter(zeros(shape)) : null);
  }

  forward(x: Tensor): Tensor {
    const { numGroups, weight, bias, eps } = this;
    return groupNorm(x, numGroups, { weight, bias, eps });
  }

  /** Weight 1, bias 0. */
  resetParameters(): void {
    if (this.weight !== null) refill(this.weight, 1, "resetParameters");
    if (this.bias !== null) refill(this.bias, 0, "resetParameters");
  }

  override extraRepr(): string {
    const { numGroups, numChannels, eps, affine } = this;
    return formatPython([numGroups, numChannels], { eps, affine, bias: this.bias !== null });
  }
}

import { ArgumentError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { layerNorm } from "../ops/normalization.ts";
import { ones, zeros } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";
import { formatPython } from "./repr.ts";
import { refill } from "./running-statistics.ts";
import { checkNumber } from "./slot.ts";

/** What a LayerNorm learns. */
export interface LayerNormLayerOptions {
  /** Added to the variance, inside the root. Default 1e-5. */
  readonly eps?: number;
  /** Learn a weight and a bias for every element of a sample. Default true. */
  readonly elementwiseAffine?: boolean;
  /** With `elementwiseAffine`, learn a bias too. Default true. */
  readonly bias?: boolean;
}

/**
 * Normalises each sample over its last axes, in training and evaluation alike; it keeps no statistics. See `nn.functional.layerNorm`.
 *
 * Shapes: x (..., *normalizedShape); returns like x. A number is a shape of one axis.
 * Throws: ArgumentError for sizes that are no integers >= 0; otherwise as `nn.functional.layerNorm`.
 * Source: PyTorch nn.LayerNorm.
 *
 * @example
 * const norm = new nn.LayerNorm([4, 5], { bias: false });
 */
export class LayerNorm extends Module {
  static override readonly kind: string = "LayerNorm";
  /** Sizes of the axes that share statistics. */
  readonly normalizedShape: readonly number[];
  /** Added to the variance, inside the root. */
  eps: number;
  /** Whether it was made with a weight. */
  readonly elementwiseAffine: boolean;
  /** Of `normalizedShape`, or null for 1. */
  declare weight: Parameter | null;
  /** Of `normalizedShape`, or null for 0. */
  declare bias: Parameter | null;

  constructor(normalizedShape: number | readonly number[], options: LayerNormLayerOptions = {}) {
    super();
    const { eps = 1e-5, elementwiseAffine = true, bias = true } = options;
    const shape = typeof normalizedShape === "number" ? [normalizedShape] : [...normalizedShape];
    if (!shape.every((size) => Number.isInteger(size) && size >= 0)) {
      throw new ArgumentError({
        op: "LayerNorm",
        expected: "normalizedShape to be integers >= 0",
        actual: formatShape(shape),
      });
    }
    checkNumber("LayerNorm", "eps to be a number", eps);
    this.normalizedShape = shape;
    this.eps = eps;
    this.elementwiseAffine = elementwiseAffine;
    this.registerParameter("weight", elementwiseAffine ? new Parameter(ones(shape)) : null);
    this.registerParameter("bias", elementwiseAffine && bias ? new Parameter(zeros(shape)) : null);
  }

  forward(x: Tensor): Tensor {
    const { normalizedShape, weight, bias, eps } = this;
    return layerNorm(x, normalizedShape, { weight, bias, eps });
  }

  /** Weight 1, bias 0. */
  resetParameters(): void {
    if (this.weight !== null) refill(this.weight, 1, "resetParameters");
    if (this.bias !== null) refill(this.bias, 0, "resetParameters");
  }

  override extraRepr(): string {
    const { normalizedShape, eps, elementwiseAffine } = this;
    const bias = this.bias !== null;
    return formatPython([normalizedShape], { eps, elementwise_affine: elementwiseAffine, bias });
  }
}

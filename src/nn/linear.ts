import { ArgumentError } from "../core/errors.ts";
import { linear } from "../ops/matmul.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { fanInUniform } from "./fan-in.ts";
import { Module } from "./module.ts";
import type { Parameter } from "./parameter.ts";
import { formatPython } from "./repr.ts";

/** y = x weight^T + bias on the last axis. Shapes: x (..., inFeatures); returns (..., outFeatures). */
export class Linear extends Module {
  static override readonly kind: string = "Linear";
  /** Size of the last axis of x. */
  readonly inFeatures: number;
  /** Size of the last axis of the result. */
  readonly outFeatures: number;
  /** (outFeatures, inFeatures) */
  declare weight: Parameter;
  /** (outFeatures), or null for 0. */
  declare bias: Parameter | null;

  constructor(
    inFeatures: number,
    outFeatures: number,
    { bias = true }: { readonly bias?: boolean } = {},
  ) {
    super();
    for (const [name, value] of Object.entries({ inFeatures, outFeatures })) {
      if (Number.isInteger(value) && value >= 0) continue;
      throw new ArgumentError({
        op: "Linear",
        expected: `${name} to be an integer >= 0`,
        actual: String(value),
      });
    }
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.registerParameter("weight", fanInUniform([outFeatures, inFeatures], inFeatures));
    this.registerParameter("bias", bias ? fanInUniform([outFeatures], inFeatures) : null);
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  override extraRepr(): string {
    const { inFeatures, outFeatures } = this;
    return formatPython([], {
      in_features: inFeatures,
      out_features: outFeatures,
      bias: this.bias !== null,
    });
  }
}

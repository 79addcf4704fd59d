import { ArgumentError } from "../core/errors.ts";
import { dropout } from "../ops/dropout.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { formatPython } from "./repr.ts";

/** Zeroes elements with probability `p` in training, passes them unchanged in evaluation. */
export class Dropout extends Module {
  static override readonly kind: string = "Dropout";
  p: number;

  constructor(p = 0.5) {
    super();
    if (!(p >= 0 && p <= 1)) {
      throw new ArgumentError({ op: "Dropout", expected: "p in [0, 1]", actual: String(p) });
    }
    this.p = p;
  }

  forward(x: Tensor): Tensor {
    return dropout(x, this.p, { training: this.training });
  }

  override extraRepr(): string {
    return formatPython([], { p: this.p, inplace: false });
  }
}

import { checkTensor } from "../ops/check.ts";
import { flatten, reshape } from "../ops/view.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { formatPython } from "./repr.ts";

/** Merges axes `startDim` to `endDim` into one: (N, C, H, W) becomes (N, C * H * W). */
export class Flatten extends Module {
  static override readonly kind: string = "Flatten";
  /** The first axis that is merged. */
  readonly startDim: number;
  /** The last axis that is merged; -1 is x's last. */
  readonly endDim: number;

  constructor(startDim = 1, endDim = -1) {
    super();
    this.startDim = startDim;
    this.endDim = endDim;
  }

  forward(x: Tensor): Tensor {
    return flatten(x, this.startDim, this.endDim);
  }

  override extraRepr(): string {
    return formatPython([], { start_dim: this.startDim, end_dim: this.endDim });
  }
}

/** Passes its input on. */
export class Identity extends Module {
  static override readonly kind: string = "Identity";
  forward(x: Tensor): Tensor {
    checkTensor("Identity", x);
    return reshape(x, x.shape);
  }
}

import {
  checkProbability,
  type DropoutOptions,
  dropout,
  dropout1d,
  dropout2d,
  dropout3d,
} from "../ops/dropout.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { formatPython } from "./repr.ts";

abstract class AnyDropout extends Module {
  /** Probability of being zeroed. */
  p: number;

  /** Throws ArgumentError unless 0 <= p <= 1. */
  constructor(p = 0.5) {
    super();
    checkProbability(this.kind, p);
    this.p = p;
  }

  protected abstract drop(x: Tensor, p: number, options: DropoutOptions): Tensor;

  forward(x: Tensor): Tensor {
    return this.drop(x, this.p, { training: this.training });
  }

  override extraRepr(): string {
    return formatPython([], { p: this.p, inplace: false });
  }
}

/** Zeroes elements with probability `p` in training, passes them unchanged in evaluation. */
export class Dropout extends AnyDropout {
  static override readonly kind: string = "Dropout";
  protected override drop(x: Tensor, p: number, options: DropoutOptions): Tensor {
    return dropout(x, p, options);
  }
}

/** Zeroes whole channels of (N, C, L) or (C, L) with probability `p` in training; see `nn.functional.dropout1d`. */
export class Dropout1d extends AnyDropout {
  static override readonly kind: string = "Dropout1d";
  protected override drop(x: Tensor, p: number, options: DropoutOptions): Tensor {
    return dropout1d(x, p, options);
  }
}

/** Zeroes whole channels of (N, C, H, W) with probability `p` in training; see `nn.functional.dropout2d`. */
export class Dropout2d extends AnyDropout {
  static override readonly kind: string = "Dropout2d";
  protected override drop(x: Tensor, p: number, options: DropoutOptions): Tensor {
    return dropout2d(x, p, options);
  }
}

/** Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W) with probability `p` in training; see `nn.functional.dropout3d`. */
export class Dropout3d extends AnyDropout {
  static override readonly kind: string = "Dropout3d";
  protected override drop(x: Tensor, p: number, options: DropoutOptions): Tensor {
    return dropout3d(x, p, options);
  }
}

/** Whether a module is a dropout layer of this file, or of a class that extends one. */
export function isDropout(module: Module): module is AnyDropout {
  return module instanceof AnyDropout;
}

import { pairOf } from "../core/shape.ts";
import type { Pair } from "../ops/conv.ts";
import { avgPool2d, maxPool2d, type Pool2dOptions } from "../ops/pool.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { formatPython, type PythonValue } from "./repr.ts";

abstract class Pool2d extends Module {
  readonly kernelSize: Pair;
  readonly stride: Pair;
  readonly padding: Pair;

  constructor(kernelSize: Pair, { stride = kernelSize, padding = 0 }: Pool2dOptions = {}) {
    super();
    pairOf(this.kind, "kernelSize", kernelSize, 1);
    pairOf(this.kind, "stride", stride, 1);
    pairOf(this.kind, "padding", padding, 0);
    this.kernelSize = kernelSize;
    this.stride = stride;
    this.padding = padding;
  }

  protected sizes(): Record<string, PythonValue> {
    return { kernel_size: this.kernelSize, stride: this.stride, padding: this.padding };
  }
}

/** The greatest element of each window; see `nn.functional.maxPool2d`. */
export class MaxPool2d extends Pool2d {
  static override readonly kind: string = "MaxPool2d";

  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.kernelSize, this);
  }

  override extraRepr(): string {
    return formatPython([], { ...this.sizes(), dilation: 1, ceil_mode: false });
  }
}

/** The mean of each window; see `nn.functional.avgPool2d`. */
export class AvgPool2d extends Pool2d {
  static override readonly kind: string = "AvgPool2d";

  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.kernelSize, this);
  }

  override extraRepr(): string {
    return formatPython([], this.sizes());
  }
}

import * as elementwise from "../ops/elementwise.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { formatPython } from "./repr.ts";

export class ReLU extends Module {
  static override readonly kind: string = "ReLU";
  forward(x: Tensor): Tensor {
    return elementwise.relu(x);
  }
}

export class LeakyReLU extends Module {
  static override readonly kind: string = "LeakyReLU";
  negativeSlope: number;

  constructor(negativeSlope = 0.01) {
    super();
    this.negativeSlope = negativeSlope;
  }

  forward(x: Tensor): Tensor {
    return elementwise.leakyRelu(x, this.negativeSlope);
  }

  override extraRepr(): string {
    return formatPython([], { negative_slope: this.negativeSlope });
  }
}

export class Sigmoid extends Module {
  static override readonly kind: string = "Sigmoid";
  forward(x: Tensor): Tensor {
    return elementwise.sigmoid(x);
  }
}

export class Tanh extends Module {
  static override readonly kind: string = "Tanh";
  forward(x: Tensor): Tensor {
    return elementwise.tanh(x);
  }
}

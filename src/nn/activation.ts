import * as activation from "../ops/activation.ts";
import { logSoftmax, softmax } from "../ops/softmax.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { formatPython } from "./repr.ts";

/** max(x, 0); NaN stays NaN. */
export class ReLU extends Module {
  static override readonly kind: string = "ReLU";
  forward(x: Tensor): Tensor {
    return activation.relu(x);
  }
}

/** min(max(x, 0), 6). */
export class ReLU6 extends Module {
  static override readonly kind: string = "ReLU6";
  forward(x: Tensor): Tensor {
    return activation.relu6(x);
  }
}

/** x where x > 0, else negativeSlope * x. */
export class LeakyReLU extends Module {
  static override readonly kind: string = "LeakyReLU";
  /** Factor of negative elements. */
  negativeSlope: number;

  constructor(negativeSlope = 0.01) {
    super();
    this.negativeSlope = negativeSlope;
  }

  forward(x: Tensor): Tensor {
    return activation.leakyRelu(x, this.negativeSlope);
  }

  override extraRepr(): string {
    return formatPython([], { negative_slope: this.negativeSlope });
  }
}

/** 1 / (1 + exp(-x)). */
export class Sigmoid extends Module {
  static override readonly kind: string = "Sigmoid";
  forward(x: Tensor): Tensor {
    return activation.sigmoid(x);
  }
}

/** Hyperbolic tangent. */
export class Tanh extends Module {
  static override readonly kind: string = "Tanh";
  forward(x: Tensor): Tensor {
    return activation.tanh(x);
  }
}

/**
 * x times the probability that a standard normal number is at most x, exactly ("none", the default) or approximately ("tanh").
 *
 * Throws: ArgumentError for another `approximate`.
 */
export class GELU extends Module {
  static override readonly kind: string = "GELU";
  /** Which formula it goes by. */
  approximate: activation.GeluApproximation;

  constructor({ approximate = "none" }: activation.GeluOptions = {}) {
    super();
    activation.checkApproximation("GELU", approximate);
    this.approximate = approximate;
  }

  forward(x: Tensor): Tensor {
    return activation.gelu(x, { approximate: this.approximate });
  }

  override extraRepr(): string {
    return formatPython([], { approximate: `'${this.approximate}'` });
  }
}

/** x * sigmoid(x). */
export class SiLU extends Module {
  static override readonly kind: string = "SiLU";
  forward(x: Tensor): Tensor {
    return activation.silu(x);
  }
}

/** log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold. */
export class Softplus extends Module {
  static override readonly kind: string = "Softplus";
  /** Greater values come nearer to relu. */
  beta: number;
  /** Where beta * x is greater, the result is x itself. */
  threshold: number;

  constructor({ beta = 1, threshold = 20 }: activation.SoftplusOptions = {}) {
    super();
    this.beta = beta;
    this.threshold = threshold;
  }

  forward(x: Tensor): Tensor {
    return activation.softplus(x, { beta: this.beta, threshold: this.threshold });
  }

  override extraRepr(): string {
    const { beta, threshold } = this;
    return formatPython([], { beta: asFloat(beta), threshold: asFloat(threshold) });
  }
}

/** A whole number as Python prints it where its type is float. */
function asFloat(value: number): string | number {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? value.toFixed(1) : value;
}

/** Softmax along one axis, which has to be given. */
export class Softmax extends Module {
  static override readonly kind: string = "Softmax";
  /** The axis along which the results sum to 1. */
  axis: number;

  constructor(axis: number) {
    super();
    this.axis = axis;
  }

  forward(x: Tensor): Tensor {
    return softmax(x, this.axis);
  }

  override extraRepr(): string {
    return formatPython([], { dim: this.axis });
  }
}

/** The logarithm of softmax along one axis, which has to be given. */
export class LogSoftmax extends Module {
  static override readonly kind: string = "LogSoftmax";
  /** The axis along which their exponentials sum to 1. */
  axis: number;

  constructor(axis: number) {
    super();
    this.axis = axis;
  }

  forward(x: Tensor): Tensor {
    return logSoftmax(x, this.axis);
  }

  override extraRepr(): string {
    return formatPython([], { dim: this.axis });
  }
}

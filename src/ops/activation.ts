/** Activations: functions of one floating tensor, element by element, each with a kernel of its own for the way back. */
import type { UnaryGradOp } from "../backend/backend.ts";
import { ArgumentError } from "../core/errors.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkFloating } from "./check.ts";
import * as raw from "./raw.ts";

/** Their gradient is taken from the output, which the next layer often keeps anyway. */
const savesOutput: ReadonlySet<UnaryGradOp> = new Set(["relu", "relu6", "sigmoid", "tanh"]);

function activate(op: UnaryGradOp, x: Tensor, alpha = 0): Tensor {
  checkFloating(op, x);
  const y = raw.unary(op, x, alpha);
  return record(op, [x], y, () => {
    const saved = savesOutput.has(op) ? save(y, "output") : save(x, "input");
    return { saved: [saved], rule: (dy) => [raw.unaryGrad(op, dy, saved.tensor(), alpha)] };
  });
}

/** max(x, 0); NaN stays NaN; the gradient at 0 is 0. Throws DTypeError unless x is floating. */
export function relu(x: Tensor): Tensor {
  return activate("relu", x);
}

/** min(max(x, 0), 6); NaN stays NaN; the gradient at 0 and at 6 is 0. Throws DTypeError unless x is floating. */
export function relu6(x: Tensor): Tensor {
  return activate("relu6", x);
}

/** x where x > 0, else negativeSlope * x. Throws DTypeError unless x is floating. */
export function leakyRelu(x: Tensor, negativeSlope = 0.01): Tensor {
  return activate("leakyRelu", x, negativeSlope);
}

/** 1 / (1 + exp(-x)). Throws DTypeError unless x is floating. */
export function sigmoid(x: Tensor): Tensor {
  return activate("sigmoid", x);
}

/** Hyperbolic tangent. Throws DTypeError unless x is floating. */
export function tanh(x: Tensor): Tensor {
  return activate("tanh", x);
}

/** How gelu is computed: by the normal distribution itself, or with a hyperbolic tangent in its place, at most 5e-4 off. */
export type GeluApproximation = "none" | "tanh";

/** Which formula `gelu` goes by. */
export interface GeluOptions {
  /** "tanh" is the older, approximate formula. Default "none". */
  readonly approximate?: GeluApproximation;
}

/** Throws: ArgumentError unless `approximate` is "none" or "tanh". */
export function checkApproximation(op: string, approximate: GeluApproximation): void {
  if (approximate === "none" || approximate === "tanh") return;
  throw new ArgumentError({
    op,
    expected: 'approximate "none" or "tanh"',
    actual: JSON.stringify(approximate),
  });
}

/**
 * x times the probability that a standard normal number is at most x: x * (1 + erf(x / sqrt(2))) / 2.
 *
 * Numerics: in float32 within 10 units in the last place also for negative x, where PyTorch's sum cancels.
 * Throws: DTypeError unless x is floating; ArgumentError for another `approximate`.
 * Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
 */
export function gelu(x: Tensor, { approximate = "none" }: GeluOptions = {}): Tensor {
  checkApproximation("gelu", approximate);
  return activate(approximate === "tanh" ? "geluTanh" : "gelu", x);
}

/** x * sigmoid(x), also called swish. Throws DTypeError unless x is floating. */
export function silu(x: Tensor): Tensor {
  return activate("silu", x);
}

/** How sharply `softplus` bends, and where it becomes a line. */
export interface SoftplusOptions {
  /** Greater values come nearer to relu. Default 1. */
  readonly beta?: number;
  /** Where beta * x is greater, the result is x itself. Default 20. */
  readonly threshold?: number;
}

/** log(1 + exp(beta * x)) / beta, a smooth relu; without overflow. Throws: DTypeError unless x is floating. */
export function softplus(x: Tensor, { beta = 1, threshold = 20 }: SoftplusOptions = {}): Tensor {
  checkFloating("softplus", x);
  const scaled = beta === 1 ? x : raw.scale(x, beta);
  const y = raw.unary("softplus", scaled, threshold);
  return record("softplus", [x], beta === 1 ? y : unscaled(), () => {
    const saved = save(scaled, "input");
    // d/dx f(beta x) / beta = f'(beta x)
    return {
      saved: [saved],
      rule: (dy) => [raw.unaryGrad("softplus", dy, saved.tensor(), threshold)],
    };
  });

  /** The linear part is x and not beta * x / beta, which may overflow on its way. */
  function unscaled(): Tensor {
    const isLinear = raw.compare("gt", scaled, raw.scalar(threshold, x));
    return raw.select(isLinear, x, raw.scale(y, 1 / beta));
  }
}

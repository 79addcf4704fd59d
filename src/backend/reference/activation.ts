/** Formulas of the activations and of their derivatives, in double precision. */
import type { UnaryGradOp } from "../backend.ts";

export const activations: Readonly<Record<UnaryGradOp, (x: number, alpha: number) => number>> = {
  relu: (x) => Math.max(x, 0),
  relu6: (x) => Math.min(Math.max(x, 0), 6),
  leakyRelu: (x, alpha) => (x > 0 ? x : alpha * x),
  sigmoid,
  tanh: Math.tanh,
  gelu: (x) => x * normalCdf(x),
  // (1 + tanh(z)) / 2 = sigmoid(2 z)
  geluTanh: (x) => x * sigmoid(2 * tanhArgument(x)),
  silu: (x) => x * sigmoid(x),
  softplus: (x, threshold) =>
    x > threshold ? x : Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
};

/** dx from dy and what `UnaryGradOp` says is saved. */
export const activationGradients: Readonly<
  Record<UnaryGradOp, (dy: number, saved: number, alpha: number) => number>
> = {
  relu: (dy, y) => (y > 0 ? dy : 0),
  relu6: (dy, y) => (y > 0 && y < 6 ? dy : 0),
  leakyRelu: (dy, x, alpha) => (x > 0 ? dy : alpha * dy),
  sigmoid: (dy, y) => dy * y * (1 - y),
  tanh: (dy, y) => dy * (1 - y * y),
  gelu: (dy, x) => dy * (normalCdf(x) + x * normalDensity(x)),
  geluTanh: (dy, x) => {
    const z = tanhArgument(x);
    const slope = Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
    return dy * (sigmoid(2 * z) + x * sigmoidSlope(2 * z) * 2 * slope);
  },
  silu: (dy, x) => dy * (sigmoid(x) + x * sigmoidSlope(x)),
  softplus: (dy, x, threshold) => (x > threshold ? dy : dy * sigmoid(x)),
};

/** 1 / (1 + exp(-x)), whose small values keep their digits. */
function sigmoid(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return (x < 0 ? e : 1) / (1 + e);
}

/** sigmoid(x) * (1 - sigmoid(x)). */
function sigmoidSlope(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return e / (1 + e) ** 2;
}

/** What the approximate gelu takes the hyperbolic tangent of. Hendrycks and Gimpel 2016, arXiv:1606.08415. */
function tanhArgument(x: number): number {
  return Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
}

/** Density of the standard normal distribution. */
function normalDensity(x: number): number {
  return Math.exp(-(x * x) / 2) / Math.sqrt(2 * Math.PI);
}

/** P(X <= x) of a standard normal X, (1 + erf(x / sqrt(2))) / 2. Numerics: relative error below 1e-12 for all x >= -37. */
function normalCdf(x: number): number {
  if (Math.abs(x) < 3) return 0.5 + centralPart(x);
  const tail = tailPart(Math.abs(x));
  return x < 0 ? tail : 1 - tail;
}

/** P(0 <= X <= x): density * (x + x^3 / 3 + x^5 / (3 * 5) + ...), whose terms have one sign. */
function centralPart(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 3; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2) {
    term *= (x * x) / n;
    sum += term;
  }
  return normalDensity(x) * sum;
}

/** P(X >= x) for x >= 3: density / (x + 1 / (x + 2 / (x + 3 / ...))), Laplace's continued fraction, from its far end. NaN for NaN. */
function tailPart(x: number): number {
  let denominator = x;
  for (let n = 100; n > 0; n--) denominator = x + n / denominator;
  return normalDensity(x) / denominator;
}

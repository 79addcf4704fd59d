/**
 * The neighbours of batch norm as functions. Each is batch norm's three kernels on another view of x: what shares statistics becomes a
 * channel, (1, channels, values). So they accumulate in double precision too and have its gradient.
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape, type Shape, sameShape, sizeOf } from "../core/shape.ts";
import { noGrad, runInScope } from "../tensor/scope.ts";
import { backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { normalizeChannels } from "./batch-norm.ts";
import { checkVector, checkVectors } from "./batch-norm-checks.ts";
import { checkFloating, checkSameKind } from "./check.ts";
import { add, mul } from "./elementwise.ts";
import { mean } from "./reduce.ts";
import { expand, reshape } from "./view.ts";

/** What follows the normalization of `layerNorm` and `groupNorm`. */
export interface NormalizationOptions {
  /** Multiplies the normalised values; its shape is the function's to say. Null for 1. Default null. */
  readonly weight?: Tensor | null;
  /** Added to them, shaped like the weight. Null for 0. Default null. */
  readonly bias?: Tensor | null;
  /** Added to the variance, inside the root. Default 1e-5. */
  readonly eps?: number;
}

/**
 * Normalises each sample over its last axes, in training and evaluation alike.
 *
 * y = (x - mean) / sqrt(variance + eps) * weight + bias, with mean and (biased) variance over the axes of `normalizedShape`
 *
 * Shapes: x (..., *normalizedShape), weight and bias normalizedShape; returns like x.
 * Numerics: statistics are accumulated in double precision. An eps of 0 is fine where the variance is not 0; there it gives NaN.
 * Throws: ShapeError if x does not end in `normalizedShape`, that is empty, or weight or bias have another shape; DTypeError for integers and
 * mixed dtypes.
 * Source: PyTorch functional.layer_norm; Ba, Kiros and Hinton 2016, arXiv:1607.06450.
 *
 * @example
 * nn.functional.layerNorm(x, [5], { weight, bias });
 */
export function layerNorm(
  x: Tensor,
  normalizedShape: Shape,
  options: NormalizationOptions = {},
): Tensor {
  checkFloating("layerNorm", x);
  checkNormalizedShape(x, normalizedShape);
  const { weight = null, bias = null, eps = 1e-5 } = options;
  for (const [name, tensor] of Object.entries({ weight, bias })) {
    if (tensor !== null) checkElementwise(x, tensor, { name, normalizedShape });
  }
  return runInScope("layerNorm", () => {
    const values = sizeOf(normalizedShape);
    const y = normalizeRows(x, { op: "layerNorm", rows: x.size / values, eps });
    return scaleAndShift(y, weight, bias);
  });
}

/**
 * Normalises each sample over groups of neighbouring channels and all positions, in training and evaluation alike.
 *
 * y = (x - mean) / sqrt(variance + eps) * weight + bias, with mean and (biased) variance per sample and group
 *
 * Shapes: x (N, C, ...), weight and bias (C); returns like x.
 * Numerics: statistics are accumulated in double precision. A group of one value gives the bias.
 * Throws: ShapeError for a rank below 2, channels that the groups do not divide, a weight or bias without C elements, no positions, or a single
 * value in all of a group's samples (as PyTorch counts: N * C / numGroups * positions is 1); ArgumentError unless numGroups is an integer
 * above 0; DTypeError for integers and mixed dtypes.
 * Source: PyTorch functional.group_norm; Wu and He 2018, arXiv:1803.08494.
 *
 * @example
 * nn.functional.groupNorm(x, 2, { weight, bias });
 */
export function groupNorm(
  x: Tensor,
  numGroups: number,
  options: NormalizationOptions = {},
): Tensor {
  checkFloating("groupNorm", x);
  checkGroups(x, numGroups);
  const { weight = null, bias = null, eps = 1e-5 } = options;
  for (const [name, vector] of Object.entries({ weight, bias })) {
    if (vector !== null) checkVector("groupNorm", x, { name, vector, dtype: x.dtype });
  }
  return runInScope("groupNorm", () => {
    const y = normalizeRows(x, { op: "groupNorm", rows: x.shape[0] * numGroups, eps });
    return scaleAndShift(y, alongChannels(weight, x.shape), alongChannels(bias, x.shape));
  });
}

/** What `instanceNorm` normalises with. */
export interface InstanceNormOptions {
  /** (C), or null for 1. Default null. */
  readonly weight?: Tensor | null;
  /** (C), or null for 0. Default null. */
  readonly bias?: Tensor | null;
  /** Normalise with the statistics of x, and move the running ones if they are given. Default true. */
  readonly useInputStats?: boolean;
  /** Weight of the new observation in the running statistics. Default 0.1. */
  readonly momentum?: number;
  /** Added to the variance, inside the root. Default 1e-5. */
  readonly eps?: number;
}

/**
 * Normalises each channel of each sample over its positions.
 *
 * y = (x - mean) / sqrt(variance + eps) * weight + bias
 *
 * With `useInputStats`, mean and (biased) variance are those of each sample's channel, and running statistics, if given, become the average
 * over the samples of (1 - momentum) * running + momentum * observed, with the unbiased variance. Without, they are the running ones.
 * Unlike PyTorch: a batch without samples leaves the running statistics alone instead of making them NaN.
 *
 * Shapes: x (N, C, ...), runningMean and runningVar (C) or null, weight and bias (C) or null; returns like x.
 * Numerics: statistics are accumulated in double precision.
 * Throws: ShapeError for a rank below 2, one position when the statistics of x are used, or vectors that have not C elements; ArgumentError for
 * missing or half-missing running statistics; DTypeError for integers and mixed dtypes; AutogradError if running statistics require grad.
 * Source: PyTorch functional.instance_norm; Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022.
 *
 * @example
 * nn.functional.instanceNorm(x, runningMean, runningVar, { weight, bias });
 */
export function instanceNorm(
  x: Tensor,
  runningMean: Tensor | null = null,
  runningVar: Tensor | null = null,
  options: InstanceNormOptions = {},
): Tensor {
  const { weight = null, bias = null, useInputStats = true, momentum = 0.1, eps = 1e-5 } = options;
  checkFloating("instanceNorm", x);
  checkLeastRank("instanceNorm", x);
  if (useInputStats) checkPositions(x);
  const vectors = { runningMean, runningVar, weight, bias };
  checkVectors("instanceNorm", x, { vectors, training: useInputStats });
  return runInScope("instanceNorm", () => {
    if (x.size === 0) {
      return scaleAndShift(mul(x, 1), alongChannels(weight, x.shape), alongChannels(bias, x.shape));
    }
    const [N, C] = x.shape;
    const perInstance = (v: Tensor | null) =>
      v && reshape(expand(reshape(v, [C]), [N, C]), [N * C]);
    const means = noGrad(() => perInstance(runningMean));
    const variances = noGrad(() => perInstance(runningVar));
    const instances = reshape(x, [1, N * C, sizeOf(x.shape, 2)]);
    const y = normalizeChannels(instances, means, variances, {
      ...{ weight: perInstance(weight), bias: perInstance(bias) },
      ...{ op: "instanceNorm", training: useInputStats, momentum, eps },
    });
    if (useInputStats) {
      averageInto(runningMean, means);
      averageInto(runningVar, variances);
    }
    return reshape(y, x.shape);
  });
}

interface Rows {
  readonly op: string;
  /** Neighbouring values that share statistics: x is cut into this many parts. */
  readonly rows: number;
  readonly eps: number;
}

function normalizeRows(x: Tensor, { op, rows, eps }: Rows): Tensor {
  if (x.size === 0) return mul(x, 1);
  const cut = reshape(x, [1, rows, x.size / rows]);
  return reshape(normalizeChannels(cut, null, null, { op, training: true, eps }), x.shape);
}

function scaleAndShift(x: Tensor, weight: Tensor | null, bias: Tensor | null): Tensor {
  const scaled = weight === null ? x : mul(x, weight);
  return bias === null ? scaled : add(scaled, bias);
}

/** A vector of channels so that it broadcasts against x: (C, 1, ...). */
function alongChannels(vector: Tensor | null, shape: Shape): Tensor | null {
  return vector && reshape(vector, [shape[1], ...shape.slice(2).map(() => 1)]);
}

/** Writes the average of every sample's running statistic, (N * C), over the buffer, (C). */
function averageInto(buffer: Tensor | null, perInstance: Tensor | null): void {
  if (buffer === null || perInstance === null) return;
  const average = noGrad(() => mean(reshape(perInstance, [-1, buffer.size]), 0));
  backendFor(buffer).copy(operandOf(average), operandOf(buffer));
  buffer.holding.storage.markWritten("instanceNorm");
}

function checkNormalizedShape(x: Tensor, normalizedShape: Shape): void {
  const last = normalizedShape.length === 0 ? [] : x.shape.slice(-normalizedShape.length);
  if (normalizedShape.length > 0 && sameShape(last, normalizedShape)) return;
  throw new ShapeError({
    op: "layerNorm",
    expected:
      normalizedShape.length === 0
        ? "a normalizedShape of at least one axis"
        : `x whose last axes are ${formatShape(normalizedShape)}`,
    actual: formatShape(normalizedShape.length === 0 ? normalizedShape : x.shape),
  });
}

interface Elementwise {
  readonly name: string;
  readonly normalizedShape: Shape;
}

function checkElementwise(x: Tensor, tensor: Tensor, { name, normalizedShape }: Elementwise): void {
  checkSameKind("layerNorm", x, tensor);
  if (sameShape(tensor.shape, normalizedShape)) return;
  throw new ShapeError({
    op: "layerNorm",
    expected: `a ${name} of normalizedShape ${formatShape(normalizedShape)}`,
    actual: formatShape(tensor.shape),
  });
}

function checkLeastRank(op: string, x: Tensor): void {
  if (x.shape.length >= 2) return;
  const actual = formatShape(x.shape);
  throw new ShapeError({ op, expected: "x with at least 2 axes (N, C, ...)", actual });
}

function checkGroups(x: Tensor, numGroups: number): void {
  const op = "groupNorm";
  checkLeastRank(op, x);
  if (!Number.isInteger(numGroups) || numGroups < 1) {
    const actual = String(numGroups);
    throw new ArgumentError({ op, expected: "numGroups to be an integer above 0", actual });
  }
  const [N, C] = x.shape;
  const positions = sizeOf(x.shape, 2);
  const actual = `shape ${formatShape(x.shape)}, ${numGroups} groups`;
  if (C % numGroups !== 0) {
    throw new ShapeError({ op, expected: "channels that the groups divide", actual });
  }
  if (positions === 0) throw new ShapeError({ op, expected: "at least one position", actual });
  if (((N * C) / numGroups) * positions !== 1) return;
  throw new ShapeError({ op, expected: "more than one value per group", actual });
}

function checkPositions(x: Tensor): void {
  if (sizeOf(x.shape, 2) !== 1) return;
  throw new ShapeError({
    op: "instanceNorm",
    expected: "more than one position per channel when normalising with the statistics of x",
    actual: `shape ${formatShape(x.shape)}`,
  });
}

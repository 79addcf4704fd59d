/**
 * Batch normalization as a function: checks, three kernels, one backward rule.
 * The layer with its state is nn/batch-norm.ts; the maths is derived in docs/batch-norm.md.
 */
import type { ChannelLayout, RunningUpdate } from "../backend/backend.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save, saveValues } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import {
  channelLayout,
  checkEps,
  checkResidual,
  checkValuesPerChannel,
  checkVectors,
  rejectMissing,
} from "./batch-norm-checks.ts";
import { checkFloating } from "./check.ts";
import * as raw from "./raw.ts";

/** Weights, the statistics to normalise with, and what is done in the same pass. */
export interface BatchNormOptions {
  /** (C), or null for 1. Default null. */
  readonly weight?: Tensor | null;
  /** (C), or null for 0. Default null. */
  readonly bias?: Tensor | null;
  /** Normalise with the statistics of x, and move the running ones if they are given. Default false. */
  readonly training?: boolean;
  /** Weight of the new observation in the running statistics; null for the cumulative average over `batches`. Default 0.1. */
  readonly momentum?: number | null;
  /** Added to the variance, inside the root. Above 0 in training, at least 0 otherwise. Default 1e-5. */
  readonly eps?: number;
  /** Added to the normalised value before ReLU, in the same pass. Shape of x. Default null: nothing. */
  readonly residual?: Tensor | null;
  /** Apply ReLU in the same pass. Default false. */
  readonly relu?: boolean;
  /** Calls so far including this one; must be given when momentum is null. */
  readonly batches?: number;
  /**
   * (3) int32, [0, -1, 0] at first: with it a batch with non-finite statistics leaves the running ones alone. Holds how many there were,
   * and channel and `batches` of the first. Default null.
   */
  readonly skipped?: Tensor | null;
}

/**
 * Normalises each channel of x, then applies weight and bias.
 *
 * y = (x - mean) / sqrt(variance + eps) * weight + bias
 *
 * In training, mean and (biased) variance are those of x over every axis but 1, gradients flow through them, and
 * running <- (1 - momentum) * running + momentum * observed, with the unbiased variance. Otherwise they are the running ones.
 * Unlike PyTorch: running statistics are captured by value, so that what happens to the buffers later cannot change this graph.
 *
 * Shapes: x (N, C, ...), runningMean and runningVar (C) or null, weight and bias (C) or null; returns like x.
 * Numerics: statistics are accumulated in double precision around a shift, never as E[x^2] - E[x]^2, of float16 too.
 * Throws: ShapeError for a rank below 2, one value per channel in training, vectors that have not C elements, or a residual unlike x;
 * ArgumentError for eps, missing or half-missing running statistics; DTypeError for integers, and for vectors that are not all of x's dtype
 * or, beside float16 x, all float32; AutogradError if running statistics require grad.
 * Source: PyTorch functional.batch_norm; Ioffe and Szegedy 2015, arXiv:1502.03167.
 *
 * @example
 * nn.functional.batchNorm(x, runningMean, runningVar, { weight, bias, training: true });
 */
export function batchNorm(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormOptions = {},
): Tensor {
  const { weight = null, bias = null, residual = null, training = false } = options;
  checkFloating("batchNorm", x);
  if (training) checkValuesPerChannel(x.shape);
  checkEps(options.eps ?? 1e-5, training);
  const inputs = [x, weight, bias, residual];
  if (x.size === 0) return emptyResult(x, inputs);
  channelLayout(x.shape);
  const vectors = { runningMean, runningVar, weight, bias };
  checkVectors("batchNorm", x, { vectors, training });
  checkResidual(x, residual);
  return normalizeChannels(x, runningMean, runningVar, options);
}

/**
 * `batchNorm` without its checks, for operations that see other axes as batch and channels and have rules of their own. `op` names it
 * in graphs. Any eps is taken, and one value per channel gives the bias.
 */
export function normalizeChannels(
  x: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormOptions & { readonly op?: string },
): Tensor {
  const { weight = null, bias = null, residual = null, training = false } = options;
  const { eps = 1e-5, relu = false, op = "batchNorm" } = options;
  const inputs = [x, weight, bias, residual];
  const layout = channelLayout(x.shape);
  const backend = backendFor(x);
  const update = training ? runningUpdate(runningMean, runningVar, options) : null;
  const { mean, variance } = training
    ? emptyStatistics(x, layout)
    : capturedStatistics(runningMean, runningVar);
  const y = allocate(backend, x.shape, x.dtype);
  const operands = [
    operandOf(x),
    operandOf(mean),
    operandOf(variance),
    weight && operandOf(weight),
    bias && operandOf(bias),
    operandOf(y),
  ] as const;
  const { N, C, S } = layout;
  const applied = { N, C, S, eps, relu, residual: residual && operandOf(residual) };
  if (training) backend.batchNormTrain(...operands, update, applied);
  else backend.batchNormApply(...operands, applied);
  // Where ReLU let through is found again from x, unless a residual was added, or y rounded further than the kernel knows.
  const repeatsRelu = relu && residual === null && x.dtype !== "float16";
  record(op, inputs, y, () => {
    const saved = {
      x: save(x, "input"),
      mean: saveValues(mean, "mean"),
      variance: saveValues(variance, "variance"),
      weight: weight && save(weight, "weight"),
      bias: repeatsRelu && bias ? save(bias, "bias") : null,
      reluOutput: relu && !repeatsRelu ? save(y, "output") : null,
    };
    return {
      saved: Object.values(saved).filter((tensor) => tensor !== null),
      rule: (dy, [wantsX, wantsWeight, wantsBias, wantsResidual]) => {
        const vector = () => allocate(backend, [C], (weight ?? bias ?? dy).dtype);
        const dx = wantsX ? allocate(backend, dy.shape, dy.dtype) : null;
        const dWeight = wantsWeight ? vector() : null;
        const dBias = wantsBias ? vector() : null;
        const dResidual = wantsResidual && relu ? allocate(backend, dy.shape, dy.dtype) : null;
        backend.batchNormGrad(
          operandOf(dy),
          saved.x.operand(),
          saved.mean.operand(),
          saved.variance.operand(),
          saved.weight?.operand() ?? null,
          saved.bias?.operand() ?? null,
          saved.reluOutput?.operand() ?? null,
          {
            dx: dx && operandOf(dx),
            dWeight: dWeight && operandOf(dWeight),
            dBias: dBias && operandOf(dBias),
            dResidual: dResidual && operandOf(dResidual),
          },
          { N, C, S, eps, relu, batchStatistics: training },
        );
        // Without ReLU the residual's gradient is dy itself.
        return [dx, dWeight, dBias, wantsResidual ? (dResidual ?? dy) : null];
      },
    };
  });
  mean.dispose();
  variance.dispose();
  return y;
}

/** For mean and biased variance of x itself. */
function emptyStatistics(x: Tensor, { C }: ChannelLayout) {
  const backend = backendFor(x);
  const vector = () => allocate(backend, [C], backend.statisticsDType);
  return { mean: vector(), variance: vector() };
}

/** Copies of the running statistics, so that this graph does not see later writes to them. */
function capturedStatistics(runningMean: Tensor | null, runningVar: Tensor | null) {
  if (runningMean === null) return rejectMissing("batchNorm", "runningMean");
  if (runningVar === null) return rejectMissing("batchNorm", "runningVar");
  const dtype = backendFor(runningMean).statisticsDType;
  return { mean: raw.cast(runningMean, dtype), variance: raw.cast(runningVar, dtype) };
}

function runningUpdate(
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  { momentum = 0.1, batches, skipped = null }: BatchNormOptions,
): RunningUpdate | null {
  if (runningMean === null || runningVar === null) return null;
  if (momentum !== null && typeof momentum !== "number") {
    throw new TypeError(`batchNorm: expected momentum to be a number or null, got ${momentum}`);
  }
  if (momentum === null && batches === undefined) {
    throw new ArgumentError({
      op: "batchNorm",
      expected: "batches, the count of calls, beside momentum null",
      actual: "undefined",
    });
  }
  runningMean.holding.storage.markWritten("batchNorm");
  runningVar.holding.storage.markWritten("batchNorm");
  return {
    runningMean: operandOf(runningMean),
    runningVar: operandOf(runningVar),
    momentum,
    batches: batches ?? 0,
    skipped: skipped && operandOf(skipped),
  };
}

/** An empty result that stays in the graph: parameters get gradients of zeros, statistics are untouched, sizes unchecked. */
function emptyResult(x: Tensor, inputs: readonly (Tensor | null)[]): Tensor {
  const [, weight, bias] = inputs;
  if (x.shape.length > 1 && x.shape[1] === 0 && (weight?.size === 0 || bias?.size === 0)) {
    throw new ShapeError({
      op: "batchNorm",
      expected: "at least one channel when there is a weight or bias",
      actual: formatShape(x.shape),
    });
  }
  const kinds = inputs.map((input) => input && { shape: input.shape, dtype: input.dtype });
  return record("batchNorm", inputs, allocate(backendFor(x), x.shape, x.dtype), () => ({
    saved: [],
    rule: (dy) => kinds.map((kind) => kind && raw.zerosLike(kind, dy)),
  }));
}

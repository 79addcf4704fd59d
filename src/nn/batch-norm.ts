/**
 * BatchNorm1d, 2d and 3d: the state around `ops/batch-norm.ts`. What a forward does with that state is decided in `batch-norm-decision.ts`,
 * at each call anew, from `training`, `trackRunningStats`, which buffers exist and what is frozen.
 */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { batchNorm } from "../ops/batch-norm.ts";
import { checkTensor } from "../ops/check.ts";
import { ones, zeros } from "../tensor/create.ts";
import { asInFirstRun, isRecomputing } from "../tensor/recompute.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  checkBatchesPerUpdate,
  dropPool,
  isPooling,
  type Pool,
  pool,
  poolBatch,
} from "./accumulate.ts";
import {
  averagingOf,
  decide,
  type Freeze,
  type Frozen,
  freeze,
  frozenParts,
  keepDecision,
} from "./batch-norm-decision.ts";
import { type Epilogue, forwardWith } from "./epilogue.ts";
import { internals } from "./internals.ts";
import { Module } from "./module.ts";
import {
  type OnNonFinite,
  policies,
  recordFor,
  type SkippedBatches,
  settle,
  skipRecord,
} from "./non-finite.ts";
import { Parameter } from "./parameter.ts";
import { formatPython } from "./repr.ts";
import { missingCounter, refill, resetStatistics } from "./running-statistics.ts";
import { checkNumber } from "./slot.ts";

/** What a batch norm layer learns and remembers. */
export interface BatchNormLayerOptions {
  /** Added to the variance, inside the root. Default 1e-5. */
  readonly eps?: number;
  /** Weight of the new observation in the running statistics; null keeps the plain average of all batches. Default 0.1. */
  readonly momentum?: number | null;
  /** Learn a weight and a bias. Default true. */
  readonly affine?: boolean;
  /** With `affine`, learn a bias too. Default true. */
  readonly bias?: boolean;
  /** Keep running statistics. Without them every forward uses its own batch, in evaluation too. Default true. */
  readonly trackRunningStats?: boolean;
  /**
   * What NaN and infinity in a batch do: "propagate" lets them into the running statistics for good; "skip" leaves statistics and
   * counter alone and reports the first time; "throw" leaves them alone and throws ArgumentError. Default "propagate".
   *
   * Unlike PyTorch: it only has the default.
   */
  readonly onNonFinite?: OnNonFinite;
  /**
   * Forwards in training that move the running statistics together, once: toward the mean and unbiased variance of all their values, as one
   * large batch would. Each still normalises with its own batch. The counter counts updates. Default 1.
   * Cost: above 1 a forward makes x - shift and reads it once, a little over twice the time on the CPU.
   * Unlike PyTorch: it only has the default.
   */
  readonly batchesPerUpdate?: number;
}

/** Marks the layers of this file for every copy of the package: in the registry of symbols, which all copies share. */
const brand = Symbol.for("evenkeel.BatchNorm");

abstract class BatchNorm extends Module {
  /** @internal */
  get [brand](): true {
    return true;
  }

  /** For information: forward compares sizes of tensors, never this. */
  numFeatures: number;
  /** Added to the variance, inside the root. */
  eps: number;
  /** Weight of the new observation; null for the plain average. Read by every forward in training. */
  momentum: number | null;
  /** Whether it was made with a weight. */
  affine: boolean;
  /** Whether forward in training moves the running statistics, and in evaluation uses them. */
  trackRunningStats: boolean;
  /** What NaN and infinity in a batch do to the running statistics. */
  onNonFinite: OnNonFinite;
  /**
   * Forwards in training that move the running statistics together. A change holds from the next forward, which ends a cycle that has
   * enough. Evaluation leaves an incomplete cycle as it is; files do not hold it: `nn.flushBatchNorm` ends it.
   */
  batchesPerUpdate: number;
  /** Null until a batch was skipped. */
  skippedBatches: SkippedBatches | null = null;
  /** (C), or null for 1. */
  declare weight: Parameter | null;
  /** (C), or null for 0. */
  declare bias: Parameter | null;
  /** (C); without it, and runningVar, every forward uses its own batch. */
  declare runningMean: Tensor | null;
  /** (C): the unbiased variance. */
  declare runningVar: Tensor | null;
  /** Updates of the running statistics so far: one per forward in training, or per `batchesPerUpdate`; skipped batches not counted. */
  declare numBatchesTracked: number | null;
  /** @internal What the forwards since the last update pooled. */
  [pool]: Pool | null = null;
  /** @internal The device's record of skipped batches; see `RunningUpdate`. */
  [skipRecord]: Tensor | null = null;
  /** @internal What `freezeBatchNorm` holds still. */
  [freeze]: Freeze | null = null;

  /** Ranks that forward takes, for its error. */
  protected abstract readonly ranks: readonly number[];

  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super();
    const { eps = 1e-5, momentum = 0.1, affine = true, bias = true } = options;
    const { trackRunningStats = true, onNonFinite = "propagate" } = options;
    if (!Number.isInteger(numFeatures) || numFeatures < 0) {
      throw new ArgumentError({
        op: this.kind,
        expected: "numFeatures to be an integer >= 0",
        actual: String(numFeatures),
      });
    }
    if (momentum !== null) checkNumber(this.kind, "momentum to be a number or null", momentum);
    checkNumber(this.kind, "eps to be a number", eps);
    if (!policies.includes(onNonFinite)) {
      throw new ArgumentError({
        op: this.kind,
        expected: `onNonFinite to be one of ${policies.join(", ")}`,
        actual: String(onNonFinite),
      });
    }
    this.numFeatures = numFeatures;
    this.eps = eps;
    this.momentum = momentum;
    this.affine = affine;
    this.trackRunningStats = trackRunningStats;
    this.onNonFinite = onNonFinite;
    this.batchesPerUpdate = checkBatchesPerUpdate(this.kind, options.batchesPerUpdate ?? 1);
    const shape = [numFeatures];
    this.registerParameter("weight", affine ? new Parameter(ones(shape)) : null);
    this.registerParameter("bias", affine && bias ? new Parameter(zeros(shape)) : null);
    this.registerBuffer("runningMean", trackRunningStats ? zeros(shape) : null);
    this.registerBuffer("runningVar", trackRunningStats ? ones(shape) : null);
    this.registerCounter("numBatchesTracked", trackRunningStats ? 0 : null);
  }

  /** What `nn.freezeBatchNorm` holds still, whatever `train`, `eval` and `setRequiresGrad` say; `nn.unfreezeBatchNorm` ends it. */
  get frozen(): NonNullable<Frozen> {
    return frozenParts(this);
  }

  /**
   * Normalises x by the statistics of its own batch in training, by the running ones in evaluation or when these are frozen. In training it
   * also moves those that are not, under `noGrad` too, and when no parameter requires grad; the second run of a forward inside
   * `nn.recompute` does not.
   *
   * Shapes: x (N, C, ...) of the layer's rank; returns like x.
   * Throws: ShapeError for another rank; otherwise as `nn.functional.batchNorm`. The counter has moved already when it throws.
   */
  forward(x: Tensor): Tensor {
    return this[forwardWith](x, {});
  }

  /** @internal */
  [forwardWith](x: Tensor, epilogue: Epilogue): Tensor {
    checkRank(this.kind, this.ranks, x);
    const decision = asInFirstRun(this[internals], decide(this), keepDecision);
    const { usesBatch, learns } = decision;
    const moves = decision.isTracking && !isRecomputing();
    const pools = moves && isPooling(this);
    const isTracking = moves && !pools;
    const { runningMean, runningVar } = pools ? nothing : decision;
    if (isTracking && this.numBatchesTracked !== null) this.numBatchesTracked += 1;
    const skipped = isTracking && runningMean !== null ? recordFor(this, runningMean) : null;
    const weight = learns ? this.weight : constant(this.weight);
    const bias = learns ? this.bias : constant(this.bias);
    const { residual = null, relu = false } = epilogue;
    const { momentum, batches } = averagingOf(this);
    // Not spread: that is several times slower, and this runs for every layer.
    const y = batchNorm(x, runningMean, runningVar, {
      weight,
      bias,
      eps: this.eps,
      training: usesBatch,
      momentum,
      batches,
      skipped,
      residual,
      relu,
    });
    if (skipped !== null) settle(this, skipped);
    if (pools) poolBatch(this, x);
    return y;
  }

  /** Statistics back to mean 0, variance 1, no batches, no incomplete cycle. Does nothing while `trackRunningStats` is false. */
  resetRunningStats(): void {
    if (!this.trackRunningStats) return;
    resetStatistics(this);
    dropPool(this);
  }

  /** Statistics as `resetRunningStats`; weight 1, bias 0. */
  resetParameters(): void {
    this.resetRunningStats();
    if (!this.affine) return;
    if (this.weight === null) {
      throw new ArgumentError({
        op: `${this.kind}.resetParameters`,
        expected: "a weight, since affine is true",
        actual: "null",
      });
    }
    refill(this.weight, 1, "resetParameters");
    if (this.bias !== null) refill(this.bias, 0, "resetParameters");
  }

  protected override get stateVersion(): number {
    return 2;
  }

  /** @internal */
  override missingState(name: string, version: number | null): number | null {
    return missingCounter(this, name, version);
  }

  override extraRepr(): string {
    const { eps, momentum, affine, trackRunningStats } = this;
    // PyTorch names the bias only since it can be left out; here it is named when it is.
    const bias = affine && this.bias === null ? { bias: false } : {};
    const frozen = this.frozen === "no" ? {} : { frozen: this.frozen };
    return formatPython([this.numFeatures], {
      ...{ eps, momentum, affine, ...bias, track_running_stats: trackRunningStats, ...frozen },
    });
  }
}

function checkRank(kind: string, ranks: readonly number[], x: Tensor): void {
  checkTensor(kind, x);
  const rank = x.shape.length;
  if (ranks.includes(rank)) return;
  throw new ShapeError({
    op: kind,
    expected: `x with ${ranks.join(" or ")} axes (N, C, ...)`,
    actual: `${rank} axes, shape ${formatShape(x.shape)}`,
  });
}

/** For a forward whose statistics wait for others of its cycle. */
const nothing = { runningMean: null, runningVar: null };

/** A frozen parameter, which gets no gradient even if someone made it require one. */
function constant(parameter: Parameter | null): Tensor | null {
  return parameter?.requiresGrad ? parameter.detach() : parameter;
}

/** Batch normalization of (N, C) or (N, C, L). See `nn.functional.batchNorm`. */
export class BatchNorm1d extends BatchNorm {
  static override readonly kind: string = "BatchNorm1d";
  protected get ranks(): readonly number[] {
    return [2, 3];
  }
}

/** Batch normalization of (N, C, H, W). See `nn.functional.batchNorm`. */
export class BatchNorm2d extends BatchNorm {
  static override readonly kind: string = "BatchNorm2d";
  protected get ranks(): readonly number[] {
    return [4];
  }
}

/** Batch normalization of (N, C, D, H, W). See `nn.functional.batchNorm`. */
export class BatchNorm3d extends BatchNorm {
  static override readonly kind: string = "BatchNorm3d";
  protected get ranks(): readonly number[] {
    return [5];
  }
}

/** Any of BatchNorm1d, 2d and 3d. */
export type AnyBatchNorm = BatchNorm1d | BatchNorm2d | BatchNorm3d;

/**
 * Whether a module is a BatchNorm1d, 2d or 3d, lazy or not, or of a class that extends one: also from another copy of this package,
 * also in a minified build.
 */
export function isBatchNorm(module: unknown): module is AnyBatchNorm {
  return typeof module === "function" && brand in module;
}

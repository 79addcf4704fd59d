/** InstanceNorm1d, 2d and 3d. Their flags mean something else than batch norm's: see `forward`. */
import { ArgumentError, ShapeError, StateDictError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { checkTensor } from "../ops/check.ts";
import { instanceNorm } from "../ops/normalization.ts";
import { reshape } from "../ops/view.ts";
import { ones, zeros } from "../tensor/create.ts";
import { asInFirstRun, isRecomputing } from "../tensor/recompute.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { internals } from "./internals.ts";
import type { LoadPlace, SourceKeys } from "./load-state.ts";
import { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";
import { formatPython } from "./repr.ts";
import { missingCounter, refill, resetStatistics } from "./running-statistics.ts";
import { checkNumber } from "./slot.ts";
import { join } from "./tree.ts";

/** What an instance norm layer learns and remembers. */
export interface InstanceNormLayerOptions {
  /** Added to the variance, inside the root. Default 1e-5. */
  readonly eps?: number;
  /** Weight of the new observation in the running statistics; null for 0, which never moves them. Default 0.1. */
  readonly momentum?: number | null;
  /** Learn a weight and a bias per channel. Default false. */
  readonly affine?: boolean;
  /** With `affine`, learn a bias too. Default true. */
  readonly bias?: boolean;
  /** Keep running statistics, and normalise with them in evaluation. Default false. */
  readonly trackRunningStats?: boolean;
}

abstract class InstanceNorm extends Module {
  /** Channels of x; forward compares it when there is a weight. */
  readonly numFeatures: number;
  /** Added to the variance, inside the root. */
  eps: number;
  /** Weight of the new observation; null for 0. Read by every forward that uses the statistics of x. */
  momentum: number | null;
  /** Whether it was made with a weight. */
  readonly affine: boolean;
  /** Whether evaluation normalises with the running statistics instead of those of x. */
  trackRunningStats: boolean;
  /** (C), or null for 1. */
  declare weight: Parameter | null;
  /** (C), or null for 0. */
  declare bias: Parameter | null;
  /** (C), or null. */
  declare runningMean: Tensor | null;
  /** (C), or null: the unbiased variance. */
  declare runningVar: Tensor | null;
  /** Part of the state as in PyTorch, where nothing moves it either. */
  declare numBatchesTracked: number | null;

  /** Axes of x with its batch. */
  protected abstract readonly rank: number;

  constructor(numFeatures: number, options: InstanceNormLayerOptions = {}) {
    super();
    const { eps = 1e-5, momentum = 0.1, affine = false, bias = true } = options;
    const { trackRunningStats = false } = options;
    if (!Number.isInteger(numFeatures) || numFeatures < 0) {
      throw new ArgumentError({
        op: this.kind,
        expected: "numFeatures to be an integer >= 0",
        actual: String(numFeatures),
      });
    }
    if (momentum !== null) checkNumber(this.kind, "momentum to be a number or null", momentum);
    checkNumber(this.kind, "eps to be a number", eps);
    this.numFeatures = numFeatures;
    this.eps = eps;
    this.momentum = momentum;
    this.affine = affine;
    this.trackRunningStats = trackRunningStats;
    const shape = [numFeatures];
    this.registerParameter("weight", affine ? new Parameter(ones(shape)) : null);
    this.registerParameter("bias", affine && bias ? new Parameter(zeros(shape)) : null);
    this.registerBuffer("runningMean", trackRunningStats ? zeros(shape) : null);
    this.registerBuffer("runningVar", trackRunningStats ? ones(shape) : null);
    this.registerCounter("numBatchesTracked", trackRunningStats ? 0 : null);
    this[internals].loadHooks.set("instanceNorm", refuseOldStatistics);
  }

  /**
   * Normalises each channel of each sample: by its own statistics in training and wherever `trackRunningStats` is false, by the running
   * ones otherwise. Own statistics move the running ones if there are any, in evaluation and under `noGrad` too: so a layer whose flag is
   * switched off later goes on moving them. The second run of a forward inside `nn.recompute` does not.
   *
   * Shapes: x (N, C, ...) of the layer's rank, or (C, ...) for one sample; returns like x.
   * Throws: ShapeError for another rank, and, with a weight, for other channels than `numFeatures`; otherwise as `nn.functional.instanceNorm`.
   * Unlike PyTorch: other channels without a weight or statistics are accepted in silence, where PyTorch warns.
   */
  forward(x: Tensor): Tensor {
    checkTensor(this.kind, x);
    const { rank, numFeatures, affine } = this;
    const isSample = x.shape.length === rank - 1;
    if (!isSample && x.shape.length !== rank) rejectRank(this.kind, rank, x);
    const batch = isSample ? reshape(x, [1, ...x.shape]) : x;
    if (affine && batch.shape[1] !== numFeatures) {
      throw new ShapeError({
        op: this.kind,
        expected: `x with ${numFeatures} channels on axis ${isSample ? 0 : 1}`,
        actual: formatShape(x.shape),
      });
    }
    const { weight, bias, eps, momentum } = this;
    const useInputStats = this.training || !this.trackRunningStats;
    const { runningMean, runningVar } = statisticsOf(this, useInputStats);
    const y = instanceNorm(batch, runningMean, runningVar, {
      ...{ weight, bias, eps, useInputStats, momentum: momentum ?? 0 },
    });
    return isSample ? reshape(y, x.shape) : y;
  }

  /** Statistics back to mean 0, variance 1. Does nothing while `trackRunningStats` is false. */
  resetRunningStats(): void {
    if (!this.trackRunningStats) return;
    resetStatistics(this);
  }

  /** Statistics as `resetRunningStats`; weight 1, bias 0. */
  resetParameters(): void {
    this.resetRunningStats();
    if (this.weight !== null) refill(this.weight, 1, "resetParameters");
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
    const { numFeatures, eps, momentum, affine, trackRunningStats } = this;
    const bias = this.bias !== null;
    return formatPython([numFeatures], {
      ...{ eps, momentum, affine, bias, track_running_stats: trackRunningStats },
    });
  }
}

function rejectRank(kind: string, rank: number, x: Tensor): never {
  throw new ShapeError({
    op: kind,
    expected: `x with ${rank} axes (N, C, ...), or ${rank - 1} without the batch`,
    actual: `${x.shape.length} axes, shape ${formatShape(x.shape)}`,
  });
}

/** The statistics that a forward moves, or those it reads; a second run moves none and reads what the first one read. */
function statisticsOf(layer: InstanceNorm, useInputStats: boolean) {
  const { runningMean, runningVar } = layer;
  if (useInputStats) {
    return isRecomputing() ? { runningMean: null, runningVar: null } : { runningMean, runningVar };
  }
  const copy = (buffer: Tensor | null) => buffer?.clone().keep() ?? null;
  return asInFirstRun(layer[internals], { runningMean, runningVar }, (live) => ({
    runningMean: copy(live.runningMean),
    runningVar: copy(live.runningVar),
  }));
}

/**
 * A layer without running statistics refuses those of a dictionary without a version, strict or not: before PyTorch 0.4 instance norm always
 * kept them, so such a file comes from a model that evaluated with them.
 */
function refuseOldStatistics(module: Module, keys: SourceKeys, { path, version }: LoadPlace): void {
  if (version !== null || !(module instanceof InstanceNorm) || module.trackRunningStats) return;
  const statistics = ["running_mean", "running_var"].map((name) => join(path, name));
  const found = statistics.filter((key) => keys.has(key));
  if (found.length === 0) return;
  throw new StateDictError({
    op: "loadStateDict",
    expected: `no running statistics for a ${module.kind} whose trackRunningStats is false`,
    actual: found.join(" and "),
    hint: "make the layer with trackRunningStats: true to use them, or remove them from the state dict",
  });
}

/** Instance normalization of (N, C, L) or (C, L). See `nn.functional.instanceNorm`. */
export class InstanceNorm1d extends InstanceNorm {
  static override readonly kind: string = "InstanceNorm1d";
  protected get rank(): number {
    return 3;
  }
}

/** Instance normalization of (N, C, H, W) or (C, H, W). See `nn.functional.instanceNorm`. */
export class InstanceNorm2d extends InstanceNorm {
  static override readonly kind: string = "InstanceNorm2d";
  protected get rank(): number {
    return 4;
  }
}

/** Instance normalization of (N, C, D, H, W) or (C, D, H, W). See `nn.functional.instanceNorm`. */
export class InstanceNorm3d extends InstanceNorm {
  static override readonly kind: string = "InstanceNorm3d";
  protected get rank(): number {
    return 5;
  }
}

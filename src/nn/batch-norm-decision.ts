/**
 * What a forward of a batch norm layer does with its state: one decision, which `forward` follows and of which `freezePlan` and
 * `summary` tell. docs/batch-norm.md has it as a truth table.
 */
import type { Tensor } from "../tensor/tensor.ts";
import type { Parameter } from "./parameter.ts";

/**
 * What further training would leave alone: "no" nothing; "yes" everything the module has; "weights only" while its running
 * statistics move on; "statistics only" while its parameters learn; null for a module without state of its own.
 */
export type Frozen = "no" | "yes" | "weights only" | "statistics only" | null;

/** Whether weight and bias required grad before they were frozen; null where there was none. */
export interface LearnedBefore {
  readonly weight: boolean | null;
  readonly bias: boolean | null;
}

/** What `freezeBatchNorm` holds still in a layer. A plain object, so that `clone` copies it. */
export interface Freeze {
  readonly stats: boolean;
  /** Null while weight and bias are not frozen. */
  readonly affine: LearnedBefore | null;
}

/** In the registry of symbols: a layer of another copy of the package is frozen, too. */
export const freeze: unique symbol = Symbol.for("evenkeel.freeze");

/** What of a layer the decision depends on. */
export interface NormalizationState {
  readonly training: boolean;
  readonly trackRunningStats: boolean;
  readonly momentum: number | null;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
  readonly numBatchesTracked: number | null;
  readonly [freeze]?: Freeze | null;
}

/** What one forward does. */
export interface Decision {
  /** Normalise with the statistics of the batch; otherwise with the running ones. */
  readonly usesBatch: boolean;
  /** Count the batch, and move the running statistics. */
  readonly isTracking: boolean;
  /** Give gradients to weight and bias, if these want any. */
  readonly learns: boolean;
  /** What to normalise with or to move. */
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
}

/** Whether `freezeBatchNorm` holds the running statistics of a layer: they normalise in every mode, and nothing moves them. */
export function hasFrozenStatistics(layer: { readonly [freeze]?: Freeze | null }): boolean {
  return layer[freeze]?.stats ?? false;
}

/** What `freezeBatchNorm` holds of a layer. */
export function frozenParts(layer: { readonly [freeze]?: Freeze | null }): NonNullable<Frozen> {
  const { stats = false, affine = null } = layer[freeze] ?? {};
  if (stats) return affine === null ? "statistics only" : "yes";
  return affine === null ? "no" : "weights only";
}

/** What a forward in this mode does. Frozen statistics that were set to null are missed rather than replaced by the batch's. */
export function decide(layer: NormalizationState, training = layer.training): Decision {
  const { runningMean, runningVar, trackRunningStats } = layer;
  const isFrozen = hasFrozenStatistics(layer);
  const hasBuffers = runningMean !== null || runningVar !== null;
  const usesBatch = !isFrozen && (training || !hasBuffers);
  const isTracking = !isFrozen && training && trackRunningStats;
  const needsBuffers = isTracking || !usesBatch;
  return {
    usesBatch,
    isTracking,
    learns: (layer[freeze]?.affine ?? null) === null,
    runningMean: needsBuffers ? runningMean : null,
    runningVar: needsBuffers ? runningVar : null,
  };
}

/** The decision with statistics that later changes do not reach, for the second run of `recompute`; that one moves nothing. */
export function keepDecision(decision: Decision): Decision {
  const { usesBatch, runningMean, runningVar } = decision;
  const copy = (buffer: Tensor | null) => (usesBatch ? null : (buffer?.clone().keep() ?? null));
  return { ...decision, runningMean: copy(runningMean), runningVar: copy(runningVar) };
}

/** How the running statistics average. Without a counter, the cumulative average cannot move: its weight is 0. */
export function averagingOf({ momentum, numBatchesTracked }: NormalizationState) {
  if (momentum === null && numBatchesTracked === null) return { momentum: 0, batches: 0 };
  return { momentum, batches: numBatchesTracked ?? 0 };
}

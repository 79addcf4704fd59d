/** What batch norm and instance norm have in common: a running mean and variance, with a counter beside them. */
import { ArgumentError } from "../core/errors.ts";
import { backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import type { Module } from "./module.ts";

/** A layer that may keep running statistics. */
interface Tracking extends Module {
  readonly trackRunningStats: boolean;
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
  numBatchesTracked: number | null;
}

/** Statistics back to mean 0, variance 1, no batches. Throws ArgumentError for buffers that were set to null. */
export function resetStatistics(layer: Tracking): void {
  const { runningMean, runningVar, numBatchesTracked } = layer;
  if (runningMean === null || runningVar === null || numBatchesTracked === null) {
    throw new ArgumentError({
      op: `${layer.kind}.resetRunningStats`,
      expected: "running statistics, since trackRunningStats is true",
      actual: "buffers set to null",
      hint: "set trackRunningStats = false for a layer without them",
    });
  }
  refill(runningMean, 0, "resetRunningStats");
  refill(runningVar, 1, "resetRunningStats");
  layer.numBatchesTracked = 0;
}

/** Layouts before version 2, and dictionaries without one, had no counter: the layer keeps its own. */
export function missingCounter(layer: Tracking, name: string, version: number | null) {
  const isOld = version === null || version < 2;
  if (name !== "numBatchesTracked" || !isOld || !layer.trackRunningStats) return null;
  return layer.numBatchesTracked;
}

/** One value everywhere, in place. Graphs that saved the tensor notice. */
export function refill(t: Tensor, value: number, writer: string): void {
  backendFor(t).fill(operandOf(t), value);
  t.holding.storage.markWritten(writer);
}

/** `onNonFinite`: keeping batches with NaN or infinity out of the running statistics, and saying so. */
import { ArgumentError } from "../core/errors.ts";
import { tensor } from "../tensor/create.ts";
import { backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { pathInCall } from "./call.ts";
import type { Module } from "./module.ts";

/** What a batch with a mean or variance that is not finite does to the running statistics. */
export type OnNonFinite = "propagate" | "skip" | "throw";

/** The first batch that `onNonFinite` kept out of the running statistics, and how many there were. */
export interface SkippedBatches {
  /** How many. */
  readonly count: number;
  /** Index of the first channel that was not finite in the first of them. */
  readonly firstChannel: number;
  /** Number of the forward call in training, from 1. */
  readonly firstBatch: number;
}

export const policies: readonly OnNonFinite[] = ["propagate", "skip", "throw"];

/** Under a symbol: neither state nor a user's business, but `clone` must find it. */
export const skipRecord: unique symbol = Symbol("skipped batches");

/** Nothing skipped, in the layout of `RunningUpdate.skipped`. */
const nothingSkipped = Int32Array.of(0, -1, 0);

/** A layer that watches its statistics. */
export interface Watching extends Module {
  readonly onNonFinite: OnNonFinite;
  skippedBatches: SkippedBatches | null;
  numBatchesTracked: number | null;
  [skipRecord]: Tensor | null;
}

/** The device's record for the next forward, made when first needed; null when everything may pass. */
export function recordFor(layer: Watching, runningMean: Tensor): Tensor | null {
  if (layer.onNonFinite === "propagate") return null;
  const { device } = runningMean;
  const present = layer[skipRecord];
  if (present !== null && present.device === device) return present;
  const made = tensor(nothingSkipped, { device }).keep();
  layer[skipRecord] = made;
  return made;
}

/** Takes skipped batches out of the counter. Devices that only read asynchronously keep the record themselves. */
export function settle(layer: Watching, skipped: Tensor): void {
  const backend = backendFor(skipped);
  if (!backend.readsSynchronously) return;
  const [count, firstChannel, firstBatch] = skipped.dataSync();
  if (count === 0) return;
  backend.write(operandOf(skipped), nothingSkipped);
  if (layer.numBatchesTracked !== null) layer.numBatchesTracked -= count;
  if (layer.onNonFinite === "throw") {
    throw new ArgumentError({
      op: layer.kind,
      expected: 'finite batch statistics (onNonFinite is "throw")',
      actual: `NaN or infinity in channel ${firstChannel} of ${pathInCall(layer)}, training batch ${firstBatch}`,
      hint: "the running statistics are untouched; look at the inputs of this batch",
    });
  }
  const before = layer.skippedBatches;
  layer.skippedBatches = before
    ? { ...before, count: before.count + count }
    : { count, firstChannel, firstBatch };
  if (before === null) report(layer, firstChannel, firstBatch);
}

function report(layer: Watching, channel: number, batch: number): void {
  globalThis.process?.emitWarning?.(
    `${pathInCall(layer)} met NaN or infinity in channel ${channel} at training batch ${batch}; ` +
      "its running statistics skip such batches (said once; see skippedBatches)",
    { type: "NonFiniteBatchWarning" },
  );
}

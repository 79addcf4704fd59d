import { ArgumentError } from "../core/errors.ts";
import { noGrad, scope } from "../tensor/scope.ts";
import { backendFor, operandOf, Tensor } from "../tensor/tensor.ts";
import { type AnyBatchNorm, isBatchNorm } from "./batch-norm.ts";
import { hasFrozenStatistics } from "./batch-norm-decision.ts";
import type { Module } from "./module.ts";

/** A model that takes one batch. */
export type BatchModel = Module & ((x: Tensor) => unknown);

/** Batches for `updateBatchNorm`: tensors, or arrays whose first item is one. */
export type Batches =
  | AsyncIterable<Tensor | readonly unknown[]>
  | Iterable<Tensor | readonly unknown[]>;

/** How a pass may be ended early. */
export interface UpdateBatchNormOptions {
  /** Ends the pass before the next batch; statistics are then those from before the call. Default: none. */
  readonly signal?: AbortSignal;
}

/**
 * Estimates all running statistics anew: resets them, passes every batch of `loader` through the model in training mode without
 * gradients, and averages the batches with equal weight. The repair for statistics that drifted, and the last step of weight averaging.
 *
 * Dropout is active meanwhile, as in PyTorch's swa_utils.update_bn. Layers whose statistics are frozen (`nn.freezeBatchNorm`) keep them. A
 * model without other batch norm leaves the loader unread.
 * Unlike PyTorch: every module gets back the mode it had, and every layer its momentum, also when a batch throws; the statistics are
 * then those from before the call.
 * Throws: ArgumentError if a batch holds no tensor; the signal's reason when it is aborted; whatever the loader or the model throws.
 *
 * @example
 * await nn.updateBatchNorm(model, loader);
 */
export async function updateBatchNorm(
  model: BatchModel,
  loader: Batches,
  { signal }: UpdateBatchNormOptions = {},
): Promise<void> {
  signal?.throwIfAborted();
  const layers = model
    .modules()
    .filter(isBatchNorm)
    .filter((layer) => !hasFrozenStatistics(layer));
  if (layers.length === 0) return;
  const modes = model.modules().map((module) => ({ module, training: module.training }));
  const before = layers.map(remember);
  try {
    for (const layer of layers) {
      layer.resetRunningStats();
      layer.momentum = null;
    }
    model.train();
    for await (const batch of loader) {
      const x = inputOf(batch);
      signal?.throwIfAborted();
      noGrad(() => scope(() => void model(x)));
    }
    signal?.throwIfAborted();
  } catch (error) {
    for (const state of before) state.restoreStatistics();
    throw error;
  } finally {
    for (const { module, training } of modes) module.training = training;
    for (const state of before) state.finish();
  }
}

/** What a layer has before the pass, and how to give it back. */
function remember(layer: AnyBatchNorm) {
  const { momentum, runningMean, runningVar, numBatchesTracked } = layer;
  const copies = [runningMean, runningVar].map((buffer) => buffer?.clone().keep() ?? null);
  return {
    restoreStatistics(): void {
      for (const [i, buffer] of [runningMean, runningVar].entries()) {
        const copy = copies[i];
        if (buffer === null || copy === null) continue;
        if (copy.size === buffer.size) {
          backendFor(buffer).copy(operandOf(copy), operandOf(buffer));
          buffer.holding.storage.markWritten("updateBatchNorm");
        } else layer.resetRunningStats(); // lazy before the pass: it had nothing to be given back, and is as new
      }
      layer.numBatchesTracked = numBatchesTracked;
    },
    finish(): void {
      layer.momentum = momentum;
      for (const copy of copies) copy?.dispose();
    },
  };
}

function inputOf(batch: Tensor | readonly unknown[]): Tensor {
  const first = Array.isArray(batch) ? batch[0] : batch;
  if (first instanceof Tensor) return first;
  throw new ArgumentError({
    op: "updateBatchNorm",
    expected: "batches that are tensors, or arrays that start with one",
    actual: typeof first,
  });
}

import { scope } from "../tensor/scope.ts";
import { moveByPool, pool } from "./accumulate.ts";
import { isBatchNorm } from "./batch-norm.ts";
import type { Module } from "./module.ts";

/**
 * Ends the incomplete cycles of all layers with `batchesPerUpdate` below `model`: their running statistics move once, by the batches that
 * came since the last update. Call it before saving or at the end of an epoch whose batches are no multiple of it. Returns how many layers
 * moved.
 *
 * @example
 * nn.flushBatchNorm(model);
 */
export function flushBatchNorm(model: Module): number {
  const pending = model
    .modules()
    .filter(isBatchNorm)
    .filter((layer) => layer[pool] !== null);
  for (const layer of pending) scope(() => moveByPool(layer));
  return pending.length;
}

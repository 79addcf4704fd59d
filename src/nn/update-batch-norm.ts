import {
  type Batches,
  type BatchModel,
  type Estimator,
  recalibrate,
  type UpdateBatchNormOptions,
} from "./recalibrate.ts";
import type { Recalibration } from "./recalibration.ts";

/**
 * Estimates all running statistics anew: resets them, passes every batch of `loader` through the model in training mode without
 * gradients, and averages the batches with equal weight. The repair for statistics that drifted, and the last step of weight averaging.
 * Returns how far each layer moved.
 *
 * Dropout is active meanwhile, as in PyTorch's swa_utils.update_bn, unless `dropout` is false. Layers in evaluation mode are estimated,
 * too; those with frozen statistics are left alone. Without any layer to estimate the loader stays unread.
 * Unlike PyTorch: every module gets back the mode it had, and every layer its momentum, also when a batch throws; the statistics are
 * then those from before the call. So are those of a layer that no batch reached, which PyTorch leaves reset.
 * Throws: ArgumentError if there is no batch, or if one holds no tensor; the signal's reason when it is aborted; whatever the loader or
 * the model throws.
 * Unlike PyTorch: an empty loader is an error, not statistics of 0 and 1.
 *
 * @example
 * console.log(String(await nn.updateBatchNorm(model, loader)));
 */
export function updateBatchNorm(
  model: BatchModel,
  loader: Batches,
  options: UpdateBatchNormOptions = {},
): Promise<Recalibration> {
  return recalibrate(averageOfBatches, model, loader, options);
}

/** The layers' own cumulative average. */
const averageOfBatches: Estimator = {
  op: "updateBatchNorm",
  most: Number.POSITIVE_INFINITY,
  begin(layer) {
    layer.momentum = null;
  },
  observe() {},
  async gather() {},
  finish() {},
};

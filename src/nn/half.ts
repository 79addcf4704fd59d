/** Models in half precision. */
import { isBatchNorm } from "./batch-norm.ts";
import { internals } from "./internals.ts";
import type { Module } from "./module.ts";
import { moveOwnState } from "./move.ts";

/**
 * Puts a model in float16 except its batch norm layers, whose parameters and statistics are float32, and lets it convert floating inputs
 * to float16 itself. Works in place, keeps every key of the state dict, every tensor's identity and every hook, and again does nothing;
 * returns the model, whose printed tree then says "inputs to float16". `model.float()` undoes it, `model.half()` takes batch norm along.
 *
 * Batch norm is what `isBatchNorm` says; other normalizations become float16, as does everything else. Outputs are float16.
 * Numerics: gradients below 3e-8 are 0 in float16: multiply the loss by a constant and divide the gradients by it before the step.
 * Unlike PyTorch: apex wraps the model, which puts "1." before its keys, and leaves batch norm without weights in float16.
 * Source: apex fp16_utils.network_to_half.
 *
 * @example
 * const model = nn.networkToHalf(models.resnet18());
 */
export function networkToHalf<M extends Module>(model: M): M {
  for (const module of model.modules()) {
    moveOwnState(module, isBatchNorm(module) ? "float32" : "float16");
  }
  for (const module of model.modules()) module[internals].inputDType = null;
  model[internals].inputDType = "float16";
  return model;
}

/** Starting values as torchvision draws them, over those that the layers drew by themselves. */
import type { BatchNorm2d } from "../nn/batch-norm.ts";
import { Conv2d } from "../nn/conv.ts";
import { constant, kaimingNormal, normal, zeros } from "../nn/init.ts";
import { Linear } from "../nn/linear.ts";
import type { Module } from "../nn/module.ts";

/** Convolutions normal with variance 2 / fanOut and bias 0. Batch norm has its 1 and 0 already. */
export function initConvolutions(model: Module): void {
  for (const module of model.modules()) {
    if (!(module instanceof Conv2d)) continue;
    kaimingNormal(module.weight, { mode: "fanOut", nonlinearity: "relu" });
    if (module.bias !== null) zeros(module.bias);
  }
}

/** Linear layers normal with std 0.01 and bias 0. */
export function initLinear(model: Module): void {
  for (const module of model.modules()) {
    if (!(module instanceof Linear)) continue;
    normal(module.weight, 0, 0.01);
    if (module.bias !== null) zeros(module.bias);
  }
}

/** Makes a batch norm layer give zeros until its weight has learned otherwise. */
export function zeroWeight({ weight }: BatchNorm2d): void {
  if (weight !== null) constant(weight, 0);
}

/** An input for a model that nobody gave one for: from the channels of its first layer. */
import { defaultGenerator } from "../core/random.ts";
import { randn } from "../tensor/create.ts";
import { noGrad, scope } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { ConvLayer } from "./conv-layer.ts";
import { Linear } from "./linear.ts";
import type { Module } from "./module.ts";

/** Sizes of planes that models are made for, the likeliest first. */
const sizes = [64, 224, 32, 28, 299, 16, 8];

/** Normal random numbers in a shape that the model's forward takes, or null if none of the guesses is one. */
export function guessInput(model: Module): Tensor | null {
  const state = defaultGenerator.state();
  try {
    for (const shape of shapesFor(model)) {
      const { device, dtype } = model.parameters()[0];
      const x = randn(shape).to(device).to(dtype);
      if (runs(model, x)) return x;
      x.dispose();
    }
    return null;
  } finally {
    defaultGenerator.restore(state);
  }
}

/** Batches of two for the first layer that has channels. */
function* shapesFor(model: Module): Generator<number[]> {
  for (const module of model.modules()) {
    if (module instanceof Linear) return yield [2, module.weight.shape[1]];
    if (!(module instanceof ConvLayer)) continue;
    const { inChannels, kernelSize } = module;
    for (const size of sizes) yield [2, inChannels, ...kernelSize.map(() => size)];
    return;
  }
}

function runs(model: Module, x: Tensor): boolean {
  try {
    noGrad(() => scope(() => void model.invoke([x])));
    return true;
  } catch {
    return false;
  }
}

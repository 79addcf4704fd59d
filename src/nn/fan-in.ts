/** How layers start their weights, drawn from the generator that `manualSeed` seeds. Other rules are in init.ts. */
import { type Shape, sizeOf } from "../core/shape.ts";
import { rand } from "../tensor/create.ts";
import { runInScope } from "../tensor/scope.ts";
import { Parameter } from "./parameter.ts";

/**
 * Uniform in [-1 / sqrt(fanIn), 1 / sqrt(fanIn)): how PyTorch starts the weights and biases of linear and convolution layers.
 *
 * @param fanIn inputs that each output sums over.
 */
export function fanInUniform(shape: Shape, fanIn: number): Parameter {
  const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
  return runInScope(
    "fanInUniform",
    () =>
      new Parameter(
        rand(shape)
          .sub(0.5)
          .mul(2 * bound),
      ),
  );
}

/** Inputs per output of a weight (outputs, inputs, ...kernel). */
export function fanInOf(shape: Shape): number {
  return sizeOf(shape, 1);
}

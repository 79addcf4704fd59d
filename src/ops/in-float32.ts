import { runInScope } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { to } from "./convert.ts";

/**
 * What `run` makes of `inputs`; where they are float16, of their float32 copies, and the result is rounded back. For operations made of
 * several kernels, whose results in between would else be rounded and could overflow. Gradients flow through, and are rounded once too.
 */
export function inFloat32<const Inputs extends readonly [Tensor, ...(Tensor | null)[]]>(
  op: string,
  inputs: Inputs,
  run: (...inputs: Inputs) => Tensor,
): Tensor {
  return runInScope(op, () => {
    if (inputs[0].dtype !== "float16") return run(...inputs);
    const wide = inputs.map((input) => input && to(input, "float32"));
    return to(Reflect.apply(run, undefined, wide), "float16");
  });
}

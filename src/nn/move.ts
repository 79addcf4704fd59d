/** Other memory under parameters and buffers that stay the same objects, so that optimizers keep hold of them. */
import type { Device } from "../backend/backend.ts";
import { type DType, isFloating } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import * as convert from "../ops/convert.ts";
import { noGrad, runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, Tensor } from "../tensor/tensor.ts";
import type { Module } from "./module.ts";
import { uniqueState } from "./tree.ts";

/** Moves all parameters, their gradients and buffers below `root`; the tensors stay the same objects. */
export function moveState(root: Module, target: Device | DType): void {
  noGrad(() =>
    runInScope("to", () => {
      for (const [, { value }] of uniqueState(root)) {
        if (!(value instanceof Tensor)) continue;
        moveTo(value, target);
        if (value.grad !== null) moveTo(value.grad, target);
      }
    }),
  );
}

function moveTo(tensor: Tensor, target: Device | DType): void {
  const isDType = target === "float32" || target === "float64";
  if (isDType && !isFloating(tensor.dtype)) return;
  if (!isDType && (target === "int32" || target === "uint8" || target === "bool")) {
    throw new ArgumentError({
      op: "to",
      expected: "a floating dtype or a device for a module",
      actual: target,
    });
  }
  const moved = convert.to(tensor, target);
  if (moved !== tensor) tensor.adopt(moved.holding.storage.retain(), moved.dtype);
}

/** Memory of another shape for a tensor that keeps its identity; its contents are undefined. */
export function takeShape(tensor: Tensor, shape: Shape): void {
  const fresh = allocate(backendFor(tensor), shape, tensor.dtype, "nobody");
  tensor.adopt(fresh.holding.storage.retain(), tensor.dtype, shape);
  fresh.dispose();
}

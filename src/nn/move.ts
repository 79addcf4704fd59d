/** Other memory under parameters and buffers that stay the same objects, so that optimizers keep hold of them. */
import type { Device } from "../backend/backend.ts";
import { type DType, isFloating } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import * as convert from "../ops/convert.ts";
import { noGrad, runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, Tensor } from "../tensor/tensor.ts";
import { internals } from "./internals.ts";
import type { Module } from "./module.ts";
import type { StateSlot } from "./slot.ts";
import { uniqueState } from "./tree.ts";

/** Moves all parameters, their gradients and buffers below `root`; the tensors stay the same objects. */
export function moveState(root: Module, target: Device | DType): void {
  const isDType = checkTarget(target);
  moveSlots(uniqueState(root), target);
  // All of one dtype again: what `networkToHalf` set up would get in the way.
  if (isDType) for (const module of root.modules()) module[internals].inputDType = null;
}

/** As `moveState`, for the state of this one module. */
export function moveOwnState(module: Module, target: Device | DType): void {
  moveSlots(
    module.ownState().map((slot) => [slot.name, slot]),
    target,
  );
}

function moveSlots(slots: readonly [string, StateSlot][], target: Device | DType): void {
  noGrad(() =>
    runInScope("to", () => {
      for (const [, { value }] of slots) {
        if (!(value instanceof Tensor)) continue;
        moveTo(value, target);
        if (value.grad !== null) moveTo(value.grad, target);
      }
    }),
  );
}

/** Whether the target is a dtype. Throws ArgumentError for one of integers. */
function checkTarget(target: Device | DType): boolean {
  if (target !== "int32" && target !== "uint8" && target !== "bool") return isFloatingName(target);
  throw new ArgumentError({
    op: "to",
    expected: "a floating dtype or a device for a module",
    actual: target,
  });
}

function isFloatingName(target: string): boolean {
  return ["float16", "float32", "float64"].includes(target);
}

function moveTo(tensor: Tensor, target: Device | DType): void {
  if (isFloatingName(target) && !isFloating(tensor.dtype)) return;
  const moved = convert.to(tensor, target);
  if (moved !== tensor) tensor.adopt(moved.holding.storage.retain(), moved.dtype);
}

/** A call's arguments with floating tensors of that dtype; null leaves them as they are. */
export function convertInputs(args: readonly unknown[], dtype: DType | null): readonly unknown[] {
  if (dtype === null) return args;
  return args.map((arg) =>
    arg instanceof Tensor && isFloating(arg.dtype) ? convert.to(arg, dtype) : arg,
  );
}

/** Memory of another shape for a tensor that keeps its identity; its contents are undefined. */
export function takeShape(tensor: Tensor, shape: Shape): void {
  const fresh = allocate(backendFor(tensor), shape, tensor.dtype, "nobody");
  tensor.adopt(fresh.holding.storage.retain(), tensor.dtype, shape);
  fresh.dispose();
}

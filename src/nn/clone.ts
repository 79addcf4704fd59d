/** Deep copies of modules. */
import { clone } from "../ops/convert.ts";
import { noGrad } from "../tensor/scope.ts";
import { Tensor } from "../tensor/tensor.ts";
import { Callable, callableWith } from "./callable.ts";
import { Internals, internals } from "./internals.ts";
import { Parameter } from "./parameter.ts";
import { defineSlot, type SlotValue } from "./slot.ts";

/** Originals and their copies: what two places share, the copies of these places share too. */
type Copies = Map<object, object>;

/**
 * A copy of a module with memory of its own; see `Module.clone`. Properties are copied and not constructed anew, since nothing
 * tells with what arguments a constructor was called.
 */
export function cloneModule<M extends Callable>(root: M): M {
  return noGrad(() => copyOf(root, new Map()) as M);
}

function copyOf(value: unknown, copies: Copies): unknown {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return value;
  const known = copies.get(value);
  if (known !== undefined) return known;
  if (value instanceof Callable) return copyModule(value, copies);
  if (value instanceof Internals) return value.copy();
  if (value instanceof Tensor) return remember(copies, value, copyTensor(value));
  return copyContainer(value, copies);
}

function remember<Copy extends object>(copies: Copies, original: object, copy: Copy): Copy {
  copies.set(original, copy);
  return copy;
}

function copyModule(module: Callable, copies: Copies): Callable {
  const copy = remember(copies, module, callableWith(Object.getPrototypeOf(module)));
  const known: unknown = Reflect.get(module, internals);
  for (const key of Reflect.ownKeys(module)) {
    const check = known instanceof Internals && known.checks.get(String(key));
    const descriptor = Object.getOwnPropertyDescriptor(module, key);
    // What a getter computes from other properties, the copy's computes from the copies.
    if (descriptor?.get && !check) {
      Object.defineProperty(copy, key, descriptor);
      continue;
    }
    const value = copyOf(Reflect.get(module, key), copies);
    if (check) defineSlot(copy, String(key), value as SlotValue, check);
    else Object.defineProperty(copy, key, { ...descriptor, value });
  }
  return copy;
}

/** Leaves, whatever they were; gradients stay behind. */
function copyTensor(tensor: Tensor): Tensor {
  const values = clone(tensor);
  if (tensor instanceof Parameter) {
    const parameter = new Parameter(values, tensor.requiresGrad);
    values.dispose();
    return parameter;
  }
  const copy = values.keep();
  copy.requiresGrad = tensor.requiresGrad;
  return copy;
}

/** Arrays, maps, sets, plain objects and typed arrays are copied; objects of other classes and functions are shared. */
function copyContainer(value: object, copies: Copies): object {
  if (Array.isArray(value)) {
    const copy = remember<unknown[]>(copies, value, []);
    for (const item of value) copy.push(copyOf(item, copies));
    return copy;
  }
  if (value instanceof Map) {
    const copy = remember(copies, value, new Map<unknown, unknown>());
    for (const [key, item] of value) copy.set(copyOf(key, copies), copyOf(item, copies));
    return copy;
  }
  if (value instanceof Set) {
    const copy = remember(copies, value, new Set<unknown>());
    for (const item of value) copy.add(copyOf(item, copies));
    return copy;
  }
  if (ArrayBuffer.isView(value)) return remember(copies, value, structuredClone(value));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  const copy = remember<Record<PropertyKey, unknown>>(copies, value, Object.create(prototype));
  for (const key of Reflect.ownKeys(value)) copy[key] = copyOf(Reflect.get(value, key), copies);
  return copy;
}

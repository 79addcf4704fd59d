/** Weight normalization: a weight computed from its length and its direction, which are learned in its place. */
import { ArgumentError } from "../core/errors.ts";
import { normalizeAxis } from "../core/shape.ts";
import { clone } from "../ops/convert.ts";
import { div, mul, sqrt } from "../ops/elementwise.ts";
import { sum } from "../ops/reduce.ts";
import { noGrad, runInScope } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { internals } from "./internals.ts";
import type { LoadHook } from "./load-state.ts";
import type { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";
import { defineSlot } from "./slot.ts";
import { stateKey } from "./state-dict.ts";
import { join } from "./tree.ts";

/**
 * Replaces parameter `name` of a module by two: its length `weightG` and its direction `weightV` (after the name: `biasG`, ...).
 *
 * w = g * v / |v|, with one length for each index of axis `dim`, or a single one when it is null
 *
 * The property `weight` is computed at every access from then on, cannot be assigned, and is no parameter: make optimizers afterwards. What was
 * tied to the weight is so no more. State dicts hold `weight_g` and `weight_v`, and loading also takes the keys of
 * PyTorch's parametrizations. The new parameters require grad if the old one did. Returns the module.
 *
 * Shapes: g is that of the weight with 1 on all axes but `dim`, or () when it is null; v that of the weight.
 * Numerics: a direction that is all zeros gives NaN, as in PyTorch.
 * Throws: ArgumentError if the module has no such parameter, has weight norm on it already, or a lazy layer has not been called yet;
 * ShapeError for an axis that the weight does not have.
 * Unlike PyTorch: dim -1 is the last axis, where PyTorch takes it for null.
 * Source: PyTorch nn.utils.weight_norm; Salimans and Kingma 2016, arXiv:1602.07868. Why this form: ADR 0010.
 *
 * @example
 * const layer = nn.weightNorm(new nn.Linear(3, 2)); // layer.stateDict() has bias, weight_g, weight_v
 */
export function weightNorm<M extends Module>(
  module: M,
  name = "weight",
  dim: number | null = 0,
): M {
  const weight = parameterOf(module, name);
  const axis = dim === null ? null : normalizeAxis("weightNorm", dim, weight.shape.length);
  const { requiresGrad } = weight;
  const parts = noGrad(() => ({ g: lengths(weight, axis), v: clone(weight) }));
  const { checks, weightNorms, loadHooks } = module[internals];
  weightNorms.set(name, checks.get(name) ?? null);
  checks.delete(name);
  Reflect.deleteProperty(module, name);
  Reflect.set(module, `${name}G`, new Parameter(parts.g, requiresGrad));
  Reflect.set(module, `${name}V`, new Parameter(parts.v, requiresGrad));
  for (const part of Object.values(parts)) part.dispose();
  // Not enumerable: walks over properties, for state and lifetimes, are to see the parameters only. `this` is the clone in a clone.
  Object.defineProperty(module, name, {
    configurable: true,
    get(this: Module) {
      return weightOf(this, name, axis);
    },
  });
  loadHooks.set(`weightNorm.${name}`, takeParametrizations(name));
  return module;
}

/**
 * Undoes `weightNorm`: the weight as it is now becomes parameter `name` again, in the place of length and direction. It requires grad if
 * one of these did. Returns the module.
 *
 * Throws: ArgumentError if the module has no weight norm on `name`.
 *
 * @example
 * nn.removeWeightNorm(layer);
 */
export function removeWeightNorm<M extends Module>(module: M, name = "weight"): M {
  const { weightNorms, loadHooks } = module[internals];
  const check = weightNorms.get(name);
  if (check === undefined) {
    throw new ArgumentError({
      op: "removeWeightNorm",
      expected: `a ${module.kind} with weight norm on ${name}`,
      actual: "one without",
    });
  }
  const { g, v } = partsOf(module, name);
  const weight = noGrad(() => tensorOf(module, name));
  for (const property of [name, `${name}G`, `${name}V`]) Reflect.deleteProperty(module, property);
  weightNorms.delete(name);
  loadHooks.delete(`weightNorm.${name}`);
  const parameter = new Parameter(weight, g.requiresGrad || v.requiresGrad);
  weight.dispose();
  if (check === null) Reflect.set(module, name, parameter);
  else defineSlot(module, name, parameter, check);
  return module;
}

function parameterOf(module: Module, name: string): Parameter {
  const isDone = module[internals].weightNorms.has(name);
  const parameter: unknown = isDone ? null : Reflect.get(module, name);
  if (parameter instanceof Parameter && !module.awaitsShape(parameter)) return parameter;
  const isLazy = parameter instanceof Parameter;
  const lack = isLazy ? "one whose shape its first call decides" : "none";
  throw new ArgumentError({
    op: "weightNorm",
    expected: `a ${module.kind} with a parameter ${name}`,
    actual: isDone ? "one with weight norm on it already" : lack,
  });
}

function partsOf(module: Module, name: string): { readonly g: Tensor; readonly v: Tensor } {
  return { g: tensorOf(module, `${name}G`), v: tensorOf(module, `${name}V`) };
}

function tensorOf(module: Module, property: string): Tensor {
  return Reflect.get(module, property);
}

function weightOf(module: Module, name: string, axis: number | null): Tensor {
  const { g, v } = partsOf(module, name);
  return runInScope("weightNorm", () => mul(v, div(g, lengths(v, axis))));
}

/** Euclidean length of v over all axes but one. */
function lengths(v: Tensor, axis: number | null): Tensor {
  return runInScope("weightNorm", () => {
    const squares = mul(v, v);
    if (axis === null) return sqrt(sum(squares));
    const others = v.shape.map((_, i) => i).filter((i) => i !== axis);
    // No axes would mean all of them.
    return sqrt(others.length === 0 ? squares : sum(squares, others, { keepdim: true }));
  });
}

/** Takes what PyTorch's `torch.nn.utils.parametrizations.weight_norm` writes for what its older `weight_norm` does. */
function takeParametrizations(name: string): LoadHook {
  return (_module, keys, { path }) => {
    const key = stateKey(name);
    for (const [i, part] of ["g", "v"].entries()) {
      const from = join(path, `parametrizations.${key}.original${i}`);
      const source = keys.get(from);
      if (source === undefined) continue;
      keys.delete(from);
      keys.set(join(path, `${key}_${part}`), source);
    }
  };
}

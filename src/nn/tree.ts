/** What a module holds, and walks over all below it with PyTorch's paths and keys. */
import type { DType } from "../core/dtype.ts";
import { Tensor } from "../tensor/tensor.ts";
import { Callable } from "./callable.ts";
import type { Internals } from "./internals.ts";
import type { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";
import type { StateSlot } from "./slot.ts";
import { stateKey } from "./state-dict.ts";

/** Path of something inside the module at `path`; the root's is empty. */
export function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

function isModule(value: unknown): value is Module {
  return value instanceof Callable;
}

/** Modules in the properties of `module` and in arrays there, by name. */
export function childrenOf(module: Module): [string, Module][] {
  return Object.entries(module).flatMap(([name, value]): [string, Module][] => {
    if (isModule(value)) return [[name, value]];
    if (!Array.isArray(value)) return [];
    return value.flatMap((item, i): [string, Module][] =>
      isModule(item) ? [[`${name}.${i}`, item]] : [],
    );
  });
}

/** Parameters, then buffers, in the properties of `module`. */
export function ownStateOf(
  module: Module,
  { bufferNames, transientNames }: Internals,
): StateSlot[] {
  const parameters: StateSlot[] = [];
  const buffers: StateSlot[] = [];
  for (const [name, value] of Object.entries(module)) {
    const isPersistent = !transientNames.has(name);
    if (value instanceof Parameter) {
      parameters.push({ name, kind: "parameter", value, isPersistent });
    } else if (bufferNames.has(name) && value !== null) {
      buffers.push({ name, kind: "buffer", value, isPersistent });
    }
  }
  return [...parameters, ...buffers];
}

/** The tree of modules as PyTorch prints it, and what floating inputs are converted to, unless that is null. */
export function formatTree(module: Module, inputDType: DType | null): string {
  const { kind } = module;
  const children = module.namedChildren();
  const facts = [module.extraRepr(), inputDType && `inputs to ${inputDType}`].filter(Boolean);
  if (children.length === 0) return `${kind}(${facts.join(", ")})`;
  const lines = children.map(([name, child]) => `(${name}): ${child}`.replaceAll("\n", "\n  "));
  return `${kind}(\n  ${[facts.join(", "), ...lines].filter(Boolean).join("\n  ")}\n)`;
}

/** Every module by path, parents first, shared ones at each of their places. */
export function walk(module: Module, path: string): [string, Module][] {
  const below = module
    .namedChildren()
    .flatMap(([name, child]) => walk(child, join(path, name.split(".").map(stateKey).join("."))));
  return [[path, module], ...below];
}

/** State of the whole tree by key, each tensor once. */
export function uniqueState(root: Module): [string, StateSlot][] {
  const seen = new Set<Tensor>();
  const modules = root.namedModules();
  return modules.flatMap(([path, module]) =>
    module.ownState().flatMap((slot) => {
      const { value } = slot;
      if (value instanceof Tensor && seen.has(value)) return [];
      if (value instanceof Tensor) seen.add(value);
      return [[join(path, stateKey(slot.name)), slot] satisfies [string, StateSlot]];
    }),
  );
}

/** Walks over a module and all below it, with PyTorch's paths and keys. */
import { Tensor } from "../tensor/tensor.ts";
import type { Module } from "./module.ts";
import type { StateSlot } from "./slot.ts";
import { stateKey } from "./state-dict.ts";

/** Path of something inside the module at `path`; the root's is empty. */
export function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
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

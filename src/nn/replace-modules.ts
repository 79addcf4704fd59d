/** Other modules in the places of some: how a model is converted from one kind of layer to another. */
import { ArgumentError } from "../core/errors.ts";
import { Callable } from "./callable.ts";
import type { Module } from "./module.ts";
import { stateKey } from "./state-dict.ts";
import { join } from "./tree.ts";

/** A property of a module, or an item of an array in one, that holds a module. */
interface Place {
  readonly holder: object;
  readonly key: string;
  /** As in the paths of `namedModules()`. */
  readonly name: string;
  readonly module: Module;
}

/**
 * Puts what `replace` returns in the places of modules below `root`, in properties and in arrays there; null leaves a module as it is. `replace`
 * sees each module once, parents first, and not what is inside replaced ones; a module in several places is replaced in all of them by the
 * same new one. Returns `root`, or what replaced it.
 *
 * Nothing is written when `replace` throws. Maps, sets and closures of a model keep what they hold.
 * Throws: ArgumentError for a place that cannot be written to.
 */
export function replaceModules(
  root: Module,
  replace: (module: Module, path: string) => Module | null,
): Module {
  const decided = new Map<Module, Module>();
  const writes: (() => void)[] = [];
  const visit = (module: Module, path: string): Module => {
    const known = decided.get(module);
    if (known !== undefined) return known;
    const replacement = replace(module, path);
    decided.set(module, replacement ?? module);
    if (replacement !== null) return replacement;
    for (const { holder, key, name, module: child } of placesIn(module)) {
      const next = visit(child, join(path, name));
      if (next === child) continue;
      checkWritable(holder, key, join(path, name));
      writes.push(() => Reflect.set(holder, key, next));
    }
    return module;
  };
  const result = visit(root, "");
  for (const write of writes) write();
  return result;
}

function placesIn(module: Module): Place[] {
  return Object.entries(module).flatMap(([key, value]): Place[] => {
    const name = stateKey(key);
    if (isModule(value)) return [{ holder: module, key, name, module: value }];
    if (!Array.isArray(value)) return [];
    const array: readonly unknown[] = value;
    return array.flatMap((item, i): Place[] =>
      isModule(item) ? [{ holder: array, key: String(i), name: `${name}.${i}`, module: item }] : [],
    );
  });
}

function isModule(value: unknown): value is Module {
  return value instanceof Callable;
}

function checkWritable(holder: object, key: string, path: string): void {
  const property = Object.getOwnPropertyDescriptor(holder, key);
  if (property?.writable || property?.set) return;
  throw new ArgumentError({
    op: "replaceModules",
    expected: `a property that can be written to at ${path}`,
    actual: Array.isArray(holder) ? "a frozen array" : "a read-only one",
  });
}

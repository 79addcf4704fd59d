/** Copying a state dict into modules: matched completely first, then written one entry after the other. */
import { isSound } from "../core/entry.ts";
import { ArgumentError, EvenkeelError, StateDictError } from "../core/errors.ts";
import { type Shape, sameShape } from "../core/shape.ts";
import { backendFor, operandOf, Tensor } from "../tensor/tensor.ts";
import { internals } from "./internals.ts";
import { rejectState } from "./load-problems.ts";
import type { Module } from "./module.ts";
import { takeShape } from "./move.ts";
import {
  isLazySource,
  type LazyStateSource,
  readSource,
  type StateEntry,
  type StateSource,
  type StateVersion,
  stateKey,
} from "./state-dict.ts";
import { checkLength, hostNumbers, isFileEntry, valuesAs } from "./state-values.ts";
import { join } from "./tree.ts";

/** What `loadStateDict` accepts. */
export interface LoadOptions {
  /** Refuse missing and unexpected keys. Default true. */
  readonly strict?: boolean;
  /**
   * Only the keys of the source that start with this count, and count without it: "module." for what DataParallel saved. Default: all,
   * as they are.
   */
  readonly prefix?: string;
  /** Ends reading from a file that was opened, with the signal's reason; tensors read by then keep their new values. Default: none. */
  readonly signal?: AbortSignal;
}

/** What `loadStateDict` found no partner for; two empty lists when strict. */
export interface LoadResult {
  /** Keys of the model that the source lacks. */
  readonly missingKeys: readonly string[];
  /** Keys of the source that the model lacks. */
  readonly unexpectedKeys: readonly string[];
}

/** The source's own keys, by the keys that are matched with the model's; hooks may change it. */
export type SourceKeys = Map<string, string>;

/** Where a module is in the tree, and which version of its layout the source says it holds; null for one that says nothing. */
export interface LoadPlace {
  readonly path: string;
  readonly version: number | null;
}

/** Translates what older or other layouts call a module's state, drops what means nothing, or throws for what it must not hold. */
export type LoadHook = (module: Module, keys: SourceKeys, place: LoadPlace) => void;

/** Modules by path, shared ones at each of their places. */
type PlacedModules = readonly (readonly [string, Module])[];

/** Shapes and versions of a source, which is all that is needed to match it. */
interface Outline {
  /** By the keys without prefix. */
  readonly keys: SourceKeys;
  /** By the source's own keys. */
  readonly shapes: ReadonlyMap<string, Shape>;
  readonly versions: ReadonlyMap<string, StateVersion> | null;
}

/** One value to be written. */
interface Step {
  /** Key in the source, or the value itself where the source has none. */
  readonly from: string | number;
  write(entry: StateEntry): void;
}

export function loadInto(
  modules: PlacedModules,
  source: StateSource | LazyStateSource,
  options: LoadOptions,
): LoadResult | Promise<LoadResult> {
  if (isLazySource(source)) return loadLazily(modules, source, options);
  const { entries, versions } = readSource(source);
  for (const [key, entry] of entries) checkKind(key, entry);
  const shapes = [...entries].map(([key, entry]) => [key, shapeOf(entry)] as const);
  const { steps, result } = match(modules, outlineOf(shapes, versions, options), options);
  for (const { from, write } of steps) {
    const entry = typeof from === "number" ? from : entries.get(from);
    if (entry !== undefined) write(entry);
  }
  return result;
}

/** As above, but no value is read before all is matched, and none is held longer than it takes to write it. */
async function loadLazily(
  modules: PlacedModules,
  source: LazyStateSource,
  options: LoadOptions,
): Promise<LoadResult> {
  const { signal } = options;
  signal?.throwIfAborted();
  const shapes = Array.from(source.keys(), (key) => [key, source.info(key).shape] as const);
  const { steps, result } = match(modules, outlineOf(shapes, source.metadata, options), options);
  for (const [done, { from, write }] of steps.entries()) {
    try {
      write(typeof from === "number" ? from : await source.get(from, signal ? { signal } : {}));
    } catch (cause) {
      signal?.throwIfAborted();
      throw new StateDictError({
        op: "loadStateDict",
        expected: `to read ${from}`,
        actual: cause instanceof EvenkeelError ? cause.message : String(cause),
        hint: `${done} of ${steps.length} entries were written before, so the model holds a mix: load again`,
        cause,
      });
    }
  }
  return result;
}

function outlineOf(
  shapes: readonly (readonly [string, Shape])[],
  versions: ReadonlyMap<string, StateVersion> | null,
  { prefix = "" }: LoadOptions,
): Outline {
  const inside = shapes.filter(([key]) => key.startsWith(prefix));
  if (prefix !== "" && inside.length === 0) {
    throw new ArgumentError({
      op: "loadStateDict",
      expected: `keys that start with "${prefix}"`,
      actual: shapes.length === 0 ? "no keys at all" : `keys like "${shapes[0][0]}"`,
    });
  }
  const strip = (key: string) => key.slice(prefix.length);
  // Paths have no dot at their end: that of "module" is a part of the prefix "module.".
  const paths = [...(versions ?? [])].filter(([path]) => `${path}.`.startsWith(prefix));
  return {
    keys: new Map(inside.map(([key]) => [strip(key), key])),
    shapes: new Map(inside),
    versions:
      versions &&
      new Map(paths.map(([path, version]) => [strip(`${path}.`).slice(0, -1), version])),
  };
}

/** What is to be written where. Throws StateDictError for what does not fit. */
function match(
  modules: PlacedModules,
  { keys, shapes, versions }: Outline,
  { strict = true }: LoadOptions,
): { readonly steps: readonly Step[]; readonly result: LoadResult } {
  const versionOf = (path: string) => versions?.get(path)?.version ?? null;
  for (const [path, module] of modules) {
    for (const hook of module[internals].loadHooks.values()) {
      hook(module, keys, { path, version: versionOf(path) });
    }
  }
  const unexpected = new Set(keys.keys());
  const missingKeys: string[] = [];
  const mismatchedKeys: string[] = [];
  const steps: Step[] = [];
  const model = new Map<string, Shape>();
  for (const [path, module] of modules) {
    for (const { name, value, isPersistent } of module.ownState()) {
      if (!isPersistent) continue;
      const key = join(path, stateKey(name));
      model.set(key, shapeOf(value));
      unexpected.delete(key);
      const from = keys.get(key) ?? module.missingState(name, versionOf(path));
      const shape = typeof from === "string" ? shapes.get(from) : undefined;
      if (from === null) missingKeys.push(key);
      else if (shape !== undefined && !awaitsShape(module, value) && !fits(shapeOf(value), shape)) {
        mismatchedKeys.push(key);
      } else steps.push({ from, write: writerOf(module, name, value) });
    }
  }
  const unexpectedKeys = [...unexpected];
  const isRefused = strict && missingKeys.length + unexpectedKeys.length > 0;
  if (isRefused || mismatchedKeys.length > 0) {
    const partnerless = strict
      ? { missingKeys, unexpectedKeys }
      : { missingKeys: [], unexpectedKeys: [] };
    const source = new Map([...keys].map(([key, from]) => [key, shapes.get(from) ?? []]));
    rejectState({ model, source, mismatchedKeys, ...partnerless });
  }
  return { steps, result: { missingKeys, unexpectedKeys } };
}

/** Throws for what could not be written: a value of another kind, a tensor that has ended, an entry without its values. */
function checkKind(key: string, entry: StateEntry): void {
  if (typeof entry === "number") return;
  if (entry instanceof Tensor) operandOf(entry);
  else if (isFileEntry(entry)) {
    if (!isSound(entry)) checkLength(entry, entry.data());
  } else {
    throw new TypeError(
      `loadStateDict: expected a tensor, a number or a file's entry for ${key}, got ${describeKind(entry)}`,
    );
  }
}

function describeKind(value: unknown): string {
  return Array.isArray(value) ? "an array" : typeof value;
}

function shapeOf(value: StateEntry): Shape {
  return typeof value === "number" ? [] : value.shape;
}

function awaitsShape(module: Module, value: Tensor | number): boolean {
  return value instanceof Tensor && module.awaitsShape(value);
}

/** PyTorch's old files hold counters of shape (1): one element fits a scalar. */
function fits(into: Shape, from: Shape): boolean {
  return sameShape(from, into) || (into.length === 0 && from.length === 1 && from[0] === 1);
}

function writerOf(module: Module, name: string, value: Tensor | number): Step["write"] {
  if (typeof value === "number") {
    return (entry) => Reflect.set(module, name, Math.trunc(hostNumbers(entry)[0]));
  }
  return (entry) => {
    if (module.awaitsShape(value)) takeShape(value, shapeOf(entry));
    writeTensor(value, entry);
  };
}

/** In place: optimizers and other holders of the tensor see the new values. A number fills it. */
function writeTensor(target: Tensor, entry: StateEntry): void {
  const out = operandOf(target);
  const backend = backendFor(target);
  if (typeof entry === "number") backend.fill(out, entry);
  else if (entry instanceof Tensor && backendFor(entry) === backend) {
    if (entry.dtype === target.dtype) backend.copy(operandOf(entry), out);
    else backend.cast(operandOf(entry), out);
  } else backend.write(out, valuesAs(target.dtype, entry));
  target.holding.storage.markWritten("loadStateDict");
}

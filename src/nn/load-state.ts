/** Copying a state dict into modules: matched completely first, written only when all of it fits. */
import { hostArray } from "../core/dtype.ts";
import type { Entry, EntryArray } from "../core/entry.ts";
import { StateDictError } from "../core/errors.ts";
import { fromBfloat16, fromFloat16 } from "../core/half.ts";
import { formatShape, type Shape, sameShape, sizeOf } from "../core/shape.ts";
import { backendFor, operandOf, Tensor } from "../tensor/tensor.ts";
import { internals } from "./internals.ts";
import type { Module } from "./module.ts";
import { takeShape } from "./move.ts";
import {
  describeEntry,
  nearestKey,
  readSource,
  type StateEntry,
  type StateSource,
  stateKey,
} from "./state-dict.ts";
import { join } from "./tree.ts";

/** What `loadStateDict` accepts. */
export interface LoadOptions {
  /** Refuse missing and unexpected keys. Default true. */
  readonly strict?: boolean;
}

/** What `loadStateDict` found no partner for; two empty lists when strict. */
export interface LoadResult {
  /** Keys of the model that the source lacks. */
  readonly missingKeys: readonly string[];
  /** Keys of the source that the model lacks. */
  readonly unexpectedKeys: readonly string[];
}

/** Modules by path, shared ones at each of their places. */
type PlacedModules = readonly (readonly [string, Module])[];

/** Writes in the module what an entry holds; made for every entry before the first is run. */
type Write = () => void;

export function loadInto(
  modules: PlacedModules,
  source: StateSource,
  { strict = true }: LoadOptions,
): LoadResult {
  const { entries, versions } = readSource(source);
  const unexpected = new Set(entries.keys());
  const missingKeys: string[] = [];
  const misshapen: string[] = [];
  const writes: Write[] = [];
  const known: string[] = [];
  for (const [path, module] of modules) {
    const version = versions?.get(path)?.version ?? null;
    for (const name of module[internals].ignoredNames)
      unexpected.delete(join(path, stateKey(name)));
    for (const { name, value, isPersistent } of module.ownState()) {
      if (!isPersistent) continue;
      const key = join(path, stateKey(name));
      known.push(key);
      unexpected.delete(key);
      const entry = entries.get(key) ?? module.missingState(name, version);
      if (entry !== null) checkEntry(key, entry);
      if (entry === null) missingKeys.push(key);
      else if (value instanceof Tensor && module.awaitsShape(value)) {
        writes.push(() => {
          takeShape(value, shapeOf(entry));
          writeTensor(value, entry);
        });
      } else if (!fits(value, entry)) misshapen.push(`${key}: ${mismatch(value, entry)}`);
      else writes.push(writeOf(module, name, value, entry));
    }
  }
  const unexpectedKeys = [...unexpected];
  const isRefused = strict && missingKeys.length + unexpectedKeys.length > 0;
  if (isRefused || misshapen.length > 0) {
    reject({ missingKeys, unexpectedKeys: isRefused ? unexpectedKeys : [], misshapen, known });
  }
  for (const write of writes) write();
  return { missingKeys, unexpectedKeys };
}

/** Throws for what could not be written: a value of another kind, a tensor that has ended, a file's entry without its values. */
function checkEntry(key: string, entry: StateEntry): void {
  if (typeof entry === "number") return;
  if (entry instanceof Tensor) operandOf(entry);
  else if (isFileEntry(entry)) valuesOf(entry);
  else {
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

/** PyTorch's old files hold counters of shape (1): one element fits a scalar. */
function fits(value: Tensor | number, entry: StateEntry): boolean {
  const from = shapeOf(entry);
  const into = shapeOf(value);
  return sameShape(from, into) || (into.length === 0 && from.length === 1 && from[0] === 1);
}

function mismatch(value: Tensor | number, entry: StateEntry): string {
  return `the model has ${formatShape(shapeOf(value))}, the state dict ${describeEntry(entry)}`;
}

function writeOf(module: Module, name: string, value: Tensor | number, entry: StateEntry): Write {
  if (value instanceof Tensor) return () => writeTensor(value, entry);
  return () => Reflect.set(module, name, Math.trunc(hostNumbers(entry)[0]));
}

/** In place: optimizers and other holders of the tensor see the new values. */
function writeTensor(target: Tensor, entry: StateEntry): void {
  const out = operandOf(target);
  const backend = backendFor(target);
  if (entry instanceof Tensor && backendFor(entry) === backend) {
    if (entry.dtype === target.dtype) backend.copy(operandOf(entry), out);
    else backend.cast(operandOf(entry), out);
  } else {
    const values = hostArray(target.dtype, sizeOf(target.shape));
    values.set(hostNumbers(entry));
    backend.write(out, values);
  }
  target.holding.storage.markWritten("loadStateDict");
}

/** Whether this is a value from a file. */
export function isFileEntry(value: unknown): value is Entry {
  return (
    typeof value === "object" &&
    value !== null &&
    !(value instanceof Tensor) &&
    "data" in value &&
    typeof value.data === "function"
  );
}

/** Throws StateDictError unless there are as many values as the shape says. */
function valuesOf(entry: Entry): EntryArray {
  const values = entry.data();
  if (values.length === sizeOf(entry.shape)) return values;
  throw new StateDictError({
    op: "loadStateDict",
    expected: `${sizeOf(entry.shape)} values in an entry of shape ${formatShape(entry.shape)}`,
    actual: String(values.length),
  });
}

/** An entry's values as numbers, whatever it is made of. */
export function hostNumbers(entry: StateEntry): ArrayLike<number> {
  if (typeof entry === "number") return [entry];
  if (entry instanceof Tensor) return entry.dataSync();
  const values = valuesOf(entry);
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) {
    return Array.from(values, Number);
  }
  if (entry.dtype === "float16") return Array.from(values, fromFloat16);
  if (entry.dtype === "bfloat16") return Array.from(values, fromBfloat16);
  return values;
}

function reject(problems: {
  readonly missingKeys: readonly string[];
  readonly unexpectedKeys: readonly string[];
  readonly misshapen: readonly string[];
  readonly known: readonly string[];
}): never {
  const { missingKeys, unexpectedKeys, misshapen, known } = problems;
  const suggest = (key: string) => {
    const nearest = nearestKey(key, known);
    return nearest === null ? key : `${key} (the model has ${nearest})`;
  };
  const parts = [
    missingKeys.length > 0 ? `missing ${missingKeys.join(", ")}` : "",
    unexpectedKeys.length > 0 ? `unexpected ${unexpectedKeys.map(suggest).join(", ")}` : "",
    misshapen.length > 0 ? `misshapen ${misshapen.join("; ")}` : "",
  ];
  throw new StateDictError({
    op: "loadStateDict",
    expected: "the keys and shapes of the model",
    actual: parts.filter(Boolean).join("; "),
    ...(misshapen.length === 0 ? { hint: "pass { strict: false } to load what fits" } : {}),
  });
}

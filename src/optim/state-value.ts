/** State of optimizers and schedulers as it comes in: from stateDict(), from a file, or from PyTorch. */
import { StateDictError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import type { StateEntry } from "../nn/state-dict.ts";
import { hostNumbers, isFileEntry } from "../nn/state-values.ts";
import { Tensor } from "../tensor/tensor.ts";

/** A state dict's values: numbers and tensors, text, flags, lists and dicts of them. Files hold them all as entries. */
export type StateValue =
  | StateEntry
  | boolean
  | string
  | null
  | readonly StateValue[]
  | ReadonlyMap<string | number, StateValue>
  | { readonly [key: string]: StateValue };

export function isEntry(value: StateValue | undefined): value is StateEntry {
  return typeof value === "number" || value instanceof Tensor || isFileEntry(value);
}

/** Members by key: of a dict, a Map or a list. Null for anything else. */
export function membersOf(value: StateValue | undefined): Map<string, StateValue> | null {
  if (typeof value !== "object" || value === null || isEntry(value)) return null;
  const pairs = value instanceof Map ? [...value] : Object.entries(value);
  return new Map(pairs.map(([key, member]) => [String(key), member]));
}

/** As `membersOf`. Throws StateDictError when it is something else, naming `what` it was to be. */
export function requireMembers(
  op: string,
  value: StateValue | undefined,
  what: string,
): Map<string, StateValue> {
  return membersOf(value) ?? reject(op, what, value);
}

/** `exp_avg_sq` -> `expAvgSq`: the reverse of nn's `stateKey`. */
export function camelKey(key: string): string {
  return key.replace(/(?<=[a-z0-9])_([a-z])/g, (_, letter) => letter.toUpperCase());
}

/**
 * A value of the same type as `example`: number, flag, text, or list of numbers.
 * Throws: StateDictError if it is none, naming `what`.
 */
export function readLike<T>(
  op: string,
  example: T,
  value: StateValue | undefined,
  what: string,
): T {
  const read = readers[Array.isArray(example) ? "list" : typeof example]?.(value);
  return read === undefined || read === null ? reject(op, what, value) : (read as T);
}

/** One number. Throws StateDictError if it is none, naming `what`. */
export function readNumber(op: string, value: StateValue | undefined, what: string): number {
  return numberIn(value) ?? reject(op, what, value);
}

/** A list of numbers. Throws StateDictError if it is none, naming `what`. */
export function readNumbers(op: string, value: StateValue | undefined, what: string): number[] {
  return numbersIn(value) ?? reject(op, what, value);
}

const readers: Readonly<Record<string, (value: StateValue | undefined) => unknown>> = {
  number: numberIn,
  boolean: (value) => (typeof value === "boolean" ? value : flagIn(value)),
  string: (value) => (typeof value === "string" ? value : textIn(value)),
  list: numbersIn,
};

function numberIn(value: StateValue | undefined): number | null {
  if (!isEntry(value)) return null;
  const numbers = hostNumbers(value);
  return numbers.length === 1 ? numbers[0] : null;
}

function numbersIn(value: StateValue | undefined): number[] | null {
  if (isEntry(value) && typeof value !== "number") return Array.from(hostNumbers(value));
  if (!Array.isArray(value)) return null;
  const numbers = value.map(numberIn);
  return numbers.every((number) => number !== null) ? numbers : null;
}

function flagIn(value: StateValue | undefined): boolean | null {
  const number = numberIn(value);
  return number === null ? null : number !== 0;
}

/** Files hold text as a vector of UTF-8 bytes. */
function textIn(value: StateValue | undefined): string | null {
  if (!isFileEntry(value) || value.dtype !== "uint8") return null;
  return new TextDecoder().decode(Uint8Array.from(hostNumbers(value)));
}

function reject(op: string, expected: string, value: StateValue | undefined): never {
  const isMissing = value === undefined || value === null;
  const actual = isMissing
    ? "nothing"
    : isEntry(value) && typeof value !== "number"
      ? `values of shape ${formatShape(value.shape)}`
      : typeof value === "object"
        ? "a list or dict"
        : JSON.stringify(value);
  throw new StateDictError({ op, expected, actual });
}

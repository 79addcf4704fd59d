/** What a pickle is made of here: plain data, and names of Python's classes and functions, which are never called. */
import type { Cursor } from "./cursor.ts";

/** Lists, tuples and sets are arrays. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | PickleDict
  | PickleGlobal
  | PickleObject;

/** What a host makes of the globals it knows. */
export abstract class PickleObject {
  /** For messages: "a tensor". */
  abstract readonly kind: string;
}

/** A dict, with the attributes that an OrderedDict may carry. */
export class PickleDict {
  readonly members = new Map<PickleValue, PickleValue>();
  attributes: PickleDict | null = null;

  /** Long numbers are no keys: engines hash them by their low bits, and a file made to collide would take for ever. */
  set(key: PickleValue, value: PickleValue, cursor: Cursor): void {
    if (typeof key === "bigint") throw cursor.fault("text or numbers as keys", describeValue(key));
    this.members.set(key, value);
  }
}

/** The name of a class or function. */
export class PickleGlobal {
  readonly name: string;
  /** Where the pickle names it, from the start of its region. */
  readonly at: number;

  constructor(name: string, at: number) {
    this.name = name;
    this.at = at;
  }
}

/** A value for a message, short whatever it holds. */
export function describeValue(value: PickleValue, depth = 0): string {
  if (typeof value === "string") return JSON.stringify(shortened(value));
  if (value === null) return "None";
  if (typeof value === "bigint") return "a long number";
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return describeList(value, depth);
  if (value instanceof PickleDict) return "a dict";
  if (value instanceof PickleGlobal) return shortened(value.name);
  if (value instanceof PickleObject) return value.kind;
  return String(value);
}

function describeList(values: readonly PickleValue[], depth: number): string {
  if (depth > 1) return "[...]";
  const shown = values.slice(0, 4).map((value) => describeValue(value, depth + 1));
  return `[${shown.join(", ")}${values.length > 4 ? ", ..." : ""}]`;
}

function shortened(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

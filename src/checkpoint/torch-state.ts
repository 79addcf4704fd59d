/** From the outermost value of a PyTorch file to its state dict and what stands beside it. */
import type { Entry } from "../core/entry.ts";
import type { StateVersion } from "../nn/state-dict.ts";
import type { Cursor } from "./cursor.ts";
import {
  describeValue,
  PickleDict,
  PickleGlobal,
  PickleObject,
  type PickleValue,
} from "./pickle-values.ts";
import { type Plain, StateDict } from "./state-dict.ts";
import { nameOf } from "./torch-globals.ts";
import { TorchTensor } from "./torch-tensor.ts";

/** Where training programs keep the model's state dict, the first that is there counts. */
const usualNames = ["state_dict", "model_state_dict", "model", "module", "net", "network"];

const deepest = 100;

/** The rule that `checkpoint.read` documents. */
export function stateDictOf(root: PickleValue, cursor: Cursor): StateDict {
  const convert = new Converter(cursor);
  const outer = membersOf(root);
  const name = usualNames.find((usual) => holdsTensors(outer.get(usual)));
  const chosen = name === undefined ? root : (outer.get(name) ?? null);
  const entries: [string, Entry][] = [];
  const others = new Map<PickleValue, PickleValue>();
  for (const [key, value] of membersOf(chosen)) {
    if (value instanceof TorchTensor) entries.push([convert.key(key), value.entry]);
    else others.set(key, value);
  }
  requireDistinct(entries, cursor);
  const rest = new Map(name === undefined ? others : outer);
  if (name !== undefined) rest.delete(name);
  const plain = convert.members(rest, 1);
  const left = convert.members(others, 2);
  return new StateDict(entries, {
    rest: name === undefined || others.size === 0 ? plain : { ...plain, [name]: left },
    metadata: versionsOf(chosen),
  });
}

/** A list counts as a dict by position, a value alone as one under "". */
function membersOf(value: PickleValue): ReadonlyMap<PickleValue, PickleValue> {
  if (value instanceof PickleDict) return value.members;
  return new Map<PickleValue, PickleValue>(Array.isArray(value) ? value.entries() : [["", value]]);
}

function holdsTensors(value: PickleValue | undefined): boolean {
  if (!(value instanceof PickleDict)) return false;
  return [...value.members.values()].some((member) => member instanceof TorchTensor);
}

function requireDistinct(entries: readonly (readonly [string, Entry])[], cursor: Cursor): void {
  const names = new Set(entries.map(([key]) => key));
  if (names.size === entries.length) return;
  throw cursor.fault("names that differ also as text", "two keys of one text");
}

function versionsOf(dict: PickleValue): Map<string, StateVersion> {
  const metadata = dict instanceof PickleDict ? dict.attributes?.members.get("_metadata") : null;
  const versions = new Map<string, StateVersion>();
  if (!(metadata instanceof PickleDict)) return versions;
  for (const [path, module] of metadata.members) {
    const version = module instanceof PickleDict ? module.members.get("version") : null;
    if (typeof path === "string" && typeof version === "number") versions.set(path, { version });
  }
  return versions;
}

class Converter {
  readonly #cursor: Cursor;
  /** A value that the memo repeats inside others multiplies; without that every value has its own byte in the file. */
  #left: number;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
    this.#left = 4 * cursor.length + 1000;
  }

  key(key: PickleValue): string {
    if (typeof key === "string") return key;
    if (typeof key === "number" || typeof key === "boolean" || key === null) return String(key);
    // Tuples of such, as Python prints them but for quotes.
    if (Array.isArray(key) && key.length <= 16 && !key.some(Array.isArray)) {
      const parts = key.map((part) => this.key(part));
      this.#spend(parts.reduce((sum, part) => sum + part.length, 0));
      return `(${parts.join(", ")})`;
    }
    throw this.#cursor.fault("text or numbers as keys of a dict", describeValue(key));
  }

  members(
    members: ReadonlyMap<PickleValue, PickleValue>,
    depth: number,
  ): { readonly [key: string]: Plain } {
    const pairs: [string, Plain][] = [];
    for (const [key, value] of members) pairs.push([this.key(key), this.value(value, depth)]);
    // fromEntries makes own properties of all names, "__proto__" included.
    return Object.fromEntries(pairs);
  }

  value(value: PickleValue, depth: number): Plain {
    this.#spend(1);
    if (depth > deepest) throw this.#cursor.fault(`at most ${deepest} levels of nesting`, "more");
    if (value instanceof TorchTensor) return value.entry;
    if (value instanceof PickleDict) return this.members(value.members, depth + 1);
    if (value instanceof PickleGlobal) return nameOf(value, this.#cursor);
    if (Array.isArray(value)) return value.map((item) => this.value(item, depth + 1));
    if (value instanceof Uint8Array) {
      return { dtype: "uint8", shape: [value.length], data: () => value.slice() };
    }
    if (typeof value === "bigint") return this.#number(value);
    if (value instanceof PickleObject) {
      throw this.#cursor.fault("tensors and plain data", value.kind);
    }
    return value;
  }

  #number(value: bigint): Plain {
    if (BigInt.asIntN(64, value) === value) {
      return { dtype: "int64", shape: [], data: () => BigInt64Array.of(value) };
    }
    if (BigInt.asUintN(64, value) === value) {
      return { dtype: "uint64", shape: [], data: () => BigUint64Array.of(value) };
    }
    const text = value.toString();
    this.#spend(text.length);
    return text;
  }

  #spend(cost: number): void {
    this.#left -= cost;
    if (this.#left < 0) throw this.#cursor.fault("each value once", "values repeated many times");
  }
}

/** From the outermost value of a PyTorch file to its state dict and what stands beside it. */
import type { Entry } from "../core/entry.ts";
import type { StateVersion } from "../nn/state-dict.ts";
import type { Cursor } from "./cursor.ts";
import type { FileOptions } from "./files.ts";
import { LazyStateDict } from "./lazy-state-dict.ts";
import {
  describeValue,
  PickleDict,
  PickleGlobal,
  PickleObject,
  type PickleValue,
} from "./pickle-values.ts";
import type { Plain } from "./state-dict.ts";
import { nameOf } from "./torch-globals.ts";
import { TorchTensor } from "./torch-tensor.ts";

/** Where training programs keep the model's state dict, the first that is there counts. */
const usualNames = ["state_dict", "model_state_dict", "model", "module", "net", "network"];

const deepest = 100;

/** The rule that `checkpoint.read` documents. All of the file is checked; no value of a tensor is read. */
export function stateDictOf(root: PickleValue, cursor: Cursor): LazyStateDict {
  const outer = membersOf(root);
  const name = usualNames.find((usual) => holdsTensors(outer.get(usual)));
  const chosen = name === undefined ? root : (outer.get(name) ?? null);
  const entries: [string, TorchTensor][] = [];
  const others = new Map<PickleValue, PickleValue>();
  const names = new Converter(cursor);
  for (const [key, value] of membersOf(chosen)) {
    if (value instanceof TorchTensor) entries.push([names.key(key), value]);
    else others.set(key, value);
  }
  requireDistinct(entries, cursor);
  const rest = new Map(name === undefined ? others : outer);
  if (name !== undefined) rest.delete(name);
  const convert = new Converter(cursor);
  const plain = convert.members(rest, 1);
  const left = convert.members(others, 2);
  const all = name === undefined || others.size === 0 ? plain : { ...plain, [name]: left };
  return new LazyStateDict(new Map(entries), {
    metadata: versionsOf(chosen),
    async rest(options) {
      for (const entry of convert.entries.values()) await entry.load(options);
      return all;
    },
  });
}

/** A tensor of `rest`, whose values are read when the rest is asked for. */
class RestEntry implements Entry {
  readonly dtype: Entry["dtype"];
  readonly shape: Entry["shape"];
  readonly #tensor: TorchTensor;
  #loaded: Entry | null = null;

  constructor(tensor: TorchTensor) {
    this.dtype = tensor.dtype;
    this.shape = tensor.shape;
    this.#tensor = tensor;
  }

  async load(options?: FileOptions): Promise<void> {
    this.#loaded ??= await this.#tensor.load(options);
  }

  readonly data = () => this.#loaded?.data() ?? new Uint8Array(0);
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

function requireDistinct(
  entries: readonly (readonly [string, TorchTensor])[],
  cursor: Cursor,
): void {
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
  /** What the tensors became, each once. */
  readonly entries = new Map<TorchTensor, RestEntry>();
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
    if (value instanceof TorchTensor) return this.#entry(value);
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

  #entry(tensor: TorchTensor): RestEntry {
    const entry = this.entries.get(tensor) ?? new RestEntry(tensor);
    this.entries.set(tensor, entry);
    return entry;
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

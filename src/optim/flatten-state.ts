/** State dicts of optimizers and schedulers as flat maps of entries, which is all that a safetensors file holds, and back. */
import type { Entry } from "../core/entry.ts";
import { ArgumentError, StateDictError } from "../core/errors.ts";
import type { StateEntry } from "../nn/state-dict.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { isEntry, membersOf, type StateValue } from "./state-value.ts";

/** Nested dicts; their leaves are what the file holds. */
export type StateTree<Leaf extends StateEntry = StateEntry> = {
  readonly [key: string]: Leaf | StateTree<Leaf>;
};

/**
 * A nested state dict as one flat Map for `checkpoint.write`, with keys like "state/0/exp_avg" ("~1" stands for a slash in a name,
 * "~0" for a tilde). Fractions become float64 scalars and whole numbers int64, so all come back bit for bit; flags become bool, text
 * a vector of its UTF-8 bytes, lists of numbers vectors; null is left out. Several dicts go into one file under names of their own.
 *
 * Throws: ArgumentError for a value of another kind.
 *
 * @example
 * const state = { optimizer: opt.stateDict(), schedule: scheduler.stateDict(), epoch: 3 };
 * await checkpoint.write("training.safetensors", optim.flattenState(state));
 */
export function flattenState(state: StateValue): Map<string, Packed> {
  const flat = new Map<string, Packed>();
  pack(flat, [], state);
  return flat;
}

/**
 * The nested dict that `flattenState` made flat; leaves stay as the file has them, and `loadStateDict` takes them so. `Tree` states what it
 * was: that is not checked here but by what takes the parts.
 *
 * Throws: StateDictError when a key is both a value and the start of others.
 *
 * @example
 * const saved = optim.unflattenState<{ model: nn.StateSource; optimizer: optim.StateTree }>(
 *   await checkpoint.read("training.safetensors"),
 * );
 * model.loadStateDict(saved.model);
 */
export function unflattenState<Tree extends object = StateTree<Entry>>(
  flat: ReadonlyMap<string, StateEntry>,
): Tree {
  const root: Branch = new Map();
  for (const [key, leaf] of flat) {
    const names = key.split("/").map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = names.pop() ?? "";
    let branch = root;
    for (const name of names) {
      const next = branch.get(name) ?? new Map();
      if (!(next instanceof Map)) rejectKey(key);
      branch.set(name, next);
      branch = next;
    }
    if (branch.has(last)) rejectKey(key);
    branch.set(last, leaf);
  }
  return treeOf(root) as Tree;
}

/** What a file can hold of a state dict: a tensor, a whole number, or an entry in ordinary memory. */
export type Packed = Tensor | number | Entry;
type Branch = Map<string, StateEntry | Branch>;

/** fromEntries makes own properties of all names, "__proto__" included. */
function treeOf(branch: Branch): object {
  const members = [...branch].map(([name, value]) => [
    name,
    value instanceof Map ? treeOf(value) : value,
  ]);
  return Object.fromEntries(members);
}

function rejectKey(key: string): never {
  throw new StateDictError({
    op: "unflattenState",
    expected: "keys that are a value or the start of others",
    actual: `${JSON.stringify(key)} as both`,
  });
}

function pack(flat: Map<string, Packed>, path: readonly string[], value: StateValue): void {
  if (value === null || value === undefined) return;
  const key = path.map((name) => name.replaceAll("~", "~0").replaceAll("/", "~1")).join("/");
  const packed = packedLeaf(value);
  if (packed !== null) {
    flat.set(key, packed);
    return;
  }
  const members = membersOf(value);
  if (members === null) {
    throw new ArgumentError({
      op: "flattenState",
      expected: `numbers, flags, text, tensors, and lists and dicts of them in "${key}"`,
      actual: typeof value,
    });
  }
  for (const [name, member] of members) pack(flat, [...path, name], member);
}

/** Null for what has members of its own. */
function packedLeaf(value: StateValue): Packed | null {
  if (typeof value === "number") return isWhole(value) ? value : packNumbers([value], []);
  if (typeof value === "boolean") {
    return { dtype: "bool", shape: [], data: () => Uint8Array.of(Number(value)) };
  }
  if (typeof value === "string") {
    const bytes = new TextEncoder().encode(value);
    return { dtype: "uint8", shape: [bytes.length], data: () => bytes };
  }
  if (isEntry(value)) return value;
  return isNumbers(value) ? packNumbers(value, [value.length]) : null;
}

function packNumbers(values: readonly number[], shape: readonly number[]): Entry {
  if (!values.every(isWhole)) {
    return { dtype: "float64", shape, data: () => Float64Array.from(values) };
  }
  return { dtype: "int64", shape, data: () => BigInt64Array.from(values, BigInt) };
}

function isNumbers(value: StateValue): value is readonly number[] {
  return Array.isArray(value) && value.every((item) => typeof item === "number");
}

/** Whether int64 holds it; it has no -0. */
function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && !Object.is(value, -0);
}

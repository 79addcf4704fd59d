/** Names and values of a module's parameters and buffers, in PyTorch's order and spelling. */
import type { Entry, EntryInfo } from "../core/entry.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Live tensors, and counters as numbers; `metadata` holds the version of each module's layout, by its path. */
export class StateDict extends Map<string, Tensor | number> {
  /** PyTorch's `_metadata`: the version of each module's layout. */
  readonly metadata = new Map<string, StateVersion>();
}

/** What `metadata` says of a module. */
export interface StateVersion {
  /** Which layout its own state has: batch norm's counter came with 2. */
  readonly version: number;
}

/** A value of a state dict: a live tensor, a counter, or what a file holds. */
export type StateEntry = Tensor | number | Entry;

/** What `loadStateDict` takes: a StateDict, any Map, or a plain object, by PyTorch's keys. */
export type StateSource = ReadonlyMap<string, StateEntry> | { readonly [key: string]: StateEntry };

/** A source whose values are read when they are asked for, as `checkpoint.open` gives. */
export interface LazyStateSource {
  /** Names of the entries. */
  keys(): Iterable<string>;
  /** Type and shape of an entry. */
  info(key: string): EntryInfo;
  /** Reads an entry. */
  get(key: string, options?: { readonly signal?: AbortSignal }): Promise<Entry>;
  /** The version of each module's layout, by its path. */
  readonly metadata: ReadonlyMap<string, StateVersion>;
}

/** A Map has `keys` and `get` too, but says nothing of values that it has not given. */
export function isLazySource(source: StateSource | LazyStateSource): source is LazyStateSource {
  return (
    typeof source === "object" &&
    source !== null &&
    "info" in source &&
    typeof source.info === "function"
  );
}

/** `runningMean` -> `running_mean`: keys are PyTorch's, names in code TypeScript's. Names that start with a capital stay. */
export function stateKey(name: string): string {
  if (!/^[a-z]/.test(name)) return name;
  return name.replace(
    /([a-z0-9])([A-Z])/g,
    (_, before, letter) => `${before}_${letter.toLowerCase()}`,
  );
}

/** Entries and metadata of any source. */
export function readSource(source: StateSource): {
  readonly entries: ReadonlyMap<string, StateEntry>;
  readonly versions: ReadonlyMap<string, StateVersion> | null;
} {
  if (typeof source !== "object" || source === null) {
    throw new TypeError(
      `loadStateDict: expected a Map or an object of entries by key, got ${source === null ? "null" : typeof source}`,
    );
  }
  const entries = source instanceof Map ? source : new Map(Object.entries(source));
  const metadata = "metadata" in source ? source.metadata : null;
  return { entries, versions: metadata instanceof Map ? metadata : null };
}

/** Fewest one-character edits between two keys, to suggest the one that was meant. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}

/** The candidate nearest to `key`, if one is near enough to be what was meant. */
export function nearestKey(key: string, candidates: Iterable<string>): string | null {
  const places = [...candidates];
  // A wrapper's prefix in front ("module.") is the commonest difference, and can be most of a short key.
  const wrapped = places.find((candidate) => key.endsWith(`.${candidate}`));
  if (wrapped !== undefined) return wrapped;
  let best: string | null = null;
  let least = Math.ceil(key.length / 2);
  for (const candidate of places) {
    const distance = editDistance(key, candidate);
    if (distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return best;
}

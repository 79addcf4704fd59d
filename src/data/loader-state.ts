/** The state of a `DataLoader` as it is kept beside a model, and reading one completely before anything is changed. */
import { StateDictError } from "../core/errors.ts";

/**
 * Where a `DataLoader` stands: plain whole numbers, ready for JSON, for `checkpoint.write` and for a nested dict.
 * What a loader without a seed will draw for later passes is not in it: that is `getRngState`.
 */
export type DataLoaderState = {
  /** Passes that are over. */
  readonly pass: number;
  /** Batches given in the pass under way, all of them if its end was not reached yet; 0 between passes. */
  readonly position: number;
  /** The number that the pass under way follows from; -1 while none has been drawn. */
  readonly seed: number;
  /** Of the loader that wrote this; a pass goes on only in a loader that has the same. */
  readonly batchSize: number;
  /** Items of its dataset. */
  readonly items: number;
  /** 1 if it shuffles, else 0. */
  readonly shuffle: number;
};

const op = "DataLoader.loadStateDict";
const least: Readonly<Record<keyof DataLoaderState, number>> = {
  pass: 0,
  position: 0,
  seed: -1,
  batchSize: 1,
  items: 0,
  shuffle: 0,
};
const most = 2 ** 32 - 1;

/** The state in a dict of numbers or of entries of a file. Throws StateDictError for anything else. */
export function readLoaderState(source: unknown): DataLoaderState {
  return {
    pass: readWhole(source, "pass"),
    position: readWhole(source, "position"),
    seed: readWhole(source, "seed"),
    batchSize: readWhole(source, "batchSize"),
    items: readWhole(source, "items"),
    shuffle: readWhole(source, "shuffle"),
  };
}

function readWhole(source: unknown, key: keyof DataLoaderState): number {
  const value = memberOf(source, key);
  const number = numberIn(value);
  if (Number.isInteger(number) && number >= least[key] && number <= most) return number;
  throw new StateDictError({
    op,
    expected: `a whole number of at least ${least[key]} as ${key}`,
    actual: value === undefined ? "nothing" : String(Number.isNaN(number) ? typeof value : number),
    hint: "pass what stateDict() gave, or the same part of a checkpoint",
  });
}

function memberOf(source: unknown, key: string): unknown {
  if (source instanceof Map) return source.get(key);
  return typeof source === "object" && source !== null ? Reflect.get(source, key) : undefined;
}

/** Files hold a number as an int64 scalar. */
function numberIn(value: unknown): number {
  if (typeof value === "number") return value;
  if (typeof value !== "object" || value === null || !("data" in value)) return Number.NaN;
  const values: unknown = typeof value.data === "function" ? value.data() : null;
  const isOne = ArrayBuffer.isView(values) && "length" in values && values.length === 1;
  return isOne ? Number(Reflect.get(values, 0)) : Number.NaN;
}

/** Throws StateDictError if a pass under way cannot go on with these batches. */
export function checkSameBatches(
  state: DataLoaderState,
  loader: Batches & { readonly length: number },
): void {
  const { position } = state;
  if (position === 0) return;
  if (describe(state) === describe(loader) && position <= loader.length) return;
  throw new StateDictError({
    op,
    expected: `a pass over ${describe(loader)}, as this loader makes`,
    actual: `one over ${describe(state)}, stopped after batch ${position}`,
    hint: "give the loader the dataset and the options it had; between passes they may change",
  });
}

type Batches = Pick<DataLoaderState, "batchSize" | "items" | "shuffle">;

function describe({ batchSize, items, shuffle }: Batches): string {
  return `${items} items in batches of ${batchSize}, ${shuffle ? "shuffled" : "in order"}`;
}

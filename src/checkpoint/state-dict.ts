import type { Entry } from "../core/entry.ts";
import type { StateVersion } from "../nn/state-dict.ts";

/** What `rest` of a checkpoint is made of: plain data with entries as leaves, which is what optimizers and schedulers load. */
export type Plain =
  | null
  | boolean
  | number
  | string
  | Entry
  | readonly Plain[]
  | { readonly [key: string]: Plain };

/** What `checkpoint.read` gives: entries by name, in the file's order, and what else the file holds. */
export class StateDict extends Map<string, Entry> {
  /**
   * What a PyTorch file holds beside the state dict, by its names there: the state of an optimizer, an epoch. Python's dicts are
   * objects, its lists, tuples and sets arrays; numbers beyond 53 bits are entries (beyond 64 their decimal text), bytes
   * entries of uint8, types their names. Empty for safetensors.
   */
  readonly rest: { readonly [key: string]: Plain };
  /** PyTorch's `_metadata`: the version of each module's layout, by its path. Empty where the file has none, as safetensors. */
  readonly metadata: ReadonlyMap<string, StateVersion>;

  constructor(
    entries: Iterable<readonly [string, Entry]> = [],
    { rest = {}, metadata = new Map() }: Partial<Pick<StateDict, "rest" | "metadata">> = {},
  ) {
    super(entries);
    this.rest = rest;
    this.metadata = metadata;
  }
}

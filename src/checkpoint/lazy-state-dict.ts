import type { Entry, EntryInfo } from "../core/entry.ts";
import { ArgumentError } from "../core/errors.ts";
import { nearestKey, type StateVersion } from "../nn/state-dict.ts";
import type { FileOptions } from "./files.ts";
import type { Plain } from "./state-dict.ts";

/** An entry whose values are still in the file. */
export interface Loadable extends EntryInfo {
  load(options?: FileOptions): Promise<Entry>;
}

interface Parts {
  readonly metadata?: ReadonlyMap<string, StateVersion>;
  readonly rest?: (options: FileOptions) => Promise<{ readonly [key: string]: Plain }>;
}

/**
 * What `checkpoint.open` gives: what a file holds, with values read when asked for. `model.loadStateDict(file)` takes it and then returns a
 * promise; no tensor is in memory longer than it takes to copy it.
 */
export class LazyStateDict {
  /** PyTorch's `_metadata`: the version of each module's layout, by its path. Empty where the file has none, as safetensors. */
  readonly metadata: ReadonlyMap<string, StateVersion>;
  readonly #entries: ReadonlyMap<string, Loadable>;
  readonly #rest: NonNullable<Parts["rest"]>;

  /** @internal */
  constructor(
    entries: ReadonlyMap<string, Loadable>,
    { metadata = new Map(), rest = async () => ({}) }: Parts = {},
  ) {
    this.#entries = entries;
    this.metadata = metadata;
    this.#rest = rest;
  }

  /** How many entries there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** Names of the entries, in the file's order. */
  keys(): IterableIterator<string> {
    return this.#entries.keys();
  }

  /** Whether there is an entry of this name. */
  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Type and shape of an entry. Throws: ArgumentError for a name that is not there. */
  info(key: string): EntryInfo {
    const { dtype, shape } = this.#entry("info", key);
    return { dtype, shape };
  }

  /**
   * Reads one entry, at each call anew.
   * Throws: ArgumentError for a name that is not there; CheckpointError if the file can't be read, or is another than it was when it was opened;
   * the signal's reason.
   */
  async get(key: string, options: FileOptions = {}): Promise<Entry> {
    options.signal?.throwIfAborted();
    return this.#entry("get", key).load(options);
  }

  /** Reads what the file holds beside the state dict: what `checkpoint.read` gives as `rest`. Throws: as `get`. */
  async rest(options: FileOptions = {}): Promise<{ readonly [key: string]: Plain }> {
    options.signal?.throwIfAborted();
    return this.#rest(options);
  }

  #entry(method: string, key: string): Loadable {
    const entry = this.#entries.get(key);
    if (entry !== undefined) return entry;
    const nearest = nearestKey(String(key), this.#entries.keys());
    throw new ArgumentError({
      op: `checkpoint.${method}`,
      expected: "the name of an entry of the file",
      actual: JSON.stringify(key) ?? typeof key,
      ...(nearest === null ? {} : { hint: `the file has "${nearest}"` }),
    });
  }
}

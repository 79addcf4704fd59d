import type { Device } from "../backend/backend.ts";
import { ArgumentError, StateDictError } from "../core/errors.ts";
import { defaultGenerator, Generator, type Random } from "../core/random.ts";
import { tensor } from "../tensor/create.ts";
import { hopIfNeeded } from "../tensor/lifetime.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type AbortOptions, throwIfAborted, untilAborted } from "./abort.ts";
import { type Dataset, defaultCollate, type Field, type HostTensor } from "./dataset.ts";
import { checkSameBatches, type DataLoaderState, readLoaderState } from "./loader-state.ts";
import { Pass } from "./pass.ts";

/** One tensor per field of an item, items stacked along axis 0. */
export type Batch<Fields extends readonly unknown[]> = { [Index in keyof Fields]: Tensor };

/** What is in a batch, in what order, and where. */
export interface DataLoaderOptions extends AbortOptions {
  /** Items per batch; the last batch may be smaller. Default 1. */
  readonly batchSize?: number;
  /** Draw a new random order for every pass. Default false. */
  readonly shuffle?: boolean;
  /** Leave out a last batch that is not full. Default false. */
  readonly dropLast?: boolean;
  /** Makes the orders and draws of all passes a function of this number; without it they follow `manualSeed`. */
  readonly seed?: number;
  /** Where the batches are put. Default "cpu". */
  readonly device?: Device;
}

/** How a batch is made of items. */
export interface CollateOption<
  Item extends readonly Field[],
  Fields extends readonly HostTensor[],
> {
  /**
   * Makes the fields of a batch from its items, which then come one by one; `random` gives the batch's own numbers.
   * Default `defaultCollate`, which stacks them.
   */
  readonly collate?: (items: readonly Item[], random: Random) => Fields | Promise<Fields>;
}

/**
 * Batches of a dataset as tensors, for `for await`; every loop is one pass (epoch) over it.
 *
 * Pass k of a loader with a seed has the same order in every run, however many passes run at once. What an item draws at random
 * (`data.map`) follows from the pass and the item's index, not from who is decoded before it.
 * Every batch is new memory: nothing is overwritten under a graph, and the lifetime rules take it back.
 *
 * Leaving the loop, by `break` or by an error in its body, ends the pass. An aborted `signal` ends the loop too, at its next batch,
 * but leaves the pass open: `stateDict()` then says where it stands.
 * Throws: ArgumentError for options out of range; while looping, the signal's reason, and what the dataset throws.
 *
 * @example
 * for await (const [x, label] of new DataLoader(train, { batchSize: 128, shuffle: true, seed: 1 })) ...
 */
export class DataLoader<
  Item extends readonly Field[],
  Fields extends readonly HostTensor[] = { [Index in keyof Item]: HostTensor },
> implements AsyncIterable<NoInfer<Batch<Fields>>>
{
  /** What it reads. */
  readonly dataset: Dataset<Item>;
  /** Items per batch; the last batch may be smaller. */
  readonly batchSize: number;
  /** Whether every pass has a new random order. */
  readonly shuffle: boolean;
  /** Whether a last batch that is not full is left out. */
  readonly dropLast: boolean;
  readonly #device: Device;
  readonly #fields: (pass: Pass, indices: Uint32Array) => Promise<readonly HostTensor[]>;
  readonly #signal: AbortSignal | undefined;
  readonly #seed: number | undefined;
  #generator: Generator;
  /** Passes begun so far. */
  #begun = 0;
  /** The pass begun last. */
  #latest: Pass | null = null;
  /** A pass that was given by `loadStateDict` and that the next loop goes on with. */
  #waiting: Pass | null = null;

  constructor(
    dataset: Dataset<Item>,
    options: DataLoaderOptions & CollateOption<Item, Fields> = {},
  ) {
    const { batchSize = 1, shuffle = false, dropLast = false, seed, device = "cpu" } = options;
    checkWhole("batchSize", batchSize, 1);
    checkFlag("shuffle", shuffle);
    checkFlag("dropLast", dropLast);
    if (seed !== undefined) checkWhole("seed", seed, 0);
    checkWhole("dataset.length", dataset.length, 0);
    this.dataset = dataset;
    this.batchSize = batchSize;
    this.shuffle = shuffle;
    this.dropLast = dropLast;
    this.#device = device;
    this.#fields = fieldsOf(dataset, options.collate);
    this.#signal = options.signal;
    this.#seed = seed;
    this.#generator = seed === undefined ? defaultGenerator : new Generator(seed);
  }

  /** Batches in one pass. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
    return this.dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /**
   * Where the pass begun last stands, counting the batches that were handed out. With it and, for a loader without a seed,
   * `getRngState`, another process goes on with the very next batch. Taken after the last batch and before the loop has ended, it
   * gives a loop without batches, so that what follows the loop still happens; after the loop, the next pass.
   *
   * Take it inside the loop: `break` ends the pass. Of passes that run at once it knows the one begun last.
   */
  stateDict(): DataLoaderState {
    const pass = this.#latest;
    const batches = this.#batches;
    if (pass === null || pass.isOver) {
      return { pass: this.#begun, position: 0, seed: -1, ...batches };
    }
    const { position, drawnSeed } = pass;
    return { pass: this.#begun - 1, position, seed: drawnSeed ?? -1, ...batches };
  }

  /**
   * The next loop goes on where the state was taken, and later ones follow as they would have; loops that run already are not
   * touched. Takes what `stateDict()` gave, or the same as entries of a file.
   *
   * Throws: StateDictError for anything else, for the state of a loader with another seed, or for a pass that is under way over
   * another number of items or in batches of another size; the loader is then as before.
   */
  loadStateDict(source: unknown): void {
    const state = readLoaderState(source);
    checkSameBatches(state, { ...this.#batches, length: this.length });
    const generator = this.#generatorAt(state);
    this.#generator = generator;
    this.#begun = state.pass;
    this.#waiting = null;
    this.#latest = null;
    if (state.position === 0 && state.seed < 0) return;
    const { position, seed } = state;
    this.#waiting = this.#newPass({ position, seed: seed < 0 ? null : seed });
    this.#latest = this.#waiting;
    this.#begun++;
  }

  /** Begins a pass, or goes on with the one that `loadStateDict` gave. */
  // NoInfer: where a loader is passed on at once, the types that are wanted there must not be taken for its own.
  [Symbol.asyncIterator](): AsyncIterableIterator<NoInfer<Batch<Fields>>> {
    const pass = this.#begin();
    const order = pass.order(this.dataset.length, this);
    let earlier: Promise<void> = Promise.resolve();
    // Not an async generator: its suspended frame would hold the last batch and keep the collector from taking it back.
    return {
      next: () => {
        // One after the other, whoever calls ahead: the position counts batches in their order.
        const result = earlier.then(() => this.#next(pass, order));
        const settle = () => {};
        earlier = result.then(settle, settle);
        return result;
      },
      return: () => {
        if (!this.#signal?.aborted) pass.isOver = true;
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  get #batches() {
    const { batchSize, dataset, shuffle } = this;
    return { batchSize, items: dataset.length, shuffle: shuffle ? 1 : 0 };
  }

  #begin(): Pass {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting !== null) return waiting;
    const pass = this.#newPass();
    // One draw for every pass, whether it is needed or not: so pass k is the same whatever the others did. Without a seed of its own
    // the loader draws from everybody's generator, and only what it needs.
    if (this.#seed !== undefined) pass.seed;
    this.#begun++;
    this.#latest = pass;
    return pass;
  }

  #newPass(from: { readonly position?: number; readonly seed?: number | null } = {}): Pass {
    return new Pass(() => this.#generator.uint32(), from);
  }

  /** The generator as it was at a state; pass k has the generator's k-th number. */
  #generatorAt({ pass, seed }: DataLoaderState): Generator {
    if (this.#seed === undefined) return this.#generator;
    const generator = new Generator(this.#seed);
    for (let drawn = 0; drawn < pass; drawn++) generator.uint32();
    const own = seed < 0 ? seed : generator.uint32();
    if (own === seed) return generator;
    throw new StateDictError({
      op: "DataLoader.loadStateDict",
      expected: `the state of a loader with seed ${this.#seed}`,
      actual: "that of one with another seed or none",
    });
  }

  async #next(pass: Pass, order: Uint32Array): Promise<IteratorResult<Batch<Fields>, undefined>> {
    await hopIfNeeded();
    await throwIfAborted(this.#signal);
    if (pass.isOver || pass.position >= this.length) {
      pass.isOver = true;
      return { done: true, value: undefined };
    }
    const from = pass.position * this.batchSize;
    const indices = order.slice(from, from + this.batchSize);
    const fields = await untilAborted(this.#signal, this.#fields(pass, indices));
    const device = this.#device;
    const batch = fields.map(({ data, shape, dtype }) =>
      tensor(data, { shape, device, ...(dtype === undefined ? {} : { dtype }) }),
    );
    pass.position++;
    return { done: false, value: batch as Batch<Fields> };
  }
}

/** How the fields of a batch are made. Closed over the items' type, which would else make loaders of other items unlike. */
function fieldsOf<Item extends readonly Field[]>(
  dataset: Dataset<Item>,
  collate: CollateOption<Item, readonly HostTensor[]>["collate"],
): (pass: Pass, indices: Uint32Array) => Promise<readonly HostTensor[]> {
  return async (pass, indices) => {
    if (collate === undefined && dataset.gather) return dataset.gather(indices);
    const items = await Promise.all(
      Array.from(indices, async (index) => dataset.at(index, pass.randomOfItem(index))),
    );
    if (collate === undefined) return defaultCollate(items);
    return collate(items, pass.randomOfBatch(pass.position));
  };
}

function checkWhole(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new ArgumentError({
    op: "DataLoader",
    expected: `${name} to be a whole number of at least ${least}`,
    actual: String(value),
  });
}

function checkFlag(name: string, value: boolean): void {
  if (typeof value === "boolean") return;
  throw new ArgumentError({
    op: "DataLoader",
    expected: `${name} to be true or false`,
    actual: String(value),
  });
}

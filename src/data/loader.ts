import type { Device } from "../backend/backend.ts";
import { ArgumentError } from "../core/errors.ts";
import { defaultGenerator, Generator } from "../core/random.ts";
import { tensor } from "../tensor/create.ts";
import { hopIfNeeded } from "../tensor/lifetime.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Dataset, type Field, stack } from "./dataset.ts";

/** One tensor per field of an item, items stacked along axis 0. */
export type Batch<Item extends readonly Field[]> = { [Index in keyof Item]: Tensor };

export interface DataLoaderOptions {
  /** Items per batch; the last batch may be smaller. Default 1. */
  readonly batchSize?: number;
  /** Draw a new random order for every pass. Default false. */
  readonly shuffle?: boolean;
  /** Leave out a last batch that is not full. Default false. */
  readonly dropLast?: boolean;
  /** Makes the orders of all passes a function of this number; without it they follow `manualSeed`. */
  readonly seed?: number;
  /** Where the batches are put. Default "cpu". */
  readonly device?: Device;
}

/**
 * Batches of a dataset as tensors, for `for await`; every loop is one pass (epoch) over it.
 *
 * Pass k of a loader with a seed has the same order in every run, however many passes run at once.
 * Every batch is new memory: nothing is overwritten under a graph, and the lifetime rules take it back.
 * Throws: ArgumentError for options out of range.
 *
 * @example
 * for await (const [x, label] of new DataLoader(train, { batchSize: 128, shuffle: true, seed: 1 })) ...
 */
export class DataLoader<Item extends readonly Field[]> implements AsyncIterable<Batch<Item>> {
  readonly dataset: Dataset<Item>;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
  readonly #device: Device;
  readonly #generator: Generator;

  constructor(dataset: Dataset<Item>, options: DataLoaderOptions = {}) {
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
    this.#generator = seed === undefined ? defaultGenerator : new Generator(seed);
  }

  /** Batches in one pass. */
  get length(): number {
    const batches = this.dataset.length / this.batchSize;
    return this.dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Batch<Item>> {
    const order = this.#order();
    let next = 0;
    // Not an async generator: its suspended frame would hold the last batch and keep the collector from taking it back.
    return {
      next: async () => {
        await hopIfNeeded();
        if (next >= this.length) return { done: true, value: undefined };
        const from = next++ * this.batchSize;
        return { done: false, value: await this.#batch(order.slice(from, from + this.batchSize)) };
      },
      return: () => {
        next = this.length;
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #order(): Uint32Array {
    const { length } = this.dataset;
    if (!this.shuffle) return Uint32Array.from({ length }, (_, index) => index);
    // One draw per pass, so that pass k does not depend on the length of the dataset or on who iterates beside it.
    return new Generator(this.#generator.uint32()).permutation(length);
  }

  async #batch(indices: Uint32Array): Promise<Batch<Item>> {
    const { dataset } = this;
    const fields = dataset.gather
      ? await dataset.gather(indices)
      : await stack(await Promise.all(Array.from(indices, (index) => dataset.at(index))));
    const device = this.#device;
    return fields.map(({ data, shape, dtype }) =>
      tensor(data, { shape, device, ...(dtype === undefined ? {} : { dtype }) }),
    ) as { [Index in keyof Item]: Tensor };
  }
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

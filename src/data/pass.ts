import { Generator, type Random } from "../core/random.ts";

/** Numbers far apart from item indices, for what is drawn once per batch. */
const batchFamily = 0x9e3779b9;

/**
 * One pass over a dataset: how far it has come, and the one number that its order and all that its items draw follow from.
 * That number is drawn when it is first needed, so that a pass that needs none leaves the generator alone.
 */
export class Pass {
  /** Batches given so far. */
  position: number;
  /** Left for good: the next pass is another one. */
  isOver = false;
  #seed: number | null;
  readonly #draw: () => number;

  constructor(draw: () => number, { position = 0, seed = null as number | null } = {}) {
    this.#draw = draw;
    this.position = position;
    this.#seed = seed;
  }

  /** The number, or null while it has not been drawn. */
  get drawnSeed(): number | null {
    return this.#seed;
  }

  get seed(): number {
    this.#seed ??= this.#draw();
    return this.#seed;
  }

  order(length: number, { shuffle }: { readonly shuffle: boolean }): Uint32Array {
    if (shuffle) return new Generator(this.seed).permutation(length);
    return Uint32Array.from({ length }, (_, index) => index);
  }

  /** What item `index` draws from: the same numbers whoever is decoded before it or beside it. */
  randomOfItem(index: number): Random {
    return new LazyRandom(() => Generator.derived(this.seed, index));
  }

  /** What making batch `position` draws from. */
  randomOfBatch(position: number): Random {
    return new LazyRandom(() => Generator.derived((this.seed ^ batchFamily) >>> 0, position));
  }
}

/** A generator that is made at its first draw. */
class LazyRandom implements Random {
  readonly #make: () => Generator;
  #generator: Generator | null = null;

  constructor(make: () => Generator) {
    this.#make = make;
  }

  get #made(): Generator {
    this.#generator ??= this.#make();
    return this.#generator;
  }

  uint32(): number {
    return this.#made.uint32();
  }

  uniform(): number {
    return this.#made.uniform();
  }

  integer(count: number): number {
    return this.#made.integer(count);
  }

  normal(): number {
    return this.#made.normal();
  }

  permutation(length: number): Uint32Array<ArrayBuffer> {
    return this.#made.permutation(length);
  }
}

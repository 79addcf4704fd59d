/**
 * Seeded random numbers: one generator for host draws (weights, shuffles), one counter-based hash for kernels (dropout),
 * which must give element i the same draw whatever the number of threads.
 */

/** The state of a `Generator`: four 32-bit words and a spare normal deviate. */
export interface GeneratorState {
  readonly words: readonly [number, number, number, number];
  readonly spare: number | null;
}

/** Where random numbers come from: what a transform or a dataset is handed to draw from. */
export interface Random {
  /** Uniform over the 2^32 unsigned integers. */
  uint32(): number;
  /** Uniform in [0, 1), 53 random bits. */
  uniform(): number;
  /** A whole number from 0 to `count` - 1, each as likely. */
  integer(count: number): number;
  /** Standard normal. */
  normal(): number;
  /** A uniformly random order of 0 .. length - 1. */
  permutation(length: number): Uint32Array<ArrayBuffer>;
}

/** xoshiro128** by Blackman and Vigna; seeded through splitmix32 so that nearby seeds give unrelated streams. */
export class Generator implements Random {
  #words: Uint32Array<ArrayBuffer>;
  #spare: number | null = null;

  constructor(seed: number) {
    this.#words = Generator.#expand(seed);
  }

  /** Generator `index` of the family of `seed`, both below 2^32: unrelated to its neighbours, and found without drawing. */
  static derived(seed: number, index: number): Generator {
    const generator = new Generator(0);
    generator.#words = Generator.#expand(index, seed);
    return generator;
  }

  /** Seeds beyond 32 bits count too: their upper half enters as a second word. */
  static #expand(seed: number, upper = Math.floor(seed / 4294967296)): Uint32Array<ArrayBuffer> {
    const words = new Uint32Array(4);
    let state = seed >>> 0;
    let high = upper >>> 0;
    for (let i = 0; i < 4; i++) {
      state = (state + 0x9e3779b9) >>> 0;
      words[i] = mix(state ^ high);
      high = mix(high + i);
    }
    return words;
  }

  seed(seed: number): void {
    this.#words = Generator.#expand(seed);
    this.#spare = null;
  }

  state(): GeneratorState {
    const [a = 0, b = 0, c = 0, d = 0] = this.#words;
    return { words: [a, b, c, d], spare: this.#spare };
  }

  restore(state: GeneratorState): void {
    this.#words = Uint32Array.from(state.words);
    this.#spare = state.spare;
  }

  uint32(): number {
    const s = this.#words;
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }

  uniform(): number {
    return ((this.uint32() >>> 5) * 67108864 + (this.uint32() >>> 6)) / 9007199254740992;
  }

  integer(count: number): number {
    return Math.floor(this.uniform() * count);
  }

  /** Standard normal, by Box and Muller's polar form. */
  normal(): number {
    if (this.#spare !== null) {
      const spare = this.#spare;
      this.#spare = null;
      return spare;
    }
    for (;;) {
      const u = 2 * this.uniform() - 1;
      const v = 2 * this.uniform() - 1;
      const s = u * u + v * v;
      if (s >= 1 || s === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(s)) / s);
      this.#spare = v * factor;
      return u * factor;
    }
  }

  /** A uniformly random order of 0 .. length - 1 (Fisher and Yates). */
  permutation(length: number): Uint32Array<ArrayBuffer> {
    const order = new Uint32Array(length);
    for (let i = 0; i < length; i++) order[i] = i;
    for (let i = length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const swapped = order[i];
      order[i] = order[j];
      order[j] = swapped;
    }
    return order;
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

/** A 32-bit bijection with good avalanche (two multiply-xorshift rounds). */
function mix(word: number): number {
  let z = word >>> 0;
  z = Math.imul(z ^ (z >>> 16), 0x7feb352d);
  z = Math.imul(z ^ (z >>> 15), 0x846ca68b);
  return (z ^ (z >>> 16)) >>> 0;
}

/** The draw of element `index` of a kernel seeded with the uint32 `seed`: uniform in [0, 1), a multiple of 2^-24 (exact in float32). */
export function hashUniform(seed: number, index: number): number {
  return (mix(mix(index ^ seed) + Math.imul(seed, 0x9e3779b9)) >>> 8) / 16777216;
}

/** Draws weights, noise and seeds wherever no generator is named. */
export const defaultGenerator = new Generator(0x5eed);

/**
 * Seeds everything that draws at random: weights, `randn`, dropout, and loaders without a seed of their own.
 * Two runs of the same program with the same seed give the same numbers bit for bit.
 */
export function manualSeed(seed: number): void {
  defaultGenerator.seed(seed);
}

import { Generator } from "../../src/core/random.ts";

interface Range {
  readonly seed: number;
  readonly low?: number;
  readonly high?: number;
}

/**
 * Float32 numbers in (low, high), all different, in random order: swapped elements, channels or rows then show.
 * Every cell of an even grid gives one number, so nearby lengths cover the range alike.
 */
export function distinct(length: number, { seed, low = -2, high = 2 }: Range): Float32Array {
  const generator = new Generator(seed);
  const order = generator.permutation(length);
  const step = (high - low) / length;
  return Float32Array.from(order, (cell) => low + (cell + 0.25 + 0.5 * generator.uniform()) * step);
}

/** Integers in [low, high), drawn evenly, with repeats. */
export function integers(length: number, { seed, low = 0, high = 100 }: Range): Int32Array {
  const generator = new Generator(seed);
  return Int32Array.from({ length }, () => low + Math.floor(generator.uniform() * (high - low)));
}

/** Standard normal deviates in double precision: directions and cotangents of gradient checks. */
export function normals(length: number, seed: number): Float64Array {
  const generator = new Generator(seed);
  return Float64Array.from({ length }, () => generator.normal());
}

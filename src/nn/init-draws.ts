/** The random draws of `nn.init` that are more than one call of the generator, on the host and in double precision. */
import type { Generator } from "../core/random.ts";

/**
 * Draws from the standard normal distribution restricted to [low, high], by rejection. At least one proposal in about fifty is taken,
 * wherever the interval lies.
 */
export function truncatedNormal(random: Generator, low: number, high: number): () => number {
  const peak = Math.min(Math.max(0, low), high);
  if (peak === 0 && high - low > 2.5) {
    return () => {
      for (;;) {
        const x = random.normal();
        if (x >= low && x <= high) return x;
      }
    };
  }
  // Further than this from the peak the density is below e^-40 of what it is there.
  const reach = Math.min(10, 40 / Math.abs(peak));
  const from = Math.max(low, peak - reach);
  const width = Math.min(high, peak + reach) - from;
  return () => {
    for (;;) {
      const x = from + width * random.uniform();
      if (Math.log(random.uniform()) <= ((peak - x) * (peak + x)) / 2) return x;
    }
  };
}

/**
 * `count` random vectors of `length` >= count, orthonormal, every such set being equally likely.
 *
 * Normal vectors point everywhere alike; each loses its parts along those before it (Gram and Schmidt). This is the QR factorisation
 * whose R has a positive diagonal, which PyTorch gets by flipping signs afterwards.
 */
export function orthonormal(random: Generator, count: number, length: number): Float64Array[] {
  const vectors: Float64Array[] = [];
  while (vectors.length < count) {
    const vector = Float64Array.from({ length }, () => random.normal());
    let before = norm(vector);
    let after = project(vector, vectors);
    // Numerics: what is left of a vector that lost much is mostly rounding errors; a second pass removes their parts too.
    while (after < 0.7 * before) {
      before = after;
      after = project(vector, vectors);
    }
    for (let i = 0; i < length; i++) vector[i] /= after;
    vectors.push(vector);
  }
  return vectors;
}

/**
 * Takes the parts along orthonormal `others` out of `vector`; returns the length of what is left.
 * Cost: four at a time take a third of the time, since their sums need not wait for each other.
 */
function project(vector: Float64Array, others: readonly Float64Array[]): number {
  const nothing = new Float64Array(vector.length);
  for (let k = 0; k < others.length; k += 4) {
    const [a, b = nothing, c = nothing, d = nothing] = others.slice(k, k + 4);
    let [inA, inB, inC, inD] = [0, 0, 0, 0];
    for (let i = 0; i < vector.length; i++) {
      const v = vector[i];
      inA += v * a[i];
      inB += v * b[i];
      inC += v * c[i];
      inD += v * d[i];
    }
    for (let i = 0; i < vector.length; i++) {
      vector[i] -= inA * a[i] + inB * b[i] + (inC * c[i] + inD * d[i]);
    }
  }
  return norm(vector);
}

function norm(vector: Float64Array): number {
  let squares = 0;
  for (let i = 0; i < vector.length; i++) squares += vector[i] * vector[i];
  return Math.sqrt(squares);
}

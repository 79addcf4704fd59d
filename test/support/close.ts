/** How far a result may be off: |actual - expected| <= atol + rtol * |expected|. Always given as a pair. */
export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

/** PyTorch's pairs by element type, for every comparison that has no derived bound. Never scaled by size. */
export const tolerance: Readonly<Record<"float16" | "float32" | "float64", Tolerance>> = {
  float16: { rtol: 1e-3, atol: 1e-5 },
  float32: { rtol: 1.3e-6, atol: 1e-5 },
  float64: { rtol: 1e-7, atol: 1e-7 },
};

/** Fails unless every element is within the tolerance. NaN equals NaN, infinities must match in sign. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { rtol, atol }: Tolerance = tolerance.float32,
  label = "values",
): void {
  compare(actual, expected, label, (i) => atol + rtol * Math.abs(expected[i]));
}

/** Fails unless |actual - expected| <= bound, each element with its own bound. NaN and infinities as in `expectClose`. */
export function expectWithin(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bounds: ArrayLike<number>,
  label = "values",
): void {
  compare(actual, expected, label, (i) => bounds[i]);
}

/** Fails unless both arrays hold the same bytes: tells 0 from -0 and one NaN from another. */
export function expectSameBytes(
  actual: ArrayBufferView,
  expected: ArrayBufferView,
  label = "bytes",
): void {
  const [actualBytes, expectedBytes] = [bytesOf(actual), bytesOf(expected)];
  // Cost: guards, inputs and thread counts are compared in megabytes; the search for the worst is only for failures.
  if (areEqual(actualBytes, expectedBytes)) return;
  compare(actualBytes, expectedBytes, `${label}, byte by byte`, () => 0);
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function compare(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  label: string,
  allowed: (i: number) => number,
): void {
  if (actual.length !== expected.length) {
    throw new Error(`${label}: expected ${expected.length} elements, got ${actual.length}`);
  }
  let count = 0;
  let worst = -1;
  let worstExcess = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i] || Object.is(actual[i], expected[i])) continue;
    const excess = distance(actual[i], expected[i]) - allowed(i);
    // Written so that a NaN fails: next to infinite values the allowance is infinite itself.
    if (excess <= 0) continue;
    count += 1;
    if (worst < 0 || !(excess <= worstExcess)) {
      worst = i;
      worstExcess = excess;
    }
  }
  if (count === 0) return;
  throw new Error(
    `${label}: ${count} of ${expected.length} elements differ; worst at ${worst}: ` +
      `expected ${expected[worst]}, got ${actual[worst]} (allowed ${allowed(worst)})`,
  );
}

function distance(actual: number, expected: number): number {
  const difference = Math.abs(actual - expected);
  return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
}

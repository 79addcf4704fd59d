/** The bounds that src/backend/cpu/kernels/math.ts states, in units in the last place of the exact result. */
import { describe, expect, test } from "vitest";
import type { UnaryOp } from "../src/backend/backend.ts";
import { createCpuBackend } from "../src/backend/cpu/index.ts";
import { Generator } from "../src/core/random.ts";

const count = 1 << 16;
const smallestNormal = 2 ** -126;

const functions = [
  { op: "exp", exact: Math.exp, usual: [-105, 90], bound: 1 },
  { op: "log", exact: Math.log, usual: [0.5, 2], bound: 1 },
  { op: "sigmoid", exact: sigmoid, usual: [-20, 20], bound: 3 },
  { op: "tanh", exact: Math.tanh, usual: [-4, 4], bound: 3 },
] as const;

const backends = [false, true].map((relaxed) => createCpuBackend({ threads: 1, relaxed }));

function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

/** Every kind of float: bit patterns at random, so all magnitudes, subnormals, infinities and NaN come. */
function anyFloats(): Float32Array {
  const generator = new Generator(3);
  const bits = Uint32Array.from({ length: count }, () => generator.uint32());
  return new Float32Array(bits.buffer);
}

function floatsBetween([low, high]: readonly [number, number]): Float32Array {
  const generator = new Generator(4);
  return Float32Array.from({ length: count }, () => low + (high - low) * generator.uniform());
}

function apply(
  backend: (typeof backends)[number],
  op: UnaryOp,
  xs: Float32Array,
): ArrayLike<number> {
  const [x, y] = [0, 1].map(() => ({
    ...{ handle: backend.alloc(xs.byteLength), offset: 0, length: xs.length },
    dtype: "float32" as const,
  }));
  backend.write(x, xs);
  backend.unary(op, x, y, 0);
  return backend.readSync(y);
}

/** Distance in units in the last place; 0 between NaNs and equal infinities, Infinity between different kinds. */
function distance(actual: number, exact: number): number {
  const rounded = Math.fround(exact);
  if (Object.is(actual, rounded)) return 0;
  if (!Number.isFinite(actual) || !Number.isFinite(rounded)) return Number.POSITIVE_INFINITY;
  const exponent = Math.floor(Math.log2(Math.max(Math.abs(exact), smallestNormal)));
  return Math.abs(actual - exact) / 2 ** (exponent - 23);
}

function worst(xs: Float32Array, actual: ArrayLike<number>, exact: (x: number) => number) {
  const found = { ulp: 0, x: 0, actual: 0, expected: 0 };
  xs.forEach((x, i) => {
    const expected = exact(x);
    const ulp = distance(actual[i], expected);
    if (ulp > found.ulp) Object.assign(found, { ulp, x, actual: actual[i], expected });
  });
  return found;
}

describe.each(functions)("$op", ({ op, exact, usual, bound }) => {
  test.each([
    ["floats of every kind", anyFloats()],
    ["usual floats", floatsBetween(usual)],
  ])(`is within ${bound} ulp for %s`, (_, xs) => {
    for (const backend of backends) {
      const found = worst(xs, apply(backend, op, xs), exact);
      expect(found.ulp, JSON.stringify(found)).toBeLessThanOrEqual(bound);
    }
  });
});

test("special values come out as in Math", () => {
  const xs = Float32Array.of(0, -0, 1, Infinity, -Infinity, Number.NaN, -1, 1e-45, 3e38, -3e38);
  for (const backend of backends) {
    for (const { op, exact } of functions) {
      const found = worst(xs, apply(backend, op, xs), exact);
      expect(found.ulp, `${op} ${JSON.stringify(found)}`).toBeLessThanOrEqual(1);
    }
  }
});

test("pow is rounded correctly but for a last bit, over signs, zeros, infinities and exponents of all kinds", () => {
  const bases = [0, -0, 1, -1, 0.5, -2, 3, 1.1, -1.1, 1e-30, 1e30, Infinity, -Infinity, Number.NaN];
  const exponents = [
    0,
    1,
    2,
    -1,
    3,
    -3,
    0.5,
    -0.5,
    7.3,
    40,
    -41,
    1e10,
    Infinity,
    -Infinity,
    Number.NaN,
  ];
  const pairs = bases.flatMap((base) => exponents.map((exponent) => [base, exponent]));
  const power = ([base, exponent]: number[]) =>
    base === 1 || (base === -1 && Math.abs(exponent) === Infinity) ? 1 : base ** exponent;
  for (const backend of backends) {
    const [a, b, out] = [0, 1, 2].map(() => ({
      ...{ handle: backend.alloc(pairs.length * 4), offset: 0, length: pairs.length },
      dtype: "float32" as const,
    }));
    const rounded = pairs.map((pair) => pair.map(Math.fround));
    backend.write(
      a,
      Float32Array.from(rounded, ([base]) => base),
    );
    backend.write(
      b,
      Float32Array.from(rounded, ([, exponent]) => exponent),
    );
    backend.binary("pow", a, b, out, { shape: [pairs.length], aStrides: [1], bStrides: [1] });
    const actual = backend.readSync(out);
    const far = rounded
      .map((pair, i) => ({ pair, actual: actual[i], expected: power(pair) }))
      .filter((found) => distance(found.actual, found.expected) > 0.51);
    expect(far).toEqual([]);
  }
});

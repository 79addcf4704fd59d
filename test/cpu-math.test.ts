/** The bounds that src/backend/cpu/kernels/math.ts states, in units in the last place of the exact result. */
import { describe, expect, test } from "vitest";
import type { Operand, UnaryGradOp, UnaryOp } from "../src/backend/backend.ts";
import { createCpuBackend } from "../src/backend/cpu/index.ts";
import { activationGradients, activations } from "../src/backend/reference/activation.ts";
import { Generator } from "../src/core/random.ts";
import { expectWithin } from "./support/close.ts";

const count = 1 << 16;
const smallestNormal = 2 ** -126;

/** Softplus's, above which it gives its argument. */
const threshold = 20;

interface Case {
  readonly op: UnaryOp;
  readonly exact: (x: number) => number;
  readonly usual: readonly [number, number];
  readonly bound: number;
}

const functions: readonly Case[] = [
  { op: "exp", exact: Math.exp, usual: [-105, 90], bound: 1 },
  { op: "log", exact: Math.log, usual: [0.5, 2], bound: 1 },
  { op: "sigmoid", exact: sigmoid, usual: [-20, 20], bound: 3 },
  { op: "tanh", exact: Math.tanh, usual: [-4, 4], bound: 3 },
];

const smooth: readonly Case[] = [
  { op: "softplus", exact: (x) => activations.softplus(x, threshold), usual: [-10, 25], bound: 3 },
  { op: "gelu", exact: (x) => activations.gelu(x, 0), usual: [-15, -13], bound: 10 },
];

/** Functions whose bound holds on a part of their range. */
const parts: readonly Case[] = [
  { op: "gelu", exact: (x) => activations.gelu(x, 0), usual: [0, 6], bound: 2 },
  { op: "gelu", exact: (x) => activations.gelu(x, 0), usual: [-2, 0], bound: 7 },
  { op: "gelu", exact: (x) => activations.gelu(x, 0), usual: [-13, -2], bound: 7 },
  { op: "silu", exact: (x) => activations.silu(x, 0), usual: [-80, 20], bound: 4 },
  { op: "geluTanh", exact: (x) => activations.geluTanh(x, 0), usual: [-1, 20], bound: 4 },
];

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

type Backend = (typeof backends)[number];

/** Runs a kernel on inputs and gives its output, as long as they are. */
function compute(
  backend: Backend,
  inputs: readonly Float32Array[],
  run: (operands: readonly Operand[]) => void,
): ArrayLike<number> {
  const operands = [...inputs, inputs[0]].map((values) => {
    const handle = backend.alloc(values.byteLength);
    const operand: Operand = { handle, offset: 0, length: values.length, dtype: "float32" };
    backend.write(operand, values);
    return operand;
  });
  run(operands);
  const result = backend.readSync(operands[inputs.length]);
  for (const { handle } of operands) backend.free(handle);
  return result;
}

function apply(backend: Backend, op: UnaryOp, xs: Float32Array): ArrayLike<number> {
  return compute(backend, [xs], ([x, y]) => backend.unary(op, x, y, threshold));
}

/** The derivative, for operations that save their input. */
function slopes(backend: Backend, op: UnaryGradOp, xs: Float32Array): ArrayLike<number> {
  const ones = new Float32Array(xs.length).fill(1);
  return compute(backend, [ones, xs], ([dy, x, dx]) => backend.unaryGrad(op, dy, x, dx, threshold));
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

describe.each([...functions, ...smooth])("$op", ({ op, exact, usual, bound }) => {
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

describe.each(parts)("$op", ({ op, exact, usual, bound }) => {
  test(`is within ${bound} ulp from ${usual[0]} to ${usual[1]}`, () => {
    const xs = floatsBetween(usual);
    for (const backend of backends) {
      const found = worst(xs, apply(backend, op, xs), exact);
      expect(found.ulp, JSON.stringify(found)).toBeLessThanOrEqual(bound);
    }
  });
});

/**
 * Numerics: the slopes of gelu and silu cross 0, where no ulp can be held; they are at most 1.13 in size. Dense between -8 and 8,
 * and sparse out to where everything is 0 or 1.
 */
test.each(["gelu", "geluTanh", "silu", "softplus"] as const)(
  "the slope of %s is within 3e-7 of the exact one everywhere",
  (op) => {
    const usual = floatsBetween([-8, 8]);
    for (const xs of [usual, usual.map((x) => 25 * x)]) {
      const exact = xs.map((x) => activationGradients[op](1, x, threshold));
      const bounds = new Float32Array(xs.length).fill(3e-7);
      for (const backend of backends) expectWithin(slopes(backend, op, xs), exact, bounds, op);
    }
  },
);

const specials = [0, -0, 1, Infinity, -Infinity, Number.NaN, -1, 1e-45, 3e38, -3e38];

test("special values of activations come out as in float64, NaN for gelu and silu of -Infinity too", () => {
  const xs = Float32Array.from(specials);
  for (const backend of backends) {
    for (const { op, exact, bound } of [...smooth, ...parts]) {
      const found = worst(xs, apply(backend, op, xs), exact);
      expect(found.ulp, `${op} ${JSON.stringify(found)}`).toBeLessThanOrEqual(bound);
    }
    for (const op of ["gelu", "geluTanh", "silu"] as const) {
      expect(apply(backend, op, Float32Array.of(-Infinity))[0], op).toBeNaN();
    }
  }
});

test("special values come out as in Math", () => {
  const xs = Float32Array.from(specials);
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

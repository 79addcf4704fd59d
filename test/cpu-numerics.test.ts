/**
 * Batch norm of the CPU kernels on inputs that break naive sums, held against two passes in float64; and the same bits for
 * any number of threads.
 */
import { describe, expect, test } from "vitest";
import type { Backend, ChannelLayout } from "../src/backend/backend.ts";
import { createCpuBackend } from "../src/backend/cpu/index.ts";
import { cpuBuilds } from "./support/backends.ts";
import { expectClose, expectSameBytes } from "./support/close.ts";
import { type Contents, execute, input, type KernelCase, output } from "./support/kernel-case.ts";
import { normals } from "./support/random.ts";

const builds = cpuBuilds.map(({ build, relaxed }) => ({
  build,
  backend: createCpuBackend({ threads: 1, relaxed }),
  others: [2, 4].map((threads) => createCpuBackend({ threads, relaxed })),
}));

/** Parts of channels and whole ones, whole planes and segments of one, planes with a remainder, rows (S = 1) with a remainder of channels. */
const layouts: readonly ChannelLayout[] = [
  { N: 6, C: 3, S: 3001 },
  { N: 40, C: 7, S: 49 },
  { N: 1, C: 2, S: 70_001 },
  { N: 7, C: 16, S: 503 },
  { N: 5000, C: 7, S: 1 },
];

describe.each(builds)("statistics, $build build", ({ backend, others }) => {
  test.each([
    ["a mean of ten thousand standard deviations", (normal) => normal + 1e4],
    ["a mean of ten million standard deviations", (normal) => 1e-2 * normal + 1e5],
    ["a variance far below eps", (normal) => 1e-12 * normal + 1e-9],
    ["one huge value, which comes first", (normal, i) => (i === 0 ? 1e6 : normal)],
    ["a level that drifts", (normal, i) => normal + i],
    ["dark edges around bright planes", (normal, i) => (i % 49 < 7 ? 0 : 1000 + normal)],
    ["values whose squares are too big for float32", (normal) => 1e25 * normal],
    ["values whose squares are too small for float32", (normal) => 1e-30 * normal],
  ] satisfies [string, Recipe][])("are those of float64: %s", async (_, recipe) => {
    for (const layout of layouts) {
      const x = data(layout, recipe);
      const kernelCase = statsCase(layout, x);
      const actual = await execute(backend, kernelCase, 1);
      expectStatistics(actual, twoPasses(layout, x));
      await expectSameBits(others, kernelCase, actual);
    }
  });

  test("are those of float64: a million values per channel", async () => {
    for (const layout of [
      { N: 4, C: 2, S: 250_000 },
      { N: 1_000_000, C: 2, S: 1 },
    ]) {
      const x = data(layout, (normal) => normal + 1e4);
      const kernelCase = statsCase(layout, x);
      const actual = await execute(backend, kernelCase);
      expectStatistics(actual, twoPasses(layout, x));
      await expectSameBits(others, kernelCase, actual);
    }
  });

  test("of an infinite value are its infinity and NaN, and stay in its channel", async () => {
    for (const layout of layouts) {
      const lastOfFirstChannel = (layout.N - 1) * layout.C * layout.S + layout.S - 1;
      for (const position of [0, lastOfFirstChannel]) {
        const x = data(layout, (normal) => normal);
        x[position] = Number.NEGATIVE_INFINITY;
        const { mean, variance } = await execute(backend, statsCase(layout, x));
        expect([mean[0], variance[0]]).toEqual([Number.NEGATIVE_INFINITY, Number.NaN]);
        expect(Number.isFinite(mean[1] + variance[1])).toBe(true);
      }
    }
  });
});

describe.each(builds)("normalising, $build build", ({ backend, others }) => {
  test.each([0, 1e2, 1e4, 1e6])("is as exact with a mean of %d", async (offset) => {
    for (const layout of layouts) {
      const x = data(layout, (normal) => normal + offset);
      const kernelCase = normaliseCase(layout, x);
      const actual = await execute(backend, kernelCase, 1);
      // Numerics: three roundings. PyTorch's x * alpha + beta errs by 5e-6 with a mean of 100, by 0.05 with a million.
      const bound = { rtol: 3 * 2 ** -24, atol: 1e-8 };
      expectClose(actual.y, normalised(layout, x), bound, `mean ${offset}`);
      await expectSameBits(others, kernelCase, actual);
    }
  });

  test("gives exactly 0 for a constant channel, whose mean is its value and whose variance 0", async () => {
    for (const layout of layouts) {
      for (const value of [0.1, -7, 10000.1, 1e10, 1e-40].map(Math.fround)) {
        const x = data(layout, () => value);
        const { y, mean, variance } = await execute(backend, normaliseCase(layout, x), 1);
        expect(new Set(y)).toEqual(new Set([0]));
        expect(new Set(mean)).toEqual(new Set([value]));
        expect(new Set(variance)).toEqual(new Set([0]));
      }
    }
  });
});

describe.each(builds)("gradients, $build build", ({ backend, others }) => {
  test.each([0, 1e2, 1e4, 1e6])("are as exact with a mean of %d", async (offset) => {
    for (const layout of layouts) {
      const x = data(layout, (normal) => normal + offset);
      // Correlated with x, so that what flows back through the variance is large.
      const dy = x.map((value, i) => 0.5 * (value - offset) + ((i * 0.618) % 1));
      const kernelCase = gradientCase(layout, x, dy);
      const actual = await execute(backend, kernelCase, 1);
      const truth = gradients(layout, x, dy);
      expectClose(actual.dx, truth.dx, { rtol: 3 * 2 ** -24, atol: 3e-7 }, "dx");
      const rounded = { rtol: 2 ** -24, atol: 0 };
      expectClose(actual.dWeight, truth.dWeight, rounded, "dWeight");
      expectClose(actual.dBias, truth.dBias, rounded, "dBias");
      await expectSameBits(others, kernelCase, actual);
    }
  });

  test("sends a constant gradient back as nothing but the rounding of float64 sums", async () => {
    for (const layout of layouts) {
      const x = data(layout, (normal) => normal + 100);
      const dy = new Float32Array(x.length).fill(0.1);
      const { dx } = await execute(backend, gradientCase(layout, x, dy), 1);
      expectClose(dx, new Float32Array(dx.length), { rtol: 0, atol: 1e-12 }, "dx");
    }
  });
});

describe.each(builds)("ReLU's gradient, $build build", ({ backend }) => {
  test("repeated from x counts the elements that y > 0 counts, to the last bit around 0", async () => {
    for (const layout of layouts) {
      const kernelCase = borderCase(layout);
      const { y, dx, repeated } = await execute(backend, kernelCase, 1);
      const open = y.filter((value) => value > 0).length;
      expect(open).toBeGreaterThan(y.length / 10);
      expect(open).toBeLessThan((9 * y.length) / 10);
      expectSameBytes(repeated, dx, kernelCase.label);
    }
  });
});

/** Elements within a few roundings of where y changes its sign, and both ways to their gradient. */
function borderCase(layout: ChannelLayout): KernelCase {
  const { C, S } = layout;
  const mean = Float64Array.from({ length: C }, (_, c) => (1 + c / 100) / 3);
  const x = data(layout, (normal, i) => {
    const border = mean[Math.floor(i / S) % C] - 0.7 / 1.3;
    return i % 17 === 3 ? Number.NaN : Math.fround(border) + Math.round(2 * normal) * 2 ** -25;
  });
  const options = { ...layout, eps: 0, relu: true, residual: null };
  return {
    label: JSON.stringify(layout),
    given: {
      ...{ x: input(x), mean: input(mean, "statistics") },
      variance: input(new Float64Array(C).fill(1), "statistics"),
      ...{
        weight: input(new Float32Array(C).fill(1.3)),
        bias: input(new Float32Array(C).fill(0.7)),
      },
      ...{ dy: input(new Float32Array(x.length).fill(1)), y: output(x.length) },
      ...{ dx: output(x.length), repeated: output(x.length) },
    },
    run: (on, o) => {
      on.batchNormApply(o.x, o.mean, o.variance, o.weight, o.bias, o.y, options);
      for (const [given, dx] of [
        [o.y, o.dx],
        [null, o.repeated],
      ] as const) {
        const outputs = { dx, dWeight: null, dBias: null, dResidual: null };
        on.batchNormGrad(
          ...([o.dy, o.x, o.mean, o.variance, o.weight, o.bias, given, outputs] as const),
          { ...layout, eps: 0, relu: true, batchStatistics: false },
        );
      }
    },
  };
}

type Recipe = (normal: number, i: number) => number;

/** From a standard normal deviate for each element; i counts the elements of the tensor. */
function data({ N, C, S }: ChannelLayout, recipe: Recipe): Float32Array {
  return Float32Array.from(normals(N * C * S, N + C + S), recipe);
}

function statsCase(layout: ChannelLayout, x: Float32Array): KernelCase {
  return {
    label: JSON.stringify(layout),
    given: {
      x: input(x),
      mean: output(layout.C, "statistics"),
      variance: output(layout.C, "statistics"),
    },
    run: (on, o) => on.batchNormStats(o.x, o.mean, o.variance, layout, null),
  };
}

const eps = 1e-5;

/** Statistics, then y without weight and bias. */
function normaliseCase(layout: ChannelLayout, x: Float32Array): KernelCase {
  const { given, run, ...rest } = statsCase(layout, x);
  const options = { ...layout, eps, relu: false, residual: null };
  return {
    ...rest,
    given: { ...given, y: output(x.length) },
    run: (on, o) => {
      run(on, o);
      on.batchNormApply(o.x, o.mean, o.variance, null, null, o.y, options);
    },
  };
}

/** Statistics, then all gradients of batch mode without weight. */
function gradientCase(layout: ChannelLayout, x: Float32Array, dy: Float32Array): KernelCase {
  const { given, run, ...rest } = statsCase(layout, x);
  const options = { ...layout, eps, relu: false, batchStatistics: true };
  return {
    ...rest,
    given: {
      ...given,
      dy: input(dy),
      dx: output(x.length),
      dWeight: output(layout.C),
      dBias: output(layout.C),
    },
    run: (on, o) => {
      run(on, o);
      const outputs = { dx: o.dx, dWeight: o.dWeight, dBias: o.dBias, dResidual: null };
      on.batchNormGrad(o.dy, o.x, o.mean, o.variance, null, null, null, outputs, options);
    },
  };
}

interface Statistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

function twoPasses({ N, C, S }: ChannelLayout, x: Float32Array): Statistics {
  const n = N * S;
  const channelOf = (i: number) => Math.floor(i / S) % C;
  const mean = sums(C, x, (i) => [channelOf(i), x[i]]).map((sum) => sum / n);
  const squares = sums(C, x, (i) => [channelOf(i), (x[i] - mean[channelOf(i)]) ** 2]);
  return { mean, variance: squares.map((sum) => sum / n) };
}

/** Sums of the terms of each channel, with what every addition loses added in the end (Kahan and Neumaier). */
function sums(
  C: number,
  x: Float32Array,
  term: (i: number) => readonly [number, number],
): Float64Array {
  const [totals, losses] = [new Float64Array(C), new Float64Array(C)];
  for (let i = 0; i < x.length; i++) {
    const [c, value] = term(i);
    const total = totals[c] + value;
    const [large, small] =
      Math.abs(value) > Math.abs(totals[c]) ? [value, totals[c]] : [totals[c], value];
    losses[c] += large - total + small;
    totals[c] = total;
  }
  return totals.map((total, c) => total + losses[c]);
}

function expectStatistics(actual: Contents, { mean, variance }: Statistics): void {
  for (const c of mean.keys()) {
    const deviation = Math.sqrt(variance[c]);
    const meanError = Math.abs(actual.mean[c] - mean[c]) / (Math.abs(mean[c]) + deviation);
    const varianceError = Math.abs(actual.variance[c] / variance[c] - 1);
    // Numerics: measured at most 1.7e-14 (the huge value) and 7e-11 (the mean of ten million deviations, whose own rounding
    // in float64 is 1e-9 of a deviation). PyTorch keeps mean and sum of squares in float32, so its errors start at 6e-8.
    expect(meanError, `mean of channel ${c}`).toBeLessThanOrEqual(2e-14);
    expect(varianceError, `variance of channel ${c}`).toBeLessThanOrEqual(1e-10);
  }
}

function normalised({ C, S, ...layout }: ChannelLayout, x: Float32Array): Float64Array {
  const { mean, variance } = twoPasses({ C, S, ...layout }, x);
  return Float64Array.from(x, (value, i) => {
    const c = Math.floor(i / S) % C;
    return (value - mean[c]) / Math.sqrt(variance[c] + eps);
  });
}

function gradients({ N, C, S }: ChannelLayout, x: Float32Array, dy: Float32Array) {
  const { mean, variance } = twoPasses({ N, C, S }, x);
  const channelOf = (i: number) => Math.floor(i / S) % C;
  const invStd = variance.map((value) => 1 / Math.sqrt(value + eps));
  const dBias = sums(C, x, (i) => [channelOf(i), dy[i]]);
  const products = sums(C, x, (i) => [channelOf(i), dy[i] * (x[i] - mean[channelOf(i)])]);
  const dx = Float64Array.from(x, (value, i) => {
    const c = channelOf(i);
    const shared = dBias[c] + (value - mean[c]) * invStd[c] ** 2 * products[c];
    return invStd[c] * (dy[i] - shared / (N * S));
  });
  return { dx, dBias, dWeight: products.map((sum, c) => sum * invStd[c]) };
}

async function expectSameBits(
  others: readonly Backend[],
  kernelCase: KernelCase,
  expected: Contents,
): Promise<void> {
  for (const other of others) {
    const actual = await execute(other, kernelCase, 1);
    for (const [name, values] of Object.entries(expected)) {
      expectSameBytes(actual[name], values, `${name} of ${kernelCase.label}`);
    }
  }
}

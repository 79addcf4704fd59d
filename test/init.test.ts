import { beforeEach, describe, expect, test } from "vitest";
import { Generator } from "../src/core/random.ts";
import { manualSeed, nn, type Tensor, tensor, zeros } from "../src/index.ts";
import { orthonormal } from "../src/nn/init-draws.ts";
import { expectClose } from "./support/close.ts";

const { init } = nn;

beforeEach(() => manualSeed(7));

function sorted(t: Tensor): Float64Array {
  return Float64Array.from(t.dataSync()).sort();
}

function moments(t: Tensor): { readonly mean: number; readonly std: number } {
  const values = Float64Array.from(t.dataSync());
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  return { mean, std: Math.sqrt(variance) };
}

/** Greatest distance between the share of values below x and what `cdf` says (Kolmogorov), in units of 1 / sqrt(n). */
function distanceFrom(t: Tensor, cdf: (x: number) => number): number {
  const values = sorted(t);
  const n = values.length;
  const worst = values.reduce(
    (most, x, i) => Math.max(most, Math.abs(cdf(x) - i / n), Math.abs(cdf(x) - (i + 1) / n)),
    0,
  );
  return worst * Math.sqrt(n);
}

/** A true distribution exceeds this once in a hundred thousand samples; the seed is fixed. */
const kolmogorov = 2.5;

const uniformCdf = (a: number, b: number) => (x: number) =>
  Math.min(Math.max((x - a) / (b - a), 0), 1);

/** Area under the standard normal density from 0 to x, by Simpson's rule. */
function normalArea(x: number): number {
  const steps = 60;
  const h = x / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) {
    const factor = i === 0 || i === steps ? 1 : 2 + 2 * (i % 2);
    sum += factor * Math.exp(-((i * h) ** 2) / 2);
  }
  return (sum * h) / 3 / Math.sqrt(2 * Math.PI);
}

const normalCdf = (mean: number, std: number) => (x: number) => 0.5 + normalArea((x - mean) / std);

const many = () => zeros([200, 200]);
const expectDrawn = (t: Tensor, cdf: (x: number) => number) =>
  expect(distanceFrom(t, cdf)).toBeLessThan(kolmogorov);

/** Options, and their bounds in units of std from the mean. */
const truncations: readonly (readonly [nn.init.TruncNormalOptions, readonly [number, number]])[] = [
  [{}, [-2, 2]],
  [{ mean: 1, std: 0.5, a: 0, b: 1.2 }, [-2, 0.4]],
  [{ a: 0, b: 0.5 }, [0, 0.5]],
  [{ a: 0.1, b: 8 }, [0.1, 8]],
  [{ a: 3, b: 1e6 }, [3, 8]],
  [{ mean: 10, std: 2, a: -50, b: 2 }, [-30, -4]],
  [{ a: -1.5, b: Number.POSITIVE_INFINITY }, [-1.5, 9]],
];

describe("draws", () => {
  test("uniform is uniform in [a, b)", () => {
    expectDrawn(init.uniform(many()), uniformCdf(0, 1));
    const t = init.uniform(many(), -3, 0.5);
    expectDrawn(t, uniformCdf(-3, 0.5));
    const values = sorted(t);
    expect(values[0]).toBeGreaterThanOrEqual(-3);
    expect(values[values.length - 1]).toBeLessThan(0.5);
  });

  test("normal is normal", () => {
    expectDrawn(init.normal(many()), normalCdf(0, 1));
    const t = init.normal(many(), 2, 0.25);
    expectDrawn(t, normalCdf(2, 0.25));
    expect(moments(t).mean).toBeCloseTo(2, 1);
    expect(moments(t).std).toBeCloseTo(0.25, 2);
  });

  test("the check of distributions sees a wrong one", () => {
    expect(distanceFrom(init.uniform(many(), 0, 1.02), uniformCdf(0, 1))).toBeGreaterThan(
      kolmogorov,
    );
    expect(distanceFrom(init.normal(many(), 0, 1.07), normalCdf(0, 1))).toBeGreaterThan(kolmogorov);
    expect(distanceFrom(init.uniform(many(), -1.7, 1.7), normalCdf(0, 1))).toBeGreaterThan(
      kolmogorov,
    );
  });

  test.each(truncations)(
    "truncNormal with %o is normal between its bounds",
    (options, [low, high]) => {
      const { mean = 0, std = 1, a = -2, b = 2 } = options;
      const t = init.truncNormal(many(), options);
      const below = normalArea(low);
      const inside = normalArea(high) - below;
      expectDrawn(t, (x) => (normalArea((x - mean) / std) - below) / inside);
      const values = sorted(t);
      expect(values[0]).toBeGreaterThanOrEqual(Math.fround(a));
      expect(values[values.length - 1]).toBeLessThanOrEqual(Math.fround(b));
    },
  );

  test("the same seed gives the same values, and the next call others", () => {
    manualSeed(3);
    const first = init.normal(zeros([20])).dataSync();
    const second = init.normal(zeros([20])).dataSync();
    manualSeed(3);
    expect(init.normal(zeros([20])).dataSync()).toEqual(first);
    expect(second).not.toEqual(first);
  });
});

/** Shapes (outputs, inputs, ...kernel) and PyTorch's fans of them: kernel positions count for both. */
const fans = [
  { shape: [160, 250], fanIn: 250, fanOut: 160 },
  { shape: [100, 50, 8], fanIn: 400, fanOut: 800 },
  { shape: [60, 40, 3, 5], fanIn: 600, fanOut: 900 },
  { shape: [24, 60, 2, 3, 4], fanIn: 1440, fanOut: 576 },
];

describe.each(fans)("with fans of a weight of shape $shape", ({ shape, fanIn, fanOut }) => {
  test("fanInAndFanOut counts them", () => {
    expect(init.fanInAndFanOut(zeros(shape))).toEqual({ fanIn, fanOut });
  });

  test("xavierUniform and xavierNormal share both fans", () => {
    const bound = 1.5 * Math.sqrt(6 / (fanIn + fanOut));
    expectDrawn(init.xavierUniform(zeros(shape), 1.5), uniformCdf(-bound, bound));
    const std = Math.sqrt(2 / (fanIn + fanOut));
    expectDrawn(init.xavierNormal(zeros(shape)), normalCdf(0, std));
  });

  test("kaimingUniform and kaimingNormal take one of them and the gain", () => {
    const bound = Math.sqrt(6 / fanIn);
    expectDrawn(init.kaimingUniform(zeros(shape)), uniformCdf(-bound, bound));
    const leaky = Math.sqrt(2 / (1 + 0.3 ** 2) / fanOut);
    const options = { mode: "fanOut", a: 0.3 } as const;
    expectDrawn(init.kaimingNormal(zeros(shape), options), normalCdf(0, leaky));
    const tanh = (5 / 3) * Math.sqrt(3 / fanOut);
    const t = init.kaimingUniform(zeros(shape), { mode: "fanOut", nonlinearity: "tanh" });
    expectDrawn(t, uniformCdf(-tanh, tanh));
  });
});

test("kaimingUniform with a = sqrt(5) is how linear layers start", () => {
  const bound = 1 / Math.sqrt(150);
  const t = init.kaimingUniform(zeros([240, 150]), { a: Math.sqrt(5) });
  expectDrawn(t, uniformCdf(-bound, bound));
  expectDrawn(new nn.Linear(150, 240).weight, uniformCdf(-bound, bound));
});

test("calculateGain gives PyTorch's numbers", () => {
  const linear = ["linear", "conv1d", "conv2d", "conv3d", "convTranspose2d", "sigmoid"] as const;
  for (const name of linear) expect(init.calculateGain(name)).toBe(1);
  expect(init.calculateGain("tanh")).toBe(5 / 3);
  expect(init.calculateGain("relu")).toBe(Math.sqrt(2));
  expect(init.calculateGain("leakyRelu")).toBeCloseTo(Math.sqrt(2 / 1.0001), 14);
  expect(init.calculateGain("leakyRelu", 0.2)).toBeCloseTo(Math.sqrt(2 / 1.04), 14);
  expect(init.calculateGain("selu")).toBe(0.75);
});

describe("matrices", () => {
  test("constant, ones and zeros fill", () => {
    expect(init.constant(zeros([3]), 0.5).dataSync()).toEqual(Float32Array.of(0.5, 0.5, 0.5));
    expect(init.ones(zeros([2])).dataSync()).toEqual(Float32Array.of(1, 1));
    expect(init.zeros(tensor([4, 5])).dataSync()).toEqual(Float32Array.of(0, 0));
  });

  test("eye is the identity, cut or filled up", async () => {
    expect(
      await init
        .eye(
          tensor([
            [9, 9, 9],
            [9, 9, 9],
          ]),
        )
        .array(),
    ).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    expect(await init.eye(zeros([3, 2])).array()).toEqual([
      [1, 0],
      [0, 1],
      [0, 0],
    ]);
  });

  test.each([
    { groups: 1, shape: [4, 4, 3, 3] },
    { groups: 2, shape: [4, 2, 3, 5] },
    { groups: 4, shape: [4, 1, 1, 3] },
  ])("a convolution after dirac in $groups groups hands its input on", ({ groups, shape }) => {
    const x = init.normal(zeros([2, 4, 6, 5]));
    const padding = [(shape[2] - 1) / 2, (shape[3] - 1) / 2] as const;
    const weight = init.dirac(zeros(shape), groups);
    const y = nn.functional.conv2d(x, weight, { padding, groups });
    expect(y.dataSync()).toEqual(x.dataSync());
  });

  test("dirac leaves outputs without an input of their own at zero", async () => {
    const weight = await init.dirac(zeros([5, 2, 3])).array();
    const none = [0, 0, 0];
    const middle = [0, 1, 0];
    expect(weight).toEqual([
      [middle, none],
      [none, middle],
      [none, none],
      [none, none],
      [none, none],
    ]);
    const even = await init.dirac(zeros([1, 1, 2, 2, 2])).array();
    expect(even).toEqual([
      [
        [
          [
            [0, 0],
            [0, 0],
          ],
          [
            [0, 0],
            [0, 1],
          ],
        ],
      ],
    ]);
  });

  test.each([
    [7, 7],
    [4, 9],
    [9, 4],
    [1, 5],
    [5, 1],
    [60, 60],
  ])("orthogonal gives a %i by %i matrix with orthonormal rows or columns", (rows, columns) => {
    const options = { device: "reference", dtype: "float64" } as const;
    const t = init.orthogonal(zeros([rows, columns], options), 2);
    const short = rows <= columns ? t : t.transpose(0, 1);
    const products = short.matmul(short.transpose(0, 1)).div(4).dataSync();
    const identity = init.eye(zeros([short.shape[0], short.shape[0]])).dataSync();
    expectClose(products, identity, { rtol: 0, atol: 1e-13 });
  });

  test("orthogonal counts all axes after the first as one", () => {
    const t = init.orthogonal(zeros([6, 2, 3, 3])).reshape([6, 18]);
    const products = t.matmul(t.transpose(0, 1)).dataSync();
    expectClose(products, init.eye(zeros([6, 6])).dataSync());
  });

  test("orthogonal stays so where random vectors are almost parallel", () => {
    class Narrow extends Generator {
      override normal(): number {
        return 1 + 1e-9 * super.normal();
      }
    }
    const vectors = orthonormal(new Narrow(1), 6, 20);
    const products = vectors.flatMap((a) =>
      vectors.map((b) => a.reduce((sum, v, i) => sum + v * b[i], 0)),
    );
    const identity = init.eye(zeros([6, 6])).dataSync();
    expectClose(products, identity, { rtol: 0, atol: 1e-14 });
  });

  test("orthogonal favours no direction and no sign", () => {
    const corners = Float64Array.from({ length: 4000 }, () => {
      const [corner] = init.orthogonal(zeros([3, 3])).dataSync();
      return corner;
    });
    // One coordinate of a random point on a sphere is uniform (Archimedes).
    expectDrawn(tensor(corners), uniformCdf(-1, 1));
  });

  test.each([
    [0.3, 3],
    [0, 0],
    [1, 10],
    [0.95, 10],
  ])("sparse with sparsity %d zeroes that share of every column, rounded up", (sparsity, count) => {
    const t = init.sparse(zeros([10, 300]), sparsity, 0.5);
    const zeroed = t.eq(0).sum(0).dataSync();
    expect(zeroed).toEqual(new Int32Array(300).fill(count));
  });

  test("sparse takes every row alike and draws the rest from the normal distribution", () => {
    const t = init.sparse(zeros([10, 2000]), 0.4, 0.5);
    const byRow = t.eq(0).sum(1).dataSync();
    for (const count of byRow) expect(Math.abs(count - 800)).toBeLessThan(5 * Math.sqrt(480));
    const kept = t.dataSync().filter((value) => value !== 0);
    expectDrawn(tensor(Float32Array.from(kept)), normalCdf(0, 0.5));
  });
});

describe("every function", () => {
  const functions: readonly (readonly [string, (t: nn.Parameter) => nn.Parameter])[] = [
    ["uniform", init.uniform],
    ["normal", init.normal],
    ["truncNormal", init.truncNormal],
    ["constant", (t) => init.constant(t, 2)],
    ["eye", init.eye],
    ["xavierUniform", init.xavierUniform],
    ["xavierNormal", init.xavierNormal],
    ["kaimingUniform", init.kaimingUniform],
    ["kaimingNormal", init.kaimingNormal],
    ["orthogonal", init.orthogonal],
    ["sparse", (t) => init.sparse(t, 0.5)],
  ];

  test.each(functions)(
    "%s changes a parameter in place, records nothing, and returns it",
    (_name, f) => {
      const { weight } = new nn.Linear(4, 4);
      const view = weight.detach();
      const before = view.dataSync();
      expect(f(weight)).toBe(weight);
      expect(view.dataSync()).not.toEqual(before);
      expect(weight.requiresGrad).toBe(true);
      weight.mul(2).sum().backward();
      expect(weight.grad?.dataSync()).toEqual(new Float32Array(16).fill(2));
    },
  );

  test.each(functions)("%s is noticed by a graph that saved the old values", (_name, f) => {
    const { weight } = new nn.Linear(4, 4);
    const y = weight.mul(weight).sum();
    f(weight);
    expect(() => y.backward()).toThrow(/overwritten by nn\.init\./);
  });

  test.each(functions)("%s writes float64 in full precision", (_name, f) => {
    const options = { device: "reference", dtype: "float64" } as const;
    const t = new nn.Parameter(zeros([4, 4], options));
    expect(f(t).dtype).toBe("float64");
  });
});

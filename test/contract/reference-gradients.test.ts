/** The reference backend's gradient kernels against its forward kernels, in float64: they must be each other's adjoints. */
import { describe, expect, test } from "vitest";
import type { AvgPoolLayout, Backend, PoolLayout } from "../../src/backend/backend.ts";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import { expectClose, tolerance } from "../support/close.ts";
import { execute, input, type Operands, output } from "../support/kernel-case.ts";
import { distinct, integers, normals } from "../support/random.ts";
import { convLayout, square } from "./conv.ts";

type Vector = ArrayLike<number>;

/** Runs one kernel: the named inputs in float64, `int32` where the name says index, and one output of this length. */
async function compute(
  inputs: Readonly<Record<string, Vector>>,
  length: number,
  run: (backend: Backend, operands: Operands) => void,
): Promise<Vector> {
  const given = Object.fromEntries(
    Object.entries(inputs).map(([name, values]) => [
      name,
      input(values, name === "index" ? "int32" : "float64"),
    ]),
  );
  const kernelCase = {
    label: "gradient",
    given: { ...given, out: output(length, "float64") },
    run,
  };
  return (await execute(createReferenceBackend(), kernelCase)).out;
}

function inner(a: Vector, b: Vector): number {
  return Array.from(a).reduce((sum, value, i) => sum + value * b[i], 0);
}

function moved(x: Vector, direction: Vector, step: number): Float64Array {
  return Float64Array.from(x, (value, i) => value + step * direction[i]);
}

/**
 * Numerics: central differences are off by h^2 / 6 times the third derivative, some 1e-10 for h = 1e-5, plus 1e-16 / h of
 * rounding; both far below the tolerance. A linear map is checked by the same formula, which is then exact but for rounding.
 */
const h = 1e-5;

/** <v, df(x) u> = <gradient of <v, f>, u> for random cotangents v and directions u, several of each. */
async function expectAdjoint(
  x: Vector,
  outLength: number,
  forward: (x: Vector) => Promise<Vector>,
  gradient: (v: Float64Array) => Promise<Vector>,
): Promise<void> {
  for (const seed of [1, 2, 3]) {
    const [v, u] = [normals(outLength, seed), normals(x.length, seed + 10)];
    const ahead = inner(v, await forward(moved(x, u, h)));
    const behind = inner(v, await forward(moved(x, u, -h)));
    const claimed = inner(await gradient(v), u);
    expect(Math.abs(claimed)).toBeGreaterThan(1e-3);
    expectClose([claimed], [(ahead - behind) / (2 * h)], tolerance.float64, `seed ${seed}`);
  }
}

describe("elementwise", () => {
  test.each(["relu", "leakyRelu", "sigmoid", "tanh"] as const)("%s", async (op) => {
    const x = distinct(40, { seed: 1, low: -3, high: 3 });
    const forward = (at: Vector) =>
      compute({ x: at }, x.length, (b, o) => b.unary(op, o.x, o.out, 0.1));
    const saved = op === "leakyRelu" ? x : await forward(x);
    await expectAdjoint(x, x.length, forward, (dy) =>
      compute({ dy, saved }, x.length, (b, o) => b.unaryGrad(op, o.dy, o.saved, o.out, 0.1)),
    );
  });
});

describe("softmax", () => {
  test.each([false, true])("logarithmic: %s", async (log) => {
    const layout = { outer: 2, length: 5, inner: 3 };
    const x = distinct(30, { seed: 2 });
    const forward = (at: Vector) =>
      compute({ x: at }, 30, (b, o) => b.softmax(o.x, o.out, layout, log));
    const y = await forward(x);
    await expectAdjoint(x, 30, forward, (dy) =>
      compute({ dy, y }, 30, (b, o) => b.softmaxGrad(o.dy, o.y, o.out, layout, log)),
    );
  });
});

describe("indexing", () => {
  test("scatterAdd onto zeros is gather's adjoint, repeated indices included", async () => {
    const layout = { outer: 2, length: 4, inner: 3, picks: 5 };
    const index = integers(30, { seed: 3, low: 0, high: 4 });
    await expectAdjoint(
      distinct(24, { seed: 4 }),
      30,
      (x) => compute({ x, index }, 30, (b, o) => b.gather(o.x, o.index, o.out, layout)),
      (dy) =>
        compute({ dy, index }, 24, (b, o) => {
          b.fill(o.out, 0);
          b.scatterAdd(o.dy, o.index, o.out, layout);
        }),
    );
  });
});

describe("convolution", () => {
  const layouts = [
    convLayout({ N: 2, C: 3, K: 4, H: 6, W: 5, ...square(3, { padding: 1 }) }),
    convLayout({
      N: 2,
      C: 4,
      K: 6,
      H: 8,
      W: 7,
      groups: 2,
      ...square(3, { stride: 2, padding: 1 }),
    }),
    convLayout({ C: 3, K: 6, H: 9, W: 9, groups: 3, ...square(2, { stride: 3, dilation: 2 }) }),
    convLayout({ C: 2, K: 2, H: 2, W: 2, ...square(5, { padding: 2 }) }),
  ];

  test.each(layouts)("input and weight, layout %#", async (layout) => {
    const { N, C, H, W, K, kernelH, kernelW, groups, outH, outW } = layout;
    const outLength = N * K * outH * outW;
    const x = distinct(N * C * H * W, { seed: 5 });
    const weight = distinct(((K * C) / groups) * kernelH * kernelW, { seed: 6 });
    const forward = (x: Vector, weight: Vector) =>
      compute({ x, weight }, outLength, (b, o) => b.conv2d(o.x, o.weight, null, o.out, layout));

    await expectAdjoint(
      x,
      outLength,
      (at) => forward(at, weight),
      (dy) =>
        compute({ dy, weight }, x.length, (b, o) =>
          b.conv2dGradInput(o.dy, o.weight, o.out, layout),
        ),
    );
    await expectAdjoint(
      weight,
      outLength,
      (at) => forward(x, at),
      (dy) =>
        compute({ dy, x }, weight.length, (b, o) => b.conv2dGradWeight(o.dy, o.x, o.out, layout)),
    );
  });
});

describe("pooling", () => {
  const layout: PoolLayout = {
    planes: 3,
    axes: [
      { size: 3, out: 2, kernel: 2, stride: 1, padding: 0, dilation: 1 },
      { size: 7, out: 4, kernel: 3, stride: 2, padding: 1, dilation: 1 },
      { size: 6, out: 7, kernel: 2, stride: 1, padding: 1, dilation: 1 },
    ],
    isAdaptive: false,
  };
  const [length, outLength] = [3 * 3 * 7 * 6, 3 * 2 * 4 * 7];
  const x = distinct(length, { seed: 7 });

  test.each([layout, { ...layout, isAdaptive: true }])("maxPool, layout %#", async (layout) => {
    const pool = (at: Vector) => {
      const given = {
        x: input(at, "float64"),
        index: output(outLength, "int32"),
        y: output(outLength, "float64"),
      };
      const run = (b: Backend, o: Operands) => b.maxPool(o.x, o.y, o.index, layout);
      return execute(createReferenceBackend(), { label: "pool", given, run });
    };
    const { index } = await pool(Float64Array.from(x));
    const forward = async (at: Vector) => (await pool(at)).y;
    await expectAdjoint(x, outLength, forward, (dy) =>
      compute({ dy, index }, length, (b, o) => b.maxPoolGrad(o.dy, o.index, o.out, layout)),
    );
  });

  test.each<AvgPoolLayout>([
    { ...layout, divisor: "padded" },
    { ...layout, divisor: "inside" },
    { ...layout, divisor: 5 },
    { ...layout, divisor: "inside", isAdaptive: true },
  ])("avgPool, layout %#", (layout) =>
    expectAdjoint(
      x,
      outLength,
      (at) => compute({ x: at }, outLength, (b, o) => b.avgPool(o.x, o.out, layout)),
      (dy) => compute({ dy }, length, (b, o) => b.avgPoolGrad(o.dy, o.out, layout)),
    ),
  );
});

describe("batch norm", () => {
  const layout = { N: 3, C: 2, S: 4 };
  const length = 24;
  const eps = 0.01;
  const x = distinct(length, { seed: 8 });
  const residual = distinct(length, { seed: 9 });
  const weight = Float64Array.of(1.5, -0.7);
  const bias = Float64Array.of(0.3, -0.2);
  const running = { mean: Float64Array.of(0.2, -0.4), variance: Float64Array.of(1.3, 0.6) };

  interface Inputs {
    readonly x: Vector;
    readonly weight: Vector;
    readonly bias: Vector;
    readonly residual: Vector;
  }
  const at: Inputs = { x, weight, bias, residual };

  async function statistics(x: Vector, isBatch: boolean) {
    const given = {
      x: input(x, "float64"),
      mean: output(2, "float64"),
      variance: output(2, "float64"),
    };
    const run = (b: Backend, o: Operands) =>
      b.batchNormStats(o.x, o.mean, o.variance, layout, null);
    const { mean, variance } = await execute(createReferenceBackend(), { label: "", given, run });
    return isBatch ? { mean, variance } : running;
  }

  async function forward(inputs: Inputs, batchStatistics: boolean, relu: boolean): Promise<Vector> {
    const named = { ...inputs, ...(await statistics(inputs.x, batchStatistics)) };
    return compute(named, length, (b, o) =>
      b.batchNormApply(o.x, o.mean, o.variance, o.weight, o.bias, o.out, {
        ...layout,
        eps,
        relu,
        residual: o.residual,
      }),
    );
  }

  const outputs = { x: "dx", weight: "dWeight", bias: "dBias", residual: "dResidual" } as const;
  const none = { dx: null, dWeight: null, dBias: null, dResidual: null };

  describe.each([
    [true, false],
    [true, true],
    [false, false],
    [false, true],
  ])("batch statistics %s, relu %s", (batchStatistics, relu) => {
    test.each(["x", "weight", "bias", "residual"] as const)("gradient to %s", async (name) => {
      const y = await forward(at, batchStatistics, relu);
      const saved = { x, weight, bias, y, ...(await statistics(x, batchStatistics)) };
      await expectAdjoint(
        at[name],
        length,
        (value) => forward({ ...at, [name]: value }, batchStatistics, relu),
        (dy) =>
          compute({ ...saved, dy }, at[name].length, (b, o) =>
            b.batchNormGrad(
              ...([o.dy, o.x, o.mean, o.variance, o.weight, o.bias, relu ? o.y : null] as const),
              { ...none, [outputs[name]]: o.out },
              { ...layout, eps, relu, batchStatistics },
            ),
          ),
      );
    });
  });

  test("with batch statistics a constant cotangent gives no gradient to x", async () => {
    const dy = new Float64Array(length).fill(3);
    const inputs = { dy, x, weight, ...(await statistics(x, true)) };
    const dx = await compute(inputs, length, (b, o) =>
      b.batchNormGrad(
        ...([o.dy, o.x, o.mean, o.variance, o.weight, null, null] as const),
        { ...none, dx: o.out },
        { ...layout, eps, relu: false, batchStatistics: true },
      ),
    );
    expectClose(dx, new Float64Array(length), { rtol: 0, atol: 1e-14 });
  });
});

/** The reference backend's matrix, image, batch norm and optimizer kernels against numbers worked out by hand. */
import { describe, test } from "vitest";
import { expectValues, f64, f64Out, resultsOf } from "../support/by-hand.ts";
import { inout } from "../support/kernel-case.ts";
import { convLayout, square } from "./conv.ts";

describe("matmul and convolution", () => {
  const [a, aTransposed] = [f64(1, 2, 3, 4, 5, 6), f64(1, 4, 2, 5, 3, 6)];
  const [b, bTransposed] = [f64(7, 8, 9, 10, 11, 12), f64(7, 9, 11, 8, 10, 12)];

  test.each([
    [a, b, false, false],
    [aTransposed, b, true, false],
    [a, bTransposed, false, true],
    [aTransposed, bTransposed, true, true],
  ])(
    "a 2x3 matrix times a 3x2 matrix, stored each way (%#)",
    async (left, right, transposeA, transposeB) => {
      const sizes = { M: 2, N: 2, K: 3, batch: 1, aStep: 0, bStep: 0 };
      const layout = { ...sizes, transposeA, transposeB };
      const { out } = await resultsOf({ a: left, b: right, out: f64Out(4) }, (backend, o) =>
        backend.matmul(o.a, o.b, o.out, layout),
      );
      expectValues(out, 58, 64, 139, 154);
    },
  );

  test("a batch of products, the left matrix repeated", async () => {
    const sizes = { M: 1, N: 2, K: 2, batch: 2, aStep: 0, bStep: 4 };
    const given = { a: f64(1, 10), b: f64(1, 2, 3, 4, 5, 6, 7, 8), out: f64Out(4) };
    const { out } = await resultsOf(given, (backend, o) =>
      backend.matmul(o.a, o.b, o.out, { ...sizes, transposeA: false, transposeB: false }),
    );
    expectValues(out, 31, 42, 75, 86);
  });

  test("conv2d correlates, it does not flip the kernel", async () => {
    const layout = convLayout({ H: 3, W: 3, ...square(2) });
    const given = {
      x: f64(1, 2, 3, 4, 5, 6, 7, 8, 9),
      weight: f64(1, 10, 100, 1000),
      bias: f64(0.5),
      y: f64Out(4),
    };
    const { y } = await resultsOf(given, (backend, o) =>
      backend.conv2d(o.x, o.weight, o.bias, o.y, layout),
    );
    expectValues(y, 5421.5, 6532.5, 8754.5, 9865.5);
  });

  test("conv2d with stride, padding and dilation", async () => {
    // Row positions -1, 1 and 1, 3 of a 3x3 image: each output sees one element, in turn under each corner of the kernel.
    const layout = convLayout({ H: 3, W: 3, ...square(2, { stride: 2, padding: 1, dilation: 2 }) });
    const given = {
      x: f64(1, 2, 3, 4, 5, 6, 7, 8, 9),
      weight: f64(1, 10, 100, 1000),
      y: f64Out(4),
    };
    const { y } = await resultsOf(given, (backend, o) =>
      backend.conv2d(o.x, o.weight, null, o.y, layout),
    );
    expectValues(y, 5000, 500, 50, 5);
  });

  test("conv2d in groups sees its own channels only", async () => {
    const layout = convLayout({ N: 2, C: 4, K: 2, groups: 2 });
    const given = {
      x: f64(1, 2, 3, 4, 5, 6, 7, 8),
      weight: f64(1, 10, 100, 1000),
      bias: f64(0.1, 0.2),
      y: f64Out(4),
    };
    const { y } = await resultsOf(given, (backend, o) =>
      backend.conv2d(o.x, o.weight, o.bias, o.y, layout),
    );
    expectValues(y, 21.1, 4300.2, 65.1, 8700.2);
  });
});

describe("batch norm", () => {
  // Channel 0: 1, 3 and 5, 7: mean 4, variance 5. Channel 1: 10, 10 and 10, 30: mean 15, variance 75.
  const x = f64(1, 3, 10, 10, 5, 7, 10, 30);
  const layout = { N: 2, C: 2, S: 2 };
  const eps = 0.5;
  const [s0, s1] = [1 / Math.sqrt(5.5), 1 / Math.sqrt(75.5)];

  test("statistics: biased variance; the running one gets the unbiased", async () => {
    const given = {
      x,
      mean: f64Out(2),
      variance: f64Out(2),
      runningMean: inout([1, 2], "float64"),
      runningVar: inout([3, 4], "float64"),
    };
    const { mean, variance, runningMean, runningVar } = await resultsOf(given, (backend, o) =>
      backend.batchNormStats(o.x, o.mean, o.variance, layout, {
        runningMean: o.runningMean,
        runningVar: o.runningVar,
        momentum: 0.25,
        batches: 1,
        skipped: null,
      }),
    );
    expectValues(mean, 4, 15);
    expectValues(variance, 5, 75);
    expectValues(runningMean, 0.75 + 1, 1.5 + 3.75);
    expectValues(runningVar, 2.25 + (0.25 * 20) / 3, 3 + 0.25 * 100);
  });

  test("cumulative statistics are the plain mean of those of all batches but skipped ones", async () => {
    const given = {
      x,
      bad: f64(1, 1, 1, 1, 1, 1, Infinity, 1),
      worse: f64(Number.NaN, 1, 1, 1, 1, 1, 1, Number.NaN),
      mean: f64Out(2),
      variance: f64Out(2),
      runningMean: inout([8, 1], "float64"),
      runningVar: inout([1, 1], "float64"),
      skipped: inout([0, -1, 0], "int32"),
    };
    // One good batch with means 8 and 1 went before; the next good one is the fourth call, the second that counts.
    const { runningMean, runningVar, skipped } = await resultsOf(given, (backend, o) => {
      const { runningMean, runningVar, skipped } = o;
      const update = { runningMean, runningVar, skipped, momentum: null };
      backend.batchNormStats(o.bad, o.mean, o.variance, layout, { ...update, batches: 2 });
      backend.batchNormStats(o.worse, o.mean, o.variance, layout, { ...update, batches: 3 });
      backend.batchNormStats(o.x, o.mean, o.variance, layout, { ...update, batches: 4 });
    });
    expectValues(runningMean, 6, 8);
    expectValues(runningVar, (1 + 20 / 3) / 2, 50.5);
    expectValues(skipped, 2, 1, 2);
  });

  test("apply: eps is added to the variance before the root", async () => {
    const given = {
      ...{ x, mean: f64(4, 15), variance: f64(5, 75), weight: f64(2, 3), bias: f64(0.1, 0.2) },
      y: f64Out(8),
    };
    const { y } = await resultsOf(given, (backend, o) =>
      backend.batchNormApply(o.x, o.mean, o.variance, o.weight, o.bias, o.y, {
        ...layout,
        eps,
        relu: false,
        residual: null,
      }),
    );
    const [w0, w1] = [2 * s0, 3 * s1];
    const first = [-3 * w0 + 0.1, -1 * w0 + 0.1, -5 * w1 + 0.2, -5 * w1 + 0.2];
    expectValues(y, ...first, w0 + 0.1, 3 * w0 + 0.1, -5 * w1 + 0.2, 15 * w1 + 0.2);
  });

  test("apply: the residual is added before the relu", async () => {
    const given = {
      ...{ x: f64(1, -1, 3, -3), mean: f64(0), variance: f64(0.5), residual: f64(-2, 2, 1, 1) },
      y: f64Out(4),
    };
    const { y } = await resultsOf(given, (backend, o) =>
      backend.batchNormApply(o.x, o.mean, o.variance, null, null, o.y, {
        ...{ N: 4, C: 1, S: 1, eps, relu: true },
        residual: o.residual,
      }),
    );
    expectValues(y, 0, 1, 4, 0);
  });
});

describe("optimizers", () => {
  test("SGD with momentum, dampening, weight decay and Nesterov, two steps", async () => {
    const options = { learningRate: 0.1, momentum: 0.5, dampening: 0.2, weightDecay: 0.25 };
    const given = { parameter: inout([4], "float64"), grad: f64(1), buffer: inout([7], "float64") };
    const { parameter, buffer } = await resultsOf(given, (backend, o) => {
      for (const isFirstStep of [true, false]) {
        const step = { ...options, nesterov: true, maximize: false, isFirstStep };
        backend.sgdStep([{ parameter: o.parameter, grad: o.grad, momentumBuffer: o.buffer }], step);
      }
    });
    // Step 1: g = 1 + 1 = 2, buffer 2, moves by 0.1 * (2 + 1) to 3.7.
    // Step 2: g = 1.925, buffer 1 + 0.8 * 1.925 = 2.54, moves by 0.1 * (1.925 + 1.27).
    expectValues(buffer, 2.54);
    expectValues(parameter, 3.7 - 0.3195);
  });

  test("Adam, two steps", async () => {
    const options = { learningRate: 0.1, beta1: 0.5, beta2: 0.75, eps: 0.5, weightDecay: 0.25 };
    const given = {
      parameter: inout([4], "float64"),
      grad: f64(1),
      expAvg: inout([0], "float64"),
      expAvgSq: inout([0], "float64"),
    };
    const { parameter, expAvg, expAvgSq } = await resultsOf(given, (backend, o) => {
      for (const step of [1, 2]) {
        const more = { decoupledWeightDecay: false, maximize: false, step };
        const { parameter, grad, expAvg, expAvgSq } = o;
        const entry = { parameter, grad, expAvg, expAvgSq, maxExpAvgSq: null };
        backend.adamStep([entry], { ...options, ...more });
      }
    });
    // Step 1: g = 2, corrected averages 2 and 4: moves by 0.1 * 2 / 2.5 to 3.92.
    // Step 2: g = 1.98, averages 1.49 and 1.7301, corrected by 0.75 and 0.4375.
    expectValues(expAvg, 1.49);
    expectValues(expAvgSq, 1.7301);
    expectValues(parameter, 3.92 - (0.1 * (1.49 / 0.75)) / (Math.sqrt(1.7301 / 0.4375) + 0.5));
  });
});

import { describe, expect, test } from "vitest";
import { cat, memory, nn, rand, stack, type Tensor, tensor } from "../src/index.ts";
import * as elementwise from "../src/ops/elementwise.ts";
import { settled } from "./support/collector.ts";
import { expectGradients, type GradcheckCase } from "./support/gradcheck.ts";

const { functional } = nn;
const labels = tensor(Int32Array.of(2, 0, 1), { device: "reference" });
const index = tensor(Int32Array.of(1, 1, 0, 3, 2, 1), { shape: [3, 2], device: "reference" });

interface OpCase {
  readonly f: (...inputs: Tensor[]) => Tensor;
  readonly inputs: readonly GradcheckCase[];
}

const positive = [0.5, 2] as const;
const matrix = { shape: [3, 4] };

const cases: Readonly<Record<string, OpCase>> = {
  add: { f: (a, b) => a.add(b), inputs: [matrix, { shape: [4] }] },
  sub: { f: (a, b) => a.sub(b), inputs: [{ shape: [3, 1] }, matrix] },
  mul: { f: (a, b) => a.mul(b), inputs: [{ shape: [2, 3, 4] }, { shape: [3, 1] }] },
  div: { f: (a, b) => a.div(b), inputs: [matrix, { shape: [4], range: positive }] },
  "a number minus a tensor": { f: (a) => elementwise.sub(3, a), inputs: [matrix] },
  "a number divided by a tensor": {
    f: (a) => elementwise.div(3, a),
    inputs: [{ shape: [3, 4], range: positive }],
  },
  pow: {
    f: (a, b) => a.pow(b),
    inputs: [
      { shape: [3, 4], range: positive },
      { shape: [4], range: positive },
    ],
  },
  square: { f: (a) => a.pow(2), inputs: [matrix] },
  "the same tensor twice": { f: (a) => a.mul(a).add(a), inputs: [matrix] },
  maximum: { f: (a, b) => a.maximum(b), inputs: [matrix, matrix] },
  minimum: { f: (a, b) => a.minimum(b), inputs: [matrix, { shape: [4] }] },
  neg: { f: (a) => a.neg(), inputs: [matrix] },
  abs: { f: (a) => a.abs(), inputs: [matrix] },
  exp: { f: (a) => a.exp(), inputs: [matrix] },
  log: { f: (a) => a.log(), inputs: [{ shape: [3, 4], range: positive }] },
  sqrt: { f: (a) => a.sqrt(), inputs: [{ shape: [3, 4], range: positive }] },
  relu: { f: (a) => a.relu(), inputs: [matrix] },
  leakyRelu: { f: (a) => a.leakyRelu(0.2), inputs: [matrix] },
  sigmoid: { f: (a) => a.sigmoid(), inputs: [matrix] },
  tanh: { f: (a) => a.tanh(), inputs: [matrix] },
  "sum over all": { f: (a) => a.sum(), inputs: [matrix] },
  "sum over outer and inner axes": {
    f: (a) => a.sum([0, 2, 3]),
    inputs: [{ shape: [2, 3, 2, 4] }],
  },
  "mean, keepdim": { f: (a) => a.mean(1, { keepdim: true }), inputs: [{ shape: [2, 3, 4] }] },
  var: { f: (a) => a.var([0, 2]), inputs: [{ shape: [2, 3, 4] }] },
  "biased var": { f: (a) => a.var(0, { unbiased: false }), inputs: [matrix] },
  "max along an axis": { f: (a) => a.max(1).values, inputs: [matrix] },
  "max over all": { f: (a) => a.max(), inputs: [matrix] },
  gather: { f: (a) => a.gather(1, index), inputs: [matrix] },
  reshape: { f: (a) => a.reshape([2, -1]).mul(a.reshape([2, 6])), inputs: [matrix] },
  slice: { f: (a) => a.slice(1, 3), inputs: [matrix] },
  permute: { f: (a) => a.permute([2, 0, 1]), inputs: [{ shape: [2, 3, 4] }] },
  transpose: { f: (a) => a.transpose(0, 1), inputs: [matrix] },
  expand: { f: (a) => a.expand([2, 3, 4]), inputs: [{ shape: [3, 1] }] },
  clone: { f: (a) => a.clone(), inputs: [matrix] },
  cat: { f: (a, b, c) => cat([a, b, c, a], 1), inputs: [matrix, { shape: [3, 2] }, matrix] },
  stack: { f: (a, b) => stack([a, b], -1), inputs: [matrix, matrix] },
  "split, each part used differently": {
    f: (a) =>
      cat(
        a.split(3, 1).map((part, i) => part.pow(i + 1)),
        1,
      ),
    inputs: [{ shape: [2, 7, 3] }],
  },
  "slice by a step": { f: (a) => a.slice(-4, 9, { axis: 1, step: 2 }), inputs: [matrix] },
  select: { f: (a) => a.select(1, -2), inputs: [{ shape: [2, 3, 4] }] },
  flip: { f: (a) => a.flip([0, 2]), inputs: [{ shape: [2, 3, 4] }] },
  indexSelect: { f: (a) => a.indexSelect(1, index.flatten()), inputs: [{ shape: [2, 4, 3] }] },
  "gather by a smaller index": { f: (a) => a.gather(1, index), inputs: [{ shape: [5, 4] }] },
  "pad, widened and cropped": {
    f: (a) => functional.pad(a, [2, -1, -1, 3]),
    inputs: [{ shape: [2, 3, 4] }],
  },
  "pad, reflected": {
    f: (a) => functional.pad(a, [3, 1, 0, 2], { mode: "reflect" }),
    inputs: [{ shape: [2, 3, 4] }],
  },
  "pad, wrapped round": {
    f: (a) => functional.pad(a, [3, -1, 2, 3], { mode: "circular" }),
    inputs: [{ shape: [2, 3, 4] }],
  },
  matmul: { f: (a, b) => a.matmul(b), inputs: [matrix, { shape: [4, 5] }] },
  "matmul, batches on both sides": {
    f: (a, b) => a.matmul(b),
    inputs: [{ shape: [2, 1, 3, 4] }, { shape: [5, 4, 2] }],
  },
  "matmul, one right side": {
    f: (a, b) => a.matmul(b),
    inputs: [{ shape: [2, 3, 4] }, { shape: [1, 4, 5] }],
  },
  "matmul, vectors": {
    f: (a, b, c) => a.matmul(b).matmul(c),
    inputs: [{ shape: [4] }, { shape: [2, 4, 3] }, { shape: [3] }],
  },
  bmm: { f: (a, b) => a.bmm(b), inputs: [{ shape: [3, 2, 4] }, { shape: [3, 4, 5] }] },
  linear: {
    f: (x, w, b) => functional.linear(x, w, b),
    inputs: [{ shape: [2, 3, 4] }, { shape: [5, 4] }, { shape: [5] }],
  },
  conv2d: {
    f: (x, weight, bias) =>
      functional.conv2d(x, weight, {
        bias,
        stride: [2, 1],
        padding: [1, 2],
        dilation: [1, 2],
        groups: 2,
      }),
    inputs: [{ shape: [2, 4, 6, 5] }, { shape: [6, 2, 3, 2] }, { shape: [6] }],
  },
  conv1d: {
    f: (x, weight, bias) => functional.conv1d(x, weight, { bias, padding: "same", dilation: 3 }),
    inputs: [{ shape: [2, 3, 7] }, { shape: [4, 3, 2] }, { shape: [4] }],
  },
  conv3d: {
    f: (x, weight, bias) =>
      functional.conv3d(x, weight, {
        bias,
        stride: [2, 1, 2],
        padding: [2, 0, 1],
        dilation: [2, 1, 1],
        groups: 2,
      }),
    inputs: [{ shape: [2, 4, 4, 3, 4] }, { shape: [2, 2, 3, 2, 2] }, { shape: [2] }],
  },
  convTranspose2d: {
    f: (x, weight, bias) =>
      functional.convTranspose2d(x, weight, {
        bias,
        stride: [2, 3],
        padding: [1, 0],
        outputPadding: [1, 2],
        groups: 2,
      }),
    inputs: [{ shape: [2, 4, 3, 2] }, { shape: [4, 1, 3, 2] }, { shape: [2] }],
  },
  convTranspose3d: {
    f: (x, weight) => functional.convTranspose3d(x, weight, { stride: 2, padding: [0, 1, 1] }),
    inputs: [{ shape: [2, 2, 3, 2] }, { shape: [2, 2, 2, 3, 2] }],
  },
  maxPool2d: {
    f: (x) => functional.maxPool2d(x, 3, { stride: 2, padding: 1 }),
    inputs: [{ shape: [2, 2, 5, 6] }],
  },
  avgPool2d: {
    f: (x) => functional.avgPool2d(x, [2, 3], { stride: 1, padding: [1, 1] }),
    inputs: [{ shape: [2, 2, 5, 6] }],
  },
  softmax: { f: (x) => x.softmax(1), inputs: [{ shape: [2, 3, 4] }] },
  logSoftmax: { f: (x) => x.logSoftmax(-1), inputs: [matrix] },
  "crossEntropy, mean": { f: (x) => functional.crossEntropy(x, labels), inputs: [matrix] },
  "crossEntropy, none": {
    f: (x) => functional.crossEntropy(x, labels, { reduction: "none" }),
    inputs: [matrix],
  },
};

describe("a graph at top level that nobody runs backward through is collected", () => {
  const rounds = 12;

  test.each(Object.entries(cases))("%s", async (_name, { f, inputs }) => {
    const leaves = inputs.map(({ shape }) =>
      rand(shape, { device: "reference", dtype: "float64", requiresGrad: true }),
    );
    await settled();
    const before = memory().tensors;
    // In a function of its own, whose frame is gone when the collector looks.
    (() => {
      for (let i = 0; i < rounds; i++) f(...leaves);
    })();
    await settled();
    // The engine may still hold what the last call left in registers.
    expect(memory().tensors - before).toBeLessThan(rounds);
  });
});

describe("gradients equal numeric derivatives in float64", () => {
  test.each(Object.entries(cases))("%s", (_name, { f, inputs }) => {
    for (const seed of [1, 2, 3]) expectGradients(f, inputs, seed);
  });

  test("a wrong gradient is noticed", () => {
    // relu of a detached copy has the value but not the gradient of x * 1[x > 0] + x - x.
    const wrong = (x: Tensor) => x.mul(2).sub(x.detach());
    expect(() => expectGradients(wrong, [matrix])).toThrow();
  });
});

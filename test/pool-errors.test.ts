import { describe, expect, test } from "vitest";
import { memory, nn, ones, type Tensor, tensor, zeros } from "../src/index.ts";
import type { Pair } from "../src/ops/conv.ts";

const f = nn.functional;
const [line, plane, block] = [ones([2, 3, 4]), ones([2, 3, 4, 4]), ones([2, 3, 4, 4, 4])];

/** Runs nothing that could allocate: what throws must throw before. */
function expectRefused(run: () => unknown, name: string, message: RegExp): void {
  const before = memory().liveBytes;
  expect(run).toThrow(expect.objectContaining({ name, message: expect.stringMatching(message) }));
  expect(memory().liveBytes).toBe(before);
}

describe("what does not fit is refused before anything is allocated", () => {
  test.each<[string, Tensor, (x: Tensor) => unknown, RegExp]>([
    [
      "too few axes",
      ones([4, 4]),
      (x) => f.maxPool2d(x, 2),
      /maxPool2d: expected x of shape \(N, C, H, W\) or \(C, H, W\), got \(4, 4\)/,
    ],
    [
      "too many axes",
      plane,
      (x) => f.avgPool1d(x, 2),
      /avgPool1d: expected x of shape \(N, C, L\) or \(C, L\), got \(2, 3, 4, 4\)/,
    ],
    [
      "axes of an adaptive pool",
      line,
      (x) => f.adaptiveMaxPool3d(x, 2),
      /adaptiveMaxPool3d: expected x of shape \(N, C, D, H, W\) or \(C, D, H, W\)/,
    ],
    [
      "a window larger than the padded input",
      plane,
      (x) => f.maxPool2d(x, [3, 7], { padding: 1 }),
      /a window that fits into the padded input \(6, 6\), got a window of \(3, 7\)/,
    ],
    [
      "a dilated window larger than the input",
      line,
      (x) => f.maxPool1d(x, 3, { dilation: 2 }),
      /padded input \(4,\), got a window of \(5,\)/,
    ],
    [
      "a window too large for ceil mode",
      plane,
      (x) => f.avgPool2d(x, 6, { stride: 2, ceilMode: true }),
      /a window that fits into the padded input \(4, 4\), got a window of \(6, 6\)/,
    ],
    [
      "a window larger than the input without its padding, in three axes",
      block,
      (x) => f.avgPool3d(x, 5, { padding: 2 }),
      /avgPool3d: expected windows no larger than the input \(4, 4, 4\), got a window of \(5, 5, 5\)/,
    ],
    [
      "an empty plane",
      ones([2, 3, 0, 4]),
      (x) => f.maxPool2d(x, 2),
      /expected no empty axis but N/,
    ],
    ["no channels", ones([2, 0, 4, 4]), (x) => f.avgPool2d(x, 2), /expected no empty axis but N/],
    [
      "no channels, unbatched",
      ones([0, 4]),
      (x) => f.maxPool1d(x, 2),
      /expected no empty axis but N/,
    ],
    [
      "no channels, adaptive maximum",
      ones([2, 0, 4, 4]),
      (x) => f.adaptiveMaxPool2d(x, 2),
      /expected no empty axis but N/,
    ],
    [
      "no channels, adaptive mean over three axes",
      ones([2, 0, 4, 4, 4]),
      (x) => f.adaptiveAvgPool3d(x, 2),
      /expected no empty axis but N/,
    ],
    [
      "an empty plane, adaptive mean",
      ones([2, 3, 0, 4]),
      (x) => f.adaptiveAvgPool2d(x, 2),
      /expected no empty axis but N and C/,
    ],
  ])("%s", (_name, x, run, message) => expectRefused(() => run(x), "ShapeError", message));

  test.each<[string, Tensor, (x: Tensor) => unknown, RegExp]>([
    ["no kernel", plane, (x) => f.maxPool2d(x, 0), /kernelSize to be an integer >= 1/],
    [
      "a stride of 0",
      plane,
      (x) => f.avgPool2d(x, 2, { stride: 0 }),
      /stride to be an integer >= 1/,
    ],
    ["a fraction", line, (x) => f.maxPool1d(x, 1.5), /kernelSize to be an integer >= 1/],
    ["negative padding", plane, (x) => f.maxPool2d(x, 2, { padding: -1 }), /padding to be .* >= 0/],
    ["no dilation", block, (x) => f.maxPool3d(x, 2, { dilation: 0 }), /dilation to be .* >= 1/],
    [
      "a padding of more than half the kernel",
      plane,
      (x) => f.maxPool2d(x, 3, { padding: 2, dilation: 3 }),
      /expected padding of at most half the kernel, got padding 2 for a kernel of 3/,
    ],
    ["a divisor of 0", plane, (x) => f.avgPool2d(x, 2, { divisorOverride: 0 }), /other than 0/],
    [
      "half a divisor",
      block,
      (x) => f.avgPool3d(x, 2, { divisorOverride: 0.5 }),
      /an integer other/,
    ],
    ["a huge divisor", plane, (x) => f.avgPool2d(x, 2, { divisorOverride: 2 ** 31 }), /2 \*\* 31/],
    ["a huge kernel", line, (x) => f.maxPool1d(x, 2 ** 31, { padding: 2 ** 30 }), /of at most/],
    ["a huge stride", line, (x) => f.maxPool1d(x, 2, { stride: 2 ** 31 }), /strides of at most/],
    [
      "a negative size",
      plane,
      (x) => f.adaptiveAvgPool2d(x, -1),
      /outputSize to be an integer >= 0/,
    ],
    ["half a size", line, (x) => f.adaptiveMaxPool1d(x, 1.5), /outputSize to be an integer >= 0/],
  ])("%s", (_name, x, run, message) => expectRefused(() => run(x), "ArgumentError", message));

  test.each<[string, Tensor, (x: Tensor) => unknown]>([
    ["maxPool2d", zeros([1, 1, 2, 2], { dtype: "int32" }), (x) => f.maxPool2d(x, 2)],
    ["avgPool2d", zeros([1, 1, 2, 2], { dtype: "int32" }), (x) => f.avgPool2d(x, 2)],
    ["adaptiveMaxPool2d", zeros([1, 2, 2], { dtype: "bool" }), (x) => f.adaptiveMaxPool2d(x, 2)],
  ])("%s of integers", (_name, x, run) =>
    expectRefused(() => run(x), "DTypeError", /a floating tensor/),
  );

  test("a number of sizes that is not the number of axes, which does not compile either", () => {
    // @ts-expect-error three sizes for two axes
    expect(() => f.maxPool2d(plane, [1, 2, 3])).toThrow(/or 2 of them, got \[1,2,3\]/);
    // @ts-expect-error two sizes for three axes
    expect(() => f.adaptiveAvgPool3d(block, [1, 2])).toThrow(/or 3 of them, null for a size/);
  });
});

describe("layers refuse what never fits when they are made", () => {
  test.each<[string, () => unknown, RegExp]>([
    ["MaxPool2d", () => new nn.MaxPool2d(3, { padding: 2 }), /MaxPool2d: expected padding of/],
    ["MaxPool3d", () => new nn.MaxPool3d([2, 2, 0]), /MaxPool3d: expected kernelSize to be/],
    ["AvgPool1d", () => new nn.AvgPool1d(2, { stride: 0 }), /AvgPool1d: expected stride to be/],
    ["AvgPool3d", () => new nn.AvgPool3d(2, { divisorOverride: 0 }), /AvgPool3d: expected divisor/],
    ["AdaptiveAvgPool2d", () => new nn.AdaptiveAvgPool2d(-1), /AdaptiveAvgPool2d: expected output/],
    ["AdaptiveMaxPool1d", () => new nn.AdaptiveMaxPool1d([0.5]), /AdaptiveMaxPool1d: expected out/],
  ])("%s", (_name, make, message) => expectRefused(make, "ArgumentError", message));
});

describe("at the edges", () => {
  const shapeOf = (t: Tensor) => t.shape;

  test("an empty batch gives an empty batch, also without channels where PyTorch takes none", () => {
    expect(shapeOf(f.maxPool2d(ones([0, 3, 4, 4]), 2))).toEqual([0, 3, 2, 2]);
    expect(shapeOf(f.avgPool1d(ones([0, 3, 4]), 2))).toEqual([0, 3, 2]);
    expect(shapeOf(f.adaptiveAvgPool2d(ones([2, 0, 4, 4]), 3))).toEqual([2, 0, 3, 3]);
    expect(shapeOf(f.adaptiveAvgPool1d(ones([0, 4]), 3))).toEqual([0, 3]);
  });

  test("an output of size 0 has a gradient of 0", () => {
    const x = ones([1, 2, 3, 3], { requiresGrad: true });
    const y = f.adaptiveAvgPool2d(x, [0, 2]);
    expect(y.shape).toEqual([1, 2, 0, 2]);
    y.backward(zeros([1, 2, 0, 2]));
    f.adaptiveMaxPool2d(x, 0).sum().backward();
    expect(new Set(x.grad?.dataSync())).toEqual(new Set([0]));
  });

  // Unlike PyTorch, whose index lies outside the plane.
  test.each(["cpu", "reference"] as const)("a window that steps over x, on %s", (device) => {
    const x = tensor([[1, 2]], { device, requiresGrad: true });
    const options = { padding: 1, dilation: 3, stride: 1, returnIndices: true } as const;
    const { values, indices } = f.maxPool1d(x, 2, options);
    expect(Array.from(values.dataSync())).toEqual([-Infinity]);
    expect(Array.from(indices.dataSync())).toEqual([-1]);
    values.sum().backward();
    expect(Array.from(x.grad?.dataSync() ?? [])).toEqual([0, 0]);
  });

  test("indices that nobody asked for end with the pool", () => {
    const before = memory().liveBytes;
    const y = f.maxPool2d(plane, 2);
    const { values, indices } = f.maxPool2d(plane, 2, { returnIndices: true });
    const bytes = memory().liveBytes - before;
    // y, values and indices in whole blocks of 64 bytes.
    expect(bytes).toBe(3 * 128);
    for (const t of [y, values, indices]) t.dispose();
  });

  test("a kernel may be larger than the input within its padding", () => {
    const sizes: Pair = [5, 5];
    const y = f.avgPool2d(ones([1, 3, 3]), sizes, { padding: 2, stride: 1 });
    expect(y.shape).toEqual([1, 3, 3]);
    expect(y.dataSync()[4]).toBeCloseTo(9 / 25, 6);
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nn, type Tensor, tensor } from "../src/index.ts";
import { expectClose, tolerance } from "./support/close.ts";
import { expectGradients } from "./support/gradcheck.ts";
import { distinct } from "./support/random.ts";

const f = nn.functional;

/** Seeded: a run that fails fails again. */
const runs = { seed: 19980101, numRuns: 60 };

function drawn(shape: readonly number[], seed = 1): Tensor {
  const length = shape.reduce((a, b) => a * b, 1);
  return tensor(distinct(length, { seed }), { shape });
}

function read(t: Tensor | null): number[] {
  return Array.from(t?.dataSync() ?? []);
}

describe("printed as PyTorch prints them", () => {
  test.each<[nn.Module, string]>([
    [
      new nn.MaxPool1d(3),
      "MaxPool1d(kernel_size=3, stride=3, padding=0, dilation=1, ceil_mode=False)",
    ],
    [
      new nn.MaxPool1d([3], { stride: [2] }),
      "MaxPool1d(kernel_size=(3,), stride=(2,), padding=0, dilation=1, ceil_mode=False)",
    ],
    [
      new nn.MaxPool2d([3, 2], { ceilMode: true }),
      "MaxPool2d(kernel_size=(3, 2), stride=(3, 2), padding=0, dilation=1, ceil_mode=True)",
    ],
    [
      new nn.MaxPool3d(2, { stride: [1, 2, 3], padding: 1, dilation: [1, 2, 1] }),
      "MaxPool3d(kernel_size=2, stride=(1, 2, 3), padding=1, dilation=(1, 2, 1), ceil_mode=False)",
    ],
    [new nn.AvgPool1d(3), "AvgPool1d(kernel_size=(3,), stride=(3,), padding=(0,))"],
    [
      new nn.AvgPool1d([3], { stride: 2, padding: 1, ceilMode: true, countIncludePad: false }),
      "AvgPool1d(kernel_size=(3,), stride=(2,), padding=(1,))",
    ],
    [
      new nn.AvgPool2d([3, 2], { divisorOverride: 3, ceilMode: true }),
      "AvgPool2d(kernel_size=(3, 2), stride=(3, 2), padding=0)",
    ],
    [
      new nn.AvgPool3d([2, 3, 2], { stride: 2, padding: 1 }),
      "AvgPool3d(kernel_size=(2, 3, 2), stride=2, padding=1)",
    ],
    [new nn.AdaptiveAvgPool1d(5), "AdaptiveAvgPool1d(output_size=5)"],
    [new nn.AdaptiveAvgPool1d([5]), "AdaptiveAvgPool1d(output_size=(5,))"],
    [new nn.AdaptiveAvgPool2d([1, null]), "AdaptiveAvgPool2d(output_size=(1, None))"],
    [new nn.AdaptiveAvgPool3d([null, 2, 3]), "AdaptiveAvgPool3d(output_size=(None, 2, 3))"],
    [new nn.AdaptiveMaxPool1d(3), "AdaptiveMaxPool1d(output_size=3)"],
    [new nn.AdaptiveMaxPool2d([2, 3]), "AdaptiveMaxPool2d(output_size=(2, 3))"],
    [new nn.AdaptiveMaxPool3d(2), "AdaptiveMaxPool3d(output_size=2)"],
  ])("%s", (layer, text) => {
    expect(layer.toString()).toBe(text);
  });
});

describe("layers do what their functions do", () => {
  const line = drawn([2, 3, 9]);
  const plane = drawn([2, 3, 8, 9]);
  const block = drawn([1, 2, 6, 7, 8]);
  const max = { stride: 2, padding: 1, dilation: 2, ceilMode: true } as const;
  const avg = { stride: 2, padding: 1, ceilMode: true, countIncludePad: false } as const;

  test.each<[string, Tensor, Tensor]>([
    ["MaxPool1d", new nn.MaxPool1d(3, max)(line), f.maxPool1d(line, 3, max)],
    ["MaxPool2d", new nn.MaxPool2d([3, 2], max)(plane), f.maxPool2d(plane, [3, 2], max)],
    ["MaxPool3d", new nn.MaxPool3d(2, max)(block), f.maxPool3d(block, 2, max)],
    ["AvgPool1d", new nn.AvgPool1d(3, avg)(line), f.avgPool1d(line, 3, avg)],
    ["AvgPool2d", new nn.AvgPool2d([3, 2], avg)(plane), f.avgPool2d(plane, [3, 2], avg)],
    ["AvgPool3d", new nn.AvgPool3d(3, avg)(block), f.avgPool3d(block, 3, avg)],
    [
      "AvgPool2d with a divisor",
      new nn.AvgPool2d(2, { divisorOverride: 7 })(plane),
      f.avgPool2d(plane, 2, { divisorOverride: 7 }),
    ],
    ["AdaptiveAvgPool1d", new nn.AdaptiveAvgPool1d(4)(line), f.adaptiveAvgPool1d(line, 4)],
    [
      "AdaptiveAvgPool2d",
      new nn.AdaptiveAvgPool2d([null, 2])(plane),
      f.adaptiveAvgPool2d(plane, [null, 2]),
    ],
    ["AdaptiveAvgPool3d", new nn.AdaptiveAvgPool3d(3)(block), f.adaptiveAvgPool3d(block, 3)],
    ["AdaptiveMaxPool1d", new nn.AdaptiveMaxPool1d(4)(line), f.adaptiveMaxPool1d(line, 4)],
    [
      "AdaptiveMaxPool2d",
      new nn.AdaptiveMaxPool2d([3, null])(plane),
      f.adaptiveMaxPool2d(plane, [3, null]),
    ],
    ["AdaptiveMaxPool3d", new nn.AdaptiveMaxPool3d(3)(block), f.adaptiveMaxPool3d(block, 3)],
  ])("%s", (_name, layer, functional) => {
    expect(layer.shape).toEqual(functional.shape);
    expect(read(layer)).toEqual(read(functional));
  });
});

describe("gradients equal numeric derivatives in float64", () => {
  const line = { shape: [2, 2, 7] };
  const plane = { shape: [2, 5, 6] };
  const block = { shape: [1, 2, 3, 4, 5] };

  test.each<[string, (x: Tensor) => Tensor, { readonly shape: readonly number[] }]>([
    ["maxPool1d", (x) => f.maxPool1d(x, 3, { stride: 2, padding: 1, ceilMode: true }), line],
    ["maxPool2d", (x) => f.maxPool2d(x, 2, { stride: 1, padding: 1, dilation: [2, 1] }), plane],
    ["maxPool3d", (x) => f.maxPool3d(x, [2, 3, 2], { stride: 1 }), block],
    ["avgPool1d", (x) => f.avgPool1d(x, 3, { stride: 2, ceilMode: true }), line],
    ["avgPool2d", (x) => f.avgPool2d(x, 3, { padding: 1, countIncludePad: false }), plane],
    ["avgPool3d", (x) => f.avgPool3d(x, 2, { stride: 1, divisorOverride: -3 }), block],
    ["adaptiveAvgPool1d", (x) => f.adaptiveAvgPool1d(x, 4), line],
    ["adaptiveAvgPool2d", (x) => f.adaptiveAvgPool2d(x, [3, null]), plane],
    ["adaptiveAvgPool3d", (x) => f.adaptiveAvgPool3d(x, [2, 3, 7]), block],
    ["adaptiveMaxPool1d", (x) => f.adaptiveMaxPool1d(x, 3), line],
    ["adaptiveMaxPool2d", (x) => f.adaptiveMaxPool2d(x, [2, 4]), plane],
    ["adaptiveMaxPool3d", (x) => f.adaptiveMaxPool3d(x, [2, 3, 2]), block],
  ])("%s", (_name, op, input) => {
    for (const seed of [1, 2, 3]) expectGradients(op, [input], seed);
  });
});

/** A batch of planes, and a window that fits them. */
const pools = fc
  .record({
    planes: fc.integer({ min: 1, max: 3 }),
    kernel: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 })),
    extra: fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })),
    stride: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 })),
    half: fc.tuple(fc.boolean(), fc.boolean()),
    ceilMode: fc.boolean(),
    seed: fc.integer({ min: 1, max: 1000 }),
  })
  .map(({ planes, kernel, extra, stride, half, ceilMode, seed }) => ({
    x: drawn([planes, 1, kernel[0] + extra[0], kernel[1] + extra[1]], seed),
    kernel,
    stride,
    padding: [
      half[0] ? Math.floor(kernel[0] / 2) : 0,
      half[1] ? Math.floor(kernel[1] / 2) : 0,
    ] as const,
    ceilMode,
  }));

describe("laws that hold for every input", () => {
  test("an average pool is a convolution with equal weights", () => {
    fc.assert(
      fc.property(pools, ({ x, kernel, stride, padding }) => {
        const area = kernel[0] * kernel[1];
        const weight = tensor(Array(area).fill(1 / area), { shape: [1, 1, ...kernel] });
        const convolved = f.conv2d(x, weight, { stride, padding });
        const pooled = f.avgPool2d(x, kernel, { stride, padding });
        expect(pooled.shape).toEqual(convolved.shape);
        expectClose(read(pooled), read(convolved), tolerance.float32);
      }),
      runs,
    );
  });

  test("the average of ones is 1 where padding does not count", () => {
    fc.assert(
      fc.property(pools, ({ x, kernel, ...options }) => {
        const ones = tensor(Array(x.size).fill(1), { shape: x.shape });
        const pooled = f.avgPool2d(ones, kernel, { ...options, countIncludePad: false });
        expect(new Set(read(pooled))).toEqual(new Set([1]));
      }),
      runs,
    );
  });

  test("indices point at the maxima", () => {
    fc.assert(
      fc.property(pools, ({ x, kernel, ...options }) => {
        const { values, indices } = f.maxPool2d(x, kernel, { ...options, returnIndices: true });
        const rows = [x.shape[0], values.size / x.shape[0]];
        const plane = x.reshape([x.shape[0], -1]);
        expect(read(plane.gather(1, indices.reshape(rows)))).toEqual(read(values));
      }),
      runs,
    );
  });

  test("the first of equal zeros wins with its sign", () => {
    for (const device of ["cpu", "reference"] as const) {
      const zeros = Array.from({ length: 9 * 15 }, (_, i) => (i % 5 < 2 ? -0 : 0));
      const x = tensor(Float32Array.from(zeros), { shape: [1, 9, 15], device });
      const { values, indices } = f.maxPool2d(x, 3, { stride: 2, padding: 1, returnIndices: true });
      expect(read(values)).toEqual(read(indices).map((at) => zeros[at]));
    }
  });

  test("the sum of dx is the sum of dy, for maxima and for averages of whole windows", () => {
    fc.assert(
      fc.property(pools, ({ x, kernel, stride, ceilMode }) => {
        const leaf = tensor(x.dataSync(), { shape: x.shape, requiresGrad: true });
        const max = f.maxPool2d(leaf, kernel, { stride, ceilMode });
        const avg = f.avgPool2d(leaf, kernel, { stride, ceilMode });
        const count = max.size + avg.size;
        max.sum().add(avg.sum()).backward();
        expectClose([leaf.grad?.sum().dataSync()[0] ?? 0], [count], tolerance.float32);
      }),
      runs,
    );
  });

  test("adaptive pools to the same size change nothing", () => {
    fc.assert(
      fc.property(pools, ({ x }) => {
        const size = [x.shape[2], x.shape[3]] as const;
        expect(read(f.adaptiveAvgPool2d(x, size))).toEqual(read(x));
        expect(read(f.adaptiveMaxPool2d(x, [null, null]))).toEqual(read(x));
      }),
      runs,
    );
  });

  test("an axis of size 1 more changes nothing", () => {
    fc.assert(
      fc.property(pools, ({ x, kernel, stride, padding, ceilMode }) => {
        const deep = x.reshape([x.shape[0], 1, 1, x.shape[2], x.shape[3]]);
        const flat = { stride, padding, ceilMode };
        const options = { stride: [1, ...stride], padding: [0, ...padding], ceilMode } as const;
        const three = [1, ...kernel] as const;
        expect(read(f.maxPool3d(deep, three, options))).toEqual(read(f.maxPool2d(x, kernel, flat)));
        expect(read(f.avgPool3d(deep, three, options))).toEqual(read(f.avgPool2d(x, kernel, flat)));
      }),
      runs,
    );
  });
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DTypeError, ShapeError, type Tensor, tensor } from "../src/index.ts";
import { expectClose } from "./support/close.ts";
import { expectGradients } from "./support/gradcheck.ts";

const { NaN: nan } = Number;

function valuesOf(t: Tensor): number[] {
  return Array.from(t.dataSync());
}

describe("min and argmin", () => {
  test("gradients equal numeric derivatives", () => {
    for (const seed of [1, 2, 3]) {
      expectGradients((x) => x.min(1).values, [{ shape: [3, 4, 2] }], seed);
      expectGradients((x) => x.min(), [{ shape: [3, 4] }], seed);
    }
  });

  test("are max and argmax of the negative", () => {
    const columns = fc.integer({ min: 1, max: 4 });
    const values = fc.float32Array({ minLength: 4, maxLength: 20 });
    fc.assert(
      fc.property(values, columns, fc.constantFrom(0, 1), (all, width, axis) => {
        const rows = Math.floor(all.length / width);
        const x = tensor(all.slice(0, rows * width), { shape: [rows, width] });
        const [least, greatest] = [x.min(axis), x.neg().max(axis)];
        expect(valuesOf(least.indices)).toEqual(valuesOf(greatest.indices));
        expect(valuesOf(least.values)).toEqual(valuesOf(greatest.values.neg()));
        expect(valuesOf(x.argmin(axis))).toEqual(valuesOf(least.indices));
        expect(valuesOf(x.min())).toEqual(valuesOf(x.neg().max().neg()));
      }),
    );
  });

  test("take the first of equals, and NaN before every number", () => {
    const x = tensor([
      [3, 1, 1, 2],
      [4, nan, -Infinity, nan],
    ]);
    const { values, indices } = x.min(1);
    expect([valuesOf(values), valuesOf(indices)]).toEqual([
      [1, nan],
      [1, 1],
    ]);
    expect(valuesOf(x.min())).toEqual([nan]);
  });

  test("the gradient goes to the first of equals", () => {
    const x = tensor([2, 1, 1], { requiresGrad: true });
    x.min(0).values.backward();
    expect(valuesOf(x.grad ?? x)).toEqual([0, 1, 0]);
    const z = tensor([2, 1, 1], { requiresGrad: true });
    z.min().backward();
    expect(valuesOf(z.grad ?? z)).toEqual([0, 1, 0]);
  });

  test("keep the reduced axis when asked, and take a scalar", () => {
    const x = tensor([[1, 2, 0]]);
    expect(x.min(1, { keepdim: true }).values.shape).toEqual([1, 1]);
    expect(x.argmin(1, { keepdim: true }).shape).toEqual([1, 1]);
    expect(x.argmin().shape).toEqual([]);
    const scalar = tensor(5);
    expect([scalar.min(0), scalar.max(0)].map(({ values }) => valuesOf(values))).toEqual([
      [5],
      [5],
    ]);
  });

  test("order integers to the ends of their range, and bytes", () => {
    const ends = tensor(Int32Array.of(5, 2 ** 31 - 1, -(2 ** 31), -1));
    expect([valuesOf(ends.min()), valuesOf(ends.argmin())]).toEqual([[-(2 ** 31)], [2]]);
    const bytes = tensor(Uint8Array.of(200, 0, 100)).min(0);
    expect([bytes.values.dtype, valuesOf(bytes.values)]).toEqual(["uint8", [0]]);
    const bools = tensor([true, false, true], { dtype: "bool" }).argmin();
    expect(valuesOf(bools)).toEqual([1]);
  });

  test.each([
    ["min", () => tensor(new Float32Array(0)).min()],
    ["argmin", () => tensor(new Float32Array(0), { shape: [3, 0] }).argmin(1)],
  ])("%s of no elements is a ShapeError", (_name, run) => {
    expect(run).toThrow(ShapeError);
    expect(run).toThrow("argmin: expected at least one element on axis");
  });
});

describe("std", () => {
  test("its gradients equal numeric derivatives", () => {
    for (const seed of [1, 2, 3]) {
      expectGradients((x) => x.std(), [{ shape: [7] }], seed);
      expectGradients((x) => x.std([0, 2], { keepdim: true }), [{ shape: [2, 3, 4] }], seed);
      expectGradients((x) => x.std(0, { unbiased: false }), [{ shape: [3, 4] }], seed);
    }
  });

  test("squared it is the variance, and scaling scales it", () => {
    const values = fc.float32Array({ min: -100, max: 100, noNaN: true, minLength: 2 });
    fc.assert(
      fc.property(values, fc.integer({ min: -8, max: 8 }), (all, exponent) => {
        const x = tensor(all);
        expectClose(x.std().pow(2).dataSync(), x.var().dataSync());
        const factor = 2 ** exponent;
        expectClose(x.mul(factor).std().dataSync(), x.std().mul(factor).dataSync());
      }),
    );
  });

  test("has gradient 0 where it is 0, and is NaN for one value unless biased", () => {
    const x = tensor([2, 2, 2], { requiresGrad: true });
    const y = x.std();
    y.backward();
    expect([valuesOf(y), valuesOf(x.grad ?? x)]).toEqual([[0], [0, 0, 0]]);
    expect(valuesOf(tensor([4]).std())).toEqual([nan]);
    expect(valuesOf(tensor([4]).std(0, { unbiased: false }))).toEqual([0]);
  });

  test("of integers is a DTypeError", () => {
    const run = () => tensor(Int32Array.of(1, 2)).std();
    expect(run).toThrow(DTypeError);
    expect(run).toThrow("std: expected a floating tensor, got int32");
  });
});

test("an empty list of axes means all of them, as in PyTorch", () => {
  const x = tensor([
    [1, 2],
    [3, 6],
  ]);
  const found = [x.sum([]), x.mean([]), x.var([], { unbiased: false }), x.std([])];
  expect(found.map(({ shape }) => shape)).toEqual([[], [], [], []]);
  expect(found.slice(0, 3).map((t) => t.dataSync()[0])).toEqual([12, 3, 3.5]);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  DeviceError,
  DTypeError,
  ShapeError,
  type Tensor,
  tensor,
  where,
} from "../src/index.ts";
import { expectGradients } from "./support/gradcheck.ts";

const { NaN: nan } = Number;
const condition = tensor([true, false, true], { dtype: "bool" });

function valuesOf(t: Tensor): number[] {
  return Array.from(t.dataSync());
}

describe("where", () => {
  test("its gradients equal numeric derivatives, broadcasts included", () => {
    const mask = tensor([true, false, false, true], { device: "reference", dtype: "bool" });
    const column = mask.reshape([4, 1]);
    for (const seed of [1, 2, 3]) {
      expectGradients((a, b) => where(mask, a, b), [{ shape: [3, 4] }, { shape: [3, 4] }], seed);
      expectGradients((a, b) => where(column, a, b), [{ shape: [3] }, { shape: [2, 1, 1] }], seed);
      expectGradients((a) => a.where(column, 2).mul(where(mask, -1, a)), [{ shape: [4] }], seed);
    }
  });

  test("exchanging both branches and negating the condition changes nothing", () => {
    const choices = fc.array(fc.tuple(fc.boolean(), fc.float(), fc.float()), { minLength: 1 });
    fc.assert(
      fc.property(choices, (triples) => {
        const [a, b] = [1, 2].map((i) => tensor(Float32Array.from(triples, (t) => Number(t[i]))));
        const holds = tensor(
          triples.map(([c]) => c),
          { dtype: "bool" },
        );
        const fails = tensor(
          triples.map(([c]) => !c),
          { dtype: "bool" },
        );
        const expected = triples.map(([c, left, right]) => (c ? left : right));
        expect(valuesOf(where(holds, a, b))).toEqual(expected);
        expect(valuesOf(where(fails, b, a))).toEqual(expected);
      }),
    );
  });

  test("what is not chosen has no influence: NaN there gives a gradient of 0", () => {
    const a = tensor([1, nan, Infinity], { requiresGrad: true });
    const b = tensor([nan, 2, nan], { requiresGrad: true });
    const y = where(condition, a, b);
    y.backward(tensor([3, 4, 5]));
    expect(valuesOf(y)).toEqual([1, 2, Infinity]);
    expect(valuesOf(a.grad ?? a)).toEqual([3, 0, 5]);
    expect(valuesOf(b.grad ?? b)).toEqual([0, 4, 0]);
  });

  test("a cotangent of NaN stays with the branch that was chosen", () => {
    const [a, b] = [0, 1].map(() => tensor([1, 1, 1], { requiresGrad: true }));
    where(condition, a, b).backward(tensor([nan, nan, 5]));
    expect(valuesOf(a.grad ?? a)).toEqual([nan, 0, 5]);
    expect(valuesOf(b.grad ?? b)).toEqual([0, nan, 0]);
  });

  test("takes numbers on either side, two of them as float32, and every dtype", () => {
    expect(where(condition, 1.5, -1).dtype).toBe("float32");
    expect(valuesOf(where(condition, 1.5, -1))).toEqual([1.5, -1, 1.5]);
    const integers = where(condition, tensor(Int32Array.of(7, 8, 9)), -3);
    expect([integers.dtype, valuesOf(integers)]).toEqual(["int32", [7, -3, 9]]);
    const bytes = where(condition, 5, tensor(Uint8Array.of(7, 8, 9)));
    expect([bytes.dtype, valuesOf(bytes)]).toEqual(["uint8", [5, 8, 5]]);
    const bools = where(condition, condition, tensor([true], { dtype: "bool" }));
    expect([bools.dtype, valuesOf(bools)]).toEqual(["bool", [1, 1, 1]]);
  });

  test("as a method its first argument is the condition, as in PyTorch", () => {
    expect(valuesOf(tensor([1, 2, 3]).where(condition, tensor([-1, -2, -3])))).toEqual([1, -2, 3]);
  });

  test("works on no elements", () => {
    const none = tensor(new Float32Array(0), { shape: [0, 3] });
    expect(where(condition, none, 1).shape).toEqual([0, 3]);
  });

  test.each([
    [
      "a condition that is not bool",
      () => where(tensor([1, 0]), 1, 2),
      DTypeError,
      "where: expected a condition of bool, got float32",
    ],
    [
      "branches of two dtypes",
      () => where(condition, tensor([1]), tensor(Int32Array.of(1))),
      DTypeError,
      "where: expected tensors of one dtype",
    ],
    [
      "a fraction beside integers",
      () => where(condition, tensor(Uint8Array.of(1)), 0.5),
      DTypeError,
      "where: expected an integer beside a uint8 tensor, got 0.5",
    ],
    [
      "shapes that do not broadcast",
      () => where(condition, tensor([1, 2]), 0),
      ShapeError,
      "where: expected shapes equal or 1 on each axis",
    ],
    [
      "a condition on another device",
      () => where(tensor([true], { dtype: "bool", device: "reference" }), tensor([1]), 0),
      DeviceError,
      "where: expected tensors on one device",
    ],
    [
      "no tensor at all",
      () => where(JSON.parse("true"), 1, 2),
      TypeError,
      "where: expected a tensor, got boolean",
    ],
  ] as const)("refuses %s", (_name, run, type, message) => {
    expect(run).toThrow(type);
    expect(run).toThrow(message);
  });
});

describe("clamp", () => {
  test("its gradients equal numeric derivatives", () => {
    for (const bounds of [{ min: -1 }, { max: 0.5 }, { min: -1, max: 0.5 }]) {
      expectGradients((x) => x.clamp(bounds), [{ shape: [5, 8] }]);
    }
  });

  test("is the lesser of max and the greater of min and x", () => {
    const bound = fc.float({ noNaN: true });
    fc.assert(
      fc.property(fc.float32Array({ noNaN: true }), bound, bound, (values, min, max) => {
        const expected = Array.from(values, (x) => Math.min(Math.max(x, min), max));
        expect(valuesOf(tensor(values).clamp({ min, max }).add(0))).toEqual(
          expected.map((x) => x + 0),
        );
      }),
    );
  });

  test("NaN stays NaN and gets no gradient, min > max gives max", () => {
    const x = tensor([nan, -5, 0, 5], { requiresGrad: true });
    const y = x.clamp({ min: 2, max: -1 });
    expect(valuesOf(y)).toEqual([nan, -1, -1, -1]);
    y.sum().backward();
    expect(valuesOf(x.grad ?? x)).toEqual([0, 0, 0, 0]);
  });

  test("the gradient is 0 on the bounds", () => {
    const x = tensor([-1, -0.5, 0, 0.5, 1], { requiresGrad: true });
    x.clamp({ min: -1, max: 1 }).sum().backward();
    expect(valuesOf(x.grad ?? x)).toEqual([0, 1, 1, 1, 0]);
  });

  test("takes int32 with whole bounds", () => {
    const y = tensor(Int32Array.of(-7, 0, 7)).clamp({ min: -2, max: 3 });
    expect([y.dtype, valuesOf(y)]).toEqual(["int32", [-2, 0, 3]]);
  });

  test.each([
    ["no bound", () => tensor([1]).clamp({}), ArgumentError, "clamp: expected min, max or both"],
    [
      "a fraction beside int32",
      () => tensor(Int32Array.of(1)).clamp({ max: 0.5 }),
      DTypeError,
      "clamp: expected an integer beside an int32 tensor, got 0.5",
    ],
    ["bytes", () => tensor(Uint8Array.of(1)).clamp({ min: 0 }), DTypeError, "got uint8"],
  ] as const)("refuses %s", (_name, run, type, message) => {
    expect(run).toThrow(type);
    expect(run).toThrow(message);
  });
});

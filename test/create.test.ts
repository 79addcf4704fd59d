import { expect, test } from "vitest";
import {
  ArgumentError,
  arange,
  DeviceError,
  DTypeError,
  full,
  ones,
  rand,
  randn,
  ShapeError,
  tensor,
  zeros,
} from "../src/index.ts";

test.each([
  ["full", (shape: number[], options = {}) => full(shape, 3, options)],
  ["zeros", zeros],
  ["ones", ones],
  ["rand", rand],
  ["randn", randn],
])("%s refuses sizes, dtypes and devices that there are not", (_, make) => {
  expect(() => make([2, -1])).toThrow(ShapeError);
  expect(() => make([1.5])).toThrow(ShapeError);
  expect(() => make([2], { dtype: "float64" })).toThrow(DTypeError);
  expect(() => make([2], { dtype: "int32", requiresGrad: true })).toThrow(DTypeError);
  expect(() => make([2], { device: "webgpu" })).toThrow(DeviceError);
});

test.each([
  [1, 0, 1],
  [1, 0.5, 1],
  [0, 1, -0.25],
  [0, 1, 0],
  [0, Number.POSITIVE_INFINITY, 1],
])("arange refuses to go from %s to %s by %s", (start, end, step) => {
  expect(() => arange(start, end, step)).toThrow(ArgumentError);
});

test("arange leaves out its end, also where the last step is a part of one", () => {
  expect([...arange(0, 2.5).dataSync()]).toEqual([0, 1, 2]);
  expect([...arange(3, 0, -1.5).dataSync()]).toEqual([3, 1.5]);
  expect(arange(2, 2).shape).toEqual([0]);
});

test("to refuses dtypes and devices that there are not", () => {
  expect(() => ones([2]).to("float64")).toThrow(DTypeError);
  expect(() => ones([2]).to("webgpu")).toThrow(DeviceError);
});

test("backward refuses a cotangent of another dtype or device, and changes nothing", () => {
  const x = tensor([1, 2], { requiresGrad: true });
  const y = x.mul(3);
  expect(() => y.backward(tensor([1, 1], { dtype: "int32" }))).toThrow(DTypeError);
  expect(() => y.backward(tensor([1, 1], { device: "reference" }))).toThrow(DTypeError);
  expect(x.grad).toBeNull();
  y.backward(tensor([1, 2]));
  expect([...(x.grad?.dataSync() ?? [])]).toEqual([3, 6]);
});

test("rand and randn refuse integers, and neg refuses bool, by name", () => {
  expect(() => rand([2], { dtype: "int32" })).toThrow(/^rand: expected a floating dtype/);
  expect(() => randn([2], { dtype: "bool" })).toThrow(/^randn: expected a floating dtype/);
  expect(() => tensor([1]).eq(1).neg()).toThrow(DTypeError);
  expect(() => tensor(Int32Array.of(4)).rsqrt()).toThrow(/^rsqrt/);
});

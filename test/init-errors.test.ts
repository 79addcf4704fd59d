import { describe, expect, test } from "vitest";
import { ArgumentError, DTypeError, nn, ShapeError, zeros } from "../src/index.ts";

const { init } = nn;

describe("errors", () => {
  test("integers cannot hold draws", () => {
    const integers = () => zeros([3, 3], { dtype: "int32" });
    for (const f of [init.uniform, init.normal, init.truncNormal, init.orthogonal]) {
      expect(() => f(integers())).toThrow(DTypeError);
    }
    expect(() => init.kaimingNormal(integers())).toThrow(DTypeError);
    expect(() => init.sparse(integers(), 0.5)).toThrow(DTypeError);
    expect(init.eye(integers()).dataSync()).toEqual(Int32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1));
  });

  test("parameters of distributions are checked", () => {
    expect(() => init.uniform(zeros([3]), 1, 0)).toThrow(ArgumentError);
    expect(() => init.normal(zeros([3]), 0, -1)).toThrow(/std >= 0/);
    expect(() => init.truncNormal(zeros([3]), { a: 2, b: 1 })).toThrow(ArgumentError);
    expect(() => init.truncNormal(zeros([3]), { std: 0 })).toThrow(ArgumentError);
    expect(() => init.xavierUniform(zeros([3, 2]), -1)).toThrow(/gain >= 0/);
    expect(() => init.xavierNormal(zeros([3, 2]), -1)).toThrow(/gain >= 0/);
    for (const sparsity of [-0.1, 1.1, Number.NaN]) {
      expect(() => init.sparse(zeros([3, 2]), sparsity)).toThrow(ArgumentError);
    }
  });

  test("ranks are checked", () => {
    const one = () => zeros([3]);
    const needTwo = [init.xavierUniform, init.kaimingNormal, init.orthogonal, init.fanInAndFanOut];
    for (const f of needTwo) expect(() => f(one())).toThrow(ShapeError);
    for (const shape of [[3], [2, 2, 2]]) {
      expect(() => init.eye(zeros(shape))).toThrow(ShapeError);
      expect(() => init.sparse(zeros(shape), 0.1)).toThrow(ShapeError);
    }
    expect(() => init.dirac(zeros([2, 2]))).toThrow(/3 to 5 axes/);
  });

  test("dirac needs groups that divide the outputs", () => {
    for (const groups of [0, 3, 1.5, -2]) {
      expect(() => init.dirac(zeros([4, 3, 3]), groups)).toThrow(ArgumentError);
    }
  });

  test("names are checked", () => {
    const mode: "fanIn" = JSON.parse('"fan_in"');
    expect(() => init.kaimingUniform(zeros([3, 3]), { mode })).toThrow(/"fanIn" or "fanOut"/);
    const nonlinearity: "relu" = JSON.parse('"leaky_relu"');
    expect(() => init.calculateGain(nonlinearity)).toThrow(ArgumentError);
  });

  test("tensors without elements are left alone", () => {
    for (const f of [init.uniform, init.kaimingUniform, init.xavierNormal, init.orthogonal]) {
      expect(f(zeros([0, 3])).shape).toEqual([0, 3]);
    }
  });
});

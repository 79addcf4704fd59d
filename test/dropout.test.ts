import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  DTypeError,
  manualSeed,
  nn,
  ones,
  randn,
  ShapeError,
  type Tensor,
  zeros,
} from "../src/index.ts";

const { dropout1d, dropout2d, dropout3d } = nn.functional;

/** Of each function: shapes it takes, and how many leading axes name a channel. */
const cases = [
  { name: "dropout1d", drop: dropout1d, shape: [40, 50, 6], lead: 2 },
  { name: "dropout1d", drop: dropout1d, shape: [500, 7], lead: 1 },
  { name: "dropout2d", drop: dropout2d, shape: [40, 50, 3, 5], lead: 2 },
  { name: "dropout2d", drop: dropout2d, shape: [40, 50, 4], lead: 2 },
  { name: "dropout3d", drop: dropout3d, shape: [40, 50, 2, 1, 3], lead: 2 },
  { name: "dropout3d", drop: dropout3d, shape: [500, 2, 1, 3], lead: 1 },
];

/** The values of each channel. */
function channels(t: Tensor, lead: number): Float32Array[] {
  const inner = t.shape.slice(lead).reduce((a, b) => a * b, 1);
  const all = Float32Array.from(t.dataSync());
  return Array.from({ length: all.length / inner }, (_, i) =>
    all.slice(i * inner, (i + 1) * inner),
  );
}

describe.each(cases)("$name on shape $shape", ({ drop, shape, lead }) => {
  test("zeroes whole channels and scales the others", () => {
    manualSeed(11);
    const x = ones(shape);
    const firsts = channels(drop(x, 0.3), lead).map((channel) => {
      expect(new Set(channel).size).toBe(1);
      return channel[0];
    });
    expect(new Set(firsts)).toEqual(new Set([0, Math.fround(1 / 0.7)]));
    const dropped = firsts.filter((value) => value === 0).length;
    const spread = Math.sqrt(firsts.length * 0.3 * 0.7);
    expect(Math.abs(dropped - 0.3 * firsts.length)).toBeLessThan(4 * spread);
  });

  test("drops the same channels of the gradient", () => {
    const x = randn(shape, { requiresGrad: true });
    const y = drop(x, 0.5);
    y.backward(ones(shape));
    const factors = channels(y.div(x.detach()), lead);
    const slopes = x.grad === null ? [] : channels(x.grad, lead);
    expect(slopes.map((s) => s[0])).toEqual(factors.map((f) => Math.round(f[0])));
    expect(slopes.every((s) => new Set(s).size === 1)).toBe(true);
  });

  test("follows the seed, and draws anew at each call", () => {
    const x = randn(shape);
    manualSeed(5);
    const first = drop(x, 0.5).dataSync();
    const second = drop(x, 0.5).dataSync();
    manualSeed(5);
    expect(drop(x, 0.5).dataSync()).toEqual(first);
    expect(second).not.toEqual(first);
  });

  test("passes x on in evaluation and for p = 0, and nothing for p = 1", () => {
    const x = randn(shape);
    expect(drop(x, 0.5, { training: false }).dataSync()).toEqual(x.dataSync());
    expect(drop(x, 0).dataSync()).toEqual(x.dataSync());
    expect(drop(x, 1).abs().sum().dataSync()).toEqual(Float32Array.of(0));
  });
});

describe("modules", () => {
  test("print as in PyTorch", () => {
    const all = [new nn.Dropout(), new nn.Dropout1d(0.2), new nn.Dropout2d(1), new nn.Dropout3d(0)];
    expect(all.map(String)).toEqual([
      "Dropout(p=0.5, inplace=False)",
      "Dropout1d(p=0.2, inplace=False)",
      "Dropout2d(p=1, inplace=False)",
      "Dropout3d(p=0, inplace=False)",
    ]);
  });

  test("drop in training alone", () => {
    const x = ones([3, 64, 2, 2]);
    for (const layer of [new nn.Dropout(), new nn.Dropout2d(), new nn.Dropout3d()]) {
      expect(layer(x).dataSync()).not.toEqual(x.dataSync());
      layer.eval();
      expect(layer(x).dataSync()).toEqual(x.dataSync());
    }
    expect(channels(new nn.Dropout1d(0.9)(ones([1, 64, 5])), 2)).toContainEqual(
      new Float32Array(5),
    );
  });
});

describe("errors", () => {
  test("ranks without a channel rule", () => {
    expect(() => dropout1d(zeros([3]))).toThrow(ShapeError);
    expect(() => dropout1d(zeros([1, 2, 3, 4]))).toThrow(/2 or 3 axes/);
    expect(() => dropout2d(zeros([2, 3]))).toThrow(/3 or 4 axes/);
    expect(() => dropout3d(zeros([1, 2, 3]))).toThrow(/4 or 5 axes/);
    expect(() => dropout2d(zeros([2, 3]), 0.5, { training: false })).toThrow(ShapeError);
  });

  test("probabilities outside [0, 1]", () => {
    for (const p of [-0.1, 1.1, Number.NaN]) {
      expect(() => dropout2d(zeros([1, 1, 1, 1]), p)).toThrow(ArgumentError);
      expect(() => new nn.Dropout3d(p)).toThrow(/Dropout3d: expected p in \[0, 1\]/);
    }
  });

  test("integers", () => {
    expect(() => dropout1d(zeros([1, 2, 3], { dtype: "int32" }))).toThrow(DTypeError);
  });
});

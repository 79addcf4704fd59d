import { describe, expect, test } from "vitest";
import { nn, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct, normals } from "../support/random.ts";
import { type Place, placements } from "./coverage.ts";

const cases = [
  { Layer: nn.BatchNorm1d, shape: [4, 10] },
  { Layer: nn.BatchNorm1d, shape: [4, 5, 3] },
  { Layer: nn.BatchNorm2d, shape: [2, 3, 6, 6] },
  { Layer: nn.BatchNorm3d, shape: [2, 3, 4, 4, 4] },
] as const;

const emptyCases = [
  { Layer: nn.BatchNorm1d, shape: [0, 3] },
  { Layer: nn.BatchNorm1d, shape: [0, 5, 9] },
  { Layer: nn.BatchNorm2d, shape: [0, 5, 2, 2] },
  { Layer: nn.BatchNorm3d, shape: [0, 5, 2, 2, 2] },
  { Layer: nn.BatchNorm2d, shape: [2, 3, 0, 4] },
] as const;

const cubes = [
  { Layer: nn.BatchNorm1d, shape: [3, 3] },
  { Layer: nn.BatchNorm1d, shape: [3, 3, 3] },
  { Layer: nn.BatchNorm2d, shape: [3, 3, 3, 3] },
  { Layer: nn.BatchNorm3d, shape: [3, 3, 3, 3, 3] },
] as const;

describe.each(placements)("$dtype on $device", (place) => {
  const near = tolerance[place.dtype];

  test.each(cases)("F-01 train output of $shape is the formula's", ({ Layer, shape }) => {
    const bn = withParameters(new Layer(shape[1], { eps: 0.01 }), place);
    const x = input(shape, place);
    const y = bn(x);
    expect(y.shape).toEqual(shape);
    expectClose(y.dataSync(), formula(bn, x), near);
  });

  test.each(cubes)("F-02 initial weight and bias change nothing, $shape", ({ Layer, shape }) => {
    const cotangent = tensor(normals(sizeOf(shape), 2), { ...place, shape });
    const [plain, affine] = [false, true].map((affine) => {
      const x = input(shape, place, { requiresGrad: true });
      const y = at(place, new Layer(shape[1], { affine }))(x);
      y.backward(cotangent);
      return { y: y.dataSync(), dx: read(x.grad) };
    });
    expectClose(affine.y, plain.y, near);
    expectClose(affine.dx, plain.dx, near);
  });

  test.each(cases)(
    "F-03 every channel of $shape comes out with mean bias and variance weight^2 v / (v + eps)",
    ({ Layer, shape }) => {
      const bn = withParameters(new Layer(shape[1], { eps: 0.5 }), place);
      const x = input(shape, place);
      const [before, after] = [x, bn(x)].map(channelStatistics);
      const expected = read(bn.weight).map(
        (w, c) => (w ** 2 * before.variance[c]) / (before.variance[c] + 0.5),
      );
      expectClose(after.mean, read(bn.bias), { rtol: 0, atol: 1e-5 });
      expectClose(after.variance, expected, { rtol: 0, atol: 1e-5 });
    },
  );

  test.each([
    ["x + 100", 1, 100],
    ["x * 1000", 1000, 0],
  ])("F-04 train output of %s is that of x", (_, factor, offset) => {
    const x = distinct(18, { seed: 3 });
    const [y, moved] = [x, x.map((v) => v * factor + offset)].map((values) =>
      at(place, new nn.BatchNorm1d(3))(tensor(values, { ...place, shape: [6, 3] })).dataSync(),
    );
    expectClose(moved, y, { rtol: 0, atol: 1e-4 });
  });

  test.each(emptyCases)(
    "F-05 an empty batch $shape stays empty, moves no statistics and counts in training",
    ({ Layer, shape }) => {
      const bn = at(place, new Layer(shape[1]));
      bn.loadStateDict(
        { running_mean: tensor(distinct(shape[1], { seed: 4 })) },
        { strict: false },
      );
      const before = [read(bn.runningMean), read(bn.runningVar)];
      expect(bn(tensor([], { ...place, shape })).shape).toEqual(shape);
      expect(bn.numBatchesTracked).toBe(1);
      expect(bn.eval()(tensor([], { ...place, shape })).shape).toEqual(shape);
      expect(bn.numBatchesTracked).toBe(1);
      expectSameBytes(read(bn.runningMean), before[0]);
      expectSameBytes(read(bn.runningVar), before[1]);
    },
  );

  test.each([true, false])(
    "F-06 an empty batch of another channel count is no error (training %s)",
    (training) => {
      const bn = at(place, new nn.BatchNorm2d(7)).train(training);
      expect(bn(tensor([], { ...place, shape: [0, 5, 2, 2] })).shape).toEqual([0, 5, 2, 2]);
    },
  );

  test.each([true, false])(
    "F-07 the function takes one axis of length 0 (training %s)",
    (training) => {
      const [x, mean, variance] = [0, 1, 2].map(() => tensor([], { ...place, shape: [0] }));
      expect(nn.functional.batchNorm(x, mean, variance, { training }).shape).toEqual([0]);
    },
  );

  test.each([
    { Layer: nn.BatchNorm1d, shape: [1, 3, 2] },
    { Layer: nn.BatchNorm2d, shape: [1, 3, 4, 5] },
  ])("F-08 one sample with several values per channel trains, $shape", ({ Layer, shape }) => {
    const bn = at(place, new Layer(3));
    const x = input(shape, place);
    expectClose(bn(x).dataSync(), formula(bn, x), near);
  });

  test("F-09 two eval passes over the same data agree bit for bit, gradients too", () => {
    const bn = withParameters(new nn.BatchNorm2d(3), place).eval();
    const [first, second] = [0, 1].map(() => {
      bn.weight?.grad?.dispose();
      for (const parameter of bn.parameters()) parameter.grad = null;
      const x = input([2, 3, 4, 4], place, { requiresGrad: true });
      const y = bn(x);
      y.backward(tensor(normals(96, 5), { ...place, shape: [2, 3, 4, 4] }));
      return [y, x.grad, bn.weight?.grad, bn.bias?.grad].map(read);
    });
    for (const [i, values] of first.entries()) expectSameBytes(second[i], values);
  });

  test("F-10 untracked: eval is train, gradients too", () => {
    const [train, evaluation] = [true, false].map((training) => {
      const bn = withParameters(new nn.BatchNorm2d(3, { trackRunningStats: false }), place);
      const x = input([2, 3, 4, 4], place, { requiresGrad: true });
      const y = bn.train(training)(x);
      y.backward(tensor(normals(96, 6), { ...place, shape: [2, 3, 4, 4] }));
      return [y, x.grad, bn.weight?.grad, bn.bias?.grad].map(read);
    });
    for (const [i, values] of train.entries()) expectClose(evaluation[i], values, near);
  });

  test("F-11 a new layer in eval divides by sqrt(1 + eps): not the identity", () => {
    const x = input([4, 3], place);
    const y = at(place, new nn.BatchNorm1d(3, { eps: 0.25 })).eval()(x);
    const expected = read(x).map((v) => v / Math.sqrt(1.25));
    expectClose(y.dataSync(), expected, near);
  });

  test.each([
    [1, 3],
    [-7, 40],
    [0.1, 0.6],
  ])("F-12 two values, %s and %s, become about -1 and 1", (low, high) => {
    const y = at(place, new nn.BatchNorm1d(1))(tensor([[low], [high]], place));
    const d = (high - low) / 2;
    const expected = d / Math.sqrt(d * d + 1e-5);
    expectClose(y.dataSync(), [-expected, expected], { rtol: 0, atol: 1e-5 });
    expect(expected).toBeGreaterThan(0.999);
  });

  test("F-13 a batch of 880801 samples runs forward and backward", () => {
    const n = 880801;
    const values = Float32Array.from({ length: n }, (_, i) => ((i * 7) % 97) / 8);
    const x = tensor(values, { ...place, shape: [n, 1, 1, 1], requiresGrad: true });
    const bn = at(place, new nn.BatchNorm2d(1, { momentum: 1 }));
    const y = bn(x);
    y.backward(
      tensor(
        values.map((v) => v * v),
        { ...place, shape: [n, 1, 1, 1] },
      ),
    );
    const mean = averageOf(values, (v) => v);
    const variance = averageOf(values, (v) => (v - mean) ** 2);
    const invStd = 1 / Math.sqrt(variance + 1e-5);
    const [meanG, meanGCentred] = [
      averageOf(values, (v) => v * v),
      averageOf(values, (v) => v * v * (v - mean)),
    ];
    const dx = (v: number) => invStd * (v * v - meanG - (v - mean) * invStd ** 2 * meanGCentred);
    expectClose(read(bn.runningMean), [mean], near);
    expectClose(read(bn.runningVar), [(variance * n) / (n - 1)], near);
    expectClose(
      read(y),
      Float64Array.from(values, (v) => (v - mean) * invStd),
      near,
    );
    expectClose(read(x.grad), Float64Array.from(values, dx), near);
  });

  test("F-14 an expanded input is constant: output about 0, gradients that sum to 0 arrive", () => {
    const source = tensor([1.5, -2, 1000], { ...place, shape: [1, 3, 1], requiresGrad: true });
    const x = source.expand([4, 3, 5]);
    const zeros = Array(60).fill(0);
    expectClose(read(at(place, new nn.BatchNorm1d(3))(x)), zeros, { rtol: 0, atol: 1e-4 });
    const y = at(place, new nn.BatchNorm1d(3, { eps: 1 }))(x);
    y.backward(tensor(normals(60, 7), { ...place, shape: [4, 3, 5] }));
    expectClose(read(source.grad), [0, 0, 0], near);
  });

  test("F-15 values around 1e4 normalise to within 1e-3 of the float64 result", () => {
    const values = Float32Array.from(normals(4000, 8), (v) => v + 1e4);
    const y = at(place, new nn.BatchNorm1d(4))(tensor(values, { ...place, shape: [1000, 4] }));
    const exact = tensor(Float64Array.from(values), { device: "reference", shape: [1000, 4] });
    const expected = formula(new nn.BatchNorm1d(4), exact);
    expectClose(y.dataSync(), expected, { rtol: 0, atol: 1e-3 });
  });

  test("F-16 statistics of half a million values around 100 are right to 1e-4", () => {
    const shape = [64, 2, 64, 64];
    const values = distinct(sizeOf(shape), { seed: 9, low: 100, high: 101 });
    const bn = at(place, new nn.BatchNorm2d(2, { momentum: 1 }));
    bn(tensor(values, { ...place, shape }));
    for (const c of [0, 1]) {
      const channel = values.filter((_, i) => Math.floor(i / 4096) % 2 === c);
      const mean = averageOf(channel, (v) => v);
      const variance =
        averageOf(channel, (v) => (v - mean) ** 2) * (channel.length / (channel.length - 1));
      expectClose([read(bn.runningMean)[c]], [mean], { rtol: 0, atol: 1e-4 });
      expectClose([read(bn.runningVar)[c]], [variance], { rtol: 1e-4, atol: 0 });
    }
  });
});

type AnyLayer = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d;

function at<L extends AnyLayer>(place: Place, bn: L): L {
  bn.to(place.device).to(place.dtype);
  return bn;
}

/** Weights, biases and statistics that differ from channel to channel. */
function withParameters<L extends AnyLayer>(bn: L, place: Place): L {
  const C = bn.numFeatures;
  const state = {
    weight: tensor(distinct(C, { seed: 11 })),
    bias: tensor(distinct(C, { seed: 12 })),
    running_mean: tensor(distinct(C, { seed: 13 })),
    running_var: tensor(distinct(C, { seed: 14, low: 0.2, high: 3 })),
  };
  const present = Object.entries(state).filter(([key]) => bn.stateDict().has(key));
  bn.loadStateDict(new Map(present), { strict: false });
  return at(place, bn);
}

function input(shape: readonly number[], place: Place, options = {}): Tensor {
  const values = distinct(sizeOf(shape), { seed: 15, low: -3, high: 5 });
  return tensor(values, { ...place, ...options, shape });
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function read(t: Tensor | null | undefined): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

function averageOf(values: Float32Array, term: (value: number) => number): number {
  return values.reduce((sum, value) => sum + term(value), 0) / values.length;
}

function channelStatistics(x: Tensor) {
  const exact = x.detach().to("reference").to("float64");
  const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  return {
    mean: read(exact.mean(axes)),
    variance: read(exact.var(axes, { unbiased: false })),
  };
}

/** The train output from other operations, in float64. */
function formula(bn: AnyLayer, input: Tensor): Float64Array {
  const x = input.detach().to("reference").to("float64");
  const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  const column = x.shape.map((size, axis) => (axis === 1 ? size : 1));
  const variance = x.var(axes, { keepdim: true, unbiased: false });
  const centred = x.sub(x.mean(axes, { keepdim: true }));
  const [weight, bias] = [bn.weight, bn.bias].map((p) =>
    tensor(read(p), { device: "reference", shape: column }),
  );
  return read(centred.div(variance.add(bn.eps).sqrt()).mul(weight).add(bias));
}

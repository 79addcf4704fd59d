/** The claims of the article that the project began from, B1 to B18 in its order, with what is true of them today. */
import { describe, expect, test } from "vitest";
import { nn, noGrad, optim, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct } from "../support/random.ts";
import { placements } from "./coverage.ts";

const { batchNorm } = nn.functional;

function read(t: Tensor | null | undefined): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

describe.each(placements)("$dtype on $device", (place) => {
  const near = tolerance[place.dtype];
  const features = tensor(distinct(24, { seed: 1, low: -1, high: 5 }), { ...place, shape: [8, 3] });
  const layer = (options: nn.BatchNormLayerOptions = {}) =>
    new nn.BatchNorm1d(3, options).to(place.device).to(place.dtype);
  const buffersOf = (bn: nn.BatchNorm1d) => [read(bn.runningMean), read(bn.runningVar)];
  /** What batch statistics make of `features`, and what the initial running ones do. */
  const byBatch = () => read(layer({ trackRunningStats: false })(features));

  test("B2: batch mean, biased batch variance, normalise, scale and shift", () => {
    const [weight, bias] = [tensor([2, -1, 0.5], place), tensor([1, 0, -3], place)];
    const mean = features.mean(0);
    const variance = features.var(0, { unbiased: false });
    const steps = features.sub(mean).div(variance.add(1e-5).sqrt()).mul(weight).add(bias);
    expectClose(
      read(batchNorm(features, null, null, { weight, bias, training: true })),
      read(steps),
      near,
    );
  });

  test("B3: weight 1 and bias 0 do not give the input back; sqrt(variance + eps) and the mean do", () => {
    const mean = features.mean(0);
    const std = features.var(0, { unbiased: false }).add(1e-5).sqrt();
    const back = batchNorm(features, null, null, { weight: std, bias: mean, training: true });
    expectClose(read(back), read(features), near);
    const initial = read(layer()(features));
    const moves = read(features).map((v, i) => Math.abs(v - initial[i]));
    expect(Math.min(...moves)).toBeGreaterThan(0.01);
  });

  test("B4: batch statistics and running statistics are two things: train and eval differ on one batch", () => {
    const bn = layer();
    const train = read(bn(features));
    const evaluation = read(bn.eval()(features));
    expectClose(train, byBatch(), near);
    const [mean, variance] = buffersOf(bn);
    const expected = read(features).map(
      (v, i) => (v - mean[i % 3]) / Math.sqrt(variance[i % 3] + 1e-5),
    );
    expectClose(evaluation, expected, near);
    expect(Math.abs(train[0] - evaluation[0])).toBeGreaterThan(0.1);
  });

  test("B5: for (C, H, W) maps there are C means, variances, weights and biases; a channel depends on no other", () => {
    const values = distinct(120, { seed: 2 }); // (2, 3, 4, 5)
    const bn = new nn.BatchNorm2d(3).to(place.device).to(place.dtype);
    const vectors = [bn.weight, bn.bias, bn.runningMean, bn.runningVar];
    expect(vectors.map((vector) => vector?.shape)).toEqual(Array(4).fill([3]));
    const channel = (i: number) => Math.floor(i / 20) % 3;
    const changed = values.map((v, i) => (channel(i) === 1 ? v * v : v));
    const [y, other] = [values, changed].map((v) =>
      read(bn(tensor(v, { ...place, shape: [2, 3, 4, 5] }))),
    );
    const keep = (all: Float64Array) => all.filter((_, i) => channel(i) !== 1);
    expectSameBytes(keep(other), keep(y));
    expect([...other]).not.toEqual([...y]);
  });

  test("B7: affine false is weight 1 and bias 0, with nothing to learn", () => {
    const bn = layer({ affine: false });
    expect([bn.weight, bn.bias, bn.parameters()]).toEqual([null, null, []]);
    const [weight, bias] = [tensor([1, 1, 1], place), tensor([0, 0, 0], place)];
    const explicit = batchNorm(features, null, null, { weight, bias, training: true });
    expectClose(read(bn(features)), read(explicit), near);
  });

  test("B8: train, tracking: this batch normalises, and the buffers move", () => {
    const bn = layer();
    expectClose(read(bn(features)), byBatch(), near);
    expect([...read(bn.runningMean)]).not.toEqual([0, 0, 0]);
    expect(bn.numBatchesTracked).toBe(1);
  });

  test("B8: train, built without tracking: this batch normalises, there are no buffers", () => {
    const bn = layer({ trackRunningStats: false });
    bn(features);
    expect(bn.buffers()).toEqual([]);
    expectClose(read(bn(features)), byBatch(), near);
  });

  test("B8: train, tracking switched off later: this batch normalises, the buffers stay", () => {
    const bn = layer();
    bn.trackRunningStats = false;
    expectClose(read(bn(features)), byBatch(), near);
    expect([...read(bn.runningMean), ...read(bn.runningVar)]).toEqual([0, 0, 0, 1, 1, 1]);
    expect(bn.numBatchesTracked).toBe(0);
  });

  test("B8: eval, tracking: the buffers normalise and stay", () => {
    const bn = layer().eval();
    const expected = read(features).map((v) => v / Math.sqrt(1 + 1e-5));
    expectClose(read(bn(features)), expected, near);
    expect([...read(bn.runningMean), ...read(bn.runningVar)]).toEqual([0, 0, 0, 1, 1, 1]);
  });

  test("B8: eval, built without tracking: this batch normalises", () => {
    expectClose(read(layer({ trackRunningStats: false }).eval()(features)), byBatch(), near);
  });

  test("B8: eval, tracking switched off later: the buffers normalise, not this batch", () => {
    const bn = layer().eval();
    bn.trackRunningStats = false;
    const expected = read(features).map((v) => v / Math.sqrt(1 + 1e-5));
    expectClose(read(bn(features)), expected, near);
  });

  test("B10: forward moves the buffers, without backward, without step, also under noGrad; step does not", () => {
    const bn = layer();
    const optimizer = new optim.SGD(bn.parameters(), { lr: 0.5 });
    noGrad(() => bn(features));
    const [mean] = buffersOf(bn);
    expectClose(
      mean,
      read(features.mean(0)).map((v) => 0.1 * v),
      near,
    );
    bn(features).mul(features).sum().backward();
    const before = buffersOf(bn);
    optimizer.step();
    expectSameBytes(buffersOf(bn)[0], before[0]);
    expectSameBytes(buffersOf(bn)[1], before[1]);
    expect([...read(bn.weight)]).not.toEqual([1, 1, 1]);
  });

  test("B12: a model used for inference beside one that trains moves unless it is in eval", () => {
    const [inTrain, inEval] = [layer(), layer().eval()];
    const head = new nn.Linear(3, 1).to(place.device).to(place.dtype);
    const optimizer = new optim.SGD(head.parameters(), { lr: 0.1 });
    for (const used of [inTrain, inEval]) {
      head(noGrad(() => used(features)))
        .sum()
        .backward();
      optimizer.step();
    }
    expect([inTrain.numBatchesTracked, inEval.numBatchesTracked]).toEqual([1, 0]);
    expect([...read(inTrain.runningMean)]).not.toEqual([0, 0, 0]);
    expect([...read(inEval.runningMean)]).toEqual([0, 0, 0]);
  });

  test("B13: momentum with tracking off moves nothing, however the flag came to be off", () => {
    const built = layer({ trackRunningStats: false, momentum: 0.5 });
    const later = layer({ momentum: 0.5 });
    later.trackRunningStats = false;
    for (const bn of [built, later]) bn(features);
    expect(built.buffers()).toEqual([]);
    expect([...read(later.runningMean), ...read(later.runningVar)]).toEqual([0, 0, 0, 1, 1, 1]);
  });

  test("B14: new = (1 - m) * old + m * observed, 0.1 by default; null averages through the counter", () => {
    const observed = read(features.mean(0));
    const [byDefault, cumulative] = [layer(), layer({ momentum: null })];
    for (const bn of [byDefault, cumulative]) {
      bn(features);
      bn(features.mul(3));
    }
    const moved = observed.map((v) => 0.9 * (0.1 * v) + 0.1 * (3 * v));
    expectClose(read(byDefault.runningMean), moved, near);
    expectClose(
      read(cumulative.runningMean),
      observed.map((v) => 2 * v),
      near,
    );
  });

  test("B14: momentum null with a null counter updates nothing", () => {
    const bn = layer({ momentum: null });
    bn.numBatchesTracked = null;
    bn(features);
    expect([...read(bn.runningMean), ...read(bn.runningVar)]).toEqual([0, 0, 0, 1, 1, 1]);
  });

  test("B16: test batches are not tracked; batch statistics are used in training, or when both buffers are absent", () => {
    const bn = layer();
    bn(features);
    const before = buffersOf(bn);
    bn.eval()(features.mul(10));
    expectSameBytes(buffersOf(bn)[0], before[0]);
    expectSameBytes(buffersOf(bn)[1], before[1]);
    bn.runningMean = null;
    bn.runningVar = null;
    expectClose(read(bn(features)), byBatch(), near);
  });
});

test("B6: the class is told by its kind, which subclasses inherit and minifiers leave alone", () => {
  class Renamed extends nn.BatchNorm2d {}
  expect([new nn.BatchNorm1d(1), new Renamed(1)].map(nn.isBatchNorm)).toEqual([true, true]);
  expect([new nn.ReLU(), { kind: "BatchNorm2d" }, null].map(nn.isBatchNorm)).toEqual([
    false,
    false,
    false,
  ]);
  expect(new Renamed(1).kind).toBe("BatchNorm2d");
});

test("B15: freezing by apply works until the next train()", () => {
  const bn = new nn.BatchNorm1d(2);
  const model = new nn.Sequential(new nn.Linear(2, 2), bn);
  const freeze = (module: nn.Module) => {
    if (nn.isBatchNorm(module)) module.eval();
  };
  const x = tensor([1, 2, 3, 4], { shape: [2, 2] });
  model.train().apply(freeze);
  model(x);
  expect([model.training, bn.training, bn.numBatchesTracked]).toEqual([true, false, 0]);
  model.train();
  model(x);
  expect([bn.training, bn.numBatchesTracked]).toEqual([true, 1]);
});

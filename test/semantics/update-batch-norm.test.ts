import { describe, expect, test } from "vitest";
import { ArgumentError, nn, ShapeError, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct } from "../support/random.ts";

const { updateBatchNorm } = nn;

function read(t: Tensor | null | undefined): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

function statisticsOf(bn: nn.AnyBatchNorm) {
  return { mean: read(bn.runningMean), variance: read(bn.runningVar) };
}

const dense = { bn: () => new nn.BatchNorm1d(5), sample: [5], axes: [0] };
const images = { bn: () => new nn.BatchNorm2d(3), sample: [3, 5, 5], axes: [0, 2, 3] };

describe.each([
  ["5 features", dense],
  ["3 x 5 x 5 images", images],
] as const)("100 samples of %s in batches of 5", (_, { bn: make, sample, axes }) => {
  const values = distinct(100 * sample.reduce((a, b) => a * b, 1), { seed: 1, low: 0, high: 2 });
  const all = tensor(values, { shape: [100, ...sample] });
  const batches = Array.from({ length: 20 }, (_, i) => all.slice(5 * i, 5 * i + 5));

  test.each([
    ["tensors", batches],
    ["arrays that start with one", batches.map((x) => [x, "label"])],
  ])("H-01 the mean is the pooled one, the variance near it, from %s", async (_, loader) => {
    const bn = make();
    await updateBatchNorm(bn, loader);
    const variances = batches.map((x) => read(x.var([...axes])));
    const average = variances[0].map((_, c) => variances.reduce((sum, v) => sum + v[c] / 20, 0));
    expectClose(read(bn.runningMean), read(all.mean([...axes])), tolerance.float32);
    expectClose(read(bn.runningVar), average, tolerance.float32);
    expectClose(read(bn.runningVar), read(all.var([...axes])), { rtol: 0, atol: 0.1 });
    const first = statisticsOf(bn);
    bn.resetRunningStats();
    await updateBatchNorm(bn, loader);
    expectSameBytes(read(bn.runningMean), first.mean);
    expectSameBytes(read(bn.runningVar), first.variance);
  });
});

test.each([true, false])(
  "H-02 mode and momentum stay, the counter is the number of batches (training %s)",
  async (training) => {
    const bn = new nn.BatchNorm1d(2, { momentum: 0.3 });
    const model = new nn.Sequential(new nn.Linear(3, 2), bn).train(training);
    bn.numBatchesTracked = 99;
    await updateBatchNorm(model, batchesOf([4, 3], 7));
    expect(model.modules().map((module) => module.training)).toEqual([
      training,
      training,
      training,
    ]);
    expect(bn.momentum).toBe(0.3);
    expect(bn.numBatchesTracked).toBe(7);
  },
);

test("H-03 batches of different size weigh the same", async () => {
  const bn = new nn.BatchNorm1d(1);
  await updateBatchNorm(bn, [tensor([[1], [2], [3], [10]]), tensor([[4], [8]])]);
  expectClose(read(bn.runningMean), [5]);
  expectClose(read(bn.runningVar), [37 / 3]);
});

test("H-04 a model without batch norm leaves the loader unread", async () => {
  let read = 0;
  function* loader() {
    read += 1;
    yield tensor([[1, 2]]);
  }
  await updateBatchNorm(new nn.Sequential(new nn.Linear(2, 3)), loader());
  expect(read).toBe(0);
});

// Unlike PyTorch, which leaves mean 0, variance 1 and no batches.
test("H-04 an empty loader is an error that leaves statistics as they were", async () => {
  const bn = new nn.BatchNorm1d(2);
  bn(tensor(distinct(8, { seed: 2 }), { shape: [4, 2] }));
  const before = statisticsOf(bn);
  await expect(updateBatchNorm(bn, [])).rejects.toThrow(
    "updateBatchNorm: expected a loader with at least one batch, got an empty one",
  );
  expect(statisticsOf(bn)).toEqual(before);
  expect([bn.numBatchesTracked, bn.momentum]).toEqual([1, 0.1]);
});

// Unlike PyTorch, which leaves momentum null, training mode and half-made statistics behind.
test("H-05 a batch that throws: momenta, modes, statistics and counters are those from before", async () => {
  const [first, second] = [
    new nn.BatchNorm1d(2, { momentum: 0.3 }),
    new nn.BatchNorm1d(2, { momentum: null }),
  ];
  const model = new nn.Sequential(first, second);
  model(batchesOf([4, 2], 1)[0]);
  model.eval();
  second.train();
  const before = [first, second].map(statisticsOf);
  const oneSample = tensor([[1, 2]]);
  await expect(updateBatchNorm(model, [...batchesOf([4, 2], 2), oneSample])).rejects.toThrow(
    ShapeError,
  );
  expect([first.momentum, second.momentum]).toEqual([0.3, null]);
  expect([model.training, first.training, second.training]).toEqual([false, false, true]);
  for (const [i, bn] of [first, second].entries()) {
    expectSameBytes(read(bn.runningMean), before[i].mean);
    expectSameBytes(read(bn.runningVar), before[i].variance);
    expect(bn.numBatchesTracked).toBe(1);
  }
});

test("H-05 a lazy layer that met its first batch in the pass is as a new one", async () => {
  const bn = new nn.LazyBatchNorm1d();
  const loader = [
    tensor([
      [1, 2, 3],
      [5, 6, 8],
    ]),
    tensor([[1, 2]]),
  ];
  await expect(updateBatchNorm(new nn.Sequential(bn), loader)).rejects.toThrow(ShapeError);
  expect([Array.from(read(bn.runningMean)), Array.from(read(bn.runningVar))]).toEqual([
    [0, 0, 0],
    [1, 1, 1],
  ]);
  expect([bn.numBatchesTracked, bn.momentum]).toEqual([0, 0.1]);
});

test("H-05 so does a loader that throws, and one that yields no tensor", async () => {
  const bn = new nn.BatchNorm1d(2).eval();
  function* broken() {
    yield* batchesOf([4, 2], 1);
    throw new RangeError("out of data");
  }
  await expect(updateBatchNorm(bn, broken())).rejects.toThrow(RangeError);
  await expect(updateBatchNorm(bn, [["label"]])).rejects.toThrow(ArgumentError);
  expect([...read(bn.runningMean), ...read(bn.runningVar)]).toEqual([0, 0, 1, 1]);
  expect([bn.training, bn.momentum, bn.numBatchesTracked]).toEqual([false, 0.1, 0]);
});

// Unlike PyTorch, which gives every child the mode of the root.
test("H-06 every module gets back its own mode", async () => {
  const [kept, evaluating] = [new nn.BatchNorm1d(2), new nn.BatchNorm1d(2).eval()];
  const dropout = new nn.Dropout(0.5).eval();
  const model = new nn.Sequential(kept, dropout, evaluating);
  await updateBatchNorm(model, batchesOf([4, 2], 3));
  expect([model, kept, dropout, evaluating].map((module) => module.training)).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect(evaluating.numBatchesTracked).toBe(3);
});

test("layers without tracking, and with the flag switched off, are left as they are", async () => {
  const [untracked, off] = [
    new nn.BatchNorm1d(2, { trackRunningStats: false }),
    new nn.BatchNorm1d(2),
  ];
  off.trackRunningStats = false;
  off.numBatchesTracked = 5;
  const model = new nn.Sequential(untracked, off);
  await updateBatchNorm(model, batchesOf([4, 2], 2));
  expect([untracked.runningMean, untracked.numBatchesTracked]).toEqual([null, null]);
  expect([...read(off.runningMean), ...read(off.runningVar)]).toEqual([0, 0, 1, 1]);
  expect(off.numBatchesTracked).toBe(5);
});

test("an asynchronous loader and no graphs: no parameter gets a gradient", async () => {
  const model = new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm1d(2));
  const outputs: unknown[] = [];
  model.registerForwardHook((_module, _args, output) => {
    outputs.push((output as Tensor).requiresGrad);
  });
  async function* loader() {
    yield* batchesOf([4, 3], 2);
  }
  await updateBatchNorm(model, loader());
  expect(outputs).toEqual([false, false]);
});

function batchesOf(shape: readonly [number, number], count: number): Tensor[] {
  const length = shape[0] * shape[1];
  return Array.from({ length: count }, (_, i) =>
    tensor(distinct(length, { seed: i + 1 }), { shape }),
  );
}

test("an aborted signal ends the pass before the next batch, and everything is as before", async () => {
  const model = new nn.Sequential(new nn.BatchNorm1d(1), new nn.Dropout()).eval();
  const bn = model.modules().find(nn.isBatchNorm);
  bn?.train()(tensor([[1], [5]]));
  const stateOf = () => [
    Array.from(bn?.runningMean?.dataSync() ?? []),
    Array.from(bn?.runningVar?.dataSync() ?? []),
    [bn?.momentum, bn?.numBatchesTracked],
    model.modules().map((module) => module.training),
  ];
  const before = stateOf();
  const controller = new AbortController();
  let given = 0;
  function* batches() {
    for (; given < 5; given++) {
      if (given === 2) controller.abort(new Error("enough"));
      yield tensor([[10], [20]]);
    }
  }
  await expect(nn.updateBatchNorm(model, batches(), { signal: controller.signal })).rejects.toThrow(
    "enough",
  );
  expect([given, stateOf()]).toEqual([2, before]);
  await expect(nn.updateBatchNorm(model, batches(), { signal: controller.signal })).rejects.toThrow(
    "enough",
  );
  expect([given, stateOf()]).toEqual([2, before]);
});

/** LayerNorm, GroupNorm and InstanceNorm as modules: state, errors, gradients. */
import { describe, expect, test } from "vitest";
import { memory, nn, optim, randn, type Tensor, tensor, zeros } from "../src/index.ts";
import { expectClose } from "./support/close.ts";
import { expectGradients } from "./support/gradcheck.ts";

const f = nn.functional;
const values = (t: Tensor | null | undefined) => Array.from(t?.dataSync() ?? []);
const layers = () => [
  new nn.LayerNorm(3),
  new nn.GroupNorm(1, 3),
  new nn.InstanceNorm1d(3, { affine: true, trackRunningStats: true }),
  new nn.InstanceNorm2d(3, { affine: true, trackRunningStats: true }),
  new nn.InstanceNorm3d(3, { affine: true, trackRunningStats: true }),
];

describe("state", () => {
  test("starts at weight 1, bias 0, mean 0, variance 1, under PyTorch's keys in PyTorch's order", () => {
    const entries = (layer: nn.Module) =>
      [...layer.stateDict()].map(([key, value]) => [
        key,
        typeof value === "number" ? value : values(value),
      ]);
    const learned = [
      ["weight", [1, 1, 1]],
      ["bias", [0, 0, 0]],
    ];
    const statistics = [
      ["running_mean", [0, 0, 0]],
      ["running_var", [1, 1, 1]],
      ["num_batches_tracked", 0],
    ];
    const [layer, group, ...instances] = layers().map(entries);
    expect([layer, group]).toEqual([learned, learned]);
    for (const entry of instances) expect(entry).toEqual([...learned, ...statistics]);
    expect(new nn.InstanceNorm1d(3).stateDict().size).toBe(0);
    const only = { elementwiseAffine: true, bias: false };
    expect([...new nn.LayerNorm(3, only).stateDict().keys()]).toEqual(["weight"]);
  });

  test("instance norm's layout has version 2, the others' 1", () => {
    const versions = layers().map((layer) => layer.stateDict().metadata.get("")?.version);
    expect(versions).toEqual([1, 1, 2, 2, 2]);
  });

  test("none of them is a batch norm", () => {
    expect(layers().filter(nn.isBatchNorm)).toEqual([]);
  });

  test("weight decay is kept off all of them", () => {
    const model = new nn.ModuleList(layers());
    const [decayed, spared] = optim.splitWeightDecay(model, 0.1);
    expect([decayed.params.length, spared.params.length]).toEqual([0, 10]);
  });

  test("resetParameters puts everything back", () => {
    for (const layer of layers()) {
      const tensors = () =>
        [...layer.stateDict().values()].filter((value) => typeof value !== "number");
      const start = tensors().map(values);
      for (const t of tensors()) nn.init.constant(t, 7);
      layer.resetParameters();
      expect(tensors().map(values)).toEqual(start);
    }
  });

  test("resetRunningStats names missing buffers, and does nothing while the flag is off", () => {
    const norm = new nn.InstanceNorm1d(2, { trackRunningStats: true });
    norm.runningMean = null;
    expect(() => norm.resetRunningStats()).toThrow(/expected running statistics.*set to null/);
    norm.trackRunningStats = false;
    expect(() => norm.resetRunningStats()).not.toThrow();
  });

  test("old files with statistics for an instance norm that keeps none are refused, strict or not", () => {
    const model = new nn.Sequential(new nn.InstanceNorm1d(2), new nn.InstanceNorm1d(2));
    const source = { "0.running_mean": zeros([2]), "1.running_var": zeros([2]) };
    expect(() => model.loadStateDict(source, { strict: false })).toThrow(
      /no running statistics for a InstanceNorm1d whose trackRunningStats is false, got 0.running_mean/,
    );
    const tracking = new nn.InstanceNorm1d(2, { trackRunningStats: true });
    const current = tracking.stateDict();
    expect(
      new nn.InstanceNorm1d(2).loadStateDict(current, { strict: false }).unexpectedKeys,
    ).toEqual(["running_mean", "running_var", "num_batches_tracked"]);
    const [mean, variance] = [tensor([1, 2]), tensor([3, 4])];
    tracking.loadStateDict({ running_mean: mean, running_var: variance });
    expect([values(tracking.runningMean), values(tracking.runningVar)]).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  test("clones keep statistics of their own", () => {
    const norm = new nn.InstanceNorm1d(2, { trackRunningStats: true });
    const copy = norm.clone();
    copy(randn([2, 2, 4]).add(5));
    expect([values(norm.runningMean), values(copy.runningMean)[0] > 0.3]).toEqual([[0, 0], true]);
  });
});

describe("what forward does", () => {
  test("in a recomputed function running statistics move once, and evaluation repeats what it read", () => {
    const norm = new nn.InstanceNorm1d(2, { affine: true, trackRunningStats: true });
    const twin = norm.clone();
    const x = randn([3, 2, 4], { requiresGrad: true });
    const twice = (layer: nn.InstanceNorm1d) => (t: Tensor) => layer(layer(t).relu());
    nn.recompute(twice(norm), x).pow(2).sum().backward();
    const gradient = values(x.grad);
    x.grad = null;
    twice(twin)(x).pow(2).sum().backward();
    expect(values(norm.runningVar)).toEqual(values(twin.runningVar));
    expectClose(gradient, values(x.grad));
    norm.eval();
    const y = nn.recompute(twice(norm), x).sum();
    norm.resetRunningStats();
    x.grad = null;
    y.backward();
    const seen = values(x.grad);
    x.grad = null;
    twice(twin.eval())(x).sum().backward();
    expectClose(seen, values(x.grad));
  });

  test("nothing but the output outlives a call of a function", () => {
    const [x, weight] = [randn([2, 4, 3]), tensor([1, 2, 3, 4])];
    const { tensors } = memory();
    const made = [
      f.groupNorm(x, 2, { weight, bias: weight }),
      f.instanceNorm(x, null, null, { weight }),
      f.layerNorm(x, [3]),
    ];
    expect(memory().tensors - tensors).toBe(made.length);
  });

  test("empty batches stay empty and leave statistics alone", () => {
    const norm = new nn.InstanceNorm1d(2, { affine: true, trackRunningStats: true });
    const y = norm(zeros([0, 2, 3]));
    y.sum().backward();
    expect([y.shape, values(norm.weight?.grad)]).toEqual([
      [0, 2, 3],
      [0, 0],
    ]);
    expect([values(norm.runningMean), values(norm.runningVar)]).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(f.layerNorm(zeros([0, 3]), [3]).shape).toEqual([0, 3]);
    expect(f.groupNorm(zeros([0, 4, 2]), 2).shape).toEqual([0, 4, 2]);
  });

  test("values far from 0 keep their digits in float32", () => {
    const row = Float32Array.from({ length: 4096 }, (_, i) => 10000 + ((i * 37) % 128) / 64);
    const exact = (norm: (x: Tensor) => Tensor) =>
      expectClose(
        values(norm(tensor(row, { shape: [1, 4, 1024] }))),
        values(norm(tensor(Float64Array.from(row), { shape: [1, 4, 1024], device: "reference" }))),
      );
    exact((x) => f.layerNorm(x, [4, 1024]));
    exact((x) => f.groupNorm(x, 2));
    exact((x) => f.instanceNorm(x));
  });

  test("a layer norm over one element gives the bias, an eps of 0 a NaN where nothing varies", () => {
    expect(values(f.layerNorm(tensor([[3], [4]]), [1], { bias: tensor([2]) }))).toEqual([2, 2]);
    expect(values(f.layerNorm(tensor([[1, 2]]), [2], { eps: 0 }))).toEqual([-1, 1]);
    expect(values(f.layerNorm(tensor([[1, 1]]), [2], { eps: 0 }))).toEqual([
      Number.NaN,
      Number.NaN,
    ]);
  });

  test("instance norm without a weight takes other channels in silence, with one or with statistics it refuses", () => {
    const x = randn([2, 4, 3]);
    expect(new nn.InstanceNorm1d(3)(x).shape).toEqual([2, 4, 3]);
    expect(() => new nn.InstanceNorm1d(3, { affine: true })(x)).toThrow(
      "InstanceNorm1d: expected x with 3 channels on axis 1, got (2, 4, 3)",
    );
    const tracking = new nn.InstanceNorm1d(3, { trackRunningStats: true });
    expect(() => tracking(x)).toThrow(/runningMean to hold 4 elements/);
  });

  test("momentum null never moves the statistics of instance norm", () => {
    const norm = new nn.InstanceNorm1d(2, { momentum: null, trackRunningStats: true });
    norm(randn([2, 2, 4]));
    expect([values(norm.runningMean), values(norm.runningVar)]).toEqual([
      [0, 0],
      [1, 1],
    ]);
  });
});

test("errors say what was expected", () => {
  const x = randn([2, 4, 3]);
  const vector = tensor([1, 2]);
  const running = tensor([0, 0, 0, 0]);
  const refusals: [() => unknown, RegExp][] = [
    [() => f.layerNorm(x, []), /at least one axis, got \(\)/],
    [
      () => f.layerNorm(x, [3], { weight: vector }),
      /a weight of normalizedShape \(3,\), got \(2,\)/,
    ],
    [() => f.layerNorm(tensor(Int32Array.of(1, 2)), [2]), /layerNorm: expected/],
    [() => f.groupNorm(x, 0), /integer above 0, got 0/],
    [() => f.groupNorm(x, 3), /channels that the groups divide/],
    [() => f.groupNorm(vector, 1), /at least 2 axes/],
    [() => f.groupNorm(zeros([2, 4, 0]), 2), /at least one position/],
    [() => f.groupNorm(x, 2, { bias: vector }), /groupNorm: expected bias to hold 4 elements/],
    [() => f.instanceNorm(x, running), /instanceNorm: expected both runningMean and runningVar/],
    [
      () => f.instanceNorm(x, null, null, { useInputStats: false }),
      /instanceNorm: expected runningMean/,
    ],
    [() => f.instanceNorm(x, null, null, { weight: vector }), /weight to hold 4 elements/],
    [
      () => f.layerNorm(x, [3], { bias: zeros([3], { dtype: "int32" }) }),
      /layerNorm: expected .*float32/,
    ],
    [
      () => f.groupNorm(x, 2, { weight: zeros([4], { dtype: "int32" }) }),
      /weight of x's dtype float32/,
    ],
    [() => new nn.LayerNorm([2, 0.5]), /integers >= 0, got \(2, 0.5\)/],
    [() => new nn.GroupNorm(0, 3), /integers above 0/],
    [() => new nn.InstanceNorm2d(-1), /InstanceNorm2d: expected numFeatures/],
    [() => new nn.InstanceNorm2d(3)(x.select(0, 0)), /expected x with 4 axes.*or 3.*got 2 axes/],
  ];
  for (const [attempt, message] of refusals) expect(attempt).toThrow(message);
});

describe("gradients agree with differences", () => {
  const vector = { shape: [4] };
  test("layerNorm", () => {
    const [weight, bias] = [{ shape: [4, 3] }, { shape: [4, 3] }];
    const norm = (x: Tensor, w: Tensor, b: Tensor) =>
      f.layerNorm(x, [4, 3], { weight: w, bias: b, eps: 0.1 });
    expectGradients(norm, [{ shape: [2, 4, 3] }, weight, bias]);
  });
  test("groupNorm", () => {
    const norm = (x: Tensor, w: Tensor, b: Tensor) =>
      f.groupNorm(x, 2, { weight: w, bias: b, eps: 0.1 });
    expectGradients(norm, [{ shape: [2, 4, 3] }, vector, vector]);
  });
  test("instanceNorm by its own statistics and by running ones", () => {
    const place = { device: "reference", dtype: "float64" } as const;
    const [mean, variance] = [tensor([1, -1, 2, 0], place), tensor([1, 2, 0.5, 3], place)];
    for (const useInputStats of [true, false]) {
      const norm = (x: Tensor, w: Tensor, b: Tensor) =>
        f.instanceNorm(x, mean.clone(), variance.clone(), {
          ...{ weight: w, bias: b, useInputStats, eps: 0.1 },
        });
      expectGradients(norm, [{ shape: [2, 4, 3] }, vector, vector]);
    }
  });
});

/** State dicts: keys, order, versions, loading, printing. */
import { describe, expect, test } from "vitest";
import { nn, StateDictError, type Tensor, tensor, zeros } from "../../src/index.ts";
import { expectSameBytes } from "../support/close.ts";
import { distinct } from "../support/random.ts";

const affineKeys = ["weight", "bias"];
const tensorBuffers = ["running_mean", "running_var"];
const bufferKeys = [...tensorBuffers, "num_batches_tracked"];

function read(t: Tensor | null): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

/** A full state of 3 channels, no two values alike. */
function state(): Record<string, Tensor | number> {
  const [weight, bias, mean] = [1, 2, 3].map((seed) => tensor(distinct(3, { seed })));
  const variance = tensor(distinct(3, { seed: 4, low: 0.5, high: 3 }));
  const entries = { weight, bias, running_mean: mean, running_var: variance };
  return { ...entries, num_batches_tracked: 42 };
}

/** `state` without one key. */
function stateWithout(key: string): Record<string, Tensor | number> {
  return Object.fromEntries(Object.entries(state()).filter(([name]) => name !== key));
}

test.each([
  { affine: true, trackRunningStats: true, keys: [...affineKeys, ...bufferKeys] },
  { affine: false, trackRunningStats: true, keys: bufferKeys },
  { affine: true, trackRunningStats: false, keys: affineKeys },
  { affine: false, trackRunningStats: false, keys: [] },
])(
  "S-01 keys with affine $affine and trackRunningStats $trackRunningStats, in order",
  ({ keys, ...options }) => {
    const dict = new nn.BatchNorm2d(4, options).stateDict();
    expect([...dict.keys()]).toEqual(keys);
    const shapes = [...dict.values()].map((value) =>
      typeof value === "number" ? [] : value.shape,
    );
    expect(shapes).toEqual(keys.map((key) => (key === "num_batches_tracked" ? [] : [4])));
  },
);

test("S-01 without a bias there is a weight alone", () => {
  const bn = new nn.BatchNorm2d(4, { bias: false });
  expect([...bn.stateDict().keys()]).toEqual(["weight", ...bufferKeys]);
  expect(bn.bias).toBeNull();
  expect(new nn.BatchNorm2d(4, { affine: false, bias: true }).bias).toBeNull();
});

describe("printing", () => {
  const tail = "affine=True, track_running_stats=True)";

  test.each([
    [new nn.BatchNorm2d(4), `BatchNorm2d(4, eps=1e-05, momentum=0.1, ${tail}`],
    [
      new nn.BatchNorm1d(10, { eps: 1e-3, momentum: null }),
      `BatchNorm1d(10, eps=0.001, momentum=None, ${tail}`,
    ],
    [
      new nn.BatchNorm3d(2, { eps: 0.5, momentum: 0, affine: false, trackRunningStats: false }),
      "BatchNorm3d(2, eps=0.5, momentum=0, affine=False, track_running_stats=False)",
    ],
  ])("S-02 a layer prints as in PyTorch: %s", (bn, expected) => {
    expect(String(bn)).toBe(expected);
  });

  test("S-02 a bias that was left out is named, between the options around it", () => {
    const expected =
      "BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, bias=False, track_running_stats=True)";
    expect(String(new nn.BatchNorm2d(4, { bias: false }))).toBe(expected);
  });

  test("S-02 a tree of layers prints as in PyTorch", () => {
    const net = new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm1d(3), new nn.ReLU());
    expect(String(net)).toBe(
      [
        "Sequential(",
        "  (0): Linear(in_features=2, out_features=3, bias=True)",
        "  (1): BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)",
        "  (2): ReLU()",
        ")",
      ].join("\n"),
    );
  });
});

test("S-03 the state has version 2 and holds the live tensors", () => {
  const net = new nn.Sequential(new nn.Linear(3, 3), new nn.BatchNorm1d(3));
  const dict = net.stateDict();
  expect(Object.fromEntries(dict.metadata)).toEqual({
    "": { version: 1 },
    "0": { version: 1 },
    "1": { version: 2 },
  });
  const bn = new nn.BatchNorm1d(3);
  const alone = bn.stateDict();
  expect(alone.get("running_mean")).toBe(bn.runningMean);
  expect(alone.get("weight")).toBe(bn.weight);
  expect(alone.metadata.get("")).toEqual({ version: 2 });
});

describe("an old state without the counter", () => {
  test("S-04 loads strictly without metadata, and the layer keeps its own count", () => {
    const bn = new nn.BatchNorm1d(3);
    bn.numBatchesTracked = 10;
    expect(bn.loadStateDict(stateWithout("num_batches_tracked"))).toEqual({
      missingKeys: [],
      unexpectedKeys: [],
    });
    expect(bn.numBatchesTracked).toBe(10);
    expectSameBytes(read(bn.runningVar), distinctVariance());
  });

  test("S-04 loads strictly with version 1", () => {
    const bn = new nn.BatchNorm1d(3);
    const dict = new nn.BatchNorm1d(3).stateDict();
    dict.delete("num_batches_tracked");
    dict.metadata.set("", { version: 1 });
    bn.loadStateDict(dict);
    expect(bn.numBatchesTracked).toBe(0);
  });
});

test("S-05 a new layer has counted nothing; an empty dict leaves a count of 10", () => {
  const bn = new nn.BatchNorm1d(3);
  expect(bn.numBatchesTracked).toBe(0);
  bn.numBatchesTracked = 10;
  const { missingKeys } = bn.loadStateDict({}, { strict: false });
  expect(bn.numBatchesTracked).toBe(10);
  expect(missingKeys).toEqual([...affineKeys, ...tensorBuffers]);
});

test("S-06 version 2 without the counter misses it", () => {
  const dict = new nn.BatchNorm1d(3).stateDict();
  dict.delete("num_batches_tracked");
  expect(() => new nn.BatchNorm1d(3).loadStateDict(dict)).toThrow(StateDictError);
  expect(() => new nn.BatchNorm1d(3).loadStateDict(dict)).toThrow("missing num_batches_tracked");
});

test("S-06 so does any state when the flag was switched off", () => {
  const bn = new nn.BatchNorm1d(3);
  bn.trackRunningStats = false;
  const load = () => bn.loadStateDict(stateWithout("num_batches_tracked"));
  expect(load).toThrow("missing num_batches_tracked");
});

test.each([
  ["shape (1)", tensor([7])],
  ["shape (1), int32", tensor([7], { dtype: "int32" })],
  ["a fraction", tensor(Float32Array.of(7.7), { shape: [] })],
  ["a fractional number", 7.9],
])("S-07 a counter with %s loads as 7", (_, counter) => {
  const bn = new nn.BatchNorm1d(3);
  bn.loadStateDict({ ...state(), num_batches_tracked: counter });
  expect(bn.numBatchesTracked).toBe(7);
});

test("S-07 float64 values load into a float32 layer, which stays float32", () => {
  const bn = new nn.BatchNorm1d(3);
  const values = Float64Array.of(0.1, 0.2, 1e-8);
  bn.loadStateDict({ running_mean: tensor(values, { device: "reference" }) }, { strict: false });
  expect(bn.runningMean?.dtype).toBe("float32");
  expectSameBytes(read(bn.runningMean), Float64Array.from(Float32Array.from(values)));
});

test.each([true, false])(
  "S-08 a wrong length is an error also when not strict (strict %s)",
  (strict) => {
    const bn = new nn.BatchNorm1d(3);
    const load = () => bn.loadStateDict({ ...state(), running_var: zeros([4]) }, { strict });
    expect(load).toThrow(StateDictError);
    expect(load).toThrow("running_var: the model has (3,), the state dict (4,)");
  },
);

describe("keys that do not match", () => {
  const cases = [
    { from: {}, to: { trackRunningStats: false }, missingKeys: [], unexpectedKeys: bufferKeys },
    { from: { trackRunningStats: false }, to: {}, missingKeys: bufferKeys, unexpectedKeys: [] },
    { from: {}, to: { affine: false }, missingKeys: [], unexpectedKeys: affineKeys },
  ];

  test.each(cases)(
    "S-09 $from into $to is refused, or returned when not strict",
    ({ from, to, ...lists }) => {
      const dict = new nn.BatchNorm1d(3, from).stateDict();
      const bn = new nn.BatchNorm1d(3, to);
      expect(() => bn.loadStateDict(dict)).toThrow(StateDictError);
      for (const key of [...lists.missingKeys, ...lists.unexpectedKeys]) {
        expect(() => bn.loadStateDict(dict)).toThrow(key);
      }
      expect(bn.loadStateDict(dict, { strict: false })).toEqual(lists);
    },
  );
});

test("S-10 loading leaves the caller's dict alone and keeps the layer's own tensors", () => {
  const bn = new nn.BatchNorm1d(3);
  const { weight, runningMean } = bn;
  const dict = new Map(Object.entries(stateWithout("num_batches_tracked")));
  const before = [...dict];
  bn.loadStateDict(dict);
  expect([...dict]).toEqual(before);
  expect(bn.weight).toBe(weight);
  expect(bn.runningMean).toBe(runningMean);
  expect(bn.runningMean).not.toBe(dict.get("running_mean"));
});

test("S-11 nested keys: parameters before buffers in each layer; parameters and buffers apart keep the order", () => {
  const net = new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm1d(3));
  const expected = [
    "0.weight",
    "0.bias",
    ...[...affineKeys, ...bufferKeys].map((key) => `1.${key}`),
  ];
  expect([...net.stateDict().keys()]).toEqual(expected);
  expect(net.namedParameters().map(([key]) => key)).toEqual([
    "0.weight",
    "0.bias",
    "1.weight",
    "1.bias",
  ]);
  expect(net.namedBuffers().map(([key]) => key)).toEqual(bufferKeys.map((key) => `1.${key}`));
});

test("S-12 keys with a wrapper's prefix load once it is stripped", () => {
  const bn = new nn.BatchNorm1d(3);
  const wrapped = Object.entries(state()).map(([key, value]) => [`module.${key}`, value] as const);
  expect(() => bn.loadStateDict(new Map(wrapped))).toThrow("unexpected module.weight");
  bn.loadStateDict(new Map(wrapped.map(([key, value]) => [key.replace(/^module\./, ""), value])));
  expect(bn.numBatchesTracked).toBe(42);
  expectSameBytes(read(bn.runningVar), distinctVariance());
});

describe("a layer in two places", () => {
  const shared = () => {
    const bn = new nn.BatchNorm1d(3);
    return { bn, net: new nn.Sequential(bn, new nn.ReLU(), bn) };
  };
  const paths = ["0.", "2."].flatMap((prefix) =>
    [...affineKeys, ...bufferKeys].map((key) => prefix + key),
  );

  test("S-13 its state has both paths, parameters and buffers are listed once", () => {
    const { bn, net } = shared();
    expect([...net.stateDict().keys()]).toEqual(paths);
    expect(net.parameters()).toEqual([bn.weight, bn.bias]);
    expect(
      net
        .namedBuffers()
        .slice(0, 2)
        .map(([key]) => key),
    ).toEqual(["0.running_mean", "0.running_var"]);
    expect(net.stateDict().get("2.running_mean")).toBe(bn.runningMean);
  });

  test("S-13 it loads what it saved, and counts both of its calls", () => {
    const { bn, net } = shared();
    net(tensor(distinct(6, { seed: 5 }), { shape: [2, 3] }));
    expect(bn.numBatchesTracked).toBe(2);
    const other = shared();
    other.net.loadStateDict(net.stateDict());
    expectSameBytes(read(other.bn.runningMean), read(bn.runningMean));
    expect(other.bn.numBatchesTracked).toBe(2);
  });
});

function distinctVariance(): Float64Array {
  return Float64Array.from(distinct(3, { seed: 4, low: 0.5, high: 3 }));
}

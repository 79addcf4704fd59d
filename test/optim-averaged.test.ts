/** Averaged models against PyTorch's, and what goes with them. */
import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  type checkpoint,
  full,
  memory,
  nn,
  optim,
  randn,
  Tensor,
  tensor,
  zeros,
} from "../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";

interface Case {
  readonly name: string;
  readonly averaging: NonNullable<optim.AveragedModelOptions["averaging"]>;
  readonly useBuffers: boolean;
  /** Of its state dict, in order. */
  readonly keys: readonly string[];
}

const fixture = new Fixture("averaged-models");
const cases = readCases<Case>("averaged-models");
const updates = [0, 1, 2, 3, 4, 5];
const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;

/** Buffers of every kind, as the fixture's network has them. */
class Net extends nn.Module {
  readonly linear = new nn.Linear(3, 4);
  readonly bn = new nn.BatchNorm1d(4);
  declare table: Tensor;

  constructor() {
    super();
    this.registerBuffer("table", zeros([3], { dtype: "int32" }));
  }

  forward(x: Tensor): Tensor {
    return this.bn(this.linear(x));
  }
}

describe.each(placements)("$dtype on $device agrees with PyTorch after every update", (place) => {
  test.each(cases)("$averaging, useBuffers $useBuffers", async ({ name, keys, ...options }) => {
    const net = new Net().to(place.device).to(place.dtype);
    const averaged = new optim.AveragedModel(net, options);
    for (const update of updates) {
      net.loadStateDict(recorded(`model${update}/`));
      averaged.updateParameters(net);

      expect([...averaged.stateDict().keys()]).toEqual(keys);
      for (const [key, value] of averaged.stateDict()) {
        const label = `${name}/${update}/${key}`;
        expectClose(await valuesOf(value), fixture.values(label), tolerance[place.dtype], label);
      }
    }
  });
});

describe("an averaged model", () => {
  test("holds a copy: training the model does not change it, and the other way round", async () => {
    const net = new Net();
    const averaged = new optim.AveragedModel(net);
    const before = await net.linear.weight.data();
    averaged.module.linear.weight.adopt(zeros([4, 3]).holding.storage.retain(), "float32");

    expectSameBytes(await net.linear.weight.data(), before);
  });

  test("is called as the model is, and is a copy of it until the second update", async () => {
    const net = new Net().eval();
    const averaged = new optim.AveragedModel(net);
    const x = randn([5, 3]);
    averaged.updateParameters(net);

    expect(averaged.nAveraged).toBe(1);
    expectSameBytes(await averaged(x).data(), await net(x).data());
  });

  test("averages equal weights exactly like a mean", async () => {
    const net = new nn.Linear(1, 1, { bias: false });
    const averaged = new optim.AveragedModel(net);
    for (const value of [1, 2, 6, 7]) {
      net.loadStateDict({ weight: tensor([[value]]) });
      averaged.updateParameters(net);
    }

    expect(await averaged.module.weight.item()).toBe(4);
  });

  test("gets statistics of its own from updateBatchNorm", async () => {
    const net = new Net();
    const averaged = new optim.AveragedModel(net);
    net.loadStateDict(recorded("model0/"));
    averaged.updateParameters(net);
    net.loadStateDict(recorded("model1/"));
    averaged.updateParameters(net);
    const batches = [randn([6, 3]), randn([6, 3])];
    await nn.updateBatchNorm(averaged, batches);
    const alone = averaged.module.clone();
    await nn.updateBatchNorm(alone, batches);

    expect(averaged.module.bn.numBatchesTracked).toBe(2);
    expect(await averaged.module.bn.runningMean?.data()).toEqual(
      await alone.bn.runningMean?.data(),
    );
    expect(await averaged.module.bn.runningMean?.data()).not.toEqual(
      await net.bn.runningMean?.data(),
    );
  });

  test("goes on from a state dict", async () => {
    const net = new Net();
    const [first, resumed] = [1, 2].map(() => new optim.AveragedModel(net));
    net.loadStateDict(recorded("model0/"));
    first.updateParameters(net);
    resumed.loadStateDict(first.stateDict());
    net.loadStateDict(recorded("model1/"));
    first.updateParameters(net);
    resumed.updateParameters(net);

    expect(resumed.nAveraged).toBe(2);
    const { weight } = resumed.module.linear;
    expectSameBytes(await weight.data(), await first.module.linear.weight.data());
  });

  test("averages a model on another device and in another dtype", async () => {
    const net = new Net();
    const averaged = new optim.AveragedModel(net, { averaging: { emaDecay: 0.5 } });
    averaged.to("reference").to("float64");
    net.loadStateDict(recorded("model0/"));
    averaged.updateParameters(net);
    net.loadStateDict(recorded("model1/"));
    averaged.updateParameters(net);
    const [before, after] = ["model0", "model1"].map((m) => fixture.values(`${m}/linear.weight`));
    const expected = before.map((value, i) => (Math.fround(value) + Math.fround(after[i])) / 2);

    const { weight } = averaged.module.linear;
    expect([weight.device, weight.dtype]).toEqual(["reference", "float64"]);
    expectClose(await weight.data(), expected, tolerance.float64);
  });

  test("averages a parameter that two layers share once", async () => {
    const net = new nn.ModuleList([new nn.Linear(2, 2), new nn.Linear(2, 2)]);
    const [first, second] = net.toArray();
    Reflect.set(second, "weight", Reflect.get(first, "weight"));
    const averaged = new optim.AveragedModel(net, { averaging: { emaDecay: 0.75 } });
    averaged.updateParameters(net);
    net.loadStateDict({ "0.weight": full([2, 2], 8) }, { strict: false });
    const before = await averaged.module.parameters()[0].data();
    averaged.updateParameters(net);

    const expected = before.map((value) => 0.75 * value + 2);
    expectClose(await averaged.module.parameters()[0].data(), expected);
  });

  test("leaves the graph alone: an update in the middle of a step is an overwritten tensor", () => {
    const net = new Net();
    const averaged = new optim.AveragedModel(net);
    const loss = averaged(randn([5, 3])).sum();
    averaged.updateParameters(net);

    expect(() => loss.backward()).toThrow(/updateParameters/);
  });

  test.each([-0.1, 1.1, Number.NaN])("refuses emaDecay %d", (emaDecay) => {
    const make = () => new optim.AveragedModel(new Net(), { averaging: { emaDecay } });
    expect(make).toThrow(ArgumentError);
    expect(make).toThrow(/emaDecay \} in \[0, 1\]/);
  });

  test("refuses a model of another structure and changes nothing", async () => {
    const net = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 3));
    const other = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 4));
    const averaged = new optim.AveragedModel(net);
    const before = await averaged.module.parameters()[0].data();

    expect(() => averaged.updateParameters(other)).toThrow(
      /updateParameters: expected weight of shape \(3, 2\) in "1", got weight of shape \(4, 2\)/,
    );
    expect(() => averaged.updateParameters(new nn.Sequential())).toThrow(/3 modules, got 1/);
    expectSameBytes(await averaged.module.parameters()[0].data(), before);
    expect(averaged.nAveraged).toBe(0);
  });

  test("makes nothing that stays alive", () => {
    const net = new Net();
    const averaged = new optim.AveragedModel(net, { useBuffers: true });
    averaged.updateParameters(net);
    const before = memory().tensors;
    averaged.updateParameters(net);

    expect(memory().tensors).toBe(before);
  });
});

/** State that the fixture recorded, by the keys behind `prefix`. */
function recorded(prefix: string): Map<string, checkpoint.Entry> {
  const keys = fixture.keys().filter((key) => key.startsWith(prefix));
  return new Map(
    keys.map((key) => {
      const { shape, values } = fixture.get(key);
      const entry = { dtype: "float64", shape, data: () => values } as const;
      return [key.slice(prefix.length), entry];
    }),
  );
}

async function valuesOf(value: Tensor | number) {
  return value instanceof Tensor ? value.data() : [value];
}

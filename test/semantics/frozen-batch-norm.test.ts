/** FrozenBatchNorm2d and the conversions: against torchvision, and what is copied and what shared. */
import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  manualSeed,
  nn,
  optim,
  randn,
  ShapeError,
  type Tensor,
  tensor,
} from "../../src/index.ts";
import { expectClose } from "../support/close.ts";
import { testOperations } from "../support/op-fixtures.ts";
import { distinct } from "../support/random.ts";

const keys = ["weight", "bias", "running_mean", "running_var"];
const read = (t: Tensor | null) => Float64Array.from(t?.dataSync() ?? []);

testOperations<{ readonly eps: number }>("frozen-batch-norm", {
  frozenBatchNorm2d: ({ x, ...state }, { eps }) => {
    const layer = new nn.FrozenBatchNorm2d(x.shape[1], { eps }).to(x.device).to(x.dtype);
    layer.loadStateDict(state);
    return layer(x);
  },
});

/** A state of 3 channels with distinct values. */
function state(): Record<string, Tensor> {
  const [weight, bias, mean] = [1, 2, 3].map((seed) => tensor(distinct(3, { seed })));
  const variance = tensor(distinct(3, { seed: 4, low: 0.5, high: 3 }));
  return { weight, bias, running_mean: mean, running_var: variance };
}

function trained(options: nn.BatchNormLayerOptions = {}): nn.BatchNorm2d {
  const layer = new nn.BatchNorm2d(3, options);
  layer.loadStateDict({ ...state(), num_batches_tracked: 100 });
  return layer;
}

describe("FrozenBatchNorm2d", () => {
  test.each(Array.from({ length: 10 }, (_, seed) => seed))(
    "H-10 reads BatchNorm2d's state, counter dropped, and equals its evaluation (seed %i)",
    (seed) => {
      manualSeed(seed);
      const frozen = new nn.FrozenBatchNorm2d(32);
      const bn = new nn.BatchNorm2d(32).eval();
      const given = new Map<string, Tensor | number>(keys.map((key) => [key, randn([32])]));
      given.set("running_var", randn([32]).abs().add(0.1)).set("num_batches_tracked", 100);
      bn.loadStateDict(given);
      expect(frozen.loadStateDict(given)).toEqual({ missingKeys: [], unexpectedKeys: [] });
      const x = randn([4, 32, 28, 28]);
      expectClose(read(frozen(x)), read(bn(x)));
    },
  );

  test("H-10 has four buffers in order, no parameter, no counter, and prints its eps", () => {
    const layer = new nn.FrozenBatchNorm2d(64);
    expect([...layer.stateDict().keys()]).toEqual(keys);
    expect(layer.parameters()).toEqual([]);
    expect(layer.namedBuffers().map(([key]) => key)).toEqual(keys);
    expect(String(layer)).toBe("FrozenBatchNorm2d(64, eps=1e-05)");
    expect(nn.isBatchNorm(layer)).toBe(false);
    expect(nn.summary(layer, [1, 64, 2, 2]).rows[0].frozen).toBe("yes");
  });

  test("does the same in training and evaluation, and recomputes to the same gradient", () => {
    const layer = new nn.FrozenBatchNorm2d(3);
    layer.loadStateDict(state());
    const x = randn([2, 3, 2, 2]);
    x.requiresGrad = true;
    const y = read(layer.train()(x));
    expect(read(layer.eval()(x))).toEqual(y);
    layer(x).pow(2).sum().backward();
    const gradient = read(x.grad);
    x.grad = null;
    const loss = nn.recompute((input: Tensor) => layer(input).pow(2), x).sum();
    layer.loadStateDict({ running_mean: tensor([9, 9, 9]) }, { strict: false }); // the variances become 1
    loss.backward();
    expect(read(x.grad)).toEqual(gradient);
  });

  test.each(["running_mean", "running_var"])("fills in %s for layouts before version 2", (gone) => {
    const old = Object.fromEntries(Object.entries(state()).filter(([key]) => key !== gone));
    const layer = new nn.FrozenBatchNorm2d(3);
    layer.loadStateDict(state());
    layer.loadStateDict(old);
    const expected = gone === "running_var" ? [1, 1, 1] : [0, 0, 0];
    const buffer = gone === "running_var" ? layer.runningVar : layer.runningMean;
    expect(Array.from(read(buffer))).toEqual(expected);
    const newer = Object.assign(new Map(Object.entries(old)), {
      metadata: new Map([["", { version: 2 }]]),
    });
    expect(() => layer.loadStateDict(newer)).toThrow(`missing ${gone}`);
  });

  test("says that it is version 3, and misses weight and bias of any version", () => {
    const layer = new nn.FrozenBatchNorm2d(3);
    expect(layer.stateDict().metadata.get("")).toEqual({ version: 3 });
    expect(() => layer.loadStateDict({})).toThrow("missing weight (3,), bias (3,)");
  });

  test("refuses other ranks and sizes", () => {
    const layer = new nn.FrozenBatchNorm2d(3);
    expect(() => layer(randn([2, 3]))).toThrow(ShapeError);
    expect(() => layer(randn([2, 4, 1, 1]))).toThrow(ShapeError);
    expect(() => new nn.FrozenBatchNorm2d(1.5)).toThrow(ArgumentError);
  });
});

describe("converting", () => {
  test("H-12 replaces what is nested, shares statistics, copies weight and bias, takes over eps and mode", () => {
    const bn = trained({ eps: 0.25 }).eval();
    const model = new nn.Sequential(new nn.Sequential(bn, new nn.ReLU()), new nn.BatchNorm1d(3));
    expect(nn.convertFrozenBatchNorm(model)).toBe(model);
    const [, frozen] = model.namedModules().find(([path]) => path === "0.0") ?? [];
    expect(frozen).toBeInstanceOf(nn.FrozenBatchNorm2d);
    expect(model.at(1).kind).toBe("BatchNorm1d");
    const { weight, bias, runningMean, runningVar, eps, training } = frozen as nn.FrozenBatchNorm2d;
    expect([runningMean === bn.runningMean, runningVar === bn.runningVar]).toEqual([true, true]);
    expect([eps, training, weight === bn.weight]).toEqual([0.25, false, false]);
    expect([read(weight), read(bias)]).toEqual([read(bn.weight), read(bn.bias)]);
    bn.resetParameters();
    expect(read(weight)).toEqual(read(state().weight));
    expect(read(runningVar)).toEqual(Float64Array.of(1, 1, 1));
  });

  test("M-08 an optimizer made afterwards has no weights of frozen layers", () => {
    const model = nn.convertFrozenBatchNorm(new nn.Sequential(trained(), new nn.Flatten()));
    expect(model.parameters()).toEqual([]);
    const bn = trained();
    const opt = new optim.SGD(bn.parameters(), { lr: 1 });
    expect(
      nn
        .convertFrozenBatchNorm(bn)
        .ownState()
        .map(({ value }) => value),
    ).not.toContain(opt.paramGroups[0].params[0]);
  });

  test("a root gives a new module; without weight and bias these are 1 and 0", () => {
    const plain = nn.convertFrozenBatchNorm(new nn.BatchNorm2d(2, { affine: false }));
    expect(plain.kind).toBe("FrozenBatchNorm2d");
    expect([read(plain.weight), read(plain.bias)]).toEqual([
      Float64Array.of(1, 1),
      Float64Array.of(0, 0),
    ]);
    const double = nn.convertFrozenBatchNorm(trained().to("reference").to("float64"));
    expect([double.weight.device, double.bias.dtype]).toEqual(["reference", "float64"]);
  });

  test("there and back computes the same in evaluation, with memory of its own", () => {
    const bn = trained({ eps: 0.25 }).eval();
    const frozen = nn.convertFrozenBatchNorm(bn);
    const back = nn.convertFrozenToBatchNorm(frozen);
    expect([back.kind, back.momentum, back.numBatchesTracked, back.training, back.eps]).toEqual([
      ...["BatchNorm2d", 0.1, 0],
      ...[false, 0.25],
    ]);
    const x = randn([2, 3, 2, 2]);
    expect(read(back(x))).toEqual(read(bn(x)));
    back.train()(x);
    expect(read(frozen.runningMean)).toEqual(read(state().running_mean));
    expect(back.weight?.requiresGrad).toBe(true);
  });

  test("refuses what it would break, before anything changes", () => {
    class Fused extends nn.BatchNorm2d {
      override forward(x: Tensor): Tensor {
        return super.forward(x).relu();
      }
    }
    const refused = [
      [new Fused(2), "BatchNorm2d with its own at 1"],
      [new nn.BatchNorm2d(2, { trackRunningStats: false }), "got none at 1"],
      [new nn.LazyBatchNorm2d(), "a LazyBatchNorm2d before its first batch at 1"],
    ] as const;
    for (const [layer, message] of refused) {
      const model = new nn.Sequential(new nn.BatchNorm2d(2), layer);
      expect(() => nn.convertFrozenBatchNorm(model)).toThrow(message);
      expect(model.at(0).kind).toBe("BatchNorm2d");
    }
  });
});

import { beforeEach, describe, expect, test } from "vitest";
import {
  ArgumentError,
  manualSeed,
  models,
  nn,
  noGrad,
  optim,
  randn,
  Tensor,
  tensor,
} from "../src/index.ts";

class Net extends nn.Module {
  static override readonly kind = "Net";
  readonly layer1 = new nn.Sequential(new nn.Linear(3, 3), new nn.BatchNorm1d(3));
  readonly layer10 = new nn.BatchNorm1d(3);
  readonly head = new nn.BatchNorm1d(3);
  forward(x: Tensor): Tensor {
    return this.head(this.layer10(this.layer1(x)));
  }
}

const bits = (value: Tensor | number | null | undefined) =>
  value instanceof Tensor ? Array.from(value.dataSync()) : (value ?? null);
const frozenAt = (model: nn.Module) =>
  model
    .namedModules()
    .flatMap(([path, m]) => (nn.isBatchNorm(m) && m.frozen !== "no" ? [path] : []));
const buffersOf = (model: nn.Module) => model.namedBuffers().map(([key, b]) => [key, bits(b)]);

/** A layer that has met two batches. */
function trained(options: nn.BatchNormLayerOptions = {}): nn.BatchNorm1d {
  const bn = new nn.BatchNorm1d(3, options);
  noGrad(() => bn(randn([6, 3]).add(2)));
  noGrad(() => bn(randn([6, 3]).mul(3)));
  return bn;
}

/** One training step's output and gradients. */
function step(bn: nn.BatchNorm1d, x: Tensor) {
  bn.zeroGrad();
  const input = x.detach().clone();
  input.requiresGrad = true;
  const y = bn(input);
  y.pow(2).sum().backward();
  return {
    y: bits(y),
    dx: bits(input.grad),
    weight: bits(bn.weight?.grad),
    bias: bits(bn.bias?.grad),
  };
}

let x: Tensor;
beforeEach(() => {
  manualSeed(5);
  x = randn([4, 3]);
});

describe("freezeBatchNorm", () => {
  test("normalises with running statistics in training, and moves nothing", () => {
    const bn = trained();
    const expected = step(bn.eval(), x);
    nn.freezeBatchNorm(bn.train(), { affine: false });
    const before = buffersOf(bn);
    expect(step(bn, x)).toEqual(expected);
    expect([bn.training, bn.frozen, buffersOf(bn)]).toEqual([true, "statistics only", before]);
  });

  test("affine alone leaves statistics to the batch and takes the gradients away", () => {
    const bn = trained();
    const free = step(bn.clone(), x);
    bn(x).sum().backward();
    nn.freezeBatchNorm(bn, { stats: false });
    expect([bn.frozen, bn.weight?.requiresGrad, bn.weight?.grad]).toEqual([
      "weights only",
      false,
      null,
    ]);
    const before = buffersOf(bn);
    expect(step(bn, x)).toEqual({ ...free, weight: null, bias: null });
    expect(buffersOf(bn)).not.toEqual(before);
  });

  test("lasts through train, eval, apply, setRequiresGrad, clone, and loading; ends with unfreezeBatchNorm", () => {
    const model = new nn.Sequential(trained());
    nn.freezeBatchNorm(model);
    const before = buffersOf(model);
    const state = new Map(model.clone().stateDict());
    x.requiresGrad = true;
    model.eval().train();
    model.at(0).train(true);
    model.apply((module) => void module.train()).setRequiresGrad(true);
    model.loadStateDict(state);
    for (const subject of [model, model.clone()]) {
      subject(x).pow(2).sum().backward();
      expect(frozenAt(subject)).toEqual(["0"]);
      expect(buffersOf(subject)).toEqual(before);
      expect(subject.parameters().map(({ grad }) => grad)).toEqual([null, null]);
    }
    expect(nn.unfreezeBatchNorm(model)).toEqual(["0"]);
    model(x).pow(2).sum().backward();
    expect(buffersOf(model)).not.toEqual(before);
    expect(model.parameters().filter(({ grad }) => grad === null)).toEqual([]);
  });

  test("unfreezing gives back requiresGrad and the mode that was asked for last", () => {
    const bn = trained().eval();
    for (const { bias } of [bn]) if (bias) bias.requiresGrad = false;
    nn.freezeBatchNorm(bn, { stats: false });
    nn.freezeBatchNorm(bn);
    expect(bn.frozen).toBe("yes");
    bn.train();
    nn.unfreezeBatchNorm(bn);
    expect([bn.weight?.requiresGrad, bn.bias?.requiresGrad, bn.training, bn.frozen]).toEqual([
      ...[true, false],
      ...[true, "no"],
    ]);
    expect(nn.unfreezeBatchNorm(bn)).toEqual([]);
  });

  test.each([
    ["a path and all below", "layer1", ["layer1.1"]],
    ["an exact path", "layer10", ["layer10"]],
    ["a pattern, global or not", /^layer/g, ["layer1.1", "layer10"]],
    ["a function", (_: nn.Module, path: string) => path === "head", ["head"]],
    ["nothing", undefined, ["layer1.1", "layer10", "head"]],
  ] as const)("match by %s", (_what, match, paths) => {
    const model = new Net();
    const options = match === undefined ? {} : { match };
    expect(nn.freezeBatchNorm(model, options)).toEqual({ frozen: paths, skipped: [] });
    expect(frozenAt(model)).toEqual(paths);
    nn.unfreezeBatchNorm(model, options);
    expect(frozenAt(model)).toEqual([]);
  });

  test("a layer in two places is found at both, frozen once and named by its first", () => {
    const bn = trained();
    const model = new nn.Sequential(bn, new nn.Sequential(bn));
    expect(nn.freezeBatchNorm(model, { match: "1" }).frozen).toEqual(["1.0"]);
    expect(nn.unfreezeBatchNorm(model)).toEqual(["0"]);
    expect([bn.frozen, bn.weight?.requiresGrad]).toEqual(["no", true]);
  });

  test("a subclass is frozen as far as its forward calls that of its base", () => {
    class Fused extends nn.BatchNorm1d {
      override forward(input: Tensor): Tensor {
        return super.forward(input).relu();
      }
    }
    const fused = new Fused(3);
    nn.freezeBatchNorm(fused);
    fused(x);
    expect([bits(fused.runningMean), fused.numBatchesTracked]).toEqual([[0, 0, 0], 0]);
  });

  test("reports what it passed over, and why", () => {
    const model = new nn.Sequential(
      new nn.FrozenBatchNorm2d(3),
      trained({ affine: false }),
      trained(),
    );
    nn.freezeBatchNorm(model, { match: "2" });
    expect(nn.freezeBatchNorm(model, { stats: false }).skipped).toEqual([
      { path: "0", reason: "frozen by its class" },
      { path: "1", reason: "no weight or bias" },
      { path: "2", reason: "frozen already" },
    ]);
    expect(nn.freezeBatchNorm(new nn.ReLU())).toEqual({ frozen: [], skipped: [] });
  });

  test("refuses before anything changes, and says where", () => {
    const model = new nn.Sequential(trained(), new nn.BatchNorm1d(3, { trackRunningStats: false }));
    const lazy = new nn.Sequential(trained(), new nn.LazyBatchNorm1d());
    const messages: [nn.Module, nn.FreezeOptions, string][] = [
      [model, {}, 'running statistics, got none at "1"'],
      [lazy, {}, 'a LazyBatchNorm1d before its first batch at "1"'],
      [new Net(), { match: "layer2" }, 'got layer2; the nearest path is "layer1"'],
      [new Net(), { match: /stem/ }, 'they are at "layer1.1", "layer10", "head"'],
      [new nn.ReLU(), { match: "bn" }, "the model has no batch norm layer"],
      [
        model,
        { affine: false, stats: false },
        "expected affine or stats to be true, got both false",
      ],
    ];
    for (const [subject, options, message] of messages) {
      expect(() => nn.freezeBatchNorm(subject, options)).toThrow(ArgumentError);
      expect(() => nn.freezeBatchNorm(subject, options)).toThrow(message);
      expect(frozenAt(subject)).toEqual([]);
    }
    lazy(x);
    expect(nn.freezeBatchNorm(lazy).frozen).toEqual(["0", "1"]);
    // @ts-expect-error what JavaScript may pass
    expect(() => nn.freezeBatchNorm(model, { affine: 1 })).toThrow(TypeError);
    // @ts-expect-error what JavaScript may pass
    expect(() => nn.unfreezeBatchNorm(model, { match: 1 })).toThrow(TypeError);
  });

  test("shows in the printed layer and in summary, and in no other layer's text", () => {
    const bn = trained();
    const plain = String(bn);
    nn.freezeBatchNorm(bn);
    expect(String(bn)).toBe(plain.replace(/\)$/, ", frozen=yes)"));
    expect(nn.summary(bn, [2, 3]).rows[0]).toMatchObject({ mode: "train", frozen: "yes" });
    bn.setRequiresGrad(true);
    expect(nn.summary(bn, [2, 3]).rows[0].frozen).toBe("yes");
    nn.unfreezeBatchNorm(bn);
    expect(String(bn)).toBe(plain);
  });

  test("values written on purpose are taken, and updateBatchNorm leaves them alone", async () => {
    const model = new nn.Sequential(trained(), trained());
    nn.freezeBatchNorm(model, { match: "0" });
    const before = bits(model.at(0).ownState()[2].value as Tensor);
    await nn.updateBatchNorm(model, [x, x]);
    expect(bits(model.at(0).ownState()[2].value as Tensor)).toEqual(before);
    expect(
      model
        .namedBuffers()
        .map(([, b]) => b)
        .filter(Number.isInteger),
    ).toEqual([2, 2]);
    const frozen = model.at(0) as nn.BatchNorm1d;
    frozen.resetRunningStats();
    expect([bits(frozen.runningMean), frozen.frozen]).toEqual([[0, 0, 0], "yes"]);
  });

  test("frozen statistics that someone sets to null are missed, not replaced by the batch", () => {
    const bn = trained();
    nn.freezeBatchNorm(bn);
    bn.runningMean = null;
    bn.runningVar = null;
    expect(() => bn(x)).toThrow("runningMean");
  });

  test.each([true, false])(
    "recompute repeats the first run when frozen (%s) or not changes before backward",
    (isFrozen) => {
      const run = (change: boolean) => {
        manualSeed(8);
        const bn = trained();
        if (isFrozen) nn.freezeBatchNorm(bn, { affine: false });
        const input = randn([4, 3], { requiresGrad: true });
        const loss = nn.recompute(bn, input).pow(3).sum();
        const counted = bn.numBatchesTracked;
        if (change && isFrozen) nn.unfreezeBatchNorm(bn);
        if (change && !isFrozen) nn.freezeBatchNorm(bn, { affine: false });
        loss.backward();
        expect(bn.numBatchesTracked).toBe(counted);
        return [bits(input.grad), bits(bn.weight?.grad), bits(bn.runningMean)];
      };
      expect(run(true)).toEqual(run(false));
    },
  );

  test("onNonFinite has nothing to guard in a layer with frozen statistics", () => {
    const bn = trained({ onNonFinite: "throw" });
    nn.freezeBatchNorm(bn);
    const before = buffersOf(bn);
    const y = bn(
      tensor([
        [Number.NaN, 1, 2],
        [3, 4, 5],
      ]),
    );
    expect([Number.isNaN(y.dataSync()[0]), buffersOf(bn)]).toEqual([true, before]);
  });

  test("an averaged model of a frozen one is frozen, and so is a layer from another copy of the package", () => {
    const bn = trained();
    nn.freezeBatchNorm(bn);
    const averaged = new optim.AveragedModel(bn);
    averaged.updateParameters(bn);
    averaged.updateParameters(bn);
    averaged.train()(x);
    expect([averaged.module.frozen, buffersOf(averaged.module)]).toEqual(["yes", buffersOf(bn)]);
    expect(nn.isBatchNorm(bn)).toBe(true);
    expect(Object.getOwnPropertySymbols(bn)).toContain(Symbol.for("evenkeel.freeze"));
  });

  test("a training step of resnet18 leaves frozen statistics bit for bit, with the gradients of evaluation", () => {
    const model = models.resnet18({ numClasses: 4 });
    noGrad(() => model(randn([4, 3, 64, 64])));
    const image = randn([2, 3, 64, 64]);
    const labels = tensor(Int32Array.of(1, 3));
    const gradients = () => {
      model.zeroGrad();
      nn.functional.crossEntropy(model(image), labels).backward();
      return model.namedParameters().map(([key, { grad }]) => [key, bits(grad)]);
    };
    model.eval();
    const expected = gradients();
    nn.freezeBatchNorm(model, { affine: false });
    model.train();
    const before = buffersOf(model);
    expect(before).toHaveLength(60);
    expect(gradients()).toEqual(expected);
    new optim.SGD(model.parameters(), { lr: 0.1 }).step();
    expect(buffersOf(model)).toEqual(before);
  });
});

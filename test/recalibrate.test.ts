/** What updateBatchNorm and preciseBatchNorm share: reports, previews, dropout, layers that stay as they are. */
import { describe, expect, test } from "vitest";
import { defaultGenerator } from "../src/core/random.ts";
import { ArgumentError, manualSeed, nn, type Tensor, tensor } from "../src/index.ts";
import { internals } from "../src/nn/internals.ts";
import { expectClose, expectSameBytes } from "./support/close.ts";
import { distinct } from "./support/random.ts";

const passes = [
  ["updateBatchNorm", nn.updateBatchNorm],
  ["preciseBatchNorm", nn.preciseBatchNorm],
] as const;

function read(t: Tensor | null): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

function batchesOf(shape: readonly [number, number], count: number): Tensor[] {
  return Array.from({ length: count }, (_, i) =>
    tensor(distinct(shape[0] * shape[1], { seed: i + 1, low: i, high: i + 3 }), { shape }),
  );
}

/** Everything that a pass may touch, of every module. */
function stateOf(model: nn.Module) {
  return model.modules().map((module) => ({
    training: module.training,
    ...(nn.isBatchNorm(module) && {
      mean: read(module.runningMean),
      variance: read(module.runningVar),
      rest: [module.momentum, module.numBatchesTracked, module.trackRunningStats],
      skipped: module.skippedBatches,
    }),
  }));
}

function network(): nn.Sequential {
  manualSeed(5);
  const model = new nn.Sequential(
    new nn.BatchNorm1d(3, { momentum: 0.3 }),
    new nn.Dropout(0.5),
    new nn.Linear(3, 2),
    new nn.BatchNorm1d(2, { momentum: null }),
  );
  model(batchesOf([6, 3], 1)[0]);
  model.eval();
  model.at(3).train();
  return model;
}

describe.each(passes)("%s", (op, pass) => {
  test("reports how far each layer moved, in old standard deviations and ratios", async () => {
    const bn = new nn.BatchNorm1d(3, { eps: 1e-12 });
    bn.loadStateDict(
      { running_mean: tensor([1, 0, 4]), running_var: tensor([4, 1, 1]) },
      { strict: false },
    );
    // Unbiased: means 3, 0, 4, variances 4, 9, 1.
    const x = tensor([
      [1, -3, 3],
      [3, 0, 4],
      [5, 3, 5],
    ]);
    const { layers, batches, ...rest } = await pass(new nn.Sequential(bn), [x]);
    expect(batches).toBe(1);
    expect(layers.length).toBe(1);
    const [row] = layers;
    expect([row.name, row.batches, row.values, row.channel]).toEqual(["0", 1, 3, 1]);
    expectClose(
      [row.largestShift, row.meanShift, row.leastRatio, row.largestRatio],
      [1, 1 / 3, 1, 9],
      { rtol: 1e-6, atol: 1e-9 },
    );
    expect(rest.toString().split("\n")).toEqual([
      "layer  batches  values  largest shift  mean shift  variance ratio  channel",
      "0            1       3           1.00       0.333    1.00 to 9.00        1",
    ]);
  });

  test("a mean that moves far names its channel, with the layer's eps in the standard deviation", async () => {
    const bn = new nn.BatchNorm1d(2, { eps: 3 });
    const { layers } = await pass(bn, [
      tensor([
        [0, 7],
        [0, 9],
      ]),
    ]);
    expect(layers[0].channel).toBe(1);
    expectClose([layers[0].largestShift, layers[0].leastRatio], [8 / 2, 3 / 4]);
  });

  test("a preview reports the same and puts everything back, bit for bit", async () => {
    const model = network();
    const before = stateOf(model);
    const generator = defaultGenerator.state();
    const loader = [...batchesOf([6, 3], 3), ...batchesOf([4, 3], 1)];
    const preview = await pass(model, loader, { preview: true });
    expect(stateOf(model)).toEqual(before);
    expect(defaultGenerator.state()).toEqual(generator);
    const real = await pass(model, loader);
    expect(real.layers).toEqual(preview.layers);
    expect(stateOf(model)).not.toEqual(before);
    expect(defaultGenerator.state()).not.toEqual(generator);
  });

  test("modes and momenta come back, no hook stays, the counter is the number of batches", async () => {
    const model = network();
    await pass(model, batchesOf([6, 3], 4));
    expect(model.modules().map(({ training }) => training)).toEqual([
      ...[false, false, false, false, true],
    ]);
    expect(
      model
        .modules()
        .filter(nn.isBatchNorm)
        .map((bn) => [bn.momentum, bn.numBatchesTracked, bn.trackRunningStats]),
    ).toEqual([
      [0.3, 4, true],
      [null, 4, true],
    ]);
    expect(model.modules().map((module) => module[internals].preHooks.size)).toEqual([
      ...[0, 0, 0, 0, 0],
    ]);
  });

  test("a batch that throws, and an empty loader, leave everything as it was", async () => {
    const model = network();
    const before = stateOf(model);
    await expect(pass(model, [...batchesOf([6, 3], 2), tensor([[1, 2, 3]])])).rejects.toThrow(
      "more than one value per channel",
    );
    expect(stateOf(model)).toEqual(before);
    await expect(pass(model, [])).rejects.toThrow(
      new RegExp(`^${op}: expected a loader with at least one batch`),
    );
    await expect(pass(model, [[3]])).rejects.toThrow(ArgumentError);
    expect(stateOf(model)).toEqual(before);
  });

  test("dropout is active unless it is left off", async () => {
    const loader = [tensor([...Array(64)].map((_, i) => [i + 1]))];
    const measure = async (options: nn.UpdateBatchNormOptions) => {
      const bn = new nn.BatchNorm1d(1);
      await pass(new nn.Sequential(new nn.Dropout(0.5), bn), loader, options);
      return read(bn.runningVar)[0];
    };
    const plain = (64 * 65) / 12;
    expectClose([await measure({ dropout: false })], [plain]);
    // Half of the values are 0, the others twice as large: far more spread.
    expect(await measure({})).toBeGreaterThan(2 * plain);
    expect(await measure({ dropout: true })).toBeGreaterThan(2 * plain);
  });

  test("a layer with frozen statistics is left alone and keeps its mode", async () => {
    const [frozen, free] = [new nn.BatchNorm1d(2), new nn.BatchNorm1d(2)];
    nn.freezeBatchNorm(frozen, { affine: false });
    const model = new nn.Sequential(frozen, free);
    const before = stateOf(frozen);
    const { layers } = await pass(model, batchesOf([4, 2], 2));
    expect(layers.map(({ name }) => name)).toEqual(["1"]);
    expect(stateOf(frozen)).toEqual(before);
    // It passed its input on as evaluation does: mean 0, variance 1.
    const all = batchesOf([4, 2], 2).map((x) => read(x.mean(0)));
    expectClose(
      read(free.runningMean),
      all[0].map((m, c) => (m + all[1][c]) / 2 / Math.sqrt(1 + 1e-5)),
    );
  });

  test("a layer that no batch reached keeps its statistics", async () => {
    class Net extends nn.Module {
      static override readonly kind = "Net";
      readonly used = new nn.BatchNorm1d(2);
      readonly unused = new nn.BatchNorm1d(2);
      forward(x: Tensor): Tensor {
        return this.used(x);
      }
    }
    const model = new Net();
    model.unused(batchesOf([4, 2], 1)[0]);
    const before = stateOf(model.unused);
    const { layers } = await pass(model, batchesOf([4, 2], 2));
    expect(layers.map(({ name, batches, largestShift }) => [name, batches, largestShift])).toEqual([
      ["used", 2, layers[0].largestShift],
      ["unused", 0, 0],
    ]);
    expect(stateOf(model.unused)).toEqual(before);
  });

  test("batches that onNonFinite skips stay out, here as in training", async () => {
    const [skipping, throwing] = (["skip", "throw"] as const).map(
      (onNonFinite) => new nn.BatchNorm1d(2, { onNonFinite }),
    );
    const [first, second] = batchesOf([4, 2], 2);
    const broken = tensor([[1, Number.NaN], ...[1, 2, 3].map((i) => [i, i])]);
    skipping(broken);
    await pass(skipping, [first, broken, second]);
    const clean = new nn.BatchNorm1d(2);
    await pass(clean, [first, second]);
    expectSameBytes(read(skipping.runningMean), read(clean.runningMean));
    expectSameBytes(read(skipping.runningVar), read(clean.runningVar));
    expect(skipping.numBatchesTracked).toBe(2);
    const before = stateOf(throwing);
    await expect(pass(throwing, [first, broken])).rejects.toThrow("finite batch statistics");
    expect(stateOf(throwing)).toEqual(before);
  });

  test("an abort between batches puts everything back", async () => {
    const model = network();
    const before = stateOf(model);
    const controller = new AbortController();
    function* loader() {
      yield* batchesOf([6, 3], 1);
      controller.abort(new Error("enough"));
      yield* batchesOf([6, 3], 1);
    }
    await expect(pass(model, loader(), { signal: controller.signal })).rejects.toThrow("enough");
    expect(stateOf(model)).toEqual(before);
  });
});

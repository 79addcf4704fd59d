import fc from "fast-check";
import { expect, test } from "vitest";
import { nn, type Tensor, tensor } from "../src/index.ts";
import { expectClose, tolerance } from "./support/close.ts";
import { distinct, normals } from "./support/random.ts";

function read(t: Tensor | null): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

/** Mean and unbiased variance of each channel of all inputs together, in float64 and two passes. */
function bruteForce(inputs: readonly { values: ArrayLike<number>; shape: readonly number[] }[]) {
  const C = inputs[0].shape[1];
  const channels = Array.from({ length: C }, (): number[] => []);
  for (const { values, shape } of inputs) {
    const S = shape.slice(2).reduce((a, b) => a * b, 1);
    for (let i = 0; i < values.length; i++) channels[Math.floor(i / S) % C].push(values[i]);
  }
  const mean = channels.map((v) => v.reduce((a, b) => a + b, 0) / v.length);
  const variance = channels.map(
    (v, c) => v.reduce((sum, x) => sum + (x - mean[c]) ** 2, 0) / (v.length - 1),
  );
  return { mean, variance };
}

/** Runs the pass and, beside it, collects what each layer is given. */
async function check(model: nn.Module & ((x: Tensor) => unknown), loader: readonly Tensor[]) {
  const layers = model.modules().filter(nn.isBatchNorm);
  const inputs = new Map(
    layers.map((bn) => [bn, [] as { values: Float64Array; shape: readonly number[] }[]]),
  );
  const hooks = layers.map((bn) =>
    bn.registerForwardPreHook((_bn, [x]) => {
      const seen = x as Tensor;
      inputs.get(bn)?.push({ values: read(seen), shape: seen.shape });
    }),
  );
  const report = await nn.preciseBatchNorm(model, loader);
  for (const hook of hooks) hook.remove();
  for (const bn of layers) {
    const { mean, variance } = bruteForce(inputs.get(bn) ?? []);
    expectClose(read(bn.runningMean), mean, { rtol: 1e-6, atol: 1e-7 });
    expectClose(read(bn.runningVar), variance, { rtol: 1e-6, atol: 0 });
  }
  return report;
}

const sizes = [5, 2, 9, 3];

test("every layer gets the statistics of all it was given, from batches of unequal size", async () => {
  const model = new nn.Sequential(
    new nn.Conv2d(2, 3, 3),
    new nn.BatchNorm2d(3),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Linear(12, 4),
    new nn.BatchNorm1d(4),
  );
  const loader = sizes.map((n, i) =>
    tensor(distinct(n * 32, { seed: i, low: -i, high: 3 * i + 1 }), { shape: [n, 2, 4, 4] }),
  );
  const { layers, batches } = await check(model, loader);
  expect(batches).toBe(4);
  expect(layers.map(({ name, batches, values }) => [name, batches, values])).toEqual([
    ["1", 4, 19 * 4],
    ["5", 4, 19],
  ]);
});

test("mean 1e4, standard deviation 1: the variance between batches keeps its digits", async () => {
  const loader = sizes.map((n, i) =>
    tensor(
      Float32Array.from(normals(n * 6, i + 1), (v) => 1e4 + v + i / 4),
      { shape: [n, 2, 3] },
    ),
  );
  await check(new nn.Sequential(new nn.BatchNorm1d(2)), loader);
});

test("a layer called several times in one forward counts every call", async () => {
  class Twice extends nn.Module {
    static override readonly kind = "Twice";
    readonly bn = new nn.BatchNorm1d(2);
    forward(x: Tensor): Tensor {
      return this.bn(this.bn(x).mul(3).add(1));
    }
  }
  const model = new Twice();
  const loader = sizes.map((n, i) => tensor(distinct(n * 2, { seed: i }), { shape: [n, 2] }));
  const { layers } = await check(model, loader);
  expect([layers[0].batches, layers[0].values]).toEqual([8, 38]);
  expect(model.bn.numBatchesTracked).toBe(8);
});

test("is what one forward over all data with momentum 1 leaves", async () => {
  const values = distinct(60, { seed: 3, low: -7, high: 4 });
  const all = tensor(values, { shape: [20, 3] });
  const [precise, whole] = [new nn.BatchNorm1d(3), new nn.BatchNorm1d(3, { momentum: 1 })];
  await nn.preciseBatchNorm(precise, [all.slice(0, 13), all.slice(13, 15), all.slice(15, 20)]);
  whole(all);
  expectClose(read(precise.runningMean), read(whole.runningMean), tolerance.float32);
  expectClose(read(precise.runningVar), read(whole.runningVar), { rtol: 1e-6, atol: 0 });
});

test("for the first layer the split into batches does not matter", async () => {
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 14 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(cuts, fc.integer({ min: -10_000, max: 10_000 }), async (places, offset) => {
      const values = Float32Array.from(distinct(120, { seed: 8 }), (v) => v + offset);
      const all = tensor(values, { shape: [30, 4] });
      const edges = [0, ...places.map((n) => 2 * n).sort((a, b) => a - b), 30];
      const loader = edges.slice(1).map((end, i) => all.slice(edges[i], end));
      const bn = new nn.BatchNorm1d(4);
      await nn.preciseBatchNorm(bn, loader);
      const { mean, variance } = bruteForce([{ values, shape: all.shape }]);
      expectClose(read(bn.runningMean), mean, { rtol: 1e-7, atol: 1e-7 });
      expectClose(read(bn.runningVar), variance, { rtol: 1e-6, atol: 0 });
    }),
    { numRuns: 30 },
  );
});

test("batches limits how many are read; a loader with fewer is used up", async () => {
  let given = 0;
  function* loader() {
    for (; given < 5; given++) yield tensor([[given], [given + 1]]);
  }
  const bn = new nn.BatchNorm1d(1);
  const report = await nn.preciseBatchNorm(bn, loader(), { batches: 2 });
  expect([report.batches, bn.numBatchesTracked, given]).toEqual([2, 2, 1]);
  expectClose(read(bn.runningMean), [1]);
  expect((await nn.preciseBatchNorm(bn, [tensor([[1], [2]])], { batches: 7 })).batches).toBe(1);
});

test.each([0, -1, 1.5, Number.NaN])("batches %s is refused before anything is read", async (n) => {
  const bn = new nn.BatchNorm1d(1);
  await expect(nn.preciseBatchNorm(bn, [], { batches: n })).rejects.toThrow(
    `preciseBatchNorm: expected batches to be an integer >= 1, got ${n}`,
  );
});

test("layers in evaluation mode are measured, too, and return to it", async () => {
  const bn = new nn.BatchNorm1d(1).eval();
  await nn.preciseBatchNorm(bn, [tensor([[2], [4]])]);
  expectClose([...read(bn.runningMean), ...read(bn.runningVar)], [3, 2]);
  expect(bn.training).toBe(false);
});

test('onNonFinite "propagate" lets NaN in', async () => {
  const bn = new nn.BatchNorm1d(1);
  await nn.preciseBatchNorm(bn, [tensor([[2], [Number.NaN]]), tensor([[2], [4]])]);
  expect(Array.from(read(bn.runningMean))).toEqual([Number.NaN]);
});

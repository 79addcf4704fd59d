import { describe, expect, test } from "vitest";
import { nn, noGrad, type Tensor, tensor } from "../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "./support/close.ts";
import { distinct, normals } from "./support/random.ts";
import { onWaitingDevice } from "./support/waiting-device.ts";

/** Means near 0 round at the size of the values, which is 1 here. */
const close = { rtol: 1e-6, atol: 1e-7 };

function read(t: Tensor | null): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

function expectSameStatistics(actual: nn.AnyBatchNorm, expected: nn.AnyBatchNorm): void {
  expectClose(read(actual.runningMean), read(expected.runningMean), close);
  expectClose(read(actual.runningVar), read(expected.runningVar), close);
  expect(actual.numBatchesTracked).toBe(expected.numBatchesTracked);
}

/** 24 images around `offset`, every channel with its own spread. */
function images(offset: number, seed: number): Tensor {
  const draws = normals(24 * 3 * 4, seed);
  const values = Float32Array.from(draws, (v, i) => offset + v * (1 + (Math.floor(i / 4) % 3)));
  return tensor(values, { shape: [24, 3, 2, 2] });
}

describe.each([
  ["around 0, one size", 0, [8, 16], 3],
  ["around 1e4, unequal sizes", 1e4, [5, 6], 3],
  ["around -1e4, unequal sizes", -1e4, [2, 17, 20], 4],
] as const)("micro-batches %s", (_, offset, cuts, k) => {
  test.each([0.1, 1, 0, null])("are one large batch to the statistics, momentum %s", (momentum) => {
    const pooled = new nn.BatchNorm2d(3, { momentum, batchesPerUpdate: k });
    const whole = new nn.BatchNorm2d(3, { momentum });
    for (const seed of [1, 2, 3]) {
      const x = images(offset, seed);
      const edges = [0, ...cuts, 24];
      edges.slice(1).forEach((end, i) => void pooled(x.slice(edges[i], end)));
      whole(x);
      expectSameStatistics(pooled, whole);
    }
    expect(pooled.numBatchesTracked).toBe(3);
  });
});

test("every forward normalises with its own batch, with the gradients of an ordinary layer", () => {
  const [pooled, plain] = [new nn.BatchNorm2d(3, { batchesPerUpdate: 2 }), new nn.BatchNorm2d(3)];
  const x = images(3, 1);
  const [a, b] = [pooled, plain].map((bn) => {
    const input = tensor(x.dataSync(), { shape: x.shape, requiresGrad: true });
    const y = bn(input);
    y.pow(3).mean().backward();
    return [read(y), read(input.grad), read(bn.weight?.grad ?? null)];
  });
  for (const [i, values] of a.entries()) expectSameBytes(values, b[i]);
});

test("nothing moves before the cycle is complete, and everything moves at its end", () => {
  const bn = new nn.BatchNorm1d(1, { batchesPerUpdate: 3 });
  const stateOf = () => [...read(bn.runningMean), ...read(bn.runningVar), bn.numBatchesTracked];
  const x = tensor([[1], [3]]);
  bn(x);
  bn(x);
  expect(stateOf()).toEqual([0, 1, 0]);
  bn(x);
  expectClose(stateOf().map(Number), [0.2, 0.9 + 0.1 * 1.2, 1]);
});

test("1 is the default and PyTorch's rule, bit for bit", () => {
  const [one, plain] = [new nn.BatchNorm2d(3, { batchesPerUpdate: 1 }), new nn.BatchNorm2d(3)];
  for (const seed of [1, 2]) {
    const x = images(7, seed);
    expectSameBytes(read(one(x)), read(plain(x)));
  }
  expectSameBytes(read(one.runningMean), read(plain.runningMean));
  expectSameBytes(read(one.runningVar), read(plain.runningVar));
  expect(plain.batchesPerUpdate).toBe(1);
});

/** A layer after its first forward of a cycle of two, and the two batches. */
function midCycle(options: nn.BatchNormLayerOptions = {}) {
  const x = images(2, 5);
  const bn = new nn.BatchNorm2d(3, { batchesPerUpdate: 2, ...options });
  const [first, second] = [x.slice(0, 9), x.slice(9, 24)];
  bn(first);
  const whole = new nn.BatchNorm2d(3, { ...options, batchesPerUpdate: 1 });
  whole(x);
  return { bn, first, second, whole };
}

describe("in the middle of a cycle", () => {
  test("evaluation neither moves nor joins", () => {
    const { bn, first, second, whole } = midCycle();
    bn.eval()(first);
    bn.train()(second);
    expectSameStatistics(bn, whole);
  });

  test("a clone goes on by itself", () => {
    const { bn, second, whole } = midCycle();
    const copy = bn.clone();
    copy(second);
    expectSameStatistics(copy, whole);
    expect(bn.numBatchesTracked).toBe(0);
    bn(second);
    expectSameStatistics(bn, whole);
  });

  test("state dicts hold none of it", () => {
    const { bn, whole } = midCycle();
    expect([...bn.stateDict().keys()]).toEqual([...whole.stateDict().keys()]);
  });

  test("a smaller batchesPerUpdate ends it at the next forward, also 1", () => {
    const { bn, second, whole } = midCycle({ batchesPerUpdate: 5 });
    bn.batchesPerUpdate = 1;
    bn(second);
    expectSameStatistics(bn, whole);
    bn(second);
    whole(second);
    expectSameStatistics(bn, whole);
    expect(bn.numBatchesTracked).toBe(2);
  });

  test("a larger one goes on", () => {
    const { bn, second } = midCycle();
    bn.batchesPerUpdate = 3;
    bn(second);
    expect(bn.numBatchesTracked).toBe(0);
    bn(second);
    expect(bn.numBatchesTracked).toBe(1);
  });

  test("resetRunningStats drops it", () => {
    const { bn, second } = midCycle();
    bn.resetRunningStats();
    bn(second);
    expect(bn.numBatchesTracked).toBe(0);
    bn(second);
    const plain = new nn.BatchNorm2d(3);
    plain(tensor([...second.dataSync(), ...second.dataSync()], { shape: [30, 3, 2, 2] }));
    expectSameStatistics(bn, plain);
  });

  test("flushBatchNorm moves by what has come, and finds nothing afterwards", () => {
    const { bn, first } = midCycle();
    const model = new nn.Sequential(bn, new nn.BatchNorm2d(3));
    expect(nn.flushBatchNorm(model)).toBe(1);
    const plain = new nn.BatchNorm2d(3);
    plain(first);
    expectSameStatistics(bn, plain);
    expect(nn.flushBatchNorm(model)).toBe(0);
  });

  test("moving the layer to another device begins a new cycle", () => {
    const { bn, second } = midCycle();
    bn.to("reference");
    bn(second.to("reference"));
    expect(bn.numBatchesTracked).toBe(0);
    bn(second.to("reference"));
    expect(bn.numBatchesTracked).toBe(1);
  });

  test.each([nn.updateBatchNorm, nn.preciseBatchNorm])(
    "a pass sets it aside: a preview keeps it, a real one drops it (%o)",
    async (pass) => {
      const { bn, first, second, whole } = midCycle();
      await pass(bn, [first], { preview: true });
      expect(bn.batchesPerUpdate).toBe(2);
      bn(second);
      expectSameStatistics(bn, whole);
      bn(second);
      await pass(bn, [first, second]);
      expect(bn.numBatchesTracked).toBe(2);
      bn(second);
      expect(bn.numBatchesTracked).toBe(2);
    },
  );
});

test("a batch that onNonFinite skips is no part of the cycle", () => {
  const { bn, second, whole } = midCycle({ onNonFinite: "skip" });
  const broken = tensor(new Float32Array(24).fill(Number.NaN), { shape: [2, 3, 2, 2] });
  bn(broken);
  expect(bn.skippedBatches).toEqual({ count: 1, firstChannel: 0, firstBatch: 1 });
  expect(bn.numBatchesTracked).toBe(0);
  bn(second);
  expectSameStatistics(bn, whole);
  bn.onNonFinite = "throw";
  expect(() => bn(broken)).toThrow("finite batch statistics");
  expect(bn.numBatchesTracked).toBe(1);
});

test("NaN gets in by default, for good", () => {
  const bn = new nn.BatchNorm1d(2, { batchesPerUpdate: 2 });
  bn(
    tensor([
      [Number.NaN, 1],
      [2, 3],
    ]),
  );
  bn(
    tensor([
      [1, 1],
      [2, 3],
    ]),
  );
  expect(Array.from(read(bn.runningMean), Number.isNaN)).toEqual([true, false]);
});

test("nn.recompute runs forward twice and counts it once", () => {
  const x = images(1, 3).slice(0, 4);
  const bn = new nn.BatchNorm2d(3, { batchesPerUpdate: 2 });
  nn.recompute(bn, x).pow(2).sum().backward();
  expect(bn.numBatchesTracked).toBe(0);
  nn.recompute(bn, x).pow(2).sum().backward();
  expect(bn.numBatchesTracked).toBe(1);
});

test("reads nothing back: it works on a device that can only be awaited, unless it must skip", async () => {
  const values = Float64Array.from(distinct(12, { seed: 2 }));
  const x = () => onWaitingDevice(values, { shape: [6, 2], dtype: "float64" });
  const bn = new nn.BatchNorm1d(2, { batchesPerUpdate: 2, affine: false, momentum: 1 });
  bn.runningMean = onWaitingDevice(new Float64Array(2), { shape: [2], dtype: "float64" });
  bn.runningVar = onWaitingDevice(new Float64Array(2), { shape: [2], dtype: "float64" });
  noGrad(() => void bn(x()));
  noGrad(() => void bn(x()));
  const mean = [0, 1].map((c) => values.filter((_, i) => i % 2 === c).reduce((a, b) => a + b) / 6);
  expectClose((await bn.runningMean?.data()) ?? [], mean, tolerance.float64);
  bn.onNonFinite = "skip";
  expect(() => bn(x())).toThrow('onNonFinite "propagate" beside batchesPerUpdate');
});

test.each([0, -2, 1.5, Number.NaN])("batchesPerUpdate %s is refused", (n) => {
  expect(() => new nn.BatchNorm1d(2, { batchesPerUpdate: n })).toThrow(
    `BatchNorm1d: expected batchesPerUpdate to be an integer >= 1, got ${n}`,
  );
});

test("channels that do not fit are refused, and nothing is pooled", () => {
  const bn = new nn.BatchNorm1d(3, { batchesPerUpdate: 2, affine: false });
  expect(() =>
    bn(
      tensor([
        [1, 2],
        [3, 5],
      ]),
    ),
  ).toThrow("expected x with 3 channels on axis 1, got 2");
  expect(nn.flushBatchNorm(bn)).toBe(0);
});

test("momentum 1 - (1 - m)^(1/k) instead keeps the averaging speed, not the statistics", () => {
  const [m, k] = [0.1, 4];
  const matched = new nn.BatchNorm1d(1, { momentum: 1 - (1 - m) ** (1 / k) });
  const same = tensor([[1], [3]]);
  for (let i = 0; i < k; i++) matched(same);
  const once = new nn.BatchNorm1d(1, { momentum: m });
  once(same);
  // Equal batches: the old value keeps the weight 1 - m.
  expectClose(read(matched.runningMean), read(once.runningMean));
  expectClose(read(matched.runningVar), read(once.runningVar));
  // Unequal ones: the variance between them is missing.
  const apart = new nn.BatchNorm1d(1, { momentum: 1 - (1 - m) ** (1 / k) });
  const pooled = new nn.BatchNorm1d(1, { momentum: m, batchesPerUpdate: k });
  for (let i = 0; i < k; i++) {
    const x = tensor([[10 * i], [10 * i + 2]]);
    apart(x);
    pooled(x);
  }
  expect(read(pooled.runningVar)[0]).toBeGreaterThan(5 * read(apart.runningVar)[0]);
});

test("freezePlan says in how many forwards the statistics move", () => {
  const bn = new nn.BatchNorm2d(3, { batchesPerUpdate: 3 });
  const forwards = () => nn.freezePlan(bn).rows[0].forwards;
  expect(forwards()).toBe(3);
  expect(String(nn.freezePlan(bn))).toMatch(
    /move by 0\.1 once in 3 forwards from here, the counter/,
  );
  bn(images(0, 1));
  bn(images(0, 2));
  expect(forwards()).toBe(1);
  expect(String(nn.freezePlan(bn))).toMatch(/move by 0\.1, the counter by 1/);
  expect(nn.freezePlan(bn.eval()).rows[0].forwards).toBe(1);
});

test("float16 batches beside float32 statistics are pooled in float32", () => {
  const pooled = new nn.BatchNorm2d(3, { batchesPerUpdate: 2 });
  const whole = new nn.BatchNorm2d(3);
  const x = images(0, 5).half();
  pooled(x.slice(0, 10));
  pooled(x.slice(10, 24));
  whole(x);
  expect(pooled.runningMean?.dtype).toBe("float32");
  expectSameStatistics(pooled, whole);
});

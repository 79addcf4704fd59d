/** What a batch with NaN or infinity does to the running statistics, and who hears of it. */
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { ArgumentError, nn, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct } from "../support/random.ts";
import { placements } from "./coverage.ts";

const shape = [4, 3];
const good = [1, 2, 3].map((seed) => distinct(12, { seed, low: -seed, high: seed + 1 }));
/** Channels 2 and 1 are bad; the lower one is reported. */
const bad = good[0].with(5, Number.NaN).with(10, Number.POSITIVE_INFINITY);

const warn = vi.spyOn(process, "emitWarning");
beforeEach(() => warn.mockReset().mockImplementation(() => undefined));
afterAll(() => warn.mockRestore());

describe.each(placements)("$dtype on $device", (place) => {
  const layer = (options: nn.BatchNormLayerOptions) =>
    new nn.BatchNorm1d(3, options).to(place.device).to(place.dtype);
  const feed = (bn: nn.BatchNorm1d, values: Float32Array) =>
    bn(tensor(values, { ...place, shape }));

  test("propagate is the default: the bad channels' statistics are spoilt for good, the others move", () => {
    const bn = layer({});
    expect(bn.onNonFinite).toBe("propagate");
    feed(bn, bad);
    feed(bn, good[1]);
    const clean = layer({});
    feed(clean, good[0]);
    feed(clean, good[1]);
    const [mean, variance] = [clean.runningMean, clean.runningVar].map((t) => read(t)[0]);
    const same = { rtol: 0, atol: 0 };
    expectClose(read(bn.runningMean), [mean, Number.POSITIVE_INFINITY, Number.NaN], same);
    expectClose(read(bn.runningVar), [variance, Number.NaN, Number.NaN], same);
    expect([bn.numBatchesTracked, bn.skippedBatches]).toEqual([2, null]);
    expect(warn).not.toHaveBeenCalled();
  });

  test("skip leaves buffers and counter, bit for bit", () => {
    const bn = layer({ onNonFinite: "skip" });
    feed(bn, good[1]);
    const before = stateOf(bn);
    const y = feed(bn, bad);
    expectSameState(stateOf(bn), before);
    expect(Array.from(read(y).slice(0, 3), Number.isNaN)).toEqual([false, true, true]);
  });

  test("skip judges the statistics as the buffers would store them", () => {
    const bn = layer({ onNonFinite: "skip" });
    const huge = good[0].with(1, 1e25).with(4, -1e25);
    const isFloat64 = place.dtype === "float64";
    feed(bn, huge);
    expect(bn.skippedBatches?.firstChannel).toBe(isFloat64 ? undefined : 1);
    expect(Array.from(read(bn.runningVar)).every(Number.isFinite)).toBe(true);
  });

  test("skip goes on with the next batch as if the bad one had not been", () => {
    const [bn, clean] = ["skip", "propagate"].map((onNonFinite) =>
      layer({ onNonFinite: onNonFinite as nn.OnNonFinite }),
    );
    for (const values of [good[1], bad, good[2]]) feed(bn, values);
    for (const values of [good[1], good[2]]) feed(clean, values);
    expectSameState(stateOf(bn), stateOf(clean));
  });

  test("skip with momentum null averages the good batches alone", () => {
    const bn = layer({ onNonFinite: "skip", momentum: null });
    for (const values of [bad, good[0], bad, bad, good[1], good[2]]) feed(bn, values);
    const expected = [0, 1, 2].map((c) => {
      const values = good.flatMap((batch) => [...batch].filter((_, i) => i % 3 === c));
      return values.reduce((sum, v) => sum + v / 12, 0);
    });
    expectClose(read(bn.runningMean), expected, tolerance[place.dtype]);
    expect(bn.numBatchesTracked).toBe(3);
    expect(bn.skippedBatches).toEqual({ count: 3, firstChannel: 1, firstBatch: 1 });
  });

  test("skip counts every bad batch and remembers the channel and number of the first", () => {
    const bn = layer({ onNonFinite: "skip" });
    feed(bn, good[0]);
    feed(bn, good[1]);
    expect(bn.skippedBatches).toBeNull();
    feed(bn, bad);
    feed(bn, good[0].with(0, Number.NEGATIVE_INFINITY));
    expect(bn.skippedBatches).toEqual({ count: 2, firstChannel: 1, firstBatch: 3 });
  });

  test("skip reports the first time only, with the path of the layer in the model", () => {
    const bn = layer({ onNonFinite: "skip" });
    const model = new nn.Sequential(new nn.Identity(), new nn.Sequential(bn));
    for (const values of [good[0], bad, bad]) model(tensor(values, { ...place, shape }));
    expect(warn).toHaveBeenCalledTimes(1);
    const [message, options] = warn.mock.calls[0];
    expect(message).toContain("1.0 (BatchNorm1d)");
    expect(message).toContain("channel 1");
    expect(message).toContain("batch 2");
    expect(options).toEqual({ type: "NonFiniteBatchWarning" });
  });

  test("throw: the error names channel, layer and batch; buffers and counter are untouched, bit for bit", () => {
    const bn = layer({ onNonFinite: "throw" });
    const model = new nn.Sequential(new nn.Identity(), bn);
    feed(bn, good[1]);
    const before = stateOf(bn);
    const call = () => model(tensor(bad, { ...place, shape }));
    expect(call).toThrow(ArgumentError);
    expect(call).toThrow(/channel 1 of 1 \(BatchNorm1d\), training batch 2/);
    expectSameState(stateOf(bn), before);
    expect(bn.skippedBatches).toBeNull();
    expect(warn).not.toHaveBeenCalled();
    feed(bn, good[2]);
    expect(bn.numBatchesTracked).toBe(2);
  });

  test.each(["skip", "throw"] as const)(
    "%s has nothing to guard in eval, or with the flag off",
    (onNonFinite) => {
      const bn = layer({ onNonFinite });
      feed(bn.eval(), bad);
      bn.train().trackRunningStats = false;
      feed(bn, bad);
      const untracked = layer({ onNonFinite, trackRunningStats: false });
      feed(untracked, bad);
      expect([bn.numBatchesTracked, bn.skippedBatches, untracked.skippedBatches]).toEqual([
        0,
        null,
        null,
      ]);
      expect(warn).not.toHaveBeenCalled();
    },
  );

  test("skip also works on a layer moved after its first batch", () => {
    const bn = new nn.BatchNorm1d(3, { onNonFinite: "skip" });
    bn(tensor(bad, { shape }));
    bn.to(place.device).to(place.dtype);
    feed(bn, bad);
    feed(bn, good[0]);
    expect(bn.skippedBatches).toEqual({ count: 2, firstChannel: 1, firstBatch: 1 });
    expect(bn.numBatchesTracked).toBe(1);
  });
});

function read(t: Tensor | null): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

function stateOf(bn: nn.BatchNorm1d) {
  return {
    mean: read(bn.runningMean),
    variance: read(bn.runningVar),
    batches: bn.numBatchesTracked,
  };
}

type State = ReturnType<typeof stateOf>;

function expectSameState(actual: State, expected: State): void {
  expectSameBytes(actual.mean, expected.mean);
  expectSameBytes(actual.variance, expected.variance);
  expect(actual.batches).toBe(expected.batches);
}

/** What a forward normalises with and what it moves: every combination of mode, flag, buffers and momentum. */
import { describe, expect, test } from "vitest";
import { ArgumentError, nn, ShapeError, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct } from "../support/random.ts";
import { type Place, placements } from "./coverage.ts";

const shape = [4, 3];
const x = distinct(12, { seed: 1, low: -4, high: 6 });
const preset = { runningMean: [0.5, -1, 2], runningVar: [0.25, 3, 1.5], batches: 3 };
const affine = { weight: [2, -1, 0.5], bias: [0.5, 0, -1] };
const eps = 1e-5;
const channels = [0, 1, 2].map((c) => [0, 1, 2, 3].map((n) => x[n * 3 + c]));
const means = channels.map((values) => values.reduce((sum, v) => sum + v, 0) / 4);
const squares = channels.map((values, c) =>
  values.reduce((sum, v) => sum + (v - means[c]) ** 2, 0),
);

const candidates = {
  batch: normalised(
    means,
    squares.map((total) => total / 4),
  ),
  running: normalised(preset.runningMean, preset.runningVar),
};

test("the candidate outputs and statistics are far apart", () => {
  const gaps = candidates.batch.map((y, i) => Math.abs(y - candidates.running[i]));
  const moves = means.map((mean, c) => Math.abs(mean - preset.runningMean[c]));
  const spreads = squares.map((total, c) => Math.abs(total / 3 - preset.runningVar[c]));
  expect(Math.min(...gaps, ...moves, ...spreads)).toBeGreaterThan(0.01);
});

describe.each(placements)("$dtype on $device", (place) => {
  test("TT-1 train, tracking: batch statistics, factor momentum, counted", () => {
    const seen = run(tracking(place, { momentum: 0.1 }), place);
    expect(seen.normalisedWith).toEqual(["batch"]);
    expectFactor(seen, 0.1, place);
    expect(seen.batches).toBe(4);
  });

  test("TT-2 train, tracking, momentum null: factor 1 / count after this batch", () => {
    const seen = run(tracking(place, { momentum: null }), place);
    expect(seen.normalisedWith).toEqual(["batch"]);
    expectFactor(seen, 1 / 4, place);
    expect(seen.batches).toBe(4);
  });

  test.each([0.1, null])(
    "TT-3 flag switched off later, train: no buffer moves (momentum %s)",
    (momentum) => {
      const bn = tracking(place, { momentum });
      bn.trackRunningStats = false;
      const seen = run(bn, place);
      expect(seen.normalisedWith).toEqual(["batch"]);
      expectUntouched(seen);
    },
  );

  test("TT-4 built without tracking, flag switched on later, train: batch statistics, no buffers", () => {
    const bn = untracked(place);
    bn.trackRunningStats = true;
    expect(run(bn, place).normalisedWith).toEqual(["batch"]);
    expectNoBuffers(bn);
  });

  test("TT-5 built without tracking, train: batch statistics, no buffers", () => {
    const bn = untracked(place);
    expect(run(bn, place).normalisedWith).toEqual(["batch"]);
    expectNoBuffers(bn);
  });

  test.each([0.1, null])(
    "TT-6 eval, tracking: running statistics, nothing moves (momentum %s)",
    (momentum) => {
      const seen = run(tracking(place, { momentum }).eval(), place);
      expect(seen.normalisedWith).toEqual(["running"]);
      expectUntouched(seen);
    },
  );

  test("TT-7 flag switched off later: eval still uses the running statistics", () => {
    const bn = tracking(place).eval();
    bn.trackRunningStats = false;
    const seen = run(bn, place);
    expect(seen.normalisedWith).toEqual(["running"]);
    expectUntouched(seen);
  });

  test.each([false, true])(
    "TT-8 built without tracking, eval: batch statistics (flag %s)",
    (flag) => {
      const bn = untracked(place).eval();
      bn.trackRunningStats = flag;
      expect(run(bn, place).normalisedWith).toEqual(["batch"]);
      expectNoBuffers(bn);
    },
  );

  test("TT-9 counter set to null, train: factor momentum, still no counter", () => {
    const bn = tracking(place, { momentum: 0.1 });
    bn.numBatchesTracked = null;
    const seen = run(bn, place);
    expect(seen.normalisedWith).toEqual(["batch"]);
    expectFactor(seen, 0.1, place);
    expect(seen.batches).toBeNull();
  });

  test("TT-10 counter set to null, momentum null, train: the buffers keep their values", () => {
    const bn = tracking(place, { momentum: null });
    bn.numBatchesTracked = null;
    const seen = run(bn, place);
    expect(seen.normalisedWith).toEqual(["batch"]);
    expect(seen.batches).toBeNull();
    expectSameBytes(seen.after.runningMean, seen.before.runningMean);
    expectSameBytes(seen.after.runningVar, seen.before.runningVar);
  });

  test.each([
    ["runningVar", "runningMean"],
    ["runningMean", "runningVar"],
  ] as const)(
    "TT-11 %s set to null, train: both or neither, %s untouched, counted",
    (gone, left) => {
      const bn = tracking(place);
      bn[gone] = null;
      expect(() => run(bn, place)).toThrow(ArgumentError);
      expect(() => run(bn, place)).toThrow(
        `both runningMean and runningVar, or neither, got only ${left}`,
      );
      expectClose(read(bn[left]), preset[left], tolerance[place.dtype]);
      expect(bn.numBatchesTracked).toBe(5);
    },
  );

  test.each(["runningMean", "runningVar"] as const)(
    "TT-12 %s set to null, eval: an error that names it",
    (gone) => {
      const bn = tracking(place).eval();
      bn[gone] = null;
      expect(() => run(bn, place)).toThrow(ArgumentError);
      expect(() => run(bn, place)).toThrow(`expected ${gone} to be given in evaluation mode`);
    },
  );

  test.each([true, false])(
    "TT-13 untracked: momentum is without effect (training %s)",
    (training) => {
      const outputs = [0.5, 0.1, null].map((momentum) =>
        read(untracked(place, { momentum }).train(training)(tensor(x, { ...place, shape }))),
      );
      expectSameBytes(outputs[0], outputs[1]);
      expectSameBytes(outputs[2], outputs[1]);
    },
  );

  test("TT-14 untracked, eval, one value per channel: the error of training", () => {
    const bn = untracked(place).eval();
    expect(() => bn(tensor([[1, 2, 3]], place))).toThrow(ShapeError);
    expect(() => bn(tensor([[1, 2, 3]], place))).toThrow(
      /more than one value per channel.*\(1, 3\)/,
    );
  });
});

type Layer = nn.BatchNorm1d;

/** (x - mean) / sqrt(variance + eps) * weight + bias. */
function normalised(mean: readonly number[], variance: readonly number[]): Float64Array {
  return Float64Array.from(x, (value, i) => {
    const c = i % 3;
    const scale = affine.weight[c] / Math.sqrt(variance[c] + eps);
    return (value - mean[c]) * scale + affine.bias[c];
  });
}

function untracked(place: Place, options: nn.BatchNormLayerOptions = {}): Layer {
  const bn = new nn.BatchNorm1d(3, { ...options, trackRunningStats: false });
  bn.loadStateDict({ weight: tensor(affine.weight), bias: tensor(affine.bias) });
  return bn.to(place.device).to(place.dtype);
}

function tracking(place: Place, options: nn.BatchNormLayerOptions = {}): Layer {
  const bn = new nn.BatchNorm1d(3, options);
  bn.loadStateDict({
    weight: tensor(affine.weight),
    bias: tensor(affine.bias),
    running_mean: tensor(preset.runningMean),
    running_var: tensor(preset.runningVar),
    num_batches_tracked: preset.batches,
  });
  return bn.to(place.device).to(place.dtype);
}

function read(t: { dataSync(): ArrayLike<number> } | null) {
  return Float64Array.from(t?.dataSync() ?? []);
}

function buffersOf(bn: Layer) {
  return { runningMean: read(bn.runningMean), runningVar: read(bn.runningVar) };
}

type Seen = ReturnType<typeof run>;

/** One forward: which candidates the output equals, and the buffers on both sides of it. */
function run(bn: Layer, place: Place) {
  const before = buffersOf(bn);
  const y = read(bn(tensor(x, { ...place, shape })));
  const normalisedWith = Object.entries(candidates).flatMap(([name, expected]) =>
    expected.every((value, i) => Math.abs(y[i] - value) < 1e-5) ? [name] : [],
  );
  return { normalisedWith, before, after: buffersOf(bn), batches: bn.numBatchesTracked };
}

/** Solves running' = (1 - f) * running + f * observed for f, in each element of both buffers. */
function expectFactor({ before, after }: Seen, factor: number, place: Place): void {
  const observed = { runningMean: means, runningVar: squares.map((total) => total / 3) };
  const factors = (["runningMean", "runningVar"] as const).flatMap((name) =>
    Array.from(before[name], (old, c) => (after[name][c] - old) / (observed[name][c] - old)),
  );
  expectClose(factors, Array(6).fill(factor), tolerance[place.dtype]);
}

function expectUntouched({ before, after, batches }: Seen): void {
  expectSameBytes(after.runningMean, before.runningMean);
  expectSameBytes(after.runningVar, before.runningVar);
  expect(before.runningMean).toHaveLength(3);
  expect(batches).toBe(preset.batches);
}

function expectNoBuffers(bn: Layer): void {
  expect([bn.runningMean, bn.runningVar, bn.numBatchesTracked]).toEqual([null, null, null]);
}

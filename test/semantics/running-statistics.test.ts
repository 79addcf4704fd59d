import { describe, expect, test } from "vitest";
import { ArgumentError, nn, noGrad, ShapeError, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct } from "../support/random.ts";
import { placements } from "./coverage.ts";

const shape = [4, 3];
/** Batches of (4, 3) that share neither means nor spreads. */
const batches = [1, 2, 3, 4, 5].map((seed) =>
  distinct(12, { seed, low: -seed, high: 2 * seed + 1 }),
);
const initial = { mean: [0, 0, 0], variance: [1, 1, 1] };

describe.each(placements)("$dtype on $device", (place) => {
  const near = tolerance[place.dtype];
  const batch = (i: number) => tensor(batches[i], { ...place, shape });
  const layer = (options: nn.BatchNormLayerOptions = {}) =>
    new nn.BatchNorm1d(3, options).to(place.device).to(place.dtype);
  /** Fails unless the buffers are (1 - f) * `from` + f * observed of a batch. */
  const expectMoved = (bn: nn.BatchNorm1d, f: number, i: number, from: Statistics = initial) => {
    const { mean, variance } = observed(batches[i]);
    expectClose(read(bn.runningMean), mix(from.mean, mean, f), near, "running mean");
    expectClose(read(bn.runningVar), mix(from.variance, variance, f), near, "running variance");
  };

  test("R-01 one train step moves all three buffers, one eval step none", () => {
    const bn = layer();
    bn(batch(0));
    expectMoved(bn, 0.1, 0);
    expect(bn.numBatchesTracked).toBe(1);
    const before = stateOf(bn);
    bn.eval()(batch(1));
    expectSameState(stateOf(bn), before);
  });

  test("R-02 momentum null keeps plain averages; outputs do not depend on history", () => {
    const bn = layer({ momentum: null });
    bn(batch(0));
    const y = bn(batch(1));
    expectMoved(bn, 1 / 2, 1, observed(batches[0]));
    expectSameBytes(read(y), read(layer()(batch(1))));
  });

  test("R-03 resetRunningStats gives 0, 1 and 0 in place", () => {
    const bn = layer();
    bn(batch(0));
    const { runningMean, runningVar } = bn;
    bn.resetRunningStats();
    expect([...read(bn.runningMean)]).toEqual([0, 0, 0]);
    expect([...read(bn.runningVar)]).toEqual([1, 1, 1]);
    expect(bn.numBatchesTracked).toBe(0);
    expect(bn.runningMean).toBe(runningMean);
    expect(bn.runningVar).toBe(runningVar);
  });

  test.each([0, 1, -0.5, 5])("R-04 momentum %s is applied literally", (momentum) => {
    const bn = layer({ momentum });
    bn(batch(2));
    expectMoved(bn, momentum, 2);
    expect(bn.numBatchesTracked).toBe(1);
  });

  test("R-05 momentum switched to null after 4 steps: the fifth weighs 1/5", () => {
    const bn = layer();
    for (const i of [0, 1, 2, 3]) bn(batch(i));
    const before = { mean: read(bn.runningMean), variance: read(bn.runningVar) };
    bn.momentum = null;
    bn(batch(4));
    expectMoved(bn, 0.2, 4, before);
  });

  test("R-06 n of the factor n / (n - 1) counts samples and positions", () => {
    const bn = new nn.BatchNorm2d(3, { momentum: 1 }).to(place.device).to(place.dtype);
    const values = distinct(24, { seed: 6 });
    bn(tensor(values, { ...place, shape: [2, 3, 2, 2] }));
    const channels = [0, 1, 2].map((c) => values.filter((_, i) => Math.floor(i / 4) % 3 === c));
    const sums = channels.map((all) => squares(all));
    expectClose(
      read(bn.runningVar),
      sums.map((sum) => sum / 7),
      near,
    );
  });

  test("R-07 a train forward under noGrad moves the statistics", () => {
    const bn = layer();
    noGrad(() => bn(batch(0)));
    expectMoved(bn, 0.1, 0);
    expect(bn.numBatchesTracked).toBe(1);
  });

  test("R-08 frozen parameters do not stop the statistics", () => {
    const bn = layer().setRequiresGrad(false);
    bn(batch(0));
    expectMoved(bn, 0.1, 0);
  });

  test.each([
    ["one value per channel", [1, 3]],
    ["another channel count", [2, 5]],
  ])("R-09 a forward that fails for %s has counted, and moved nothing", (_, badShape) => {
    const bn = layer();
    bn(batch(0));
    const before = stateOf(bn);
    const bad = tensor(distinct(badShape[0] * badShape[1], { seed: 7 }), {
      ...place,
      shape: badShape,
    });
    expect(() => bn(bad)).toThrow(ShapeError);
    expectSameState(stateOf(bn), { ...before, batches: 2 });
  });

  test("R-10 momentum null: an empty batch counts, so the next weighs 1/2", () => {
    const bn = layer({ momentum: null });
    bn(tensor([], { ...place, shape: [0, 3] }));
    bn(batch(0));
    expectMoved(bn, 1 / 2, 0);
  });

  test("R-11 resetRunningStats does nothing with the flag off, and fails with the flag on and no buffers", () => {
    const bn = layer();
    bn(batch(0));
    bn.trackRunningStats = false;
    const before = stateOf(bn);
    bn.resetRunningStats();
    expectSameState(stateOf(bn), before);
    const bare = layer({ trackRunningStats: false });
    bare.trackRunningStats = true;
    expect(() => bare.resetRunningStats()).toThrow(ArgumentError);
    expect(() => bare.resetRunningStats()).toThrow(
      /expected running statistics.*trackRunningStats/,
    );
  });

  test("R-13 NaN in one channel stays in that channel's output and statistics", () => {
    const bad = batches[0].with(1, Number.NaN);
    const [clean, poisoned] = [layer(), layer()];
    const y = read(clean(batch(0)));
    const badY = read(poisoned(tensor(bad, { ...place, shape })));
    expectClose(
      badY,
      y.map((v, i) => (i % 3 === 1 ? Number.NaN : v)),
      { rtol: 0, atol: 0 },
    );
    for (const name of ["runningMean", "runningVar"] as const) {
      const [a, , c] = read(clean[name]);
      expectClose(read(poisoned[name]), [a, Number.NaN, c], { rtol: 0, atol: 0 }, name);
    }
  });

  test("R-14 a copy made through the state dict does not share statistics", () => {
    const [bn, copy] = [layer(), layer()];
    bn(batch(0));
    copy.loadStateDict(bn.stateDict());
    const before = stateOf(copy);
    bn(batch(1));
    expectSameState(stateOf(copy), before);
    expect(bn.numBatchesTracked).toBe(2);
    expect([...read(bn.runningMean)]).not.toEqual([...before.mean]);
  });
});

test("Y-10 the batch mean of (1, 96, 112, 112) is the reference's", () => {
  const [size, plane] = [96 * 112 * 112, 112 * 112];
  const values = distinct(size, { seed: 10, low: -1, high: 3 });
  const [fast, reference] = (["cpu", "reference"] as const).map((device) => {
    const bn = new nn.BatchNorm2d(96, { momentum: 1 }).to(device);
    bn(tensor(values, { shape: [1, 96, 112, 112], device }));
    return read(bn.runningMean);
  });
  const first = values.slice(0, plane).reduce((sum, v) => sum + v / plane, 0);
  expectClose(fast, reference, tolerance.float32);
  expectClose(reference.slice(0, 1), [first], tolerance.float32);
});

interface Statistics {
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
}

function read(t: Tensor | null): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

function squares(values: Float32Array): number {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  return values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
}

/** Mean and unbiased variance of each of the 3 columns. */
function observed(values: Float32Array) {
  const columns = [0, 1, 2].map((c) => values.filter((_, i) => i % 3 === c));
  return {
    mean: columns.map((column) => column.reduce((sum, v) => sum + v, 0) / column.length),
    variance: columns.map((column) => squares(column) / (column.length - 1)),
  };
}

function mix(from: ArrayLike<number>, to: readonly number[], f: number): number[] {
  return to.map((value, c) => (1 - f) * from[c] + f * value);
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

/** Other normalizations: what they share with batch norm and where their flags mean something else. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  nn,
  noGrad,
  randn,
  ShapeError,
  type Tensor,
  tensor,
} from "../../src/index.ts";
import { expectClose, tolerance } from "../support/close.ts";
import { type Place, placements } from "./coverage.ts";

const { groupNorm, instanceNorm, layerNorm } = nn.functional;
const values = (t: Tensor | null | undefined) => Array.from(t?.dataSync() ?? []);

/** Mean and biased variance of each run of `length` values. */
function momentsOf(t: Tensor, length: number) {
  const rows = t.reshape([-1, length]);
  return { mean: values(rows.mean(1)), variance: values(rows.var(1, { unbiased: false })) };
}

const dimensions = [
  ["1d", nn.InstanceNorm1d, [4, 3, 9]],
  ["2d", nn.InstanceNorm2d, [3, 4, 5, 7]],
  ["3d", nn.InstanceNorm3d, [3, 5, 2, 3, 4]],
] as const;

describe.each(placements)("$dtype on $device", (place) => {
  test.each(dimensions)(
    "N-01 instance norm %s gives mean 0 and variance 1",
    (_name, Norm, shape) => {
      const x = randn(shape, place).mul(3).add(2);
      const norm = new Norm(shape[1], { eps: 0 });
      const y = norm(x);
      const length = shape.slice(2).reduce((a: number, b) => a * b, 1);
      const { mean, variance } = momentsOf(y, length);
      const near = { rtol: 0, atol: 1e-5 };
      expectClose(mean, Array(mean.length).fill(0), near);
      expectClose(variance, Array(mean.length).fill(1), near);
      expect(values(norm.eval()(x))).toEqual(values(y));
    },
  );

  test("N-02 tracking with momentum 1 keeps the averages over samples, evaluation uses them", () => {
    const norm = new nn.InstanceNorm1d(3, { eps: 0, momentum: 1, trackRunningStats: true });
    norm.to(place.device).to(place.dtype);
    const x = randn([4, 3, 6], place).add(tensor([[[1], [5], [-2]]], place));
    norm(x);
    const near = { rtol: 1e-5, atol: 1e-5 };
    expectClose(values(norm.runningMean), values(x.mean([0, 2])), near);
    expectClose(values(norm.runningVar), values(x.var(2).mean(0)), near);
    norm.eval();
    const shift = tensor([0, 1, 2], place).mul(norm.runningVar?.sqrt() ?? 0);
    const moved = norm(x.add(shift.reshape([1, 3, 1]))).sub(norm(x));
    expectClose(values(moved.mean([0, 2])), [0, 1, 2], near);
  });

  test("N-04 one sample without a batch gives what it gives as a batch of one", () => {
    const norm = new nn.InstanceNorm2d(3, { affine: true, trackRunningStats: true });
    norm.to(place.device).to(place.dtype);
    const twin = norm.clone();
    const x = randn([3, 4, 2], place);
    expect(norm(x).shape).toEqual([3, 4, 2]);
    expect(values(norm(x))).toEqual(values(twin(x.unsqueeze(0))));
    twin(x.unsqueeze(0));
    expect(values(norm.runningMean)).toEqual(values(twin.runningMean));
    expect(values(norm.eval()(x))).toEqual(values(twin.eval()(x.unsqueeze(0))));
  });

  test("G-27 instance norm by hand: outputs and statistics", () => {
    const norm = new nn.InstanceNorm1d(1, { trackRunningStats: true });
    norm.to(place.device).to(place.dtype);
    const y = norm(tensor([1, 3, 2, 8], { ...place, shape: [2, 1, 2] }));
    const near = { rtol: 0, atol: place.dtype === "float64" ? 1e-6 : 2e-6 };
    expectClose(values(y), [-0.999995, 0.999995, -0.9999994444, 0.9999994444], near);
    expectClose(values(norm.runningMean), [0.35], near);
    expectClose(values(norm.runningVar), [1.9], near);
  });

  lawsOf(place);
});

test("N-03 one position is refused with the statistics of x and fine with running ones", () => {
  const x = randn([2, 3, 1]);
  const norm = new nn.InstanceNorm1d(3, { trackRunningStats: true });
  expect(() => norm(x)).toThrow(ShapeError);
  expect(() => norm(x)).toThrow(/more than one position/);
  expect(() => new nn.InstanceNorm1d(3).eval()(x)).toThrow(ShapeError);
  expect(values(norm.runningVar)).toEqual([1, 1, 1]);
  const expected = values(x).map((v) => v / Math.sqrt(1 + 1e-5));
  expectClose(values(norm.eval()(x)), expected);
});

test("N-05 a flag switched off later goes on moving the statistics, in evaluation and without grad too", () => {
  const norm = new nn.InstanceNorm1d(1, { momentum: 0.5, trackRunningStats: true });
  norm.trackRunningStats = false;
  const x = tensor([[[0, 8]]]);
  norm(x);
  expect([values(norm.runningMean), values(norm.runningVar)]).toEqual([[2], [16.5]]);
  const y = noGrad(() => norm.eval()(x));
  expect([values(norm.runningMean), values(norm.runningVar)]).toEqual([[3], [24.25]]);
  expectClose(values(y), [-1, 1]);
  norm.trackRunningStats = true;
  norm(x);
  expect([values(norm.runningMean), norm.numBatchesTracked]).toEqual([[3], 0]);
});

test("N-06 group norm refuses a single value in all and groups that do not divide the channels", () => {
  expect(() => groupNorm(randn([1, 3, 1]), 3)).toThrow(/more than one value per group/);
  const bias = tensor([1, 2, 3]);
  expect(values(groupNorm(randn([2, 3, 1]), 3, { bias }))).toEqual([1, 2, 3, 1, 2, 3]);
  expect(() => new nn.GroupNorm(2, 3)).toThrow(ArgumentError);
});

test("N-07 layer norm refuses other last axes; training and evaluation agree", () => {
  const norm = new nn.LayerNorm([2, 3]);
  expect(() => norm(randn([4, 3, 2]))).toThrow(
    "layerNorm: expected x whose last axes are (2, 3), got (4, 3, 2)",
  );
  const x = randn([4, 2, 3]);
  expect(values(norm(x))).toEqual(values(norm.eval()(x)));
});

/** Laws that hold for every input, tried on generated ones. */
function lawsOf(place: Place): void {
  const near = tolerance[place.dtype];
  const runs = { seed: 20180322, numRuns: 40 };
  const eps = 0.5;
  const sizes = fc.record({
    N: fc.integer({ min: 1, max: 4 }),
    C: fc.constantFrom(1, 2, 4, 6),
    L: fc.integer({ min: 2, max: 5 }),
    seed: fc.integer({ min: 0, max: 1e6 }),
  });
  type Sizes = typeof sizes extends fc.Arbitrary<infer T> ? T : never;
  const batch = ({ N, C, L, seed }: Sizes) => {
    const x = Array.from(
      { length: N * C * L },
      (_, i) => ((seed + i * i * 37 + i * 11) % 161) / 8 - 10,
    );
    return tensor(x, { ...place, shape: [N, C, L] });
  };

  test("layer norm does not see a shift of a row, nor a scale with eps scaled along", () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: -9, max: 9 }), (size, shift) => {
        const x = batch(size);
        const y = values(layerNorm(x, [size.L], { eps }));
        expectClose(values(layerNorm(x.add(shift), [size.L], { eps })), y, near);
        expectClose(values(layerNorm(x.mul(4), [size.L], { eps: 16 * eps })), y, near);
        expectClose(
          values(layerNorm(x.mul(-2), [size.L], { eps: 4 * eps })),
          y.map((v) => -v),
          near,
        );
      }),
      runs,
    );
  });

  test("one group is layer norm over a sample, as many groups as channels are instance norm", () => {
    fc.assert(
      fc.property(sizes, (size) => {
        const x = batch(size);
        const whole = layerNorm(x, [size.C, size.L], { eps });
        expectClose(values(groupNorm(x, 1, { eps })), values(whole), near);
        const single = instanceNorm(x, null, null, { eps });
        expectClose(values(groupNorm(x, size.C, { eps })), values(single), near);
      }),
      runs,
    );
  });

  test("no sample sees the others of its batch", () => {
    fc.assert(
      fc.property(sizes, (size) => {
        const x = batch(size);
        const norms = [
          (t: Tensor) => layerNorm(t, [size.L], { eps }),
          (t: Tensor) => groupNorm(t, size.C > 1 ? 2 : 1, { eps }),
          (t: Tensor) => instanceNorm(t, null, null, { eps }),
        ];
        for (const norm of norms) {
          const alone = x.split(1).flatMap((sample) => values(norm(sample)));
          expect(values(norm(x))).toEqual(alone);
        }
      }),
      runs,
    );
  });
}

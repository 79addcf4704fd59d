/** Laws that hold for every input, tried on generated ones. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nn, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, tolerance } from "../support/close.ts";
import { type Place, placements } from "./coverage.ts";

const { batchNorm } = nn.functional;

/** Not small, so that a channel of equal values does not magnify rounding. */
const eps = 0.5;

/** Seeded: a run that fails fails again. */
const runs = { seed: 20151103, numRuns: 60 };

interface Batch {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Batches (N, C, L) with at least `least` samples; eighths, so that sums and shifts are exact in float32. */
function batches(least: number): fc.Arbitrary<Batch> {
  const sizes = fc.tuple(
    fc.integer({ min: least, max: 6 }),
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 1, max: 5 }),
  );
  return sizes.chain((shape) => {
    const length = shape[0] * shape[1] * shape[2];
    const eighths = fc.integer({ min: -80, max: 80 }).map((v) => v / 8);
    return fc
      .array(eighths, { minLength: length, maxLength: length })
      .map((values) => ({ shape, values }));
  });
}

function read(t: Tensor | null | undefined): number[] {
  return Array.from(t?.dataSync() ?? []);
}

function train({ shape, values }: Batch, place: Place, ownEps = eps) {
  const [mean, variance] = [0, 1].map((value) => tensor(Array(shape[1]).fill(value), place));
  const x = tensor([...values], { ...place, shape });
  const y = batchNorm(x, mean, variance, { training: true, momentum: 1, eps: ownEps });
  return { y: read(y), mean: read(mean), unbiased: read(variance) };
}

describe.each(placements)("$dtype on $device", (place) => {
  const near = tolerance[place.dtype];

  test("a shift of the input shifts the mean and nothing else", () => {
    const shifts = fc.integer({ min: -64, max: 64 });
    fc.assert(
      fc.property(batches(2), shifts, (batch, shift) => {
        const [still, moved] = [batch.values, batch.values.map((v) => v + shift)].map((values) =>
          train({ ...batch, values }, place),
        );
        expectClose(moved.y, still.y, near, "y");
        expectClose(
          moved.mean,
          still.mean.map((v) => v + shift),
          near,
          "mean",
        );
        expectClose(moved.unbiased, still.unbiased, near, "variance");
      }),
      runs,
    );
  });

  test("a scale k of the input, with eps k^2, gives sign(k) times the output", () => {
    const scales = fc.constantFrom(-4, -1, -0.5, 0.25, 2, 3);
    fc.assert(
      fc.property(batches(2), scales, (batch, k) => {
        const still = train(batch, place);
        const scaled = train(
          { ...batch, values: batch.values.map((v) => v * k) },
          place,
          eps * k * k,
        );
        expectClose(
          scaled.y,
          still.y.map((v) => v * Math.sign(k)),
          near,
          "y",
        );
        expectClose(
          scaled.mean,
          still.mean.map((v) => v * k),
          near,
          "mean",
        );
        expectClose(
          scaled.unbiased,
          still.unbiased.map((v) => v * k * k),
          near,
          "variance",
        );
      }),
      runs,
    );
  });

  test("the order of the samples moves the rows of the output and no statistic", () => {
    fc.assert(
      fc.property(batches(2), fc.integer({ min: 1, max: 5 }), (batch, by) => {
        const size = batch.values.length / batch.shape[0];
        const rotate = (values: readonly number[]) =>
          values.map((_, i) => values[(i + by * size) % values.length]);
        const [still, rotated] = [batch, { ...batch, values: rotate(batch.values) }].map((b) =>
          train(b, place),
        );
        expectClose(rotated.y, rotate(still.y), near, "y");
        expectClose(rotated.mean, still.mean, near, "mean");
        expectClose(rotated.unbiased, still.unbiased, near, "variance");
      }),
      runs,
    );
  });

  test("the statistics of a batch follow from those of its two parts", () => {
    const cut = fc.integer({ min: 2, max: 4 });
    fc.assert(
      fc.property(batches(6), cut, (batch, at) => {
        const { whole, parts } = split(batch, at);
        const all = train(whole, place);
        const [a, b] = parts.map((part) => ({
          ...train(part, place),
          n: part.shape[0] * part.shape[2],
        }));
        const n = a.n + b.n;
        const mean = a.mean.map((v, c) => (v * a.n + b.mean[c] * b.n) / n);
        const squares = a.mean.map((v, c) => {
          const within = a.unbiased[c] * (a.n - 1) + b.unbiased[c] * (b.n - 1);
          return within + ((v - b.mean[c]) ** 2 * a.n * b.n) / n;
        });
        expectClose(all.mean, mean, near, "mean");
        expectClose(
          all.unbiased,
          squares.map((v) => v / (n - 1)),
          near,
          "variance",
        );
      }),
      runs,
    );
  });

  test("after training steps, eval of a batch is eval of its parts one after the other", () => {
    fc.assert(
      fc.property(batches(6), fc.integer({ min: 1, max: 5 }), (batch, at) => {
        const bn = new nn.BatchNorm1d(batch.shape[1], { eps }).to(place.device).to(place.dtype);
        const input = ({ shape, values }: Batch) => tensor([...values], { ...place, shape });
        for (let k = 0; k < 3; k++) bn(input(batch).mul(k + 1));
        bn.eval();
        const { whole, parts } = split(batch, at);
        expectClose(
          parts.flatMap((part) => read(bn(input(part)))),
          read(bn(input(whole))),
          near,
        );
        expect(bn.numBatchesTracked).toBe(3);
      }),
      runs,
    );
  });

  test("after k steps the mean is the weighted sum of the batch means that momentum promises", () => {
    const momenta = fc.constantFrom(0.1, 0.5, 0.99, null);
    fc.assert(
      fc.property(
        fc.array(batches(2), { minLength: 1, maxLength: 5 }),
        momenta,
        (all, momentum) => {
          const bn = new nn.BatchNorm1d(1, { momentum }).to(place.device).to(place.dtype);
          let expected = 0;
          for (const [i, { values }] of all.entries()) {
            bn(tensor([...values], { ...place, shape: [values.length, 1] }));
            const observed = values.reduce((sum, v) => sum + v, 0) / values.length;
            const f = momentum ?? 1 / (i + 1);
            expected = (1 - f) * expected + f * observed;
          }
          expectClose(read(bn.runningMean), [expected], near);
        },
      ),
      runs,
    );
  });
});

function split({ shape, values }: Batch, at: number) {
  const [N, C, L] = shape;
  const part = (from: number, to: number) => ({
    shape: [to - from, C, L],
    values: values.slice(from * C * L, to * C * L),
  });
  return { whole: { shape, values }, parts: [part(0, at), part(at, N)] };
}

import type { ChannelLayout, RunningUpdate } from "../../src/backend/backend.ts";
import {
  expectLikeReference,
  type Given,
  inout,
  input,
  type KernelCase,
  type Operands,
  output,
} from "../support/kernel-case.ts";
import { distinct } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { combine } from "./movement.ts";

/** S = 1 (features), short planes with every vector remainder, 7x7, planes across vectors, one channel, many channels. */
export const channelLayouts: readonly ChannelLayout[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 49].map((S) => ({ N: 3, C: 5, S })),
  ...[1, 3, 4, 5, 8, 17, 64].map((C) => ({ N: 4, C, S: 1 })),
  { N: 33, C: 9, S: 1 },
  { N: 257, C: 3, S: 1 },
  { N: 2, C: 70, S: 3 },
  { N: 1, C: 2, S: 1003 },
  { N: 19, C: 1, S: 49 },
];

/** batchNormStats, with its update of the running statistics. */
export function batchNormContract(claim: Claim): void {
  claim("batchNormStats: mean and biased variance in all layouts", (backend) =>
    expectLikeReference(
      backend,
      channelLayouts.map((layout) => statsCase(layout, channelValues(layout, 1))),
    ),
  );

  claim("batchNormStats: tiny and huge scales keep their relative precision", (backend) =>
    expectLikeReference(
      backend,
      combine([1e-12, 1e-4, 1e6, 1e15], channelLayouts, (scale, layout) => ({
        ...statsCase(
          layout,
          channelValues(layout, 2).map((x) => x * scale),
        ),
        tolerance: { rtol: 1.3e-6, atol: 0 },
      })),
    ),
  );

  claim("batchNormStats: a mean a million times the spread costs no precision", (backend) =>
    expectLikeReference(
      backend,
      combine([1e4, 1e6], channelLayouts, (offset, layout) => {
        const x = channelValues(layout, 3).map((value) => value + offset);
        return statsCase(layout, x);
      }),
    ),
  );

  claim("batchNormStats: a far first or last value spoils nothing", (backend) =>
    expectLikeReference(
      backend,
      combine([0, 1], channelLayouts, (end, layout) => {
        const x = channelValues(layout, 14);
        const image = layout.C * layout.S;
        x.subarray(end * (x.length - image), end * (x.length - image) + image).fill(1e6);
        return statsCase(layout, x);
      }),
    ),
  );

  claim("batchNormStats: float64 statistics are good to float64, not to float32", (backend) =>
    expectLikeReference(
      backend,
      channelLayouts.map((layout) => ({
        ...statsCase(layout, channelValues(layout, 1)),
        // Numerics: n numbers summed in float64 in any order are off by n * 2^-53 of their magnitude, here 1e-13.
        tolerance: { rtol: 1e-10, atol: 1e-10 },
      })),
    ),
  );

  claim("batchNormStats: a constant channel has variance 0, its value as mean", (backend) =>
    expectLikeReference(
      backend,
      channelLayouts.map((layout) => ({
        ...statsCase(layout, new Float32Array(layout.N * layout.C * layout.S).fill(0.1)),
        // Numerics: 0.1 summed n times and divided by n in float64 may miss the value by an ulp of float64.
        tolerance: { rtol: 1e-13, atol: 1e-25 },
      })),
    ),
  );

  for (const momentum of [0.1, 0, 1, null]) {
    claim(`batchNormStats: running update, momentum ${momentum}`, (backend) =>
      expectLikeReference(
        backend,
        [null, [0, -1, 0], [2, 1, 3]].flatMap((skipped) =>
          channelLayouts.map((layout) => updateCase(layout, { momentum, skipped })),
        ),
      ),
    );
  }

  claim("batchNormStats: without a skip count NaN reaches the buffers", (backend) =>
    expectLikeReference(
      backend,
      badBatches.map(({ layout, x }) => updateCase(layout, { momentum: 0.1, skipped: null, x })),
    ),
  );

  claim("batchNormStats: a bad batch is counted and named, buffers keep their bytes", (backend) =>
    expectLikeReference(
      backend,
      combine(badBatches, [0.1, 1, null], ({ layout, x }, momentum) =>
        skipCase(layout, momentum, x),
      ),
    ),
  );

  claim("batchNormStats: the first bad batch stays named, later ones only count", (backend) =>
    expectLikeReference(backend, [0.1, null].map(skipTwiceThenMoveCase)),
  );
}

/** Distinct numbers with a mean and a spread of its own in every channel. */
export function channelValues({ N, C, S }: ChannelLayout, seed: number): Float32Array {
  return distinct(N * C * S, { seed }).map((x, i) => {
    const c = Math.floor(i / S) % C;
    return x * (0.5 + (c % 7) / 4) + (c % 5) - 1.5;
  });
}

/** Means and variances near those of `channelValues`, exact in float32. */
export function statisticsFor({ C }: ChannelLayout): { mean: Given; variance: Given } {
  return {
    mean: input(
      Float32Array.from({ length: C }, (_, c) => (c % 5) - 1.4 + c / 1000),
      "statistics",
    ),
    variance: input(
      Float32Array.from({ length: C }, (_, c) => 0.3 + (0.5 + (c % 7) / 4) ** 2),
      "statistics",
    ),
  };
}

/** A batch with NaN or an infinity in one or two channels; the lower one must be named. */
export const badBatches = [
  { layout: { N: 3, C: 5, S: 7 }, bad: [[2, Number.NaN]] },
  { layout: { N: 3, C: 5, S: 1 }, bad: [[4, Infinity]] },
  {
    layout: { N: 2, C: 70, S: 3 },
    bad: [
      [69, Number.NaN],
      [33, -Infinity],
    ],
  },
  {
    layout: { N: 9, C: 1, S: 49 },
    bad: [
      [0, Infinity],
      [0, -Infinity],
    ],
  },
].map(({ layout, bad }) => {
  const x = channelValues(layout, 4);
  for (const [k, [c, value]] of bad.entries())
    x[(layout.C + c) * layout.S + (k % layout.S)] = value;
  return { layout, x };
});

export const label = (what: string, { N, C, S }: ChannelLayout) => `${what} of (${N}, ${C}, ${S})`;

function statsCase(layout: ChannelLayout, x: Float32Array): KernelCase {
  return {
    label: label("batchNormStats", layout),
    given: {
      x: input(x),
      mean: output(layout.C, "statistics"),
      variance: output(layout.C, "statistics"),
    },
    run: (backend, o) => backend.batchNormStats(o.x, o.mean, o.variance, layout, null),
  };
}

interface UpdateSketch {
  readonly momentum: number | null;
  readonly skipped: number[] | null;
  readonly x?: Float32Array;
}

export function updateCase(
  layout: ChannelLayout,
  { momentum, skipped, x }: UpdateSketch,
): KernelCase {
  const common = statsCase(layout, x ?? channelValues(layout, 5));
  const given = {
    ...common.given,
    runningMean: inout(distinct(layout.C, { seed: 6 })),
    runningVar: inout(distinct(layout.C, { seed: 7, low: 0.5, high: 3 })),
    ...(skipped && { skipped: input(skipped, "int32") }),
  };
  return {
    label: `${common.label}, momentum ${momentum}, skipped ${skipped}`,
    given,
    run: (backend, o) => {
      const update = updateOf(o, { momentum, batches: 5 });
      backend.batchNormStats(o.x, o.mean, o.variance, layout, update);
    },
  };
}

function updateOf(
  { runningMean, runningVar, skipped }: Operands,
  options: Pick<RunningUpdate, "momentum" | "batches">,
): RunningUpdate {
  return { runningMean, runningVar, skipped: skipped ?? null, ...options };
}

/** Running buffers are given as inputs: not a bit of them may change. */
function skipCase(layout: ChannelLayout, momentum: number | null, x: Float32Array): KernelCase {
  const common = updateCase(layout, { momentum, skipped: null, x });
  return {
    ...common,
    label: `${common.label}, to be skipped`,
    given: {
      ...common.given,
      runningMean: input(distinct(layout.C, { seed: 6 })),
      runningVar: input(distinct(layout.C, { seed: 7, low: 0.5, high: 3 })),
      skipped: inout([0, -1, 0], "int32"),
    },
  };
}

/** Two bad batches with different channels, then a good one, whose cumulative factor counts the good ones only. */
function skipTwiceThenMoveCase(momentum: number | null): KernelCase {
  const layout = { N: 3, C: 5, S: 4 };
  const [first, second] = [channelValues(layout, 8), channelValues(layout, 9)];
  first[3 * layout.S] = Number.NaN;
  second[1 * layout.S] = Infinity;
  const common = updateCase(layout, { momentum, skipped: null });
  return {
    ...common,
    label: `${common.label}, after two skipped batches`,
    given: {
      ...common.given,
      first: input(first),
      second: input(second),
      skipped: inout([0, -1, 0], "int32"),
    },
    run: (backend, o) => {
      for (const [i, x] of [o.first, o.second, o.x].entries()) {
        const update = updateOf(o, { momentum, batches: 4 + i });
        backend.batchNormStats(x, o.mean, o.variance, layout, update);
      }
    },
  };
}

/** Activations large enough to be spread over threads: big planes, 7x7 planes, odd numbers of images, one channel, features. */
export const largeChannelLayouts: readonly ChannelLayout[] = [
  { N: 4, C: 6, S: 112 * 112 },
  { N: 8, C: 128, S: 49 },
  { N: 7, C: 70, S: 103 },
  { N: 3, C: 1, S: 150_001 },
  { N: 4099, C: 67, S: 1 },
  { N: 130_003, C: 2, S: 1 },
  { N: 2, C: 5003, S: 9 },
  // Rows of many columns; chunks of several units of whole channels.
  { N: 300, C: 1101, S: 1 },
  { N: 6, C: 40, S: 1521 },
];

/** Statistics with a running update; one batch is skipped for a NaN in the last channel. */
export function largeStatsCases(): KernelCase[] {
  return largeChannelLayouts.flatMap((layout) => {
    const bad = channelValues(layout, 5);
    bad[bad.length - 1] = Number.NaN;
    return [updateCase(layout, { momentum: 0.1, skipped: [0, -1, 0] }), skipCase(layout, 0.1, bad)];
  });
}

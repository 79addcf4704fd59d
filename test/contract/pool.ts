import type { AvgPoolLayout, PoolAxis, PoolLayout } from "../../src/backend/backend.ts";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import {
  type Contents,
  execute,
  expectLikeReference,
  input,
  type KernelCase,
  output,
} from "../support/kernel-case.ts";
import { distinct, integers } from "../support/random.ts";
import type { Claim } from "./backend.ts";

/** maxPool, avgPool and their gradients. */
export function poolContract(claim: Claim): void {
  claim("maxPool: separate, overlapping, spaced and padded windows", (backend) =>
    expectLikeReference(
      backend,
      maxLayouts.map((layout) => maxPoolCase(distinct(sizes(layout).x, { seed: 1 }), layout)),
    ),
  );

  claim("maxPool: padding never wins over negative numbers", (backend) =>
    expectLikeReference(
      backend,
      maxLayouts.map((layout) =>
        maxPoolCase(distinct(sizes(layout).x, { seed: 2, low: -9, high: -1 }), layout),
      ),
    ),
  );

  claim("maxPool: the first of equals", (backend) =>
    expectLikeReference(
      backend,
      maxLayouts.map((layout) =>
        maxPoolCase(integers(sizes(layout).x, { seed: 3, high: 2 }), layout),
      ),
    ),
  );

  claim("maxPool: a plane of -Infinity still points at real positions", (backend) =>
    expectLikeReference(
      backend,
      maxLayouts.map((layout) =>
        maxPoolCase(new Float32Array(sizes(layout).x).fill(-Infinity), layout),
      ),
    ),
  );

  claim(
    "maxPool: NaN wins in every window it lies in, also over Infinity, the last of several",
    (backend) =>
      expectLikeReference(
        backend,
        maxLayouts.map((layout) => {
          const x = distinct(sizes(layout).x, { seed: 4 });
          for (let i = 0; i < x.length; i += 11) x[i] = i % 2 ? Number.NaN : Infinity;
          return maxPoolCase(x, layout);
        }),
      ),
  );

  claim("maxPool: one NaN at either end of one plane of several", (backend) =>
    expectLikeReference(
      backend,
      maxLayouts.flatMap((layout) => {
        const x = distinct(sizes(layout).x, { seed: 8 });
        if (x.length === 0) return [];
        return [0, x.length - 1].map((at) => maxPoolCase(x.with(at, Number.NaN), layout));
      }),
    ),
  );

  claim("maxPool: the first of zeros of both signs, and of infinities of both signs", (backend) =>
    expectLikeReference(
      backend,
      maxLayouts.flatMap((layout) => {
        const signs = integers(sizes(layout).x, { seed: 9, high: 2 });
        return [0, Infinity].map((value) =>
          maxPoolCase(
            Float32Array.from(signs, (sign) => (sign ? -value : value)),
            layout,
          ),
        );
      }),
    ),
  );

  claim("maxPoolGrad: overlapping windows add up, unread elements get 0", async (backend) => {
    for (const layout of maxLayouts) {
      const x = distinct(sizes(layout).x, { seed: 1 });
      const pooled = await execute(createReferenceBackend(), maxPoolCase(x, layout));
      await expectLikeReference(backend, [maxPoolGradCase(pooled, layout)]);
    }
  });

  claim("avgPool: divides by the positions in the padded input", (backend) =>
    expectLikeReference(backend, layouts.map(avgPoolCase)),
  );

  claim("avgPool: divides by the positions in x, or by a number", (backend) =>
    expectLikeReference(backend, layouts.flatMap(otherDivisors).map(avgPoolCase)),
  );

  claim("avgPoolGrad: overlapping windows add up, unread elements get 0", (backend) =>
    expectLikeReference(backend, layouts.map(avgPoolGradCase)),
  );

  claim("avgPoolGrad: divides as avgPool does", (backend) =>
    expectLikeReference(backend, layouts.flatMap(otherDivisors).map(avgPoolGradCase)),
  );
}

/** [size, kernel, stride, padding, dilation] along one axis; the last four may be left out. */
type Along = readonly number[];

function alongAxis([
  size,
  kernel = 1,
  stride = kernel,
  padding = 0,
  dilation = 1,
]: Along): PoolAxis {
  const room = size + 2 * padding - dilation * (kernel - 1) - 1;
  return { size, out: Math.floor(room / stride) + 1, kernel, stride, padding, dilation };
}

/** D, H and W; what is left out has size 1. */
function poolLayout(planes: number, ...sizes: readonly Along[]): PoolLayout {
  const [depth, height, width] = [[1], [1], ...sizes].slice(-3).map(alongAxis);
  return { planes, axes: [depth, height, width], isAdaptive: false };
}

/** Alike on H and W. */
export function square([planes, H, W, ...window]: readonly number[]): PoolLayout {
  return poolLayout(planes, [H, ...window], [W, ...window]);
}

/** The same with one more window along each axis where it begins inside, as ceil mode has them. */
function oneMore(layout: PoolLayout): PoolLayout {
  const [depth, height, width] = layout.axes.map((axis) => ({
    ...axis,
    out: axis.out + Number(axis.out * axis.stride < axis.size + axis.padding),
  }));
  return { ...layout, axes: [depth, height, width] };
}

/** Sizes and windows of D, H and W. Kernel, stride, padding and dilation are meaningless and must not be read. */
function adaptive(planes: number, sizes: readonly number[], outs: readonly number[]): PoolLayout {
  const [depth, height, width] = sizes.map((size, i) => ({
    ...{ size, out: outs[i], kernel: 77, stride: 0, padding: 77, dilation: 0 },
  }));
  return { planes, axes: [depth, height, width], isAdaptive: true };
}

const layouts: readonly PoolLayout[] = [
  ...[
    [1, 2, 2, 2, 2, 0],
    [3, 6, 8, 2, 2, 0],
    [2, 28, 28, 2, 2, 0],
    [2, 7, 9, 2, 2, 0],
    [2, 7, 35, 2, 2, 0],
    [2, 7, 7, 3, 2, 1],
    [2, 8, 21, 3, 2, 1],
    [3, 6, 7, 3, 1, 1],
    [2, 9, 19, 3, 1, 0],
    [2, 9, 11, 2, 3, 1],
    [2, 9, 31, 3, 3, 1],
    [5, 4, 4, 1, 2, 0],
    [2, 3, 3, 5, 1, 2],
    [4, 7, 7, 7, 7, 0],
    [4, 1, 1, 1, 1, 0],
    [0, 4, 4, 2, 2, 0],
  ].map(square),
  poolLayout(3, [9, 3, 1, 1], [14, 2, 2, 0]),
  poolLayout(2, [23, 4, 3, 2]),
  poolLayout(2, [40, 5, 2, 1]),
  ...[7, 8, 9, 10, 11, 12, 13].map((width) => poolLayout(2, [3, 2, 1], [width, 3, 1, 1])),
  poolLayout(3, [5, 3, 2, 1], [6, 2, 1], [7, 3, 2, 1]),
  poolLayout(2, [3, 2, 1, 1], [5, 3, 3, 1], [14, 3, 1, 1]),
  // One window covers the last axis, the last two, all, and the last but for the padding.
  poolLayout(2, [5, 2, 2, 1], [6, 3, 2, 1], [7, 7]),
  poolLayout(2, [5, 3, 1, 1], [6, 6], [7, 7]),
  poolLayout(2, [3, 3], [4, 4], [5, 5]),
  poolLayout(2, [3, 3], [4, 2], [5, 5]),
  poolLayout(2, [1, 3, 1, 1], [4, 4], [5, 5]),
  poolLayout(2, [4, 4], [5, 7, 1, 1]),
  // One window that does not cover all.
  poolLayout(2, [3, 2, 5], [7, 3, 9, 1]),
  poolLayout(2, [9, 5, 9, 2]),
  // Windows that reach beyond the right padding.
  ...[
    [2, 6, 7, 3, 2, 1],
    [2, 8, 19, 3, 3, 1],
    [1, 10, 22, 4, 3, 0],
  ].map((numbers) => oneMore(square(numbers))),
  oneMore(poolLayout(2, [6, 3, 2, 0], [6, 3, 2, 1], [8, 2, 3])),
  adaptive(2, [1, 7, 10], [1, 3, 4]),
  adaptive(3, [1, 5, 23], [1, 7, 9]),
  adaptive(2, [5, 6, 7], [3, 6, 2]),
  adaptive(2, [3, 4, 1], [2, 1, 5]),
  adaptive(2, [1, 4, 5], [1, 0, 2]),
  adaptive(3, [2, 3, 5], [1, 1, 1]),
];

/** For maxima alone. The second and third have windows that step over all of x. */
const dilatedLayouts: readonly PoolLayout[] = [
  square([2, 9, 17, 3, 1, 1, 2]),
  poolLayout(2, [2, 2, 1, 1, 3], [12, 3, 1]),
  poolLayout(2, [5, 2, 1], [4, 3, 2], [2, 2, 1, 1, 3]),
  poolLayout(2, [9, 3, 2, 1, 3], [9, 9]),
  poolLayout(2, [7, 2, 2, 1, 2], [8, 3, 1, 1, 3], [21, 3, 2, 1, 4]),
  oneMore(poolLayout(3, [10, 3, 2, 1, 2], [26, 2, 3, 0, 3])),
];
const maxLayouts = [...layouts, ...dilatedLayouts];

function sizes({ planes, axes }: PoolLayout) {
  return {
    x: axes.reduce((product, { size }) => product * size, planes),
    y: axes.reduce((product, { out }) => product * out, planes),
  };
}

function otherDivisors(layout: PoolLayout): AvgPoolLayout[] {
  return [
    { ...layout, divisor: "inside" },
    { ...layout, divisor: -3 },
  ];
}

export function maxPoolCase(x: ArrayLike<number>, layout: PoolLayout): KernelCase {
  const { y } = sizes(layout);
  return {
    label: `maxPool ${JSON.stringify(layout)}`,
    isExact: true,
    given: { x: input(x), y: output(y), indices: output(y, "int32") },
    run: (backend, o) => backend.maxPool(o.x, o.y, o.indices, layout),
  };
}

export function maxPoolGradCase({ indices }: Contents, layout: PoolLayout): KernelCase {
  const { x, y } = sizes(layout);
  return {
    label: `maxPoolGrad ${JSON.stringify(layout)}`,
    given: {
      dy: input(distinct(y, { seed: 5 })),
      indices: input(indices, "int32"),
      dx: output(x),
    },
    run: (backend, o) => backend.maxPoolGrad(o.dy, o.indices, o.dx, layout),
  };
}

export function avgPoolCase(windows: PoolLayout & Partial<AvgPoolLayout>): KernelCase {
  const layout: AvgPoolLayout = { divisor: "padded", ...windows };
  const { x, y } = sizes(layout);
  return {
    label: `avgPool ${JSON.stringify(layout)}`,
    given: { x: input(distinct(x, { seed: 6 })), y: output(y) },
    run: (backend, o) => backend.avgPool(o.x, o.y, layout),
  };
}

export function avgPoolGradCase(windows: PoolLayout & Partial<AvgPoolLayout>): KernelCase {
  const layout: AvgPoolLayout = { divisor: "padded", ...windows };
  const { x, y } = sizes(layout);
  return {
    label: `avgPoolGrad ${JSON.stringify(layout)}`,
    given: { dy: input(distinct(y, { seed: 7 })), dx: output(x) },
    run: (backend, o) => backend.avgPoolGrad(o.dy, o.dx, layout),
  };
}

/** Planes enough to be spread over threads, and one big plane. */
export async function largePoolCases(): Promise<KernelCase[]> {
  const cases = [
    [193, 28, 28, 2, 2, 0],
    [65, 57, 55, 3, 2, 1],
    [1, 401, 403, 3, 2, 1],
    [701, 7, 7, 7, 7, 0],
  ]
    .map(square)
    .concat(poolLayout(70, [6, 3, 2, 1], [13, 3, 1, 1], [15, 2, 2]))
    .concat(adaptive(300, [1, 17, 19], [1, 5, 6]));
  const pooled = cases.map(async (layout) => {
    const maxPool = maxPoolCase(distinct(sizes(layout).x, { seed: 1 }), layout);
    const contents = await execute(createReferenceBackend(), maxPool);
    return [
      maxPool,
      maxPoolGradCase(contents, layout),
      avgPoolCase(layout),
      avgPoolGradCase(layout),
    ];
  });
  return (await Promise.all(pooled)).flat();
}

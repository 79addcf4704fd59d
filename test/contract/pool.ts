import type { Pool2dLayout } from "../../src/backend/backend.ts";
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

/** maxPool2d, avgPool2d and their gradients. */
export function poolContract(claim: Claim): void {
  claim("maxPool2d: separate, overlapping, spaced and padded windows", (backend) =>
    expectLikeReference(
      backend,
      layouts.map((layout) => maxPoolCase(distinct(sizes(layout).x, { seed: 1 }), layout)),
    ),
  );

  claim("maxPool2d: padding never wins over negative numbers", (backend) =>
    expectLikeReference(
      backend,
      layouts.map((layout) =>
        maxPoolCase(distinct(sizes(layout).x, { seed: 2, low: -9, high: -1 }), layout),
      ),
    ),
  );

  claim("maxPool2d: the first of equals", (backend) =>
    expectLikeReference(
      backend,
      layouts.map((layout) => maxPoolCase(integers(sizes(layout).x, { seed: 3, high: 2 }), layout)),
    ),
  );

  claim("maxPool2d: a plane of -Infinity still points at real positions", (backend) =>
    expectLikeReference(
      backend,
      layouts.map((layout) =>
        maxPoolCase(new Float32Array(sizes(layout).x).fill(-Infinity), layout),
      ),
    ),
  );

  claim("maxPool2d: NaN wins in every window it lies in, also over Infinity", (backend) =>
    expectLikeReference(
      backend,
      layouts.map((layout) => {
        const x = distinct(sizes(layout).x, { seed: 4 });
        for (let i = 0; i < x.length; i += 11) x[i] = i % 2 ? Number.NaN : Infinity;
        return maxPoolCase(x, layout);
      }),
    ),
  );

  claim("maxPool2dGrad: overlapping windows add up, unread elements get 0", async (backend) => {
    for (const layout of layouts) {
      const x = distinct(sizes(layout).x, { seed: 1 });
      const pooled = await execute(createReferenceBackend(), maxPoolCase(x, layout));
      await expectLikeReference(backend, [maxPoolGradCase(pooled, layout)]);
    }
  });

  claim("avgPool2d: divides by the whole kernel, padding included", (backend) =>
    expectLikeReference(backend, layouts.map(avgPoolCase)),
  );

  claim("avgPool2dGrad: overlapping windows add up, unread elements get 0", (backend) =>
    expectLikeReference(backend, layouts.map(avgPoolGradCase)),
  );
}

type PoolSketch = Omit<Pool2dLayout, "outH" | "outW">;

function poolLayout(sketch: PoolSketch): Pool2dLayout {
  const { H, W, kernelH, kernelW, strideH, strideW, paddingH, paddingW } = sketch;
  return {
    ...sketch,
    outH: Math.floor((H + 2 * paddingH - kernelH) / strideH) + 1,
    outW: Math.floor((W + 2 * paddingW - kernelW) / strideW) + 1,
  };
}

/** [planes, H, W, kernel, stride, padding], alike on both axes. */
function square([planes, H, W, kernel, stride, padding]: readonly number[]): Pool2dLayout {
  return poolLayout({
    planes,
    H,
    W,
    kernelH: kernel,
    kernelW: kernel,
    strideH: stride,
    strideW: stride,
    paddingH: padding,
    paddingW: padding,
  });
}

const layouts: readonly Pool2dLayout[] = [
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
    [5, 4, 4, 1, 2, 0],
    [2, 3, 3, 5, 1, 2],
    [4, 7, 7, 7, 7, 0],
    [4, 1, 1, 1, 1, 0],
    [0, 4, 4, 2, 2, 0],
  ].map(square),
  poolLayout({
    planes: 3,
    H: 9,
    W: 14,
    kernelH: 3,
    kernelW: 2,
    strideH: 1,
    strideW: 2,
    paddingH: 1,
    paddingW: 0,
  }),
  poolLayout({
    planes: 2,
    H: 1,
    W: 23,
    kernelH: 1,
    kernelW: 4,
    strideH: 1,
    strideW: 3,
    paddingH: 0,
    paddingW: 2,
  }),
];

function sizes({ planes, H, W, outH, outW }: Pool2dLayout) {
  return { x: planes * H * W, y: planes * outH * outW };
}

function maxPoolCase(x: ArrayLike<number>, layout: Pool2dLayout): KernelCase {
  const { y } = sizes(layout);
  return {
    label: `maxPool2d ${JSON.stringify(layout)}`,
    isExact: true,
    given: { x: input(x), y: output(y), indices: output(y, "int32") },
    run: (backend, o) => backend.maxPool2d(o.x, o.y, o.indices, layout),
  };
}

function maxPoolGradCase({ indices }: Contents, layout: Pool2dLayout): KernelCase {
  const { x, y } = sizes(layout);
  return {
    label: `maxPool2dGrad ${JSON.stringify(layout)}`,
    given: {
      dy: input(distinct(y, { seed: 5 })),
      indices: input(indices, "int32"),
      dx: output(x),
    },
    run: (backend, o) => backend.maxPool2dGrad(o.dy, o.indices, o.dx, layout),
  };
}

function avgPoolCase(layout: Pool2dLayout): KernelCase {
  const { x, y } = sizes(layout);
  return {
    label: `avgPool2d ${JSON.stringify(layout)}`,
    given: { x: input(distinct(x, { seed: 6 })), y: output(y) },
    run: (backend, o) => backend.avgPool2d(o.x, o.y, layout),
  };
}

function avgPoolGradCase(layout: Pool2dLayout): KernelCase {
  const { x, y } = sizes(layout);
  return {
    label: `avgPool2dGrad ${JSON.stringify(layout)}`,
    given: { dy: input(distinct(y, { seed: 7 })), dx: output(x) },
    run: (backend, o) => backend.avgPool2dGrad(o.dy, o.dx, layout),
  };
}

/** Planes enough to be spread over threads, and one big plane. */
export async function largePoolCases(): Promise<KernelCase[]> {
  const cases = [
    [193, 28, 28, 2, 2, 0],
    [65, 57, 55, 3, 2, 1],
    [1, 401, 403, 3, 2, 1],
    [701, 7, 7, 7, 7, 0],
  ].map(square);
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

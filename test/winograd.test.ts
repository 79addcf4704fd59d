/** 3x3 convolutions of stride 1 with many channels go another way on the CPU (src/backend/cpu/winograd.ts) than the contract's. */
import { describe, expect, test } from "vitest";
import type { Conv2dLayout } from "../src/backend/backend.ts";
import { createCpuBackend } from "../src/backend/cpu/index.ts";
import { suitsWinograd } from "../src/backend/cpu/winograd.ts";
import { suitsWinogradWeight } from "../src/backend/cpu/winograd-weight.ts";
import { convLayout, square } from "./contract/conv.ts";
import { cpuBuilds } from "./support/backends.ts";
import { expectSameBytes } from "./support/close.ts";
import { execute, input, type KernelCase, output, referenceFor } from "./support/kernel-case.ts";
import { distinct } from "./support/random.ts";

const layouts: readonly Conv2dLayout[] = [
  // Even and odd sizes, tiles that hang over an edge, each padding.
  { N: 9, C: 16, K: 16, H: 6, W: 6, ...square(3) },
  { N: 3, C: 16, K: 17, H: 7, W: 9, ...square(3, { padding: 1 }) },
  { N: 2, C: 19, K: 16, H: 8, W: 11, ...square(3, { padding: 2 }) },
  { N: 4, C: 16, K: 18, H: 3, W: 12, ...square(3), paddingH: 2, paddingW: 0 },
  { N: 3, C: 18, K: 22, H: 14, W: 5, ...square(3), paddingH: 0, paddingW: 2 },
  // More rows and channels than fit into scratch at once; so many images that they are taken in parts.
  { C: 96, K: 16, H: 22, W: 40, ...square(3, { padding: 1 }) },
  { N: 2, C: 16, K: 67, H: 41, W: 18, ...square(3, { padding: 1 }) },
  { N: 2, C: 65, K: 70, H: 13, W: 14, ...square(3, { padding: 1 }) },
  { N: 70, C: 16, K: 16, H: 7, W: 7, ...square(3, { padding: 1 }) },
].map(convLayout);

const builds = cpuBuilds.map(({ build, relaxed }) => ({
  build,
  backend: createCpuBackend({ threads: 1, relaxed }),
  others: [2, 4].map((threads) => createCpuBackend({ threads, relaxed })),
}));

test("every layout here is taken by tiles", () => {
  expect(layouts.filter((layout) => !suitsWinogradWeight(layout))).toEqual([]);
});

test("few channels, other kernels, strides, dilations, groups and small outputs are not", () => {
  const suited = { N: 9, C: 32, K: 32, H: 8, W: 8, ...square(3, { padding: 1 }) };
  const others = [
    { C: 15 },
    { K: 15 },
    { strideW: 2 },
    { dilationH: 2 },
    { groups: 2 },
    { kernelH: 1 },
    { paddingW: 3 },
    { H: 3 },
  ];
  expect(suitsWinograd(convLayout(suited))).toBe(true);
  expect(others.filter((change) => suitsWinograd(convLayout({ ...suited, ...change })))).toEqual(
    [],
  );
  // The gradient of the weight would be a sum of few products.
  expect(suitsWinogradWeight(convLayout({ ...suited, N: 1 }))).toBe(false);
});

describe.each(builds)("convolution by tiles, $build build", ({ backend, others }) => {
  test.each([
    ["forward", forwardCase],
    ["gradient of the input", gradInputCase],
    ["gradient of the weight", gradWeightCase],
  ])("%s: like the reference, the same bits on 1, 2 and 4 threads", async (_, makeCase) => {
    for (const layout of layouts) {
      const kernelCase = makeCase(layout);
      const expectLikeReference = await referenceFor(kernelCase);
      for (const shift of [0, 1]) {
        const actual = await execute(backend, kernelCase, shift);
        expectLikeReference(actual, `shift ${shift}`);
        for (const other of others) {
          const again = await execute(other, kernelCase, shift);
          for (const name of Object.keys(actual)) {
            expectSameBytes(again[name], actual[name], `${kernelCase.label}: ${name}`);
          }
        }
      }
    }
  });
});

function sizes({ N, C, H, W, K, outH, outW }: Conv2dLayout) {
  return { x: N * C * H * W, weight: K * C * 9, y: N * K * outH * outW };
}

function forwardCase(layout: Conv2dLayout): KernelCase {
  const { x, weight, y } = sizes(layout);
  return {
    label: `conv2d ${JSON.stringify(layout)}`,
    products: layout.C * 9,
    given: {
      x: input(distinct(x, { seed: 1 })),
      weight: input(distinct(weight, { seed: 2 })),
      bias: input(distinct(layout.K, { seed: 3 })),
      y: output(y),
      unbiased: output(y),
    },
    run: (on, o) => {
      on.conv2d(o.x, o.weight, o.bias, o.y, layout);
      on.conv2d(o.x, o.weight, null, o.unbiased, layout);
    },
  };
}

function gradInputCase(layout: Conv2dLayout): KernelCase {
  const { x, weight, y } = sizes(layout);
  return {
    label: `conv2dGradInput ${JSON.stringify(layout)}`,
    products: layout.K * 9,
    given: {
      dy: input(distinct(y, { seed: 4 })),
      weight: input(distinct(weight, { seed: 2 })),
      dx: output(x),
    },
    run: (on, o) => on.conv2dGradInput(o.dy, o.weight, o.dx, layout),
  };
}

function gradWeightCase(layout: Conv2dLayout): KernelCase {
  const { x, weight, y } = sizes(layout);
  return {
    label: `conv2dGradWeight ${JSON.stringify(layout)}`,
    products: layout.N * layout.outH * layout.outW,
    given: {
      dy: input(distinct(y, { seed: 4 })),
      x: input(distinct(x, { seed: 1 })),
      dWeight: output(weight),
    },
    run: (on, o) => on.conv2dGradWeight(o.dy, o.x, o.dWeight, layout),
  };
}

/** 3x3 convolutions of stride 1 with many channels go another way on the CPU (src/backend/cpu/winograd.ts) than the contract's. */
import { describe, expect, test } from "vitest";
import type { Conv2dLayout } from "../src/backend/backend.ts";
import { createCpuBackend } from "../src/backend/cpu/index.ts";
import { suitsWinograd } from "../src/backend/cpu/winograd.ts";
import { suitsWinogradWeight } from "../src/backend/cpu/winograd-weight.ts";
import {
  convCase,
  convGradInputCase,
  convGradWeightCase,
  convLayout,
  square,
} from "./contract/conv.ts";
import { cpuBuilds } from "./support/backends.ts";
import { expectSameBytes } from "./support/close.ts";
import { execute, referenceFor } from "./support/kernel-case.ts";
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
    ["forward", (layout: Conv2dLayout) => convCase(layout)],
    ["forward without bias", (layout: Conv2dLayout) => convCase(layout, { hasBias: false })],
    ["gradient of the input", convGradInputCase],
    ["gradient of the weight", convGradWeightCase],
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

test.each(builds)(
  "NaN reaches what reads it and spoils at most its tile, $build build",
  ({ backend }) => {
    const layout = convLayout({ N: 2, C: 16, K: 16, H: 12, W: 12, ...square(3, { padding: 1 }) });
    const values = distinct(2 * 16 * 144, { seed: 1 });
    values[0] = Number.NaN;
    const [x, weight, y] = [
      values,
      distinct(16 * 16 * 9, { seed: 2 }),
      new Float32Array(values.length),
    ].map((source) => {
      const operand = {
        handle: backend.alloc(source.byteLength),
        offset: 0,
        length: source.length,
        dtype: "float32",
      } as const;
      backend.write(operand, source);
      return operand;
    });
    backend.conv2d(x, weight, null, y, layout);
    const spoilt = Array.from(backend.readSync(y), (value, i) =>
      Number.isNaN(value) ? i : -1,
    ).filter((i) => i >= 0);
    const places = spoilt.map((i) => [Math.floor(i / (16 * 144)), Math.floor(i / 12) % 12, i % 12]);
    // Of pixel (0, 0) of image 0: read by outputs 0 and 1 both ways, which are one tile.
    expect(spoilt.length).toBe(16 * 4);
    expect(places.every(([n, h, w]) => n === 0 && h < 2 && w < 2)).toBe(true);
    for (const { handle } of [x, weight, y]) backend.free(handle);
  },
);

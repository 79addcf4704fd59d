/** 3x3 convolutions of stride 2 with much work go by tiles too (src/backend/cpu/kernels/winograd-strided.ts). */
import { beforeAll, describe, expect, test } from "vitest";
import type { Conv2dLayout } from "../src/backend/backend.ts";
import { createCpuBackend } from "../src/backend/cpu/index.ts";
import { suitsStrided } from "../src/backend/cpu/winograd.ts";
import { stridedTilingOf } from "../src/backend/cpu/winograd-plan.ts";
import { suitsWinogradWeight } from "../src/backend/cpu/winograd-weight.ts";
import {
  type ConvSketch,
  convCase,
  convGradInputCase,
  convGradWeightCase,
  convLayout,
  square,
} from "./contract/conv.ts";
import { cpuBuilds } from "./support/backends.ts";
import { expectSameBytes } from "./support/close.ts";
import { execute, type KernelCase, referenceFor } from "./support/kernel-case.ts";
import { createQuickReference } from "./support/quick-reference.ts";
import { rootMeanSquare, withNormals } from "./support/rounding.ts";
import { expectOnAllThreads, spoilt } from "./support/tiles.ts";

const halved = square(3, { stride: 2, padding: 1 });

const layouts = (
  [
    // Whole tiles, images of an even and of an odd size; few tiles, so that the inputs are shared.
    { N: 2, C: 64, K: 67, H: 48, W: 47, ...halved },
    { N: 1, C: 130, K: 138, H: 31, W: 32, ...halved },
    // Tiles of 2 and of 3 outputs at the edges, transforms of both factors shared.
    { N: 8, C: 40, K: 130, H: 20, W: 21, ...halved },
    { N: 16, C: 72, K: 80, H: 13, W: 14, ...halved },
    { N: 8, C: 35, K: 331, H: 14, W: 13, ...halved },
    // Transforms that several blocks of the weight's gradient share.
    { N: 16, C: 70, K: 140, H: 14, W: 13, ...halved },
    // Rows of tiles longer than a block; more images than a block takes.
    { N: 1, C: 32, K: 34, H: 7, W: 2100, ...halved },
    { N: 70, C: 66, K: 33, H: 11, W: 12, ...halved },
  ] satisfies ConvSketch[]
).map(convLayout);

const builds = cpuBuilds.map(({ build, relaxed }) => ({
  build,
  backend: createCpuBackend({ threads: 1, relaxed }),
  others: [2, 4].map((threads) => createCpuBackend({ threads, relaxed })),
}));

test("every layout here is taken by tiles", () => {
  expect(layouts.filter((layout) => !suitsStrided(layout))).toEqual([]);
});

test("little work, few channels, small outputs and other convolutions are not", () => {
  const suited = { N: 9, C: 64, K: 64, H: 24, W: 24, ...halved };
  const others = [
    { N: 7 },
    { C: 31, K: 200 },
    { C: 200, K: 31 },
    { N: 300, H: 6 },
    { strideH: 1 },
    { paddingW: 0 },
    { dilationH: 2, dilationW: 2 },
    { groups: 2, N: 40 },
    { kernelH: 5 },
  ];
  expect(suitsStrided(convLayout(suited))).toBe(true);
  expect(others.filter((change) => suitsStrided(convLayout({ ...suited, ...change })))).toEqual([]);
  // 81 products for a tile of which one output is left over: hardly fewer than the direct way's.
  expect(suitsStrided(convLayout({ ...suited, N: 90, H: 10, W: 10 }))).toBe(false);
});

test("nor is the weight's gradient where transforms would be made again and again", () => {
  expect(layouts.filter((layout) => !suitsWinogradWeight(layout))).toEqual([]);
  const sizes = { N: 8, C: 128, K: 256, ...halved };
  expect(suitsWinogradWeight(convLayout({ ...sizes, H: 14, W: 14 }))).toBe(true);
  expect(suitsWinogradWeight(convLayout({ ...sizes, H: 28, W: 28 }))).toBe(false);
});

test("tiles are narrow at the edges where that takes fewer products", () => {
  const sizes = (images: number, outH: number, outW: number): string[] =>
    stridedTilingOf(images, outH, outW).regions.map(
      ({ rows, columns, tiles }) => `${tiles} of ${rows.size}x${columns.size}`,
    );
  expect(sizes(8, 14, 28)).toEqual(["56 of 2x4", "168 of 4x4"]);
  expect(sizes(8, 7, 7)).toEqual(["8 of 3x4", "8 of 4x4", "8 of 4x3", "8 of 3x3"]);
  expect(sizes(1, 7, 13)).toEqual(["8 of 4x4"]);
  // Nine products along a side for four outputs, seven for three, five for two.
  expect(stridedTilingOf(8, 7, 14).products).toBe(8 * (9 + 7) * (3 * 9 + 5));
});

describe.each([
  ["forward", (layout: Conv2dLayout) => convCase(layout)],
  ["forward without bias", (layout: Conv2dLayout) => convCase(layout, { hasBias: false })],
  ["gradient of the input", convGradInputCase],
  ["gradient of the weight", convGradWeightCase],
] as const)("convolution of stride 2 by tiles, %s", (_, makeCase) => {
  const cases = layouts.map((layout) => makeCase(layout));
  let references: Awaited<ReturnType<typeof referenceFor>>[] = [];
  beforeAll(async () => {
    references = await Promise.all(cases.map((each) => referenceFor(each, createQuickReference())));
  });

  test.each(builds)(
    "like the reference, the same bits on 1, 2 and 4 threads, $build build",
    async (build) => {
      for (const [i, kernelCase] of cases.entries()) {
        await expectOnAllThreads(build, kernelCase, references[i]);
      }
    },
  );
});

describe.each(builds)("NaN, $build build", ({ backend }) => {
  const layout = convLayout({ N: 2, C: 64, K: 64, H: 48, W: 48, ...halved });

  test.each([
    ["x", "y", convCase(layout), 24, [[0, 0]], 4],
    [
      "dy",
      "dx",
      convGradInputCase(layout),
      48,
      [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ],
      8,
    ],
  ] as const)("in %s reaches what reads it and spoils at most its tile of %s", async (...row) => {
    const [from, to, kernelCase, width, readers, side] = row;
    const places = new Set(await spoilt(backend, kernelCase, { from, out: to }));
    const plane = width * width;
    for (let channel = 0; channel < 64; channel++) {
      for (const [h, w] of readers) {
        expect(places).toContain(channel * plane + h * width + w);
      }
    }
    const isOutside = (i: number): boolean =>
      i >= 64 * plane || Math.floor((i % plane) / width) >= side || i % width >= side;
    expect([...places].filter(isOutside)).toEqual([]);
  });

  test("in an operand of the weight's gradient spoils at most the taps of its channel", async () => {
    const ofX = await spoilt(backend, convGradWeightCase(layout), { from: "x", out: "dWeight" });
    expect(ofX.filter((i) => i % (64 * 9) >= 9)).toEqual([]);
    // Pixel (0, 0) meets the middle tap alone.
    expect(ofX.filter((i) => i % 9 === 4)).toHaveLength(64);
    const ofDy = await spoilt(backend, convGradWeightCase(layout), { from: "dy", out: "dWeight" });
    expect(ofDy.filter((i) => i >= 64 * 9)).toEqual([]);
  });
});

describe("rounding", () => {
  const backends = cpuBuilds.map(({ relaxed }) =>
    (["off", "4x4", "2x2"] as const).map((winograd) =>
      createCpuBackend({ threads: 2, relaxed, winograd }),
    ),
  );
  // 32 to 512 channels, or 128 and 512 pixels, in a sum; whole tiles, and those of 2 and 3 outputs.
  const sums = [
    ["forward", convCase, "y", { C: 512, K: 33, H: 32, W: 32, ...halved }],
    ["forward", convCase, "y", { N: 16, C: 64, K: 100, H: 12, W: 14, ...halved }],
    ["gradient of the input", convGradInputCase, "dx", { C: 33, K: 512, H: 32, W: 32, ...halved }],
    [
      "gradient of the input",
      convGradInputCase,
      "dx",
      { N: 16, C: 100, K: 64, H: 14, W: 12, ...halved },
    ],
    [
      "gradient of the weight",
      convGradWeightCase,
      "dWeight",
      { N: 2, C: 192, K: 192, H: 16, W: 16, ...halved },
    ],
    [
      "gradient of the weight",
      convGradWeightCase,
      "dWeight",
      { N: 8, C: 64, K: 128, H: 14, W: 20, ...halved },
    ],
  ] satisfies [string, (layout: Conv2dLayout) => KernelCase, string, ConvSketch][];

  test.each(sums)(
    "%s: at most 5 times that of the direct way",
    async (_, makeCase, out, sketch) => {
      const layout = convLayout(sketch);
      expect(suitsStrided(layout)).toBe(true);
      const kernelCase = makeCase(layout);
      const given = withNormals(kernelCase, out, false);
      const exact = await execute(createQuickReference(), { ...kernelCase, given: given(64) });
      for (const each of backends) {
        const [direct, large, small] = await Promise.all(
          each.map((backend) => execute(backend, { ...kernelCase, given: given(32) })),
        );
        const errorOf = (actual: typeof direct): number =>
          rootMeanSquare(actual[out].map((value, i) => value - exact[out][i]));
        expect(errorOf(large)).toBeLessThan(5 * errorOf(direct));
        expect(errorOf(large)).not.toBe(errorOf(direct));
        // There are no small tiles for a stride of 2.
        expectSameBytes(small[out], direct[out], "2x2");
      }
    },
  );
});

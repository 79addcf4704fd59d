/** 7x7 convolutions of stride 2 with much work go by tiles too (src/backend/cpu/conv-phases.ts). */
import { beforeAll, describe, expect, test } from "vitest";
import type { Conv2dLayout } from "../src/backend/backend.ts";
import { suitsPhases } from "../src/backend/cpu/conv-phases.ts";
import { createCpuBackend } from "../src/backend/cpu/index.ts";
import { createReferenceBackend } from "../src/backend/reference/index.ts";
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
import { rootMeanSquare, withNormals } from "./support/rounding.ts";
import { expectOnAllThreads, spoilt } from "./support/tiles.ts";

const stem = square(7, { stride: 2, padding: 3 });

const layouts = (
  [
    // Images of an even and of an odd size; output channels in panels of six and of four, and one left over.
    { N: 2, C: 3, K: 67, H: 112, W: 111, ...stem },
    { N: 4, C: 5, K: 22, H: 97, W: 98, ...stem },
    // Other paddings, outputs a multiple of a tile and not.
    { N: 2, C: 3, K: 64, H: 113, W: 115, ...stem, paddingH: 0, paddingW: 1 },
    { N: 4, C: 4, K: 40, H: 95, W: 96, ...stem, paddingH: 2, paddingW: 0 },
    // Fewer tiles than output channels, so that the images' transform is shared.
    { C: 5, K: 430, H: 46, W: 43, ...stem },
    // Rows of tiles longer than a block; more images than a block takes.
    { C: 3, K: 32, H: 24, W: 2000, ...stem },
    { N: 72, C: 4, K: 24, H: 24, W: 25, ...stem },
    // More channels than one block of the weight's gradient has.
    { N: 3, C: 34, K: 66, H: 26, W: 27, ...stem },
  ] satisfies ConvSketch[]
).map(convLayout);

const builds = cpuBuilds.map(({ build, relaxed }) => ({
  build,
  backend: createCpuBackend({ threads: 1, relaxed }),
  others: [2, 4].map((threads) => createCpuBackend({ threads, relaxed })),
}));

test("every layout here is taken by tiles", () => {
  expect(layouts.filter((layout) => !suitsPhases(layout))).toEqual([]);
});

test("little work, few channels, small outputs and other convolutions are not", () => {
  const suited = { N: 2, C: 3, K: 64, H: 112, W: 112, ...stem };
  const others = [
    { H: 94, W: 92 },
    { C: 2, N: 4 },
    { K: 15, N: 8 },
    { H: 22, N: 16 },
    { strideH: 1 },
    { kernelW: 5 },
    { paddingH: 4 },
    { dilationW: 2 },
    { groups: 3, N: 4 },
  ];
  expect(suitsPhases(convLayout(suited))).toBe(true);
  expect(others.filter((change) => suitsPhases(convLayout({ ...suited, ...change })))).toEqual([]);
});

describe.each([
  ["forward", layouts.map((layout) => convCase(layout))],
  ["forward without bias", [convCase(layouts[1], { hasBias: false })]],
  ["gradient of the weight", layouts.map(convGradWeightCase)],
] as const)("convolution of 7x7 and stride 2 by tiles, %s", (_, cases) => {
  let references: Awaited<ReturnType<typeof referenceFor>>[] = [];
  beforeAll(async () => {
    references = await Promise.all(cases.map((each) => referenceFor(each)));
  }, 120_000);

  test.each(builds)(
    "like the reference, the same bits on 1, 2 and 4 threads, $build build",
    async (build) => {
      for (const [i, kernelCase] of cases.entries()) {
        await expectOnAllThreads(build, kernelCase, references[i]);
      }
    },
  );
});

test("the gradient of the input goes the direct way", async () => {
  const kernelCase = convGradInputCase(layouts[0]);
  const [large, direct] = (["4x4", "off"] as const).map((winograd) =>
    createCpuBackend({ threads: 1, winograd }),
  );
  const [actual, expected] = [await execute(large, kernelCase), await execute(direct, kernelCase)];
  expectSameBytes(actual.dx, expected.dx, "dx");
});

describe.each(builds)("NaN, $build build", ({ backend }) => {
  const layout = convLayout({ N: 2, C: 3, K: 64, H: 112, W: 112, ...stem });

  test("in x reaches what reads it and spoils at most the tiles that do", async () => {
    // Pixel (0, 0) of the second channel is read by outputs 0 and 1 of both sides.
    const places = new Set(
      await spoilt(backend, convCase(layout), { from: "x", out: "y", at: 112 * 112 }),
    );
    const plane = 56 * 56;
    for (let channel = 0; channel < 64; channel++) {
      for (const place of [0, 1, 56, 57]) expect(places).toContain(channel * plane + place);
    }
    const isOutside = (i: number) => Math.floor((i % plane) / 56) >= 3 || i % 56 >= 3;
    expect([...places].filter(isOutside)).toEqual([]);
  });

  test("in an operand of the weight's gradient spoils at most the taps of its channel", async () => {
    const ofX = await spoilt(backend, convGradWeightCase(layout), {
      from: "x",
      out: "dWeight",
      at: 112 * 112,
    });
    expect(ofX.filter((i) => Math.floor(i / 49) % 3 !== 1)).toEqual([]);
    // Pixel (0, 0) meets tap (3, 3), which is of the odd phase both ways.
    expect(ofX.filter((i) => i % 49 === 3 * 7 + 3)).toHaveLength(64);
    const ofDy = await spoilt(backend, convGradWeightCase(layout), {
      from: "dy",
      out: "dWeight",
      at: 5 * 56 * 56,
    });
    expect(ofDy.filter((i) => Math.floor(i / (3 * 49)) !== 5)).toEqual([]);
    expect(ofDy.length).toBeGreaterThan(0);
  });
});

describe("rounding", () => {
  const backends = cpuBuilds.map(({ relaxed }) =>
    (["off", "4x4", "2x2"] as const).map((winograd) =>
      createCpuBackend({ threads: 2, relaxed, winograd }),
    ),
  );
  const sums = [
    ["forward", convCase, "y", { N: 2, C: 3, K: 64, H: 112, W: 112, ...stem }],
    ["forward", convCase, "y", { N: 2, C: 24, K: 16, H: 80, W: 82, ...stem }],
    [
      "gradient of the weight",
      convGradWeightCase,
      "dWeight",
      { N: 2, C: 3, K: 64, H: 130, W: 112, ...stem },
    ],
    [
      "gradient of the weight",
      convGradWeightCase,
      "dWeight",
      { N: 5, C: 20, K: 64, H: 25, W: 27, ...stem },
    ],
  ] satisfies [string, (layout: Conv2dLayout) => KernelCase, string, ConvSketch][];

  test.each(sums)(
    "%s: at most 5 times that of the direct way",
    async (_, makeCase, out, sketch) => {
      const layout = convLayout(sketch);
      expect(suitsPhases(layout)).toBe(true);
      const kernelCase = makeCase(layout);
      const given = withNormals(kernelCase, out, false);
      const exact = await execute(createReferenceBackend(), { ...kernelCase, given: given(64) });
      for (const each of backends) {
        const [direct, large, small] = await Promise.all(
          each.map((backend) => execute(backend, { ...kernelCase, given: given(32) })),
        );
        const errorOf = (actual: typeof direct): number =>
          rootMeanSquare(actual[out].map((value, i) => value - exact[out][i]));
        expect(errorOf(large)).toBeLessThan(5 * errorOf(direct));
        expect(errorOf(large)).not.toBe(errorOf(direct));
        // There are no tiles of 2 for it.
        expectSameBytes(small[out], direct[out], "2x2");
      }
    },
    60_000,
  );
});

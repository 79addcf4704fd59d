/** 3x3 convolutions of stride 1 with many channels go another way on the CPU (src/backend/cpu/winograd.ts) than the contract's. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Backend, Conv2dLayout } from "../src/backend/backend.ts";
import { createCpuBackend, setWinograd, type WinogradChoice } from "../src/backend/cpu/index.ts";
import { suitsWinograd, tileFor } from "../src/backend/cpu/winograd.ts";
import { tilingOf } from "../src/backend/cpu/winograd-plan.ts";
import { suitsWinogradWeight } from "../src/backend/cpu/winograd-weight.ts";
import { ArgumentError } from "../src/core/errors.ts";
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

/** Tiles of 2 x 2 outputs. */
const smallLayouts: readonly Conv2dLayout[] = [
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
  // Fewer tiles than channels, so that the inputs are shared; rows of tiles longer than a block.
  { N: 3, C: 21, K: 75, H: 8, W: 7, ...square(3, { padding: 1 }) },
  { N: 2, C: 40, K: 37, H: 5, W: 250, ...square(3, { padding: 1 }) },
].map(convLayout);

/** Tiles of 4 x 4 outputs, for the same reasons. */
const largeLayouts: readonly Conv2dLayout[] = [
  { N: 11, C: 81, K: 66, H: 11, W: 11, ...square(3) },
  { N: 5, C: 70, K: 67, H: 15, W: 13, ...square(3, { padding: 1 }) },
  { N: 3, C: 96, K: 64, H: 14, W: 18, ...square(3, { padding: 2 }) },
  { N: 6, C: 64, K: 64, H: 13, W: 16, ...square(3), paddingH: 2, paddingW: 0 },
  { N: 70, C: 64, K: 20, H: 7, W: 7, ...square(3, { padding: 1 }) },
  { N: 2, C: 130, K: 150, H: 11, W: 10, ...square(3, { padding: 1 }) },
  { N: 2, C: 20, K: 16, H: 8, W: 900, ...square(3, { padding: 1 }) },
].map(convLayout);

/** With narrow tiles at the edges: of 2 outputs, of 3, of both, along one side; inputs and transforms that are shared. */
const narrowLayouts: readonly Conv2dLayout[] = [
  { N: 8, C: 65, K: 42, H: 14, W: 14, ...square(3, { padding: 1 }) },
  { N: 16, C: 40, K: 64, H: 10, W: 15, ...square(3, { padding: 1 }) },
  { N: 8, C: 36, K: 131, H: 7, W: 22, ...square(3, { padding: 1 }) },
  { N: 16, C: 64, K: 64, H: 8, W: 11, ...square(3, { padding: 1 }) },
  { N: 16, C: 64, K: 64, H: 9, W: 14, ...square(3), paddingH: 0, paddingW: 2 },
  { N: 8, C: 131, K: 259, H: 7, W: 7, ...square(3, { padding: 1 }) },
].map(convLayout);

const layouts = [...smallLayouts, ...largeLayouts, ...narrowLayouts];

const builds = cpuBuilds.flatMap(({ build, relaxed }) =>
  (["4x4", "2x2"] as const).map((winograd) => ({
    build,
    winograd,
    side: Number(winograd[0]),
    backend: createCpuBackend({ threads: 1, relaxed, winograd }),
    others: [2, 4].map((threads) => createCpuBackend({ threads, relaxed, winograd })),
  })),
);

test("every layout here is taken by tiles", () => {
  expect(layouts.filter((layout) => !suitsWinogradWeight(layout))).toEqual([]);
});

test("large tiles are for much work, whole tiles and outputs that the padding makes", () => {
  const tileOf = (layout: Conv2dLayout, winograd: "4x4" | "2x2" = "4x4"): number =>
    tileFor({ winograd }, layout, layout.outH, layout.outW);
  expect(new Set(smallLayouts.map((layout) => tileOf(layout)))).toEqual(new Set([2]));
  expect(new Set(largeLayouts.map((layout) => tileOf(layout)))).toEqual(new Set([4]));
  expect(new Set(largeLayouts.map((layout) => tileOf(layout, "2x2")))).toEqual(new Set([2]));
  // Four tiles of 36 products where nine of 16 would do; gradients of 0 where no output reads x.
  const [layout] = largeLayouts;
  expect(tileOf({ ...layout, N: 100, H: 8, W: 8, outH: 6, outW: 6 })).toBe(2);
  expect(tileOf({ ...layout, outW: layout.outW - 1 })).toBe(2);
});

test("tiles are narrow at the edges where that takes fewer products", () => {
  const sizes = (images: number, outH: number, outW: number): string[] =>
    tilingOf(images, outH, outW, 4).regions.map(
      ({ rows, columns, tiles }) => `${tiles} of ${rows.size}x${columns.size}`,
    );
  expect(sizes(8, 14, 14)).toEqual(["24 of 2x4", "72 of 4x4", "24 of 4x2", "8 of 2x2"]);
  expect(sizes(8, 7, 15)).toEqual(["24 of 3x4", "24 of 4x4", "8 of 4x3", "8 of 3x3"]);
  expect(sizes(8, 8, 14)).toEqual(["48 of 4x4", "16 of 4x2"]);
  // One output is left over; a single image's narrow tiles would leave most of their panels empty.
  expect(sizes(8, 13, 9)).toEqual(["96 of 4x4"]);
  expect(sizes(1, 14, 14)).toEqual(["16 of 4x4"]);
  const cut = narrowLayouts.filter((layout) => {
    const { N, outH, outW } = layout;
    const isLarge = tileFor({ winograd: "4x4" }, layout, outH, outW) === 4;
    return isLarge && tilingOf(N, outH, outW, 4).regions.length > 1;
  });
  expect(cut).toEqual(narrowLayouts);
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

describe.each([
  ["forward", (layout: Conv2dLayout) => convCase(layout)],
  ["forward without bias", (layout: Conv2dLayout) => convCase(layout, { hasBias: false })],
  ["gradient of the input", convGradInputCase],
  ["gradient of the weight", convGradWeightCase],
] as const)("convolution by tiles, %s", (_, makeCase) => {
  let cases: readonly KernelCase[] = [];
  let references: Awaited<ReturnType<typeof referenceFor>>[] = [];

  beforeAll(async () => {
    cases = layouts.map((layout) => makeCase(layout));
    references = await Promise.all(cases.map((each) => referenceFor(each, createQuickReference())));
  });

  test.each(builds)(
    "like the reference, the same bits on 1, 2 and 4 threads, $build build, tiles up to $winograd",
    async (build) => {
      for (const [i, kernelCase] of cases.entries()) {
        await expectOnAllThreads(build, kernelCase, references[i]);
      }
    },
  );
});

describe.each(builds)("NaN, $build build, tiles up to $winograd", ({ backend, side }) => {
  const layout = convLayout({ N: 2, C: 64, K: 64, H: 24, W: 24, ...square(3, { padding: 1 }) });
  const [planes, kernels] = [2 * 64 * 576, 64 * 64 * 9];

  test.each([
    ["x", "y", convCase(layout)],
    ["dy", "dx", convGradInputCase(layout)],
  ])("in %s reaches what reads it and spoils at most its tile of %s", async (from, to, each) => {
    const places = await spoilt(backend, each, { from, out: to });
    // Of pixel (0, 0) of image 0: read by outputs 0 and 1 both ways.
    const isInTile = (i: number): boolean =>
      i < planes / 2 && Math.floor(i / 24) % 24 < side && i % 24 < side;
    expect(places).toEqual([...new Float32Array(planes).keys()].filter(isInTile));
  });

  test("in an operand of the weight's gradient spoils at most the taps of its channel", async () => {
    const all = [...new Float32Array(kernels).keys()];
    const ofX = await spoilt(backend, convGradWeightCase(layout), { from: "x", out: "dWeight" });
    expect(ofX).toEqual(all.filter((i) => i % (64 * 9) < 9));
    const ofDy = await spoilt(backend, convGradWeightCase(layout), { from: "dy", out: "dWeight" });
    expect(ofDy).toEqual(all.slice(0, 64 * 9));
  });
});

describe("rounding", () => {
  const backends = cpuBuilds.map(({ relaxed }) =>
    (["off", "4x4", "2x2"] as const).map((winograd) =>
      createCpuBackend({ threads: 2, relaxed, winograd }),
    ),
  );
  const same = square(3, { padding: 1 });
  // 64 and 512 channels, or 128 and 512 pixels, in a sum.
  const sums = [
    ["forward", convCase, "y", { C: 64, K: 64, H: 32, W: 32, ...same }],
    ["forward", convCase, "y", { C: 512, K: 16, H: 16, W: 32, ...same }],
    ["gradient of the input", convGradInputCase, "dx", { C: 64, K: 64, H: 32, W: 32, ...same }],
    ["gradient of the input", convGradInputCase, "dx", { C: 16, K: 512, H: 16, W: 32, ...same }],
    [
      "gradient of the weight",
      convGradWeightCase,
      "dWeight",
      { N: 2, C: 192, K: 192, H: 8, W: 8, ...same },
    ],
    [
      "gradient of the weight",
      convGradWeightCase,
      "dWeight",
      { N: 8, C: 64, K: 128, H: 8, W: 8, ...same },
    ],
    // Tiles of 2 and of 3 outputs.
    ["forward", convCase, "y", { N: 32, C: 64, K: 64, H: 6, W: 7, ...same }],
    [
      "gradient of the input",
      convGradInputCase,
      "dx",
      { N: 32, C: 64, K: 64, H: 7, W: 6, ...same },
    ],
    [
      "gradient of the weight",
      convGradWeightCase,
      "dWeight",
      { N: 16, C: 64, K: 128, H: 7, W: 10, ...same },
    ],
  ] satisfies [string, (layout: Conv2dLayout) => KernelCase, string, ConvSketch][];

  test.each(sums)(
    "%s: at most 5 times that of the direct way",
    async (_, makeCase, out, sketch) => {
      const kernelCase = makeCase(convLayout(sketch));
      for (const isRectified of [false, true]) {
        const given = withNormals(kernelCase, out, isRectified);
        const exact = await execute(createQuickReference(), { ...kernelCase, given: given(64) });
        for (const each of backends) {
          const [direct, large, small] = await Promise.all(
            each.map(async (backend) => {
              const actual = await execute(backend, { ...kernelCase, given: given(32) });
              return rootMeanSquare(actual[out].map((value, i) => value - exact[out][i]));
            }),
          );
          expect(large).toBeLessThan(5 * direct);
          expect(small).toBeLessThan(3 * direct);
          expect(large).not.toBe(small);
        }
      }
    },
  );
});

describe("setWinograd", () => {
  afterEach(() => setWinograd("4x4"));

  const layout = convLayout({ N: 2, C: 64, K: 64, H: 24, W: 24, ...square(3, { padding: 1 }) });
  const y = async (backend: Backend) => (await execute(backend, convCase(layout))).y;

  test("takes the direct way, smaller tiles or larger ones, in backends that exist and new ones", async () => {
    const backend = createCpuBackend();
    const results = [];
    for (const winograd of ["off", "2x2", "4x4"] as const) {
      setWinograd(winograd);
      const result = await y(backend);
      expectSameBytes(await y(createCpuBackend()), result, winograd);
      expectSameBytes(await y(createCpuBackend({ winograd })), result, winograd);
      expect(backend.memory().notes.join()).toContain(`winograd: ${winograd}, as set by`);
      results.push(result.join());
    }
    expect(new Set(results).size).toBe(3);
  });

  test("leaves a backend with a choice of its own alone", async () => {
    const backend = createCpuBackend({ winograd: "off" });
    const before = await y(backend);
    setWinograd("2x2");
    expectSameBytes(await y(backend), before, "off");
    expect(backend.memory().notes.join()).toContain("winograd: off, as asked for");
  });

  test("knows three choices", () => {
    const winograd: string = "3x3";
    const isChoice = (choice: string): choice is WinogradChoice => choice === winograd;
    if (!isChoice(winograd)) throw new Error("unreachable");
    expect(() => setWinograd(winograd)).toThrow(ArgumentError);
    expect(() => setWinograd(winograd)).toThrow(/setWinograd.*"4x4", "2x2" or "off".*3x3/);
    expect(() => createCpuBackend({ winograd })).toThrow(/createCpuBackend.*3x3/);
  });
});

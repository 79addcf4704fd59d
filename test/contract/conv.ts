import type { Conv2dLayout } from "../../src/backend/backend.ts";
import { Generator } from "../../src/core/random.ts";
import { expectLikeReference, input, type KernelCase, output } from "../support/kernel-case.ts";
import { distinct } from "../support/random.ts";
import type { Claim } from "./backend.ts";

/** conv2d and its two gradients. */
export function convContract(claim: Claim): void {
  for (const [name, makeCase] of [
    ["conv2d", convCase],
    ["conv2dGradInput", convGradInputCase],
    ["conv2dGradWeight", convGradWeightCase],
  ] as const) {
    claim(`${name}: stride, padding, dilation and groups drawn at random`, (backend) =>
      expectLikeReference(
        backend,
        drawnLayouts.map((layout) => makeCase(layout)),
        [0, 1],
      ),
    );
    claim(`${name}: hard corners`, (backend) =>
      expectLikeReference(
        backend,
        hardLayouts.map((layout) => makeCase(layout)),
      ),
    );
    claim(`${name}: output sizes that are not those of the padding`, (backend) =>
      expectLikeReference(
        backend,
        freeLayouts.map((layout) => makeCase(layout)),
        [0, 1],
      ),
    );
    claim(`${name}: one input channel in each group, at every width`, (backend) =>
      expectLikeReference(
        backend,
        depthwiseLayouts.map((layout) => makeCase(layout)),
        [0, 3],
      ),
    );
    claim(`${name}: 1 x 1, across images and sums long enough to be split`, (backend) =>
      expectLikeReference(
        backend,
        pointwiseLayouts.map((layout) => makeCase(layout)),
      ),
    );
    claim(`${name}: every number of output channels to 14`, (backend) =>
      expectLikeReference(
        backend,
        panelLayouts.map((layout) => makeCase(layout)),
      ),
    );
    claim(`${name}: many channels, with strides, padding and dilation drawn at random`, (backend) =>
      expectLikeReference(
        backend,
        manyChannelLayouts.map((layout) => makeCase(layout)),
        [0, 1],
      ),
    );
    claim(`${name}: odd channel counts across blocks and vectors`, (backend) =>
      expectLikeReference(
        backend,
        channelLayouts.map((layout) => makeCase(layout)),
        [0, 3],
      ),
    );
  }

  claim("conv2d: without a bias", (backend) =>
    expectLikeReference(
      backend,
      hardLayouts.map((layout) => convCase(layout, { hasBias: false })),
      [0],
    ),
  );
}

/** Height and width given alike unless told otherwise; the output size follows. */
export type ConvSketch = Partial<Omit<Conv2dLayout, "outH" | "outW">>;

/** Completes a layout: one image, one channel, a 1x1 kernel, stride 1 where nothing is said. */
export function convLayout(sketch: ConvSketch): Conv2dLayout {
  const layout = {
    N: 1,
    C: 1,
    H: 1,
    W: 1,
    K: 1,
    kernelH: 1,
    kernelW: 1,
    strideH: 1,
    strideW: 1,
    paddingH: 0,
    paddingW: 0,
    dilationH: 1,
    dilationW: 1,
    groups: 1,
    ...sketch,
  };
  const spanH = layout.dilationH * (layout.kernelH - 1) + 1;
  const spanW = layout.dilationW * (layout.kernelW - 1) + 1;
  return {
    ...layout,
    outH: Math.floor((layout.H + 2 * layout.paddingH - spanH) / layout.strideH) + 1,
    outW: Math.floor((layout.W + 2 * layout.paddingW - spanW) / layout.strideW) + 1,
  };
}

/** A square kernel with equal strides, paddings and dilations on both axes. */
export function square(
  kernel: number,
  {
    stride = 1,
    padding = 0,
    dilation = 1,
  }: { stride?: number; padding?: number; dilation?: number } = {},
): ConvSketch {
  return {
    kernelH: kernel,
    kernelW: kernel,
    strideH: stride,
    strideW: stride,
    paddingH: padding,
    paddingW: padding,
    dilationH: dilation,
    dilationW: dilation,
  };
}

const hardLayouts: readonly Conv2dLayout[] = [
  // Sequences so long that their rows are taken in parts, with the last one short.
  { C: 70, K: 5, W: 4500, kernelW: 3, paddingW: 1 },
  { C: 66, K: 4, H: 2, W: 8001, kernelW: 4, strideW: 2, paddingW: 2, groups: 2 },
  { C: 2, K: 80, W: 7001, kernelW: 3, strideW: 2 },
  { N: 2, C: 72, K: 2, W: 3800, kernelW: 2, dilationW: 3, strideW: 1 },
  // A kernel bigger than the image, which padding makes room for.
  { C: 2, K: 3, H: 2, W: 3, ...square(5, { padding: 2 }) },
  { C: 2, K: 2, H: 1, W: 1, ...square(3, { padding: 1 }) },
  // Strides that leave rows and columns at the end unread: their gradient is 0.
  { C: 2, K: 3, H: 8, W: 10, ...square(3, { stride: 2 }) },
  { C: 2, K: 3, H: 9, W: 9, ...square(2, { stride: 3 }) },
  { C: 3, K: 4, H: 7, W: 8, ...square(1, { stride: 2 }) },
  // Strides beyond the kernel skip elements altogether, also under padding.
  { C: 2, K: 2, H: 9, W: 11, ...square(2, { stride: 4, padding: 1 }) },
  { C: 3, K: 3, H: 6, W: 6, ...square(1, { stride: 2, padding: 1 }) },
  // Outputs that see nothing but padding.
  { C: 1, K: 2, H: 3, W: 3, ...square(1, { padding: 2 }) },
  { C: 2, K: 2, H: 4, W: 4, ...square(2, { padding: 2, dilation: 2 }) },
  // Everything different on the two axes.
  {
    N: 2,
    C: 4,
    K: 6,
    H: 9,
    W: 13,
    groups: 2,
    kernelH: 3,
    kernelW: 2,
    strideH: 2,
    strideW: 1,
    paddingH: 1,
    paddingW: 2,
    dilationH: 1,
    dilationW: 3,
  },
  { N: 2, C: 2, K: 2, H: 5, W: 17, kernelH: 1, kernelW: 7, paddingW: 3 },
  { N: 2, C: 2, K: 2, H: 17, W: 5, kernelH: 7, kernelW: 1, paddingH: 3 },
  // Depthwise, with one and with two outputs per channel.
  { N: 2, C: 5, K: 5, H: 7, W: 7, groups: 5, ...square(3, { padding: 1 }) },
  { N: 2, C: 3, K: 6, H: 8, W: 5, groups: 3, ...square(3, { stride: 2, padding: 1 }) },
  // The first layer of a ResNet, the 3x3 and the 1x1 of its blocks, in small.
  { C: 3, K: 8, H: 23, W: 23, ...square(7, { stride: 2, padding: 3 }) },
  { N: 3, C: 8, K: 8, H: 14, W: 14, ...square(3, { padding: 1 }) },
  { N: 3, C: 8, K: 16, H: 7, W: 7, ...square(1) },
  { N: 2, C: 8, K: 12, H: 14, W: 14, ...square(1, { stride: 2 }) },
].map(convLayout);

/** Output sizes beside those that the formula gives, as "same" padding and transposed convolutions have them. */
const freeLayouts: readonly Conv2dLayout[] = [
  // One axis: sequences.
  { ...convLayout({ N: 2, C: 3, K: 4, W: 17, kernelW: 4, paddingW: 1 }), outW: 17 },
  { ...convLayout({ N: 2, C: 4, K: 6, W: 9, kernelW: 2, dilationW: 3, paddingW: 1, groups: 2 }) },
  // An even kernel that keeps the size: the last windows reach one place further than the padding.
  { ...convLayout({ C: 2, K: 3, H: 6, W: 5, ...square(2) }), outH: 6, outW: 5 },
  { ...convLayout({ C: 2, K: 3, H: 5, W: 7, ...square(4, { padding: 1 }) }), outH: 5, outW: 7 },
  { ...convLayout({ C: 3, K: 3, H: 7, W: 6, ...square(2, { dilation: 3, padding: 1 }) }), outH: 7 },
  { ...convLayout({ N: 2, C: 16, K: 17, H: 7, W: 9, ...square(3) }), outH: 7, outW: 9 },
  { ...convLayout({ N: 2, C: 16, K: 16, H: 6, W: 8, ...square(3, { padding: 2 }) }), outH: 6 },
  // Fewer windows than fit: rows and columns of x at the end that none reaches.
  { ...convLayout({ C: 2, K: 3, H: 9, W: 8, ...square(2, { dilation: 3 }) }), outH: 4, outW: 3 },
  { ...convLayout({ C: 3, K: 2, H: 8, W: 9, ...square(3, { stride: 2, padding: 1 }) }), outH: 3 },
  { ...convLayout({ N: 2, C: 16, K: 16, H: 9, W: 10, ...square(3, { padding: 1 }) }), outH: 6 },
  // Padding beyond the kernel: the first windows of a large stride see nothing.
  { ...convLayout({ C: 2, K: 2, H: 7, W: 6, ...square(2, { stride: 3, padding: 3 }) }) },
  // Depthwise, too many and too few windows.
  { ...convLayout({ N: 2, C: 3, K: 3, groups: 3, H: 6, W: 9, ...square(3) }), outH: 6, outW: 9 },
  {
    ...convLayout({ C: 4, K: 4, groups: 4, H: 9, W: 9, ...square(3, { stride: 2, padding: 1 }) }),
    ...{ outH: 3, outW: 4 },
  },
];

/** Depthwise convolutions of kernel 3: widths around vectors, every stride, dilation and padding, one to five outputs per channel. */
const depthwiseLayouts: readonly Conv2dLayout[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 17].flatMap((W) =>
    [1, 2].map((stride) => ({ C: 3, K: 3, H: 5, W, ...square(3, { stride, padding: 1 }) })),
  ),
  ...[1, 2, 3, 4, 5, 6, 9].map((H) => ({ C: 2, K: 2, H, W: 6, ...square(3, { padding: 1 }) })),
  ...[0, 2, 3].flatMap((padding) =>
    [1, 2, 3].map((stride) => ({ C: 2, K: 4, H: 7, W: 8, ...square(3, { stride, padding }) })),
  ),
  ...[2, 3].flatMap((dilation) =>
    [1, 2, 3, 4].map((stride) => ({
      ...{ N: 2, C: 3, K: 3, H: 9, W: 10 },
      ...square(3, { stride, dilation, padding: dilation }),
    })),
  ),
  { C: 2, K: 2, H: 7, W: 12, ...square(3, { padding: 1 }), strideH: 2, dilationW: 2 },
  { C: 2, K: 2, H: 9, W: 12, ...square(3, { padding: 1 }), strideW: 2, dilationH: 2 },
  { C: 2, K: 2, H: 1, W: 1, ...square(3, { padding: 2 }) },
  ...[3, 4, 5].map((outs) => ({ N: 2, C: 3, K: 3 * outs, H: 6, W: 7, ...square(3) })),
  // Rows in several blocks, and images in several parts.
  { C: 2, K: 2, H: 61, W: 300, ...square(3, { padding: 1 }) },
  { C: 2, K: 2, H: 60, W: 301, ...square(3, { stride: 2, padding: 1 }) },
  { N: 5, C: 2, K: 4, H: 40, W: 30, ...square(3, { padding: 1 }) },
].map((sketch) => convLayout({ ...sketch, groups: sketch.C }));

/** Planes shorter than a vector of columns, a little longer, and such that columns of one vector lie in several images. */
const pointwiseLayouts: readonly Conv2dLayout[] = [
  ...[1, 2, 3, 7, 9].map((W) => ({ N: 11, C: 5, K: 7, H: 1, W })),
  { N: 3, C: 1700, K: 3, H: 3, W: 5 },
  { N: 5, C: 3, K: 11, H: 23, W: 19 },
  { N: 3, C: 9, K: 5, H: 29, W: 23, ...square(1, { stride: 2 }) },
  { N: 2, C: 7, K: 80, H: 9, W: 8, ...square(1, { stride: 3 }), strideW: 1 },
].map(convLayout);

/** All ways to make up panels of six and of four output channels, with a 1 x 1 and a 3 x 3 kernel. */
const panelLayouts: readonly Conv2dLayout[] = [1, 3].flatMap((kernel) =>
  Array.from({ length: 14 }, (_, i) =>
    convLayout({ C: 3, K: i + 1, H: 5, W: 5, ...square(kernel) }),
  ),
);

const channelLayouts: readonly Conv2dLayout[] = [1, 3, 5, 8, 17].flatMap((C) =>
  [1, 4, 7, 9, 16].map((K) =>
    convLayout({ N: 2, C, K, H: 6, W: 5, ...square(((C + K) % 2) * 2 + 1, { padding: 1 }) }),
  ),
);

const drawnLayouts: readonly Conv2dLayout[] = drawLayouts({
  count: 60,
  seed: 2025,
  groupChannels: [1, 2, 3, 5],
  groupOutChannels: [1, 2, 4, 5],
  strides: [1, 2],
});

/** Channels in several blocks, rows and images that end within a vector, and output sizes beside those of the padding. */
const manyChannelLayouts: readonly Conv2dLayout[] = [
  ...drawLayouts({
    count: 40,
    seed: 2026,
    groupChannels: [16, 17, 22],
    groupOutChannels: [16, 19, 40],
    strides: [1, 2, 2, 3],
  }),
  convLayout({ N: 3, C: 90, K: 170, H: 6, W: 5, ...square(3, { stride: 2, padding: 1 }) }),
  convLayout({ N: 2, C: 20, K: 20, H: 3, W: 700, kernelW: 4, strideW: 2, paddingW: 1 }),
  convLayout({ C: 48, K: 32, H: 5, W: 7, ...square(3, { stride: 2, padding: 1 }) }),
  convLayout({ C: 16, K: 16, H: 41, W: 37, ...square(5, { stride: 2, padding: 2 }) }),
  { ...convLayout({ C: 16, K: 18, H: 8, W: 11, ...square(3, { stride: 2 }) }), outH: 3, outW: 6 },
  convLayout({ C: 16, K: 16, H: 1, W: 9, ...square(2, { stride: 4, padding: 1 }) }),
];

interface Draw {
  readonly count: number;
  readonly seed: number;
  readonly groupChannels: readonly number[];
  readonly groupOutChannels: readonly number[];
  readonly strides: readonly number[];
}

function drawLayouts({ count, seed, strides, ...channels }: Draw): Conv2dLayout[] {
  const generator = new Generator(seed);
  const pick = <T>(choices: readonly T[]) =>
    choices[Math.floor(generator.uniform() * choices.length)];
  const layouts: Conv2dLayout[] = [];
  while (layouts.length < count) {
    const groups = pick([1, 1, 2, 3]);
    const groupC = pick(channels.groupChannels);
    const groupK = pick(channels.groupOutChannels);
    const layout = convLayout({
      N: pick([1, 2, 3]),
      C: groups * groupC,
      K: groups * groupK,
      H: 1 + Math.floor(generator.uniform() * 13),
      W: 1 + Math.floor(generator.uniform() * 13),
      kernelH: pick([1, 2, 3, 5]),
      kernelW: pick([1, 2, 3, 5]),
      strideH: pick(strides),
      strideW: pick(strides),
      paddingH: pick([0, 1, 2]),
      paddingW: pick([0, 1, 2]),
      dilationH: pick([1, 2]),
      dilationW: pick([1, 2]),
      groups,
    });
    if (layout.outH > 0 && layout.outW > 0) layouts.push(layout);
  }
  return layouts;
}

function sizes(layout: Conv2dLayout) {
  const { N, C, H, W, K, kernelH, kernelW, groups, outH, outW } = layout;
  return {
    x: N * C * H * W,
    weight: ((K * C) / groups) * kernelH * kernelW,
    y: N * K * outH * outW,
  };
}

export function convCase(layout: Conv2dLayout, { hasBias = true } = {}): KernelCase {
  const { x, weight, y } = sizes(layout);
  return {
    label: `conv2d ${JSON.stringify(layout)}`,
    products: (layout.C / layout.groups) * layout.kernelH * layout.kernelW,
    given: {
      x: input(distinct(x, { seed: 1 })),
      weight: input(distinct(weight, { seed: 2 })),
      bias: input(distinct(layout.K, { seed: 3 })),
      y: output(y),
    },
    run: (backend, o) => backend.conv2d(o.x, o.weight, hasBias ? o.bias : null, o.y, layout),
  };
}

export function convGradInputCase(layout: Conv2dLayout): KernelCase {
  const { x, weight, y } = sizes(layout);
  return {
    label: `conv2dGradInput ${JSON.stringify(layout)}`,
    products: (layout.K / layout.groups) * layout.kernelH * layout.kernelW,
    given: {
      dy: input(distinct(y, { seed: 4 })),
      weight: input(distinct(weight, { seed: 2 })),
      dx: output(x),
    },
    run: (backend, o) => backend.conv2dGradInput(o.dy, o.weight, o.dx, layout),
  };
}

export function convGradWeightCase(layout: Conv2dLayout): KernelCase {
  const { x, weight, y } = sizes(layout);
  return {
    label: `conv2dGradWeight ${JSON.stringify(layout)}`,
    products: layout.N * layout.outH * layout.outW,
    given: {
      dy: input(distinct(y, { seed: 4 })),
      x: input(distinct(x, { seed: 1 })),
      dWeight: output(weight),
    },
    run: (backend, o) => backend.conv2dGradWeight(o.dy, o.x, o.dWeight, layout),
  };
}

/** Images large enough to be spread over threads: many channels, many images, one big image, depthwise, strided. */
export function largeConvCases(): KernelCase[] {
  return [
    { N: 3, C: 24, K: 20, H: 19, W: 21, ...square(3, { padding: 1 }) },
    { N: 2, C: 3, K: 16, H: 53, W: 51, ...square(7, { stride: 2, padding: 3 }) },
    { N: 17, C: 64, K: 64, H: 7, W: 7, ...square(1) },
    { N: 5, C: 96, K: 50, H: 29, W: 31, ...square(1, { stride: 2 }) },
    { N: 9, C: 20, K: 7, H: 33, W: 33, ...square(1) },
    { N: 2, C: 2000, K: 30, H: 3, W: 3, ...square(1) },
    { N: 33, C: 16, K: 8, H: 9, W: 9, ...square(3, { padding: 1 }) },
    { N: 2, C: 40, K: 40, groups: 40, H: 57, W: 55, ...square(3, { padding: 1 }) },
    { N: 2, C: 40, K: 40, groups: 40, H: 57, W: 55, ...square(3, { stride: 2, padding: 1 }) },
    { C: 70, K: 5, W: 4001, kernelW: 2 },
    { N: 9, C: 160, K: 320, groups: 160, H: 7, W: 7, ...square(3, { padding: 1 }) },
    { N: 3, C: 70, K: 270, H: 31, W: 33, ...square(3, { stride: 2, padding: 1 }) },
    { N: 4, C: 32, K: 32, groups: 2, H: 28, W: 28, ...square(3, { stride: 2, padding: 1 }) },
  ]
    .map(convLayout)
    .flatMap((layout) => [convCase(layout), convGradInputCase(layout), convGradWeightCase(layout)]);
}

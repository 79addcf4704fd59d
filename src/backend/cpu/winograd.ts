import type { Conv2dLayout, Operand } from "../backend.ts";
import { roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { layoutKey, memoize } from "./memoize.ts";
import { panelsOf } from "./panels.ts";
import type { WinogradChoice } from "./winograd-choice.ts";
import {
  readingOf,
  type Source,
  stridedTilingOf,
  stripFloatsOf,
  type TileSize,
  type Tiling,
  tilesPlan,
  tilingOf,
} from "./winograd-plan.ts";

/** What a thread keeps in scratch of the inputs it transforms, or of the kernels, in floats: about half of a second-level cache. */
const mostInputs = 1 << 17;
const mostKernels = 1 << 18;
/** Panels of output channels that share a block of transformed inputs while it is in a first-level cache. */
const mostKernelPanels = 3;
/** Work is cut into this many units where it can be, whatever the number of threads. */
const enoughUnits = 16;
/** The same where the inputs are shared, which every unit reads all of. */
const fewUnits = 8;
/** Where there are more units than this, their count is a multiple of it. */
const alike = 4;
/**
 * Floats between two elements of a block, whose own are often a multiple of a page: whole cache lines, and enough of them. With one line
 * the gradient of a 7 x 7 weight took a tenth longer, with four half as long again.
 */
export const apart = 96;
/** Channels on both sides that make up for the transforms. */
const fewestChannels = 16;
const fewestStridedChannels = 32;
/** Of those of the direct way: the saving that does. */
const fewProducts = 0.8;
/** Outputs times channels that take a good part of a millisecond. */
const muchWork = 1 << 22;

/** A convolution of kernel 3 x 3. For the gradient of its input, dy takes the part of x and dx that of y. */
interface WinogradConvolution {
  readonly source: Operand;
  readonly weight: Operand;
  readonly bias: Operand | null;
  readonly out: Operand;
  readonly isGradient: boolean;
}

/** Whether `winograd` can compute this convolution and the gradient of its input, and is faster than the direct way. */
export function suitsWinograd(layout: Conv2dLayout): boolean {
  const { kernelH, kernelW, strideH, strideW, dilationH, dilationW, paddingH, paddingW } = layout;
  const isDense = strideH === 1 && strideW === 1 && dilationH === 1 && dilationW === 1;
  const isThree = kernelH === 3 && kernelW === 3 && paddingH <= 2 && paddingW <= 2;
  const isLarge = Math.min(layout.outH, layout.outW) >= 4;
  return (
    layout.groups === 1 &&
    isDense &&
    isThree &&
    isLarge &&
    Math.min(layout.C, layout.K) >= fewestChannels
  );
}

/** The same with a stride of 2, for which there is a large tile only. */
export function suitsStrided(layout: Conv2dLayout): boolean {
  const { N, C, K, outH, outW } = layout;
  const isSquare = (vertical: number, horizontal: number, size: number): boolean =>
    vertical === size && horizontal === size;
  return (
    isSquare(layout.kernelH, layout.kernelW, 3) &&
    isSquare(layout.strideH, layout.strideW, 2) &&
    isSquare(layout.paddingH, layout.paddingW, 1) &&
    isSquare(layout.dilationH, layout.dilationW, 1) &&
    layout.groups === 1 &&
    Math.min(outH, outW) >= 4 &&
    Math.min(C, K) >= fewestStridedChannels &&
    N * C * K * outH * outW >= muchWork &&
    stridedTilingOf(N, outH, outW).products < fewProducts * 9 * N * outH * outW
  );
}

/** The tiles of outputs of this height and width. */
export function tilingFor(
  machine: Pick<Machine, "winograd">,
  layout: Conv2dLayout,
  outH: number,
  outW: number,
): Tiling {
  if (layout.strideH === 2) return stridedTilingOf(layout.N, layout.outH, layout.outW);
  const tile = layout.kernelH === 4 ? 3 : tileFor(machine, layout, outH, outW);
  return tilingOf(layout.N, outH, outW, tile);
}

/**
 * The tile to compute outputs of this height and width by: the larger one where that makes a difference, because it rounds more. That is
 * where it needs fewer products, which it does not when it hangs far over the edges, and many of them.
 */
export function tileFor(
  machine: Pick<Machine, "winograd">,
  layout: Conv2dLayout,
  outH: number,
  outW: number,
): TileSize {
  const products = (tile: TileSize): number =>
    Math.ceil(outH / tile) * Math.ceil(outW / tile) * (tile + 2) ** 2;
  const isMuch = layout.N * layout.C * layout.K * outH * outW >= muchWork;
  const suits = isMuch && isPadded(layout) && products(4) < products(2);
  return machine.winograd === "4x4" && suits ? 4 : 2;
}

/** Whether the size of the output is that of the padding. Elsewhere there are gradients of exactly 0, in tiles with others that round. */
function isPadded({ H, W, outH, outW, paddingH, paddingW }: Conv2dLayout): boolean {
  return outH === H + 2 * paddingH - 2 && outW === W + 2 * paddingW - 2;
}

/**
 * out = source * weight + bias by Winograd's minimal filtering (kernels/winograd.ts).
 *
 * Numerics: against float64 the root mean square error is at most 5 times that of the direct way.
 */
export function winograd(machine: Machine, layout: Conv2dLayout, conv: WinogradConvolution): void {
  const { cut, words } = planFor(layout, conv.isGradient, machine.winograd);
  const { scratch, sharesInputs } = cut;
  const blocks = [cut.tileBlocks, cut.channelBlocks];
  const [shares, units] = sharesInputs ? blocks : blocks.reverse();
  const shareFloats = sharesInputs
    ? cut.elements * cut.inputFloats
    : cut.factors * cut.kernelFloats;
  const operands = [addressOf(conv.source), addressOf(conv.weight)];
  machine.temporary(4 * shares * shareFloats, (shared) => {
    withJob(machine, words, (plan) => {
      const own = [machine.scratch(4 * scratch.end), 4 * scratch.end];
      machine.run("winogradShare", shares, [plan, ...operands, shared, ...own]);
      const bias = conv.bias === null ? 0 : addressOf(conv.bias);
      const out = addressOf(conv.out);
      machine.run("winograd", units, [plan, ...operands, shared, bias, out, ...own]);
    });
  });
}

const planFor = memoize(
  (layout: Conv2dLayout, isGradient: boolean, choice: WinogradChoice): number[] => {
    return [...layoutKey(layout), Number(isGradient), Number(choice === "4x4")];
  },
  (layout, isGradient, choice) => {
    const sizes = isGradient ? gradientSizes(layout) : forwardSizes(layout);
    const cut = cutOf(tilingFor({ winograd: choice }, layout, sizes.outH, sizes.outW), sizes);
    return { cut, words: wordsOf(sizes, cut) };
  },
);

/** The words of `WinogradPlan` in kernels/winograd-kernels.ts, for each region. */
function wordsOf(sizes: Sizes, cut: ReturnType<typeof cutOf>): number[] {
  const { scratch } = cut;
  const at = { elementFloats: cut.inputFloats, places: scratch.places };
  return cut.regions.flatMap((region) => [
    ...tilesPlan(sizes, cut, region, at),
    ...[region.firstBlock, region.tileBlocks, cut.tileBlocks],
    ...[sizes.outChannels, sizes.outH, sizes.outW],
    ...[cut.kernels.count, cut.kernels.sixes],
    ...[cut.channelBlocks, cut.factors, cut.kernelFloats],
    ...[sizes.kernelStep, sizes.outKernelStep, Number(cut.sharesInputs)],
    ...[4 * scratch.work, 4 * scratch.factor, 4 * scratch.products],
  ]);
}

interface Sizes extends Source {
  readonly outChannels: number;
  readonly outH: number;
  readonly outW: number;
  /** Elements from the weights of one channel to those of the next, for the source and for the output. */
  readonly kernelStep: number;
  readonly outKernelStep: number;
}

function forwardSizes(layout: Conv2dLayout): Sizes {
  const { C, K } = layout;
  const taps = layout.kernelH * layout.kernelW;
  return {
    ...layout,
    isGradient: false,
    channels: C,
    outChannels: K,
    kernelStep: taps,
    outKernelStep: taps * C,
  };
}

/**
 * The gradient is a convolution of dy that reaches as far beyond it as the forward one fell short of its input's edge; with a stride of
 * 2 it begins at dy's edge.
 */
function gradientSizes(layout: Conv2dLayout): Sizes {
  const { C, K, H, W, outH, outW, strideH } = layout;
  const [paddingH, paddingW] = strideH === 2 ? [0, 0] : [2 - layout.paddingH, 2 - layout.paddingW];
  return {
    ...{ isGradient: true, channels: K, H: outH, W: outW, paddingH, paddingW },
    ...{ outChannels: C, outH: H, outW: W, kernelStep: 9 * C, outKernelStep: 9 },
  };
}

/** How the work is cut, by shapes only. */
function cutOf(tiling: Tiling, { channels, outChannels, isGradient }: Sizes) {
  const { elements, factors, panels } = tiling;
  const sharesInputs = tiling.tiles < outChannels;
  const mostTiles = Math.max(1, mostInputs / (elements * channels));
  const mostChannels = Math.min(mostKernels / (factors * channels), outChannels / fewUnits);
  const unitPanels = Math.min(Math.ceil(mostTiles / 8), Math.ceil(panels / enoughUnits));
  const step = isGradient ? 1 : tiling.stride;
  const blocks = blocksOf(tiling, step, sharesInputs ? 1 : unitPanels);
  const kernels = panelsOf(outChannels);
  const mostPanels = sharesInputs ? Math.floor(mostChannels / 6) : mostKernelPanels;
  const channelBlocks = blockCount(kernels.count, Math.max(1, mostPanels));
  const channelsPerBlock = 6 * Math.ceil(kernels.count / channelBlocks);

  const inputFloats = 8 * blocks.panelsPerBlock * channels + apart;
  const kernelFloats = channelsPerBlock * channels + apart;
  const places = stripFloatsOf(blocks.regions, tiling, 2);
  // A tile's place among inputs is one word, among outputs four.
  const work = places + 4 * 8 * blocks.panelsPerBlock;
  const factor = work + workFloats + tapFloats;
  const products = factor + (sharesInputs ? factors * kernelFloats : elements * inputFloats);
  const end = products + 8 * elements * blocks.panelsPerBlock * channelsPerBlock;
  return {
    ...{ ...tiling, ...blocks, inputFloats, sharesInputs },
    ...{ kernels, channelBlocks, kernelFloats },
    scratch: { places, work, factor, products, end: roundUp(end, 16) },
  };
}

/** Cuts the tiles of each region into blocks of at most `mostPanels`, which are as even as can be. */
function blocksOf({ regions, taps }: Tiling, step: 1 | 2, mostPanels: number) {
  const counts = regions.map(({ panels }) => blockCount(panels, mostPanels));
  const panelsPerBlock = Math.max(...regions.map(({ panels }, i) => Math.ceil(panels / counts[i])));
  let tileBlocks = 0;
  const cut = regions.map((region, i) => {
    const firstBlock = tileBlocks;
    tileBlocks += counts[i];
    const reading = readingOf(region, { taps, step, most: 8 * panelsPerBlock });
    return { ...reading, firstBlock, tileBlocks: counts[i] };
  });
  return { regions: cut, tileBlocks, panelsPerBlock };
}

/** Blocks of at most `most` panels: as many as 2 or 4 threads can share evenly, where there are several. */
function blockCount(panels: number, most: number): number {
  const fewest = Math.ceil(panels / most);
  return fewest < alike ? fewest : Math.min(roundUp(fewest, alike), panels);
}

/** What a transform needs to put between its two directions, or its 81 elements in halves. */
export const workFloats = 384;
/** And the taps of a dozen kernels of eight channels. */
const tapFloats = 16 * 12 * 8;

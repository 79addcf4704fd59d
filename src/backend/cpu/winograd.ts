import type { Conv2dLayout, Operand } from "../backend.ts";
import { evenly, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

/** Transformed inputs that a thread keeps in scratch, in floats: they are read again for every four output channels. */
const inputFloats = 1 << 17;
/** Work is cut into this many units where it can be, whatever the number of threads. */
const enoughUnits = 32;
/** Channels on both sides that make up for the transforms. */
const fewestChannels = 16;

/** A convolution of kernel 3 x 3 and stride 1. For the gradient of its input, dy takes the part of x and dx that of y. */
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
  const isPlain = [strideH, strideW, dilationH, dilationW, layout.groups].every((n) => n === 1);
  const isThree = kernelH === 3 && kernelW === 3 && paddingH <= 2 && paddingW <= 2;
  const isLarge = Math.min(layout.outH, layout.outW) >= 4;
  return isPlain && isThree && isLarge && Math.min(layout.C, layout.K) >= fewestChannels;
}

/** out = source * weight + bias by Winograd's minimal filtering (kernels/winograd.ts). */
export function winograd(machine: Machine, layout: Conv2dLayout, conv: WinogradConvolution): void {
  const sizes = conv.isGradient ? gradientSizes(layout) : forwardSizes(layout);
  const cut = cutOf(layout.N, sizes);
  const { scratch } = cut;
  // The words of `WinogradTiles` and `WinogradPlan` in kernels/winograd-strips.ts and winograd.ts.
  const words = [
    ...[sizes.channels, sizes.H, sizes.W, sizes.paddingH, sizes.paddingW],
    ...[cut.tileColumns, cut.tileRows, cut.tiles, cut.tileBlocks],
    ...[cut.inputFloats, 6, cut.pitch, cut.stripFloats, 4 * scratch.places],
    ...[sizes.outChannels, sizes.outH, sizes.outW],
    ...[cut.channelsPerBlock, cut.channelBlocks, cut.kernelFloats],
    ...[sizes.stride, sizes.outStride, Number(conv.isGradient), Number(cut.sharesInputs)],
    conv.bias === null ? 0 : addressOf(conv.bias),
    ...[4 * scratch.work, 4 * scratch.factor, 4 * scratch.products],
  ];
  const [shares, units] = cut.sharesInputs
    ? [cut.tileBlocks, cut.channelBlocks]
    : [cut.channelBlocks, cut.tileBlocks];
  const sharedFloats = 36 * shares * (cut.sharesInputs ? cut.inputFloats : cut.kernelFloats);
  const operands = [addressOf(conv.source), addressOf(conv.weight)];
  machine.temporary(4 * sharedFloats, (shared) => {
    withJob(machine, words, (plan) => {
      const own = [machine.scratch(4 * scratch.end), 4 * scratch.end];
      machine.run("winogradShare", shares, [plan, ...operands, shared, ...own]);
      const out = addressOf(conv.out);
      machine.run("winograd", units, [plan, ...operands, shared, out, ...own]);
    });
  });
}

interface Sizes {
  /** Of the source. */
  readonly channels: number;
  readonly H: number;
  readonly W: number;
  readonly paddingH: number;
  readonly paddingW: number;
  readonly outChannels: number;
  readonly outH: number;
  readonly outW: number;
  /** Elements from the weights of one channel to those of the next, for the source and for the output. */
  readonly stride: number;
  readonly outStride: number;
}

function forwardSizes(layout: Conv2dLayout): Sizes {
  const { C, K } = layout;
  return { ...layout, channels: C, outChannels: K, stride: 9, outStride: 9 * C };
}

/** The gradient is a convolution of dy that reaches as far beyond it as the forward one fell short of its input's edge. */
function gradientSizes({ C, K, H, W, outH, outW, paddingH, paddingW }: Conv2dLayout): Sizes {
  return {
    ...{ channels: K, H: outH, W: outW, paddingH: 2 - paddingH, paddingW: 2 - paddingW },
    ...{ outChannels: C, outH: H, outW: W, stride: 9 * C, outStride: 9 },
  };
}

const P = process.env;
/** How the work is cut, by shapes only. */
function cutOf(images: number, sizes: Sizes) {
  const { channels, outChannels } = sizes;
  const [tileRows, tileColumns] = [Math.ceil(sizes.outH / 4), Math.ceil(sizes.outW / 4)];
  const tiles = images * tileRows * tileColumns;
  const panels = Math.ceil(tiles / 8);
  const sharesInputs = P.SI ? P.SI === "1" : tiles < outChannels;
  const budget = Number(P.BUD ?? 1 << 18);
  const most = Math.max(1, Math.floor(budget / (36 * channels)));
  const mostPanels = sharesInputs ? Number(P.PB ?? 4) : Math.ceil(most / 8);
  const tileBlocks = Math.ceil(panels / mostPanels);
  const panelsPerBlock = Math.ceil(panels / tileBlocks);
  const channelsPerBlock = sharesInputs
    ? roundUp(Math.min(most, outChannels), 4)
    : Math.min(Number(P.KB ?? 16), roundUp(outChannels, 4));
  const pitch = 4 * Math.min(tileColumns, 8 * panelsPerBlock) + 2;
  const strips = Math.ceil((8 * panelsPerBlock - 1) / tileColumns) + 1;
  const stripFloats = roundUp(6 * pitch * strips, 16);
  const inputFloats = 8 * panelsPerBlock * channels + 16;
  const kernelFloats = channelsPerBlock * channels + 16;
  const places = 2 * stripFloats;
  const work = places + roundUp(8 * panelsPerBlock, 16);
  const factor = work + 192;
  const products = factor + 36 * (sharesInputs ? kernelFloats : inputFloats);
  const end = products + 288 * panelsPerBlock * channelsPerBlock;
  return {
    ...{ tileColumns, tileRows, tiles, tileBlocks, inputFloats, pitch, stripFloats },
    ...{ channelsPerBlock, channelBlocks: Math.ceil(outChannels / channelsPerBlock), kernelFloats },
    ...{ sharesInputs, scratch: { places, work, factor, products, end } },
  };
}

import type { Conv2dLayout, Operand } from "../backend.ts";
import { forwardAxis, imageOf, imagePlan } from "./conv-plan.ts";
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
  const { channels, outChannels, outH, outW } = sizes;
  const cut = cutOf(layout.N, sizes);
  const elementFloats = channels * cut.blockTiles + 16;
  const packedBlocks = Math.ceil(outChannels / 4);
  const packedBytes = packedBlocks * 16 * (channels + 1) * 16;
  machine.temporary(packedBytes + 4 * channels, (packed) => {
    const offsets = packed + packedBytes;
    // Panels of eight tiles: 32 bytes from one channel to the next.
    machine.memory.i32.set(
      Int32Array.from({ length: channels }, (_, c) => 32 * c),
      offsets / 4,
    );
    machine.run("winogradPackWeights", packedBlocks, [
      ...[addressOf(conv.weight), channels, sizes.stride, outChannels, sizes.outStride],
      ...[Number(conv.isGradient), packed],
    ]);
    // The words of `WinogradPlan` in kernels/winograd.ts.
    const words = [
      ...imagePlan(cut.reading, cut.image),
      ...[outChannels, outH, outW, cut.rowTiles, cut.blockTiles, elementFloats],
      ...[cut.rowsPerBlock, cut.rowBlocks, cut.channelsPerBlock, cut.channelBlocks],
      ...[offsets, conv.bias === null ? 0 : addressOf(conv.bias)],
    ];
    withJob(machine, words, (plan) => {
      const scratchBytes = 4 * (cut.image.floats + 16 * (elementFloats + 4 * cut.blockTiles));
      machine.run("winograd", layout.N * cut.rowBlocks * cut.channelBlocks, [
        ...[plan, addressOf(conv.source), packed, addressOf(conv.out)],
        ...[machine.scratch(scratchBytes), scratchBytes],
      ]);
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

/** The tiles of 2 x 2 outputs: their 4 x 4 inputs are what a convolution of kernel 4 and stride 2 reads. */
export function tilesOf(sizes: Omit<Sizes, "outChannels" | "stride" | "outStride">) {
  const four = { kernel: 4, stride: 2, dilation: 1 };
  const [tileRows, tileColumns] = [Math.ceil(sizes.outH / 2), Math.ceil(sizes.outW / 2)];
  const height = { size: sizes.H, padding: sizes.paddingH, outSize: tileRows };
  const width = { size: sizes.W, padding: sizes.paddingW, outSize: tileColumns };
  return {
    reading: {
      groups: 1,
      channels: sizes.channels,
      vertical: forwardAxis({ ...four, ...height }),
      horizontal: forwardAxis({ ...four, ...width }),
    },
    /** Tiles of a row, rounded up to whole vectors. */
    rowTiles: roundUp(tileColumns, 4),
  };
}

/** How the work is cut, by shapes only. */
function cutOf(images: number, sizes: Sizes) {
  const { reading, rowTiles } = tilesOf(sizes);
  const tileRows = reading.vertical.outSize;
  const rowsPerBlock = evenly(tileRows, Math.floor(inputFloats / (16 * sizes.channels * rowTiles)));
  const rowBlocks = Math.ceil(tileRows / rowsPerBlock);
  const wanted = Math.ceil(enoughUnits / Math.max(1, images * rowBlocks));
  const channelsPerBlock = roundUp(Math.ceil(sizes.outChannels / wanted), 16);
  return {
    ...{ reading, image: imageOf(reading, rowsPerBlock) },
    ...{ rowTiles, blockTiles: roundUp(rowsPerBlock * rowTiles, 8), rowsPerBlock, rowBlocks },
    ...{ channelsPerBlock, channelBlocks: Math.ceil(sizes.outChannels / channelsPerBlock) },
  };
}

import type { Conv2dLayout } from "../backend.ts";
import { imageOf, imagePlan } from "./conv-plan.ts";
import type { GradWeightOperands } from "./conv-weight.ts";
import { evenly, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { suitsWinograd, tilesOf } from "./winograd.ts";

/** Tiles of a dot product: enough to make its end cheap. */
const enoughTiles = 256;
/** Pixels of dy, in all images, among which the rounding of the transforms does not stand out. */
const fewestPixels = 100;
/** Channels on either side that a thread transforms at a time; each serves all of the other side. */
const mostChannels = 64;
/** The images are split into parts, each with sums of its own, to give this many units of work ... */
const enoughUnits = 32;
/** ... as far as the sums do not need more floats than this. */
const mostSums = 1 << 22;

/**
 * Whether `winogradGradWeight` can compute this gradient, and is faster than the direct way and as exact.
 *
 * Numerics: the transforms add a few roundings of the size of neighbouring products. Among 16 products they took the error to
 * 2.5 times the bound of a plain sum, K u sum |a b|; among 100 to 0.14 of it.
 */
export function suitsWinogradWeight(layout: Conv2dLayout): boolean {
  return suitsWinograd(layout) && layout.N * layout.outH * layout.outW >= fewestPixels;
}

/** dWeight of a convolution that suits (kernels/winograd-weight.ts). */
export function winogradGradWeight(
  machine: Machine,
  operands: GradWeightOperands,
  layout: Conv2dLayout,
): void {
  const cut = cutOf(layout);
  const { reading, image, passTiles, outPerBlock } = cut;
  const pairedChannels = roundUp(reading.channels, 2);
  const sliceFloats = 16 * pairedChannels * outPerBlock;
  // A cache line more than needed, so that the 4 x 4 elements keep out of each other's way.
  const inputFloats = reading.channels * passTiles + 16;
  const gradientFloats = outPerBlock * passTiles + 16;
  const slices = cut.outBlocks * cut.inBlocks;
  const sumsBytes = 4 * cut.parts * slices * sliceFloats;
  machine.temporary(sumsBytes + 4 * pairedChannels, (sums) => {
    const offsets = Int32Array.from(
      { length: pairedChannels },
      (_, c) => Math.min(c, reading.channels - 1) * passTiles * 4,
    );
    machine.memory.i32.set(offsets, (sums + sumsBytes) / 4);
    // The words of `WinogradWeightPlan` in kernels/winograd-weight.ts.
    const words = [
      ...imagePlan(reading, image),
      ...[layout.N, layout.C, layout.K, layout.outH, layout.outW, cut.rowTiles],
      ...[cut.rowsPerPass, cut.imagesPerPass, cut.imagesPerPart],
      ...[cut.inBlocks, outPerBlock, cut.outBlocks],
      ...[passTiles, inputFloats, gradientFloats, sliceFloats, sums + sumsBytes],
    ];
    withJob(machine, words, (plan) => {
      const scratchBytes = 4 * (image.floats + 16 * (inputFloats + gradientFloats));
      machine.run("winogradGradWeight", cut.parts * slices, [
        ...[plan, addressOf(operands.dy), addressOf(operands.x), sums],
        ...[machine.scratch(scratchBytes), scratchBytes],
      ]);
      machine.run("winogradSumWeights", slices * (outPerBlock / 4), [
        ...[plan, sums, cut.parts, addressOf(operands.dWeight)],
      ]);
    });
  });
}

/** How the work is cut, by shapes only. */
function cutOf(layout: Conv2dLayout) {
  const { N, C, K } = layout;
  const channels = evenly(C, mostChannels);
  const { reading, rowTiles } = tilesOf({ ...layout, channels });
  const tileRows = reading.vertical.outSize;
  const rowsPerPass = evenly(tileRows, Math.floor(enoughTiles / rowTiles));
  const fullPass = Math.ceil(Math.min(enoughTiles / (tileRows * rowTiles), Math.max(N, 1)));
  const imagesPerPass = rowsPerPass < tileRows ? 1 : fullPass;
  const outPerBlock = roundUp(evenly(K, mostChannels), 4);
  const [inBlocks, outBlocks] = [Math.ceil(C / channels), Math.ceil(K / outPerBlock)];
  const slices = inBlocks * outBlocks;
  const partsWanted = Math.min(enoughUnits, mostSums / (16 * channels * outPerBlock)) / slices;
  const imagesPerPart = Math.max(imagesPerPass, Math.ceil(N / Math.max(1, partsWanted)));
  return {
    ...{ reading, image: imageOf(reading, rowsPerPass), rowTiles, rowsPerPass },
    ...{ imagesPerPass, passTiles: imagesPerPass * rowsPerPass * rowTiles },
    ...{ imagesPerPart, parts: Math.ceil(N / imagesPerPart) },
    ...{ inBlocks, outPerBlock, outBlocks },
  };
}

import type { Conv2dLayout } from "../backend.ts";
import type { GradWeightOperands } from "./conv-weight.ts";
import { evenly, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { suitsWinograd } from "./winograd.ts";

/** Pixels of dy, in all images, among which the rounding of the transforms does not stand out. */
const fewestPixels = 100;
const P = process.env;

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
  const { scratch } = cut;
  const tiles = [cut.tileColumns, cut.tileRows, cut.tiles, cut.tileBlocks];
  // The words of `WinogradTiles` and `WinogradWeightPlan` in kernels/winograd-strips.ts and winograd-weight.ts.
  const words = [
    ...[layout.C, layout.H, layout.W, layout.paddingH, layout.paddingW, ...tiles],
    ...[cut.inputFloats, 6, cut.pitch, 6 * cut.stripFloats, 4 * scratch.places],
    ...[layout.K, cut.parts, cut.channelsPerBlock, cut.channelBlocks],
    ...[cut.outPerBlock, cut.outBlocks, cut.gradientFloats, cut.sumFloats],
    ...[4 * scratch.work, 4 * scratch.inputs, 4 * scratch.gradients, 4 * scratch.sums],
  ];
  const reading = [
    ...[layout.K, layout.outH, layout.outW, 0, 0, ...tiles],
    ...[cut.gradientFloats, 4, cut.pitch, 4 * cut.stripFloats, 4 * scratch.places],
  ];
  const slices = cut.channelBlocks * cut.outBlocks;
  const dWeight = addressOf(operands.dWeight);
  const partFloats = cut.parts === 1 ? 0 : cut.parts * slices * cut.sumFloats;
  machine.temporary(4 * partFloats, (sums) => {
    withJob(machine, [...words, ...reading], (plan) => {
      const own = [machine.scratch(4 * scratch.end), 4 * scratch.end];
      const [dy, x] = [addressOf(operands.dy), addressOf(operands.x)];
      machine.run("winogradGradWeight", cut.parts * slices, [
        ...[plan, plan + 4 * words.length, dy, x, sums, dWeight, ...own],
      ]);
      if (cut.parts === 1) return;
      machine.run("winogradSumWeights", (slices * cut.outPerBlock) / 4, [
        ...[plan, sums, dWeight, ...own],
      ]);
    });
  });
}

/** How the work is cut, by shapes only. */
function cutOf({ N, C, K, outH, outW }: Conv2dLayout) {
  const [tileRows, tileColumns] = [Math.ceil(outH / 4), Math.ceil(outW / 4)];
  const tiles = N * tileRows * tileColumns;
  const panels = Math.ceil(tiles / 8);
  const tileBlocks = Math.ceil(panels / Number(P.TB ?? 4));
  const panelsPerBlock = Math.ceil(panels / tileBlocks);
  const channelsPerBlock = roundUp(evenly(C, Number(P.CB ?? 64)), 8);
  const outPerBlock = roundUp(evenly(K, Number(P.OB ?? 64)), 4);
  const channelBlocks = Math.ceil(C / channelsPerBlock);
  const outBlocks = Math.ceil(K / outPerBlock);
  const parts = Math.min(tileBlocks, Math.ceil(Number(P.UN ?? 16) / (channelBlocks * outBlocks)));
  const pitch = 4 * Math.min(tileColumns, 8 * panelsPerBlock) + 2;
  const strips = Math.ceil((8 * panelsPerBlock - 1) / tileColumns) + 1;
  const stripFloats = pitch * strips;
  const inputFloats = 8 * panelsPerBlock * channelsPerBlock + 16;
  const gradientFloats = 8 * panelsPerBlock * outPerBlock + 16;
  const sumFloats = 36 * channelsPerBlock * outPerBlock;
  const places = roundUp(8 * 6 * stripFloats, 16);
  const work = places + 8 * panelsPerBlock;
  const inputs = roundUp(work + 192, 16);
  const gradients = inputs + 36 * inputFloats;
  const sums = gradients + 36 * gradientFloats;
  const end = sums + (parts === 1 ? sumFloats : 0);
  return {
    ...{ tileColumns, tileRows, tiles, tileBlocks, pitch, stripFloats },
    ...{ channelsPerBlock, channelBlocks, outPerBlock, outBlocks, parts },
    ...{ inputFloats, gradientFloats, sumFloats },
    scratch: { places, work, inputs, gradients, sums, end },
  };
}

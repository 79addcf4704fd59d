import type { Conv2dLayout } from "../backend.ts";
import type { GradWeightOperands } from "./conv-weight.ts";
import { evenly, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { layoutKey, memoize } from "./memoize.ts";
import { panelsOf } from "./panels.ts";
import { suitsWinograd, tileFor, workFloats } from "./winograd.ts";
import { blocksOf, type TileSize, tilesPlan, tilingOf } from "./winograd-plan.ts";

/** Pixels of dy, in all images, among which the rounding of the transforms does not stand out. */
const fewestPixels = 100;
/** Panels of tiles that a thread transforms at a time: sums of so many products make up for adding them to the sums before. */
const mostPanels = 8;
/** Channels of x and of dy that it transforms them for; each serves all of the other side. */
const mostChannels = 64;
const mostOutChannels = 128;
/** The tiles are split into parts, each with sums of its own, to give this many units of work. */
const enoughUnits = 16;

/**
 * Whether `winogradGradWeight` can compute this gradient, and is faster than the direct way and as exact.
 *
 * Numerics: the transforms add a few roundings of the size of neighbouring products. Among 16 products they took the error to
 * 2.5 times the bound of a plain sum, K u sum |a b|; among 100 to 0.14 of it.
 */
export function suitsWinogradWeight(layout: Conv2dLayout): boolean {
  return suitsWinograd(layout) && layout.N * layout.outH * layout.outW >= fewestPixels;
}

/**
 * dWeight of a convolution that suits (kernels/winograd-weight.ts).
 *
 * Numerics: against float64 the root mean square error is at most 5 times that of the direct way.
 */
export function winogradGradWeight(
  machine: Machine,
  operands: GradWeightOperands,
  layout: Conv2dLayout,
): void {
  const { cut, words } = planFor(layout, tileFor(machine, layout, layout.outH, layout.outW));
  const slices = cut.channelBlocks * cut.outBlocks;
  const partFloats = cut.parts === 1 ? 0 : cut.parts * slices * cut.sumFloats;
  const dWeight = addressOf(operands.dWeight);
  machine.temporary(4 * partFloats, (sums) => {
    withJob(machine, [...words.plan, ...words.reading], (plan) => {
      const { end } = cut.scratch;
      const own = [machine.scratch(4 * end), 4 * end];
      const [dy, x] = [addressOf(operands.dy), addressOf(operands.x)];
      machine.run("winogradGradWeight", cut.parts * slices, [
        ...[plan, plan + 4 * words.plan.length, dy, x, sums, dWeight, ...own],
      ]);
      if (cut.parts === 1) return;
      machine.run("winogradSumWeights", (slices * cut.outPerBlock) / 2, [
        ...[plan, sums, dWeight, ...own],
      ]);
    });
  });
}

const planFor = memoize(
  (layout: Conv2dLayout, tile: TileSize): number[] => [...layoutKey(layout), tile],
  (layout, tile) => {
    const cut = cutOf(layout, tile);
    return { cut, words: wordsOf(layout, cut) };
  },
);

/** The words of `WinogradWeightPlan` in kernels/winograd-weight.ts, and those of `WinogradTiles` for dy. */
function wordsOf(layout: Conv2dLayout, cut: ReturnType<typeof cutOf>) {
  const { scratch, tile, rowFloats } = cut;
  const x = { ...layout, channels: layout.C };
  const dy = { channels: layout.K, H: layout.outH, W: layout.outW, paddingH: 0, paddingW: 0 };
  const strip = (rows: number, elementFloats: number) => {
    return { rows, floats: rows * rowFloats, elementFloats, places: scratch.places };
  };
  const plan = [
    ...tilesPlan(x, cut, strip(tile + 2, cut.inputFloats)),
    ...[layout.K, cut.parts, cut.channelsPerBlock, cut.channelBlocks],
    ...[cut.outPerBlock, cut.outBlocks, cut.outPanels.count, cut.outPanels.sixes, cut.sumFloats],
    ...[4 * scratch.work, 4 * scratch.inputs, 4 * scratch.gradients, 4 * scratch.sums],
  ];
  return { plan, reading: tilesPlan(dy, cut, strip(tile, cut.gradientFloats)) };
}

/** How the work is cut, by shapes only. */
function cutOf({ N, C, K, outH, outW }: Conv2dLayout, tile: TileSize) {
  const tiling = tilingOf(N, outH, outW, tile);
  const blocks = blocksOf(tiling, mostPanels);
  const { elements } = tiling;
  const { panelsPerBlock, tileBlocks } = blocks;
  const channelsPerBlock = roundUp(evenly(C, mostChannels), 8);
  const outPanels = panelsOf(evenly(K, mostOutChannels));
  const outPerBlock = outPanels.rows;
  const [channelBlocks, outBlocks] = [Math.ceil(C / channelsPerBlock), Math.ceil(K / outPerBlock)];
  const parts = Math.min(tileBlocks, Math.ceil(enoughUnits / (channelBlocks * outBlocks)));

  const rowFloats = blocks.pitch * blocks.strips;
  const inputFloats = 8 * panelsPerBlock * channelsPerBlock + 16;
  const gradientFloats = 8 * panelsPerBlock * outPerBlock + 16;
  const sumFloats = elements * channelsPerBlock * outPerBlock;
  const places = roundUp(8 * (tile + 2) * rowFloats, 16);
  const work = places + roundUp(8 * panelsPerBlock, 16);
  const inputs = work + workFloats;
  const gradients = inputs + elements * inputFloats;
  const sums = gradients + elements * gradientFloats;
  const end = roundUp(sums + (parts === 1 ? sumFloats : 0), 16);
  return {
    ...{
      ...tiling,
      ...blocks,
      channelsPerBlock,
      channelBlocks,
      outPerBlock,
      outBlocks,
      outPanels,
      parts,
    },
    ...{ rowFloats, inputFloats, gradientFloats, sumFloats },
    scratch: { places, work, inputs, gradients, sums, end },
  };
}

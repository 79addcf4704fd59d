import type { Conv2dLayout } from "../backend.ts";
import type { GradWeightOperands } from "./conv-weight.ts";
import { evenly, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { layoutKey, memoize } from "./memoize.ts";
import { panelsOf } from "./panels.ts";
import { tileFor, workFloats } from "./winograd.ts";
import {
  readingOf,
  stridedTilingOf,
  stripFloatsOf,
  type TileSize,
  tilesPlan,
  tilingOf,
} from "./winograd-plan.ts";

/** Pixels of dy, in all images, among which the rounding of the transforms does not stand out. */
const fewestPixels = 100;
/** About so many panels of tiles a thread transforms at a time: sums of so many products make up for adding them to the sums before. */
const mostPanels = 8;
/** Channels of x and of dy that it transforms them for; each serves all of the other side. */
const mostChannels = 64;
const mostOutChannels = 128;
/** The tiles are split into parts, each with sums of its own, to give this many units of work. */
const enoughUnits = 8;
/** So many units share transforms with others that these are made once, for all threads, if they are not too many floats. */
const manySlices = 4;
const mostShared = 3 << 20;

/**
 * Whether this is as exact as the direct way and faster, for a convolution that `winograd` takes. With a stride of 2 little is saved,
 * less than it takes to make transforms over and over, or to write and read them where they are more than a cache holds.
 *
 * Numerics: the transforms add a few roundings of the size of neighbouring products. Among 16 products they took the error to
 * 2.5 times the bound of a plain sum, K u sum |a b|; among 100 to 0.14 of it.
 */
export function suitsWinogradWeight(layout: Conv2dLayout): boolean {
  const hasPixels = layout.N * layout.outH * layout.outW >= fewestPixels;
  return hasPixels && (layout.strideH === 1 || !planFor(layout, 4).cut.repeats);
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
  const isStrided = layout.strideH === 2;
  const tile = isStrided ? 4 : tileFor(machine, layout, layout.outH, layout.outW);
  const { cut, words, planWords } = planFor(layout, tile);
  const slices = cut.channelBlocks * cut.outBlocks;
  const partFloats = cut.parts === 1 ? 0 : cut.parts * slices * cut.sumFloats;
  const dWeight = addressOf(operands.dWeight);
  machine.temporary(4 * (cut.sharedFloats + partFloats), (shared) => {
    withJob(machine, words, (plan) => {
      const { end } = cut.scratch;
      const own = [machine.scratch(4 * end), 4 * end];
      const reading = plan + 4 * planWords;
      const given = [plan, reading, addressOf(operands.dy), addressOf(operands.x), shared];
      const sums = shared + 4 * cut.sharedFloats;
      if (cut.shares) {
        const blocks = cut.tileBlocks * (cut.outBlocks + cut.channelBlocks);
        machine.run("winogradShareWeight", blocks, [...given, ...own]);
      }
      machine.run("winogradGradWeight", cut.parts * slices, [...given, sums, dWeight, ...own]);
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
    const { plan, reading } = wordsOf(layout, cut);
    return { cut, words: [...plan, ...reading], planWords: plan.length };
  },
);

/** The words of `WinogradWeightPlan` in kernels/winograd-weight-tiles.ts and those of `WinogradTiles` for dy, for each region. */
function wordsOf(layout: Conv2dLayout, cut: ReturnType<typeof cutOf>) {
  const { scratch, regions } = cut;
  const x = { ...layout, channels: layout.C, isGradient: false };
  const dySizes = { channels: layout.K, H: layout.outH, W: layout.outW, isGradient: true };
  const dy = { ...dySizes, paddingH: 0, paddingW: 0 };
  const at = (elementFloats: number) => ({ elementFloats, places: scratch.places });
  const plan = regions.flatMap((region) => [
    ...tilesPlan(x, cut, region, at(cut.inputFloats)),
    ...[regions.length, cut.tileBlocks, layout.K, cut.parts],
    ...[cut.channelsPerBlock, cut.channelBlocks],
    ...[cut.outPerBlock, cut.outBlocks, cut.outPanels.count, cut.outPanels.sixes],
    ...[cut.gradientFloats, cut.factors, cut.sumFloats, Number(cut.shares)],
    ...[4 * scratch.work, 4 * scratch.inputs, 4 * scratch.gradients, 4 * scratch.sums],
  ]);
  const reading = cut.dyRegions.flatMap((region) =>
    tilesPlan(dy, cut, region, at(cut.gradientFloats)),
  );
  return { plan, reading };
}

/** How the work is cut, by shapes only. */
function cutOf(layout: Conv2dLayout, tile: TileSize) {
  const { N, C, K, outH, outW } = layout;
  const tiling =
    layout.strideH === 2 ? stridedTilingOf(N, outH, outW) : tilingOf(N, outH, outW, tile);
  const { elements, factors, stride } = tiling;
  const channelsPerBlock = roundUp(evenly(C, mostChannels), 8);
  const outPanels = panelsOf(evenly(K, mostOutChannels));
  const outPerBlock = outPanels.rows;
  const [channelBlocks, outBlocks] = [Math.ceil(C / channelsPerBlock), Math.ceil(K / outPerBlock)];
  const { tileBlocks, parts } = partsOf(tiling.panels, enoughUnits / (channelBlocks * outBlocks));
  const most = tiling.regions.map(({ tiles }) => Math.ceil(tiles / tileBlocks));
  const readings = (step: 1 | 2) =>
    tiling.regions.map((region, i) => readingOf(region, step, most[i]));
  const [regions, dyRegions] = [readings(stride), readings(1)];

  const tilesPerBlock = most.reduce((sum, tiles) => sum + tiles, 0);
  const inputFloats = tilesPerBlock * channelsPerBlock + 16;
  const gradientFloats = tilesPerBlock * outPerBlock + 16;
  const sumFloats = factors * channelsPerBlock * outPerBlock;
  const sharedFloats =
    tileBlocks * elements * (channelBlocks * inputFloats + outBlocks * gradientFloats);
  const isMany = channelBlocks * outBlocks >= manySlices;
  const shares = isMany && sharedFloats <= mostShared;
  const places = stripFloatsOf(regions, tiling, 8);
  const work = places + roundUp(tilesPerBlock, 16);
  const inputs = work + workFloats;
  const gradients = inputs + elements * inputFloats;
  const sums = gradients + elements * gradientFloats;
  const end = roundUp(sums + (parts === 1 ? sumFloats : 0), 16);
  return {
    ...{ tile, stride, elements, factors, regions, dyRegions, tileBlocks, parts },
    ...{ channelsPerBlock, channelBlocks, outPerBlock, outBlocks, outPanels },
    ...{ inputFloats, gradientFloats, sumFloats },
    ...{ shares, repeats: isMany && !shares, sharedFloats: shares ? sharedFloats : 0 },
    scratch: { places, work, inputs, gradients, sums, end },
  };
}

/** Blocks of tiles, and the parts that take as many of them each. */
function partsOf(panels: number, wanted: number) {
  const most = Math.ceil(wanted);
  const fewest = Math.ceil(panels / mostPanels);
  const tileBlocks = fewest < most / 2 ? fewest : Math.max(1, Math.round(fewest / most)) * most;
  return { tileBlocks, parts: Math.min(tileBlocks, most) };
}

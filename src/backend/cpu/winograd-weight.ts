import type { Conv2dLayout } from "../backend.ts";
import type { GradWeightOperands } from "./conv-weight.ts";
import { evenly, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { layoutKey, memoize } from "./memoize.ts";
import { panelsOf } from "./panels.ts";
import { apart, tilingFor, workFloats } from "./winograd.ts";
import type { WinogradChoice } from "./winograd-choice.ts";
import { readingOf, type Source, stripFloatsOf, type Tiling, tilesPlan } from "./winograd-plan.ts";

/** Pixels of dy, in all images, among which the rounding of the transforms does not stand out. */
const fewestPixels = 100;
/** About so many panels of tiles a thread transforms at a time: sums of so many products make up for adding them to the sums before. */
const mostPanels = 16;
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
  return hasPixels && (layout.strideH === 1 || !planFor(layout, "4x4").cut.repeats);
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
  const { cut, words, planWords } = planFor(layout, machine.winograd);
  const slices = cut.channelBlocks * cut.outBlocks;
  const partFloats = cut.parts === 1 ? 0 : cut.parts * slices * cut.sumFloats;
  const dWeight = addressOf(operands.dWeight);
  machine.temporary(4 * (cut.sharedFloats + partFloats), (shared) => {
    withJob(machine, words, (plan) => {
      const { end } = cut.scratch;
      const own = [machine.scratch(4 * end), 4 * end];
      const reading = plan + 4 * planWords;
      const factors = [addressOf(operands.dy), addressOf(operands.x)];
      const given = [plan, reading, ...(cut.swaps ? factors.reverse() : factors), shared];
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
  (layout: Conv2dLayout, choice: WinogradChoice): number[] => {
    return [...layoutKey(layout), Number(choice === "4x4")];
  },
  (layout, choice) => {
    const tiling = tilingFor({ winograd: choice }, layout, layout.outH, layout.outW);
    const cut = cutOf(layout, tiling);
    const { plan, reading } = wordsOf(layout, cut);
    return { cut, words: [...plan, ...reading], planWords: plan.length };
  },
);

/** The words of `WinogradWeightPlan` in kernels/winograd-weight-tiles.ts and those of `WinogradTiles` for the rows, for each region. */
function wordsOf(layout: Conv2dLayout, cut: ReturnType<typeof cutOf>) {
  const { scratch } = cut;
  const at = (elementFloats: number) => ({ elementFloats, places: 0 });
  const taps = layout.kernelH * layout.kernelW;
  const steps = [taps, taps * layout.C];
  const plan = cut.right.regions.flatMap((region) => [
    ...tilesPlan(cut.right.source, cut, region, at(cut.rightFloats)),
    ...[cut.right.regions.length, cut.tileBlocks, cut.left.source.channels, cut.parts],
    ...[cut.channelsPerBlock, cut.channelBlocks],
    ...[cut.outPerBlock, cut.outBlocks, cut.outPanels.count, cut.outPanels.sixes],
    ...[cut.leftFloats, cut.factors, cut.sumFloats, Number(cut.shares)],
    ...(cut.swaps ? steps.reverse() : steps),
    ...[4 * scratch.work, 4 * scratch.right, 4 * scratch.left, 4 * scratch.sums],
  ]);
  const reading = cut.left.regions.flatMap((region) =>
    tilesPlan(cut.left.source, cut, region, at(cut.leftFloats)),
  );
  return { plan, reading };
}

/** How the work is cut, by shapes only. */
function cutOf(layout: Conv2dLayout, tiling: Tiling) {
  const { tile, taps, stride, elements, factors } = tiling;
  // The channels of dy are the rows of the products, unless x has few: 12 are two panels of six, but no multiple of eight.
  const swaps = taps === 4;
  const [columns, rows] = swaps ? [layout.K, layout.C] : [layout.C, layout.K];
  const channelsPerBlock = roundUp(evenly(columns, mostChannels), 8);
  const outPanels = panelsOf(evenly(rows, mostOutChannels));
  const outPerBlock = outPanels.rows;
  const channelBlocks = Math.ceil(columns / channelsPerBlock);
  const outBlocks = Math.ceil(rows / outPerBlock);
  const { tileBlocks, parts } = partsOf(tiling.panels, enoughUnits / (channelBlocks * outBlocks));
  const most = tiling.regions.map(({ tiles }) => Math.ceil(tiles / tileBlocks));
  const read = (source: Source, step: 1 | 2) => {
    // One row of tiles at a time.
    const regions = tiling.regions.map((region, i) => {
      return { ...readingOf(region, { taps, step, most: most[i] }), strips: 1 };
    });
    return { source, regions };
  };
  const x = read({ ...layout, channels: layout.C, isGradient: false }, stride);
  const dy = read(gradientOf(layout), 1);

  const tilesPerBlock = most.reduce((sum, tiles) => sum + tiles, 0);
  const rightFloats = tilesPerBlock * channelsPerBlock + apart;
  const leftFloats = tilesPerBlock * outPerBlock + apart;
  const sumFloats = factors * channelsPerBlock * outPerBlock;
  const sharedFloats =
    tileBlocks * elements * (channelBlocks * rightFloats + outBlocks * leftFloats);
  const isMany = channelBlocks * outBlocks >= manySlices;
  const shares = isMany && sharedFloats <= mostShared;
  const work = Math.max(stripFloatsOf(x.regions, tiling, 8), stripFloatsOf(dy.regions, tiling, 8));
  const right = work + workFloats;
  const left = right + elements * rightFloats;
  const sums = left + elements * leftFloats;
  const end = roundUp(sums + (parts === 1 ? sumFloats : 0), 16);
  return {
    ...{ tile, taps, stride, elements, factors, tileBlocks, parts, swaps },
    ...(swaps ? { right: dy, left: x } : { right: x, left: dy }),
    ...{ channelsPerBlock, channelBlocks, outPerBlock, outBlocks, outPanels },
    ...{ rightFloats, leftFloats, sumFloats },
    ...{ shares, repeats: isMany && !shares, sharedFloats: shares ? sharedFloats : 0 },
    scratch: { work, right, left, sums, end },
  };
}

function gradientOf({ K, outH, outW }: Conv2dLayout): Source {
  return { channels: K, H: outH, W: outW, paddingH: 0, paddingW: 0, isGradient: true };
}

/** Blocks of tiles, and the parts that take as many of them each. */
function partsOf(panels: number, wanted: number) {
  const most = Math.ceil(wanted);
  const fewest = Math.ceil(panels / mostPanels);
  const tileBlocks = fewest < most / 2 ? fewest : Math.max(1, Math.round(fewest / most)) * most;
  return { tileBlocks, parts: Math.min(tileBlocks, most) };
}

import type { Conv2dLayout, Operand } from "../backend.ts";
import {
  forwardAxis,
  type Image,
  imageOf,
  imagePlan,
  type Passes,
  passesOf,
  type Reading,
  sizesOf,
  tapOffsets,
} from "./conv-plan.ts";
import { cutEvenly, evenly, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { layoutKey, memoize } from "./memoize.ts";
import { panelsOf } from "./panels.ts";

/** Pixels of a pass: enough to make its end cheap, few enough for eight taps of them to stay in a first-level cache. */
const enoughPixels = 512;
/** Output channels that share what is packed of x, and taps that share what is packed of dy. */
const mostOutPerBlock = 256;
const enoughTaps = 512;
/** What a thread copies of x at a time, in floats; with all that is packed it should stay in a second-level cache. */
const mostImageFloats = 131072;
/** The passes are split into parts, each with sums of its own, to give this many units of work. */
const enoughUnits = 16;
/** Multiply-adds that are worth a chunk of their own. */
const chunkWork = 1 << 18;
/** Of the description of a pass and of a tile of the product, in bytes. */
const passBytes = 64;
const tileBytes = 192;

export interface GradWeightOperands {
  readonly dy: Operand;
  readonly x: Operand;
  readonly dWeight: Operand;
}

/** dWeight = sum over images and pixels of dy times what the tap meets. */
export function convGradWeight(
  machine: Machine,
  operands: GradWeightOperands,
  layout: Conv2dLayout,
): void {
  const cut = cutFor(layout);
  const weightFloats = operands.dWeight.length;
  const partFloats = cut.parts > 1 ? cut.parts * weightFloats : 0;
  machine.temporary(4 * (partFloats + cut.offsets.length + enoughPixels), (parts) => {
    const offsets = parts + 4 * partFloats;
    const pixelOffsets = offsets + 4 * cut.offsets.length;
    machine.memory.i32.set(cut.offsets, offsets / 4);
    machine.memory.i32.set(panelOffsets, pixelOffsets / 4);
    withJob(machine, wordsOf(cut, { offsets, pixelOffsets, weightFloats }), (plan) => {
      const dWeight = addressOf(operands.dWeight);
      const scratchBytes = passBytes + cut.endOfScratch;
      machine.run("convGradWeight", Math.ceil(cut.units / cut.unitsPerChunk), [
        ...[plan, addressOf(operands.dy), addressOf(operands.x)],
        ...[cut.parts > 1 ? parts : dWeight, machine.scratch(scratchBytes), scratchBytes],
      ]);
      if (cut.parts === 1) return;
      const sums = cutEvenly(weightFloats);
      const args = [parts, cut.parts, weightFloats, dWeight, sums.perChunk];
      machine.run("matmulSumSplits", sums.chunks, args);
    });
  });
}

/** Panels of taps: 32 bytes from one pixel to the next. */
const panelOffsets = Int32Array.from({ length: enoughPixels }, (_, pixel) => 32 * pixel);

/** The words of `WeightPlan` in kernels/conv-weight.ts. */
function wordsOf(
  cut: Cut,
  at: { readonly offsets: number; readonly pixelOffsets: number; readonly weightFloats: number },
): number[] {
  const { layout, groups, passes } = cut;
  return [
    ...imagePlan(cut.reading, cut.image),
    ...[layout.N, layout.C / groups, layout.K / groups, layout.outH, layout.outW],
    ...[layout.kernelH * layout.kernelW, at.offsets, cut.isInPlace ? 1 : 0],
    ...[passes.rows, passes.columns, passes.images],
    ...[passes.rowPasses, passes.columnPasses, passes.count, cut.passesPerPart],
    ...[cut.inBlocks, cut.outPerBlock, cut.outBlocks, cut.panels.sixes, cut.panels.count],
    ...[at.pixelOffsets, at.weightFloats, cut.gradientsAt, cut.panelAt, cut.tileAt],
    ...[cut.units, cut.unitsPerChunk],
  ];
}

type Cut = ReturnType<typeof cutOf>;

const cutFor = memoize(layoutKey, cutOf);

/** How the work is cut, by shapes only. */
function cutOf(given: Conv2dLayout) {
  const isInPlace = meetsAllInPlace(given);
  const layout = isInPlace ? inOneRow(given) : given;
  const { C, K, groups } = layout;
  const grid = { images: layout.N, rows: layout.outH, columns: layout.outW };
  const passes = passesOf(grid, enoughPixels);
  const [vertical, row] = sizesOf(layout).map(forwardAxis);
  const axes = { groups, vertical, horizontal: { ...row, outSize: passes.columns } };
  const tapsPerChannel = layout.kernelH * layout.kernelW;
  const channelFloats = passes.images * imageOf({ ...axes, channels: 1 }, passes.rows).floats;
  const fittingChannels = isInPlace ? C : Math.floor(mostImageFloats / channelFloats);
  const enoughChannels = Math.floor(enoughTaps / tapsPerChannel);
  const channels = evenly(C / groups, Math.min(fittingChannels, enoughChannels));
  const inBlocks = Math.ceil(C / groups / channels);
  const outPerBlock = evenly(K / groups, mostOutPerBlock);
  const outBlocks = Math.ceil(K / groups / outPerBlock);

  const reading = { ...axes, channels };
  const image = imageOf(reading, passes.rows);
  const slices = groups * outBlocks * inBlocks;
  const passesPerPart = Math.ceil(passes.count / Math.ceil(enoughUnits / slices));
  const parts = Math.ceil(passes.count / passesPerPart);
  const pixels = passes.images * passes.rows * passes.columns;
  const unitWork = passesPerPart * pixels * outPerBlock * channels * tapsPerChannel;
  return {
    ...{ layout, groups, isInPlace, passes, reading, image, inBlocks, outPerBlock, outBlocks },
    ...{ passesPerPart, parts, units: parts * slices },
    ...{ unitsPerChunk: Math.max(1, Math.floor(chunkWork / unitWork)) },
    ...{ offsets: tapsInEights(reading, image, isInPlace), panels: panelsOf(outPerBlock) },
    ...scratchOf(passes, { image, isInPlace, outPerBlock }),
  };
}

/** Whether the one tap of each channel meets its pixels in order. */
function meetsAllInPlace(layout: Conv2dLayout): boolean {
  const { kernelH, kernelW, strideH, strideW, paddingH, paddingW } = layout;
  const isPlain = [kernelH, kernelW, strideH, strideW].every((n) => n === 1);
  const isWhole = layout.H === layout.outH && layout.W === layout.outW;
  return isPlain && paddingH + paddingW === 0 && isWhole && layout.K > layout.groups;
}

/** The same images with each plane as one row. */
function inOneRow(layout: Conv2dLayout): Conv2dLayout {
  const length = layout.H * layout.W;
  return { ...layout, H: 1, W: length, outH: 1, outW: length };
}

/** Where the parts of a thread's scratch begin, in bytes behind the description of the pass. */
function scratchOf(
  { rows, columns, images }: Passes,
  of: { readonly image: Image; readonly isInPlace: boolean; readonly outPerBlock: number },
) {
  const pixels = images * rows * columns;
  const gradientsAt = of.isInPlace ? 0 : 4 * images * of.image.floats;
  const isOne = of.outPerBlock === 1;
  const inRows = images * roundUp(rows * of.image.pitch, 4);
  const inPanels = panelsOf(of.outPerBlock).rows * (pixels + 1);
  const panelAt = gradientsAt + 4 * roundUp(isOne ? inRows : inPanels, 16);
  const tileAt = panelAt + 32 * pixels;
  return { gradientsAt, panelAt, tileAt, endOfScratch: roundUp(tileAt + tileBytes, 64) };
}

/** Where taps lie, and the last one seven times more, so that eight can be read from any on. */
function tapsInEights(reading: Reading, image: Image, isInPlace: boolean): Int32Array {
  const plane = reading.vertical.size * reading.horizontal.size;
  const offsets = isInPlace
    ? Int32Array.from({ length: reading.channels }, (_, c) => 4 * c * plane)
    : tapOffsets(reading, image);
  const padded = new Int32Array(offsets.length + 7).fill(offsets[offsets.length - 1]);
  padded.set(offsets);
  return padded;
}

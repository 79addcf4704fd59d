import type { Conv2dLayout, Operand } from "../backend.ts";
import {
  forwardAxis,
  type Image,
  imageOf,
  imagePlan,
  type Reading,
  sizesOf,
  tapOffsets,
} from "./conv-plan.ts";
import { evenly, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

/** What a thread keeps of x and dy in scratch at a time, in floats. */
const scratchFloats = 131072;
/** Pixels of a dot product: enough to make its end cheap, few enough for four channels of dy to stay in a first-level cache. */
const enoughPixels = 512;
/** Output channels that share a copy of x. */
const mostOutPerBlock = 128;
/** The images are split into parts, each with sums of its own, to give this many units of work ... */
const enoughUnits = 32;
/** ... as far as the sums do not need more floats than this. */
const mostSums = 1 << 22;
/** Multiply-adds that are worth a chunk of their own. */
const chunkWork = 1 << 18;

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
  const cut = cutOf(layout);
  const { reading, image, offsets } = cut;
  const slices = layout.groups * cut.outBlocks * cut.inBlocks;
  const units = cut.parts * slices;
  const sumsBytes = 4 * units * offsets.length * cut.outPerBlock;
  machine.temporary(sumsBytes + 4 * offsets.length, (sums) => {
    machine.memory.i32.set(offsets, (sums + sumsBytes) / 4);
    // The words of `WeightPlan` in kernels/conv-weight.ts.
    const words = [
      ...imagePlan(reading, image),
      ...[layout.N, layout.C / layout.groups, layout.K / layout.groups, layout.outH, layout.outW],
      ...[offsets.length, layout.kernelH * layout.kernelW, sums + sumsBytes],
      ...[cut.rowsPerPass, cut.columnsPerPass, cut.imagesPerPass, cut.imagesPerPart],
      ...[cut.inBlocks, cut.outPerBlock, cut.outBlocks, units, cut.unitsPerChunk, cut.outPlane],
    ];
    withJob(machine, words, (plan) => {
      const scratchBytes = 4 * cut.imagesPerPass * (image.floats + cut.outPerBlock * cut.outPlane);
      machine.run("convGradWeight", Math.ceil(units / cut.unitsPerChunk), [
        ...[plan, addressOf(operands.dy), addressOf(operands.x), sums],
        ...[machine.scratch(scratchBytes), scratchBytes],
      ]);
      machine.run("convSumWeights", slices * Math.ceil(cut.outPerBlock / 4), [
        ...[plan, sums, cut.parts, addressOf(operands.dWeight)],
      ]);
    });
  });
}

interface Cut {
  readonly reading: Reading;
  readonly image: Image;
  /** Of the taps of a block of input channels; a multiple of 4, for which the last one is repeated. */
  readonly offsets: Int32Array;
  readonly rowsPerPass: number;
  readonly columnsPerPass: number;
  readonly imagesPerPass: number;
  readonly imagesPerPart: number;
  readonly parts: number;
  readonly inBlocks: number;
  readonly outPerBlock: number;
  readonly outBlocks: number;
  /** One channel of dy in scratch. */
  readonly outPlane: number;
  readonly unitsPerChunk: number;
}

/** How the work is cut, by shapes only. */
function cutOf(layout: Conv2dLayout): Cut {
  const { N, C, K, groups, outH, outW, kernelH, kernelW } = layout;
  const [vertical, wholeRow] = sizesOf(layout).map(forwardAxis);
  // Sequences have long rows.
  const columnsPerPass = outW > 2 * enoughPixels ? evenly(outW, enoughPixels) : outW;
  const horizontal = { ...wholeRow, outSize: columnsPerPass };
  const oneChannel = { groups, channels: 1, vertical, horizontal };
  const { pitch } = imageOf(oneChannel, 1);
  const rowsPerPass = evenly(outH, Math.ceil(enoughPixels / pitch));
  const outPlane = roundUp(rowsPerPass * pitch, 4);
  const imagesPerPass =
    rowsPerPass < outH || columnsPerPass < outW
      ? 1
      : Math.ceil(Math.min(enoughPixels / outPlane, Math.max(N, 1)));

  const outPerBlock = K === groups ? 1 : roundUp(evenly(K / groups, mostOutPerBlock), 4);
  const outBlocks = Math.ceil(K / groups / outPerBlock);
  const room = scratchFloats - imagesPerPass * outPerBlock * outPlane;
  const channelFloats = imagesPerPass * imageOf(oneChannel, rowsPerPass).floats;
  const channels = evenly(C / groups, Math.floor(room / channelFloats));
  const inBlocks = Math.ceil(C / groups / channels);

  const slices = groups * outBlocks * inBlocks;
  const sliceFloats = channels * kernelH * kernelW * outPerBlock;
  const partsWanted = Math.min(enoughUnits, mostSums / sliceFloats) / slices;
  const imagesPerPart = Math.max(imagesPerPass, Math.ceil(N / Math.max(1, partsWanted)));

  const reading = { groups, channels, vertical, horizontal };
  const image = imageOf(reading, rowsPerPass);
  const unitWork = imagesPerPart * outH * outW * sliceFloats;
  return {
    reading,
    image,
    offsets: inFours(tapOffsets(reading, image)),
    rowsPerPass,
    columnsPerPass,
    imagesPerPass,
    imagesPerPart,
    parts: Math.ceil(N / imagesPerPart),
    inBlocks,
    outPerBlock,
    outBlocks,
    outPlane,
    unitsPerChunk: Math.max(1, Math.floor(chunkWork / unitWork)),
  };
}

function inFours(offsets: Int32Array): Int32Array {
  const padded = new Int32Array(roundUp(offsets.length, 4)).fill(offsets[offsets.length - 1]);
  padded.set(offsets);
  return padded;
}

import type { Conv2dLayout, Operand } from "../backend.ts";
import {
  forwardAxis,
  type Image,
  imageOf,
  imagePlan,
  type Reading,
  roundUp,
  sizesOf,
  tapOffsets,
} from "./conv-plan.ts";
import { addressOf, type Machine } from "./machine.ts";

/** What a thread keeps of x and dy in scratch at a time, in floats. */
const scratchFloats = 65536;
/** Pixels of a dot product: enough to make its end cheap, few enough for four channels of dy to stay in a first-level cache. */
const enoughPixels = 512;
/** Output channels that share a copy of x. */
const mostOutPerBlock = 64;
/** The images are split into parts, each with sums of its own, to give this many units of work ... */
const enoughUnits = 32;
/** ... as far as the sums do not need more floats than this. */
const mostSums = 1 << 22;
/** Multiply-adds that are worth a chunk of their own. */
const chunkWork = 1 << 18;
/** Room for the words of the kernel's WeightPlan. */
const planBytes = 192;

interface GradWeightOperands {
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
  const kernel = layout.kernelH * layout.kernelW;
  const tableBytes = roundUp(planBytes + 4 * offsets.length, 64);
  const slices = layout.groups * cut.outBlocks * cut.inBlocks;
  const sumsBytes = 4 * cut.parts * slices * offsets.length * cut.outPerBlock;
  machine.temporary(tableBytes + sumsBytes, (plan) => {
    const sums = plan + tableBytes;
    const words = [
      ...imagePlan(reading, image),
      ...[layout.N, layout.C / layout.groups, layout.K / layout.groups, layout.outH, layout.outW],
      ...[offsets.length, kernel, plan + planBytes],
      ...[cut.rowsPerPass, cut.imagesPerPass, cut.imagesPerPart],
      ...[cut.inBlocks, cut.outPerBlock, cut.outBlocks],
      ...[cut.parts * slices, cut.unitsPerChunk, cut.outPlane],
    ];
    machine.memory.i32.set(words, plan / 4);
    machine.memory.i32.set(offsets, (plan + planBytes) / 4);
    const scratchBytes = 4 * cut.imagesPerPass * (image.floats + cut.outPerBlock * cut.outPlane);
    machine.run("convGradWeight", Math.ceil((cut.parts * slices) / cut.unitsPerChunk), [
      ...[plan, addressOf(operands.dy), addressOf(operands.x), sums],
      ...[machine.scratch(scratchBytes), scratchBytes],
    ]);
    machine.run("convSumWeights", slices * (cut.outPerBlock / 4), [
      ...[plan, sums, cut.parts, addressOf(operands.dWeight)],
    ]);
  });
}

interface Cut {
  readonly reading: Reading;
  readonly image: Image;
  /** Of the taps of a block of input channels; an even number, the last one twice if need be. */
  readonly offsets: Int32Array;
  readonly rowsPerPass: number;
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
  const [vertical, horizontal] = sizesOf(layout).map(forwardAxis);
  const oneChannel = { groups, channels: 1, vertical, horizontal };
  const { pitch } = imageOf(oneChannel, 1);
  const rowsPerPass = evenly(outH, Math.ceil(enoughPixels / pitch));
  const outPlane = roundUp(rowsPerPass * pitch, 4);
  const imagesWanted = rowsPerPass < outH ? 1 : Math.ceil(enoughPixels / outPlane);

  const outPerBlock = roundUp(evenly(K / groups, mostOutPerBlock), 4);
  const outBlocks = Math.ceil(K / groups / outPerBlock);
  const room = scratchFloats - imagesWanted * outPerBlock * outPlane;
  const channelFloats = imagesWanted * imageOf(oneChannel, rowsPerPass).floats;
  const channels = evenly(C / groups, Math.floor(room / channelFloats));
  const inBlocks = Math.ceil(C / groups / channels);

  const slices = groups * outBlocks * inBlocks;
  const sliceFloats = channels * kernelH * kernelW * outPerBlock;
  const partsWanted = Math.min(enoughUnits, mostSums / sliceFloats) / slices;
  const imagesPerPart = Math.max(imagesWanted, Math.ceil(N / Math.max(1, partsWanted)));

  const reading = { groups, channels, vertical, horizontal };
  const image = imageOf(reading, rowsPerPass);
  const unitWork = imagesPerPart * outH * outW * sliceFloats;
  return {
    reading,
    image,
    offsets: evenOffsets(tapOffsets(reading, image)),
    rowsPerPass,
    imagesPerPass: Math.min(imagesWanted, imagesPerPart),
    imagesPerPart,
    parts: Math.ceil(N / imagesPerPart),
    inBlocks,
    outPerBlock,
    outBlocks,
    outPlane,
    unitsPerChunk: Math.max(1, Math.floor(chunkWork / unitWork)),
  };
}

function evenOffsets(offsets: Int32Array): Int32Array {
  const even = new Int32Array(roundUp(offsets.length, 2));
  even.set(offsets);
  even[even.length - 1] = offsets[offsets.length - 1];
  return even;
}

/** The size of equal parts of `total`, at most `most` if that is at least 1. */
function evenly(total: number, most: number): number {
  return Math.ceil(total / Math.ceil(total / Math.max(1, most)));
}

import { dot1x4, dot4x2 } from "./conv-dots";
import { copyImage, ImagePlan } from "./conv-image";
import { bytes, copyEvery } from "./floats";

/**
 * One run of `convGradWeight`, written by the host (../conv-weight.ts) as 32-bit words in the order of the fields. Sizes are
 * in floats.
 *
 * A unit of work is one part of the images, one group, one block of its output channels and one of its input channels. It
 * gives one slice (taps of the block, outPerBlock) of sums; slices are ordered [part][group][output block][input block].
 */
class WeightPlan extends ImagePlan {
  images: i32;
  /** Of one group; `channels` is a block of them. */
  inChannels: i32;
  outChannels: i32;
  outRows: i32;
  outColumns: i32;
  /** Of a block of input channels, rounded up to a multiple of 4. */
  taps: i32;
  tapsPerChannel: i32;
  /** (taps) bytes from a pixel of dy to what the tap meets. */
  offsets: usize;
  /** Taken into scratch at a time. */
  rowsPerPass: i32;
  columnsPerPass: i32;
  imagesPerPass: i32;
  imagesPerPart: i32;
  inBlocks: i32;
  /** A multiple of 4, or 1. */
  outPerBlock: i32;
  outBlocks: i32;
  units: i32;
  unitsPerChunk: i32;
  /** One channel of dy in scratch, a multiple of 4. */
  outPlane: i32;
}

/**
 * The gradient of the weight, as sums for `convSumWeights` to gather: for each output channel and tap a dot product of dy and
 * what the tap meets, over pixels numbered as in conv-image.ts. Places of dy that are no pixels are zero.
 *
 * Numerics: float32 sums of four lanes over the pixels of a pass, passes added in float32, parts in double precision.
 */
export function convGradWeight(
  plan: usize,
  dy: usize,
  x: usize,
  sums: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WeightPlan>(plan);
  const sliceFloats = conv.taps * conv.outPerBlock;
  const images = scratch + <usize>thread * <usize>scratchBytes;
  const first = chunk * conv.unitsPerChunk;
  const end = min(first + conv.unitsPerChunk, conv.units);
  for (let unit = first; unit < end; unit++) {
    const slice = sums + bytes(unit * sliceFloats);
    memory.fill(slice, 0, bytes(sliceFloats));
    sumUnit(conv, dy, x, slice, images, unit);
  }
}

function sumUnit(
  plan: WeightPlan,
  dy: usize,
  x: usize,
  slice: usize,
  images: usize,
  unit: i32,
): void {
  const firstIn = (unit % plan.inBlocks) * plan.channels;
  const firstOut = ((unit / plan.inBlocks) % plan.outBlocks) * plan.outPerBlock;
  const partAndGroup = unit / (plan.inBlocks * plan.outBlocks);
  const firstImage = (partAndGroup / plan.groups) * plan.imagesPerPart;
  const end = min(firstImage + plan.imagesPerPart, plan.images);
  const gradients = images + bytes(plan.imagesPerPass * plan.imageFloats);
  const ins = min(plan.channels, plan.inChannels - firstIn);
  for (let n = firstImage; n < end; n += plan.imagesPerPass) {
    const count = min(plan.imagesPerPass, end - n);
    const columnPasses = (plan.outColumns + plan.columnsPerPass - 1) / plan.columnsPerPass;
    const rowPasses = (plan.outRows + plan.rowsPerPass - 1) / plan.rowsPerPass;
    for (let pass = 0; pass < rowPasses * columnPasses; pass++) {
      const row = (pass / columnPasses) * plan.rowsPerPass;
      const column = (pass % columnPasses) * plan.columnsPerPass;
      for (let i = 0; i < count; i++) {
        const imageAndGroup = (n + i) * plan.groups + (partAndGroup % plan.groups);
        const channel = imageAndGroup * plan.inChannels + firstIn;
        const image = images + bytes(i * plan.imageFloats);
        copyImage(plan, x + bytes(channel * plan.H * plan.W), image, ins, row, column);
        const gradient = gradients + bytes(i * plan.outPerBlock * plan.outPlane);
        copyGradient(plan, dy, gradient, imageAndGroup, firstOut, row, column);
      }
      sumPass(plan, gradients, images, slice, count);
    }
  }
}

/** Copies rows of dy into rows of `pitch` floats, with zeros between them and for the channels that complete a block. */
function copyGradient(
  plan: WeightPlan,
  dy: usize,
  gradient: usize,
  imageAndGroup: i32,
  firstOut: i32,
  firstRow: i32,
  firstColumn: i32,
): void {
  memory.fill(gradient, 0, bytes(plan.outPerBlock * plan.outPlane));
  const rows = min(plan.rowsPerPass, plan.outRows - firstRow);
  const columns = min(plan.columnsPerPass, plan.outColumns - firstColumn);
  const end = min(firstOut + plan.outPerBlock, plan.outChannels);
  for (let k = firstOut; k < end; k++, gradient += bytes(plan.outPlane)) {
    const channel = imageAndGroup * plan.outChannels + k;
    let from = dy + bytes((channel * plan.outRows + firstRow) * plan.outColumns + firstColumn);
    let to = gradient;
    for (let row = 0; row < rows; row++) {
      copyEvery(from, 1, to, columns);
      from += bytes(plan.outColumns);
      to += bytes(plan.pitch);
    }
  }
}

/** Adds the products of what is in scratch to a slice: the channels of a tile stay in the first-level cache for all taps. */
function sumPass(plan: WeightPlan, dy: usize, images: usize, slice: usize, count: i32): void {
  const plane = bytes(plan.outPlane);
  const dyStep = bytes(plan.outPerBlock * plan.outPlane);
  const xStep = bytes(plan.imageFloats);
  if (plan.outPerBlock === 1) {
    for (let t = 0; t < plan.taps; t += 4) {
      const offsets = plan.offsets + bytes(t);
      dot1x4(dy, images, offsets, plane, count, dyStep, xStep, slice + bytes(t));
    }
    return;
  }
  const next = bytes(plan.outPerBlock);
  for (let k = 0; k < plan.outPerBlock; k += 4, dy += 4 * plane) {
    let sums = slice + bytes(k);
    for (let t = 0; t < plan.taps; t += 2, sums += 2 * next) {
      const offsets = plan.offsets + bytes(t);
      dot4x2(dy, images, offsets, plane, plane, count, dyStep, xStep, sums, next);
    }
  }
}

/**
 * dWeight from the slices of `convGradWeight`: the sums of the parts, in order. A chunk is four output channels of a slice.
 */
export function convSumWeights(
  plan: usize,
  sums: usize,
  parts: i32,
  dWeight: usize,
  chunk: i32,
  _thread: i32,
): void {
  const conv = changetype<WeightPlan>(plan);
  const fours = (conv.outPerBlock + 3) >> 2;
  const slice = chunk / fours;
  const firstInSlice = (chunk % fours) << 2;
  const sliceFloats = conv.taps * conv.outPerBlock;
  const partBytes = bytes(conv.groups * conv.outBlocks * conv.inBlocks * sliceFloats);

  const firstIn = (slice % conv.inBlocks) * conv.channels;
  const groupAndBlock = slice / conv.inBlocks;
  const k = (groupAndBlock % conv.outBlocks) * conv.outPerBlock + firstInSlice;
  const group = groupAndBlock / conv.outBlocks;
  const kernel = conv.tapsPerChannel;
  const taps = min(conv.channels, conv.inChannels - firstIn) * kernel;
  const end = min(k + 4, conv.outChannels);
  for (let i = k; i < end; i++) {
    let from = sums + bytes(slice * sliceFloats + firstInSlice + i - k);
    const row = (group * conv.outChannels + i) * conv.inChannels + firstIn;
    let to = dWeight + bytes(row * kernel);
    for (let t = 0; t < taps; t++, to += 4) {
      let sum: f64 = 0;
      for (let part = 0, at = from; part < parts; part++, at += partBytes) sum += load<f32>(at);
      store<f32>(to, <f32>sum);
      from += bytes(conv.outPerBlock);
    }
  }
}

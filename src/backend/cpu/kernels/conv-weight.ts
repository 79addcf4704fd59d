import { copyImage, ImagePlan } from "./conv-image.ts";
import { bytes, copyEvery } from "./floats.ts";
import { madd } from "./simd.ts";

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
  /** Of a block of input channels, one more where that makes an even number. */
  taps: i32;
  tapsPerChannel: i32;
  /** (taps) bytes from a pixel of dy to what the tap meets. */
  offsets: usize;
  /** Taken into scratch at a time. */
  rowsPerPass: i32;
  imagesPerPass: i32;
  imagesPerPart: i32;
  inBlocks: i32;
  /** A multiple of 4. */
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
    for (let row = 0; row < plan.outRows; row += plan.rowsPerPass) {
      for (let i = 0; i < count; i++) {
        const imageAndGroup = (n + i) * plan.groups + (partAndGroup % plan.groups);
        const channel = imageAndGroup * plan.inChannels + firstIn;
        const image = images + bytes(i * plan.imageFloats);
        copyImage(plan, x + bytes(channel * plan.H * plan.W), image, ins, row);
        const gradient = gradients + bytes(i * plan.outPerBlock * plan.outPlane);
        copyGradient(plan, dy, gradient, imageAndGroup, firstOut, row);
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
): void {
  memory.fill(gradient, 0, bytes(plan.outPerBlock * plan.outPlane));
  const rows = min(plan.rowsPerPass, plan.outRows - firstRow);
  const end = min(firstOut + plan.outPerBlock, plan.outChannels);
  for (let k = firstOut; k < end; k++, gradient += bytes(plan.outPlane)) {
    const channel = imageAndGroup * plan.outChannels + k;
    let from = dy + bytes((channel * plan.outRows + firstRow) * plan.outColumns);
    let to = gradient;
    for (let row = 0; row < rows; row++) {
      copyEvery(from, 1, to, plan.outColumns);
      from += bytes(plan.outColumns);
      to += bytes(plan.pitch);
    }
  }
}

/** Adds the products of what is in scratch to a slice: four channels at a time stay in the first-level cache. */
function sumPass(
  plan: WeightPlan,
  gradients: usize,
  images: usize,
  slice: usize,
  count: i32,
): void {
  for (let k = 0; k < plan.outPerBlock; k += 4) {
    const dy = gradients + bytes(k * plan.outPlane);
    let sums = slice + bytes(k);
    let offset = plan.offsets;
    for (let t = 0; t < plan.taps; t += 2, offset += 8) {
      const x0 = images + load<usize>(offset);
      const x1 = images + load<usize>(offset, 4);
      tile4x2(plan, dy, x0, x1, count, sums);
      sums += bytes(2 * plan.outPerBlock);
    }
  }
}

/** Four channels by two taps; lanes are pixels until the end. */
function tile4x2(plan: WeightPlan, dy: usize, x0: usize, x1: usize, count: i32, sums: usize): void {
  const next = bytes(plan.outPlane);
  let a0 = f32x4.splat(0);
  let b0 = a0;
  let c0 = a0;
  let d0 = a0;
  let a1 = a0;
  let b1 = a0;
  let c1 = a0;
  let d1 = a0;
  for (let i = 0; i < count; i++) {
    const dyB = dy + next;
    const dyC = dyB + next;
    const dyD = dyC + next;
    for (let p: usize = 0; p < next; p += 16) {
      const v0 = v128.load(x0 + p);
      const v1 = v128.load(x1 + p);
      let g = v128.load(dy + p);
      a0 = madd(g, v0, a0);
      a1 = madd(g, v1, a1);
      g = v128.load(dyB + p);
      b0 = madd(g, v0, b0);
      b1 = madd(g, v1, b1);
      g = v128.load(dyC + p);
      c0 = madd(g, v0, c0);
      c1 = madd(g, v1, c1);
      g = v128.load(dyD + p);
      d0 = madd(g, v0, d0);
      d1 = madd(g, v1, d1);
    }
    dy += bytes(plan.outPerBlock * plan.outPlane);
    x0 += bytes(plan.imageFloats);
    x1 += bytes(plan.imageFloats);
  }
  addTo(sums, sumsOfFour(a0, b0, c0, d0));
  addTo(sums + bytes(plan.outPerBlock), sumsOfFour(a1, b1, c1, d1));
}

function addTo(sums: usize, values: v128): void {
  v128.store(sums, f32x4.add(v128.load(sums), values));
}

/** The sum of each vector's lanes, as one vector. */
function sumsOfFour(a: v128, b: v128, c: v128, d: v128): v128 {
  // [a0 + a2, b0 + b2, a1 + a3, b1 + b3]
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
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
  const fours = conv.outPerBlock >> 2;
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

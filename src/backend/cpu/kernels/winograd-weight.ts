import { dot4x2 } from "./conv-dots";
import { copyImage, ImagePlan } from "./conv-image";
import { bytes } from "./floats";
import { loadPart } from "./simd";
import { transformInput } from "./winograd-input";

/**
 * The gradient of the weight of a 3 x 3 convolution of stride 1, through the same transforms as the convolution itself
 * (winograd.ts): dWeight = G'(sum over tiles of (A dy A') * (B' d B))G, where each of the 4 x 4 elements is a dot product over
 * tiles. One run, written by the host (../winograd-weight.ts) as 32-bit words in the order of the fields. Sizes are in floats.
 *
 * A unit of work is one part of the images, one block of output channels and one of input channels. It gives one slice
 * (4 x 4 elements, input channels, outPerBlock) of sums; slices are ordered [part][output block][input block].
 */
class WinogradWeightPlan extends ImagePlan {
  images: i32;
  inChannels: i32;
  outChannels: i32;
  outH: i32;
  outW: i32;
  /** Tiles of a row, rounded up to a multiple of 4. */
  rowTiles: i32;
  /** Taken into scratch at a time; rows are rows of tiles. */
  rowsPerPass: i32;
  imagesPerPass: i32;
  imagesPerPart: i32;
  inBlocks: i32;
  /** A multiple of 4. */
  outPerBlock: i32;
  outBlocks: i32;
  /** Room for one channel's tiles in scratch; for one of the 4 x 4 elements, of all inputs and of all of dy. */
  passTiles: i32;
  inputFloats: i32;
  gradientFloats: i32;
  sliceFloats: i32;
  /** Bytes from the first input channel in scratch to each, the last one twice if that makes an even number. */
  offsets: usize;
}

/**
 * Sums for `winogradSumWeights` to gather.
 *
 * Numerics: float32 sums of four lanes over the tiles of a pass; passes, then parts added in float32.
 */
export function winogradGradWeight(
  plan: usize,
  dy: usize,
  x: usize,
  sums: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WinogradWeightPlan>(plan);
  const slice = sums + bytes(chunk * conv.sliceFloats);
  const image = scratch + <usize>thread * <usize>scratchBytes;
  const inputs = image + bytes(conv.imageFloats);
  const gradients = inputs + bytes(16 * conv.inputFloats);
  const firstIn = (chunk % conv.inBlocks) * conv.channels;
  const firstOut = ((chunk / conv.inBlocks) % conv.outBlocks) * conv.outPerBlock;
  const firstImage = (chunk / (conv.inBlocks * conv.outBlocks)) * conv.imagesPerPart;
  const end = min(firstImage + conv.imagesPerPart, conv.images);
  const tileRows = (conv.outH + 1) / 2;
  memory.fill(slice, 0, bytes(conv.sliceFloats));
  for (let n = firstImage; n < end; n += conv.imagesPerPass) {
    const count = min(conv.imagesPerPass, end - n);
    for (let row = 0; row < tileRows; row += conv.rowsPerPass) {
      const rows = min(conv.rowsPerPass, tileRows - row);
      const tileBytes = bytes(rows * conv.rowTiles);
      for (let i = 0; i < count; i++) {
        const start = <usize>i * tileBytes;
        transformImage(conv, x, image, n + i, firstIn, row, rows, inputs + start);
        transformGradient(conv, dy, n + i, firstOut, row, rows, gradients + start);
      }
      sumPass(conv, gradients, inputs, slice, <usize>count * tileBytes);
    }
  }
}

/** B' d B of some rows of tiles, for a block of channels of image n. */
function transformImage(
  plan: WinogradWeightPlan,
  x: usize,
  image: usize,
  n: i32,
  firstIn: i32,
  firstRow: i32,
  rows: i32,
  inputs: usize,
): void {
  const channels = min(plan.channels, plan.inChannels - firstIn);
  const from = x + bytes((n * plan.inChannels + firstIn) * plan.H * plan.W);
  copyImage(plan, from, image, channels, firstRow, 0);
  const plane = bytes(plan.planeRows * plan.pitch);
  const next = bytes(plan.inputFloats);
  for (let c = 0; c < channels; c++, image += 4 * plane, inputs += bytes(plan.passTiles)) {
    let to = inputs;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < plan.rowTiles; column += 4, to += 16) {
        transformInput(
          image + bytes(row * plan.pitch + column),
          plane,
          bytes(plan.pitch),
          to,
          next,
        );
      }
    }
  }
}

/** A dy A' of some rows of tiles, for a block of channels of image n; outside dy is zero. */
function transformGradient(
  plan: WinogradWeightPlan,
  dy: usize,
  n: i32,
  firstOut: i32,
  firstRow: i32,
  rows: i32,
  gradients: usize,
): void {
  const next = bytes(plan.gradientFloats);
  const end = min(firstOut + plan.outPerBlock, plan.outChannels);
  for (let k = firstOut; k < end; k++, gradients += bytes(plan.passTiles)) {
    let to = gradients;
    for (let row = firstRow; row < firstRow + rows; row++) {
      const h = 2 * row;
      const upper = dy + bytes(((n * plan.outChannels + k) * plan.outH + h) * plan.outW);
      const hasLower = h + 1 < plan.outH;
      for (let column = 0; column < plan.rowTiles; column += 4, to += 16) {
        const count = plan.outW - 2 * column;
        const at = upper + bytes(2 * column);
        transformTiles(at, count, hasLower ? at + bytes(plan.outW) : 0, to, next);
      }
    }
  }
}

/** Four tiles side by side, of which `count` columns lie inside dy; `lower` is 0 where the second row does not. */
function transformTiles(upper: usize, count: i32, lower: usize, to: usize, next: usize): void {
  const zero = f32x4.splat(0);
  const a = count > 0 ? loadPart(upper, min(4, count), 0) : zero;
  const b = count > 4 ? loadPart(upper + 16, min(4, count - 4), 0) : zero;
  const c = lower !== 0 && count > 0 ? loadPart(lower, min(4, count), 0) : zero;
  const d = lower !== 0 && count > 4 ? loadPart(lower + 16, min(4, count - 4), 0) : zero;
  const p = v128.shuffle<f32>(a, b, 0, 2, 4, 6);
  const q = v128.shuffle<f32>(a, b, 1, 3, 5, 7);
  const r = v128.shuffle<f32>(c, d, 0, 2, 4, 6);
  const s = v128.shuffle<f32>(c, d, 1, 3, 5, 7);
  storeRow(p, q, to, next);
  storeRow(f32x4.add(p, r), f32x4.add(q, s), to + 4 * next, next);
  storeRow(f32x4.sub(p, r), f32x4.sub(q, s), to + 8 * next, next);
  storeRow(f32x4.neg(r), f32x4.neg(s), to + 12 * next, next);
}

/** One row of A dy, times A'. */
function storeRow(left: v128, right: v128, to: usize, next: usize): void {
  v128.store(to, left);
  v128.store(to + next, f32x4.add(left, right));
  v128.store(to + 2 * next, f32x4.sub(left, right));
  v128.store(to + 3 * next, f32x4.neg(right));
}

/** Adds the dot products of what is in scratch to a slice. */
function sumPass(
  plan: WinogradWeightPlan,
  gradients: usize,
  inputs: usize,
  slice: usize,
  length: usize,
): void {
  const plane = bytes(plan.passTiles);
  const next = bytes(plan.outPerBlock);
  const channels = (plan.channels + 1) & ~1;
  for (let element = 0; element < 16; element++) {
    for (let k = 0; k < plan.outPerBlock; k += 4) {
      const dy = gradients + <usize>k * plane;
      let sums = slice + bytes(k);
      for (let c = 0; c < channels; c += 2, sums += 2 * next) {
        dot4x2(dy, inputs, plan.offsets + bytes(c), plane, length, 1, 0, 0, sums, next);
      }
    }
    gradients += bytes(plan.gradientFloats);
    inputs += bytes(plan.inputFloats);
    slice += <usize>channels * next;
  }
}

/** dWeight from the slices of `winogradGradWeight`; a chunk is four output channels of a slice. */
export function winogradSumWeights(
  plan: usize,
  sums: usize,
  parts: i32,
  dWeight: usize,
  chunk: i32,
  _thread: i32,
): void {
  const conv = changetype<WinogradWeightPlan>(plan);
  const fours = conv.outPerBlock >> 2;
  const slice = chunk / fours;
  const firstInSlice = (chunk % fours) << 2;
  const firstIn = (slice % conv.inBlocks) * conv.channels;
  const k = (slice / conv.inBlocks) * conv.outPerBlock + firstInSlice;
  const count = min(4, conv.outChannels - k);
  const ins = min(conv.channels, conv.inChannels - firstIn);
  const elementFloats = ((conv.channels + 1) & ~1) * conv.outPerBlock;
  const partBytes = bytes(conv.outBlocks * conv.inBlocks * conv.sliceFloats);
  const outStride = bytes(9 * conv.inChannels);
  sums += bytes(slice * conv.sliceFloats + firstInSlice);
  for (let c = 0; c < ins; c++) {
    // The other parts are added to the first, whose sums nobody else needs.
    for (let element = 0; element < 16; element++) {
      joinParts(sums + bytes(element * elementFloats), parts, partBytes);
    }
    const kernel = dWeight + bytes((k * conv.inChannels + firstIn + c) * 9);
    transformSums(sums, bytes(elementFloats), kernel, outStride, count);
    sums += bytes(conv.outPerBlock);
  }
}

function joinParts(sums: usize, parts: i32, partBytes: usize): void {
  let sum = v128.load(sums);
  for (let part = 1; part < parts; part++) {
    sum = f32x4.add(sum, v128.load(sums + <usize>part * partBytes));
  }
  v128.store(sums, sum);
}

/** G' m G of four output channels side by side, to the kernels that lie outStride apart. */
function transformSums(m: usize, next: usize, kernel: usize, outStride: usize, count: i32): void {
  const rowBytes = next * 4;
  for (let i = 0; i < 3; i++) {
    const a = columnOf(m, rowBytes, i);
    const b = columnOf(m + next, rowBytes, i);
    const c = columnOf(m + 2 * next, rowBytes, i);
    const d = columnOf(m + 3 * next, rowBytes, i);
    const at = kernel + <usize>(12 * i);
    scatter(at, outStride, count, thirdOf(a, b, c, d, 0));
    scatter(at + 4, outStride, count, thirdOf(a, b, c, d, 1));
    scatter(at + 8, outStride, count, thirdOf(a, b, c, d, 2));
  }
}

/** Row i of G' times a column of m. */
function columnOf(m: usize, rowBytes: usize, i: i32): v128 {
  return thirdOf(
    v128.load(m),
    v128.load(m + rowBytes),
    v128.load(m + 2 * rowBytes),
    v128.load(m + 3 * rowBytes),
    i,
  );
}

/** Row i of G' times (a, b, c, d). */
function thirdOf(a: v128, b: v128, c: v128, d: v128, i: i32): v128 {
  const half = f32x4.splat(0.5);
  if (i === 1) return f32x4.mul(f32x4.sub(b, c), half);
  const middle = f32x4.mul(f32x4.add(b, c), half);
  return f32x4.add(middle, i === 0 ? a : d);
}

/** Stores `count` lanes `stride` bytes apart. */
function scatter(at: usize, stride: usize, count: i32, values: v128): void {
  v128.store32_lane(at, values, 0);
  if (count > 1) v128.store32_lane(at + stride, values, 1);
  if (count > 2) v128.store32_lane(at + 2 * stride, values, 2);
  if (count > 3) v128.store32_lane(at + 3 * stride, values, 3);
}

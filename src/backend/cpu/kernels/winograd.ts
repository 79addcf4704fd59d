import { copyImage, ImagePlan } from "./conv-image";
import { tile4x8 } from "./conv-tiles";
import { bytes } from "./floats";
import { storePart } from "./simd";
import { transformInput } from "./winograd-input";

/**
 * Convolutions of 3 x 3 and stride 1 with 16 multiplications where 36 would be needed, for each tile of 2 x 2 outputs:
 * y = A'((G g G') * (B' d B))A, summed over channels between the transforms (Lavin and Gray 2016, F(2x2, 3x3); also for the
 * gradient of the input). d, the 4 x 4 inputs of a tile, is read as a convolution of kernel 4 and stride 2 reads its taps.
 *
 * Written by the host (../winograd.ts) as 32-bit words in the order of the fields.
 */
class WinogradPlan extends ImagePlan {
  outChannels: i32;
  outH: i32;
  outW: i32;
  /** Tiles of a row, rounded up to a multiple of 4, and of a block, rounded up to a multiple of 8. */
  rowTiles: i32;
  blockTiles: i32;
  /** Of one of the 4 x 4 elements in scratch: all channels and tiles, and a cache line so that elements keep out of each other's way. */
  elementFloats: i32;
  /** A unit of work is one image, block of rows of tiles and block of output channels (a multiple of 4). */
  rowsPerBlock: i32;
  rowBlocks: i32;
  channelsPerBlock: i32;
  channelBlocks: i32;
  /** (channels) bytes from a panel to its channels. */
  offsets: usize;
  /** Or 0. */
  bias: usize;
}

/**
 * One unit a chunk: transformed inputs in scratch as [4 x 4 element][panel of eight tiles][channel][tile], then four output
 * channels at a time.
 *
 * Numerics: see ../winograd.ts.
 */
export function winograd(
  plan: usize,
  x: usize,
  weights: usize,
  y: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WinogradPlan>(plan);
  const image = scratch + <usize>thread * <usize>scratchBytes;
  const inputs = image + bytes(conv.imageFloats);
  const products = inputs + bytes(16 * conv.elementFloats);
  const firstChannel = (chunk % conv.channelBlocks) * conv.channelsPerBlock;
  const firstRow = ((chunk / conv.channelBlocks) % conv.rowBlocks) * conv.rowsPerBlock;
  const n = chunk / (conv.channelBlocks * conv.rowBlocks);
  const rows = min(conv.rowsPerBlock, (conv.outH + 1) / 2 - firstRow);

  copyImage(
    conv,
    x + bytes(n * conv.channels * conv.H * conv.W),
    image,
    conv.channels,
    firstRow,
    0,
  );
  transformInputs(conv, image, inputs, rows);
  const end = min(firstChannel + conv.channelsPerBlock, conv.outChannels);
  for (let k = firstChannel; k < end; k += 4) {
    multiply(conv, inputs, weights + bytes(k * 16 * (conv.channels + 1)), products);
    for (let i = 0; i < min(4, end - k); i++) {
      const plane = y + bytes((n * conv.outChannels + k + i) * conv.outH * conv.outW);
      const bias: f32 = conv.bias === 0 ? 0 : load<f32>(conv.bias + bytes(k + i));
      transformOutputs(conv, products + bytes(i * conv.blockTiles), plane, firstRow, rows, bias);
    }
  }
}

/** B' d B for all channels: panel by panel, so that each of the 16 results is written in order. */
function transformInputs(plan: WinogradPlan, image: usize, inputs: usize, rows: i32): void {
  const plane = bytes(plan.planeRows * plan.pitch);
  const next = bytes(plan.elementFloats);
  for (let tile = 0; tile < rows * plan.rowTiles; tile += 4) {
    const row = tile / plan.rowTiles;
    let d = image + bytes(row * plan.pitch + (tile % plan.rowTiles));
    let to = inputs + bytes((tile & ~7) * plan.channels + (tile & 4));
    for (let c = 0; c < plan.channels; c++, d += 4 * plane, to += 32) {
      transformInput(d, plane, bytes(plan.pitch), to, next);
    }
  }
}

/** Sums of products over the input channels, for each of the 4 x 4 elements: [element][four output channels][tile]. */
function multiply(plan: WinogradPlan, inputs: usize, weights: usize, products: usize): void {
  const next = bytes(plan.blockTiles);
  for (let element = 0; element < 16; element++) {
    for (let tile = 0; tile < plan.blockTiles; tile += 8) {
      const panel = inputs + bytes(tile * plan.channels);
      tile4x8(panel, plan.offsets, weights, plan.channels, products + bytes(tile), next);
    }
    inputs += bytes(plan.elementFloats);
    weights += bytes(4 * (plan.channels + 1));
    products += 4 * next;
  }
}

/** A' m A of one output channel's tiles, into its plane of y. */
function transformOutputs(
  plan: WinogradPlan,
  products: usize,
  y: usize,
  firstRow: i32,
  rows: i32,
  bias: f32,
): void {
  const next = bytes(4 * plan.blockTiles);
  for (let row = 0; row < rows; row++) {
    const h = 2 * (firstRow + row);
    for (let w = 0; w < plan.outW; w += 8) {
      const m = products + bytes(row * plan.rowTiles + (w >> 1));
      const at = y + bytes(h * plan.outW + w);
      const count = min(8, plan.outW - w);
      firstOutputs(m, next, bias, at, count);
      if (h + 1 < plan.outH) secondOutputs(m, next, bias, at + bytes(plan.outW), count);
    }
  }
}

/** The upper outputs of four tiles. */
function firstOutputs(m: usize, next: usize, bias: f32, at: usize, count: i32): void {
  storeOutputs(
    sumOfThree(m, 4 * next),
    sumOfThree(m + next, 4 * next),
    sumOfThree(m + 2 * next, 4 * next),
    sumOfThree(m + 3 * next, 4 * next),
    f32x4.splat(bias),
    at,
    count,
  );
}

/** The lower outputs of four tiles. */
function secondOutputs(m: usize, next: usize, bias: f32, at: usize, count: i32): void {
  const m1 = m + 4 * next;
  storeOutputs(
    firstLessTwo(m1, 4 * next),
    firstLessTwo(m1 + next, 4 * next),
    firstLessTwo(m1 + 2 * next, 4 * next),
    firstLessTwo(m1 + 3 * next, 4 * next),
    f32x4.splat(bias),
    at,
    count,
  );
}

function sumOfThree(at: usize, next: usize): v128 {
  return f32x4.add(f32x4.add(v128.load(at), v128.load(at + next)), v128.load(at + 2 * next));
}

function firstLessTwo(at: usize, next: usize): v128 {
  return f32x4.sub(f32x4.sub(v128.load(at), v128.load(at + next)), v128.load(at + 2 * next));
}

/** One row of A' m, times A: the left and right outputs of four tiles by turns. */
function storeOutputs(a: v128, b: v128, c: v128, d: v128, bias: v128, at: usize, count: i32): void {
  const left = f32x4.add(f32x4.add(f32x4.add(a, b), c), bias);
  const right = f32x4.add(f32x4.sub(f32x4.sub(b, c), d), bias);
  storePart(at, min(4, count), v128.shuffle<f32>(left, right, 0, 4, 1, 5));
  if (count > 4) storePart(at + 16, count - 4, v128.shuffle<f32>(left, right, 2, 6, 3, 7));
}

/**
 * G g G' of all kernels, as `tile4x8` reads them: [four output channels][element][four zeros, then channel][output channel];
 * output channels that are missing are zero. The kernel of an output channel and a channel lies at outStride and stride; for
 * the gradient of the input it is taken backwards. A chunk is four output channels.
 */
export function winogradPackWeights(
  weight: usize,
  channels: i32,
  stride: i32,
  outChannels: i32,
  outStride: i32,
  isBackwards: i32,
  packed: usize,
  chunk: i32,
  _thread: i32,
): void {
  const next = bytes(4 * (channels + 1));
  const count = min(4, outChannels - 4 * chunk);
  packed += <usize>(16 * chunk) * next;
  for (let element: usize = 0; element < 16; element++) {
    v128.store(packed + element * next, f32x4.splat(0));
  }
  for (let c = 0; c < channels; c++) {
    const kernel = weight + bytes(4 * chunk * outStride + c * stride);
    const to = packed + bytes(4 * (c + 1));
    if (isBackwards) transformKernel(kernel + 32, -4, bytes(outStride), count, to, next);
    else transformKernel(kernel, 4, bytes(outStride), count, to, next);
  }
}

/** Up to four kernels side by side. */
function transformKernel(
  g: usize,
  step: i32,
  outStride: usize,
  count: i32,
  to: usize,
  next: usize,
): void {
  const row = 3 * step;
  const a0 = gather(g, outStride, count);
  const a1 = gather(g + step, outStride, count);
  const a2 = gather(g + 2 * step, outStride, count);
  const b0 = gather(g + row, outStride, count);
  const b1 = gather(g + row + step, outStride, count);
  const b2 = gather(g + row + 2 * step, outStride, count);
  const c0 = gather(g + 2 * row, outStride, count);
  const c1 = gather(g + 2 * row + step, outStride, count);
  const c2 = gather(g + 2 * row + 2 * step, outStride, count);
  storeKernelRow(a0, a1, a2, to, next);
  storeKernelRow(
    halfSum(a0, b0, c0),
    halfSum(a1, b1, c1),
    halfSum(a2, b2, c2),
    to + 4 * next,
    next,
  );
  storeKernelRow(
    halfDifference(a0, b0, c0),
    halfDifference(a1, b1, c1),
    halfDifference(a2, b2, c2),
    to + 8 * next,
    next,
  );
  storeKernelRow(c0, c1, c2, to + 12 * next, next);
}

/** One row of G g, times G'. */
function storeKernelRow(a: v128, b: v128, c: v128, to: usize, next: usize): void {
  v128.store(to, a);
  v128.store(to + next, halfSum(a, b, c));
  v128.store(to + 2 * next, halfDifference(a, b, c));
  v128.store(to + 3 * next, c);
}

function halfSum(a: v128, b: v128, c: v128): v128 {
  return f32x4.mul(f32x4.add(f32x4.add(a, b), c), f32x4.splat(0.5));
}

function halfDifference(a: v128, b: v128, c: v128): v128 {
  return f32x4.mul(f32x4.add(f32x4.sub(a, b), c), f32x4.splat(0.5));
}

/** Up to four floats that lie `stride` bytes apart; zero for the others. */
function gather(at: usize, stride: usize, count: i32): v128 {
  let values = v128.load32_zero(at);
  if (count > 1) values = v128.load32_lane(at + stride, values, 1);
  if (count > 2) values = v128.load32_lane(at + 2 * stride, values, 2);
  if (count > 3) values = v128.load32_lane(at + 3 * stride, values, 3);
  return values;
}

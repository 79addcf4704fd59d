import { bytes } from "./floats";
import { rowsOfPanel } from "./panels";
import { transformSums2x2 } from "./winograd-2x2";
import { transformSums3x3 } from "./winograd-3x3";
import { transformSums4x4 } from "./winograd-4x4-weight";
import { product4x8, product6x8 } from "./winograd-products";
import { transformStridedSums } from "./winograd-strided-weight";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { transformLeft, transformRight, WinogradWeightPlan } from "./winograd-weight-tiles";

/**
 * The gradient of the weight of a 3 x 3 convolution of stride 1, through the same transforms as the convolution itself
 * (winograd.ts): dWeight = G'(sum over tiles of (A dy A') * (B' d B))G. For each of the elements the sums are a matrix
 * product, channels of dy times channels of x; the other way round where x has few, which fill panels of six better than of eight.
 *
 *   left   [element][panel of six or four][tile][row]
 *   right  [element][panel of eight columns][tile][column]
 *   sums   [row][panel][factor][column]
 *
 * A unit of work is one part of the tiles, one block of output channels and one of channels; units are ordered [part][output
 * block][block].
 */

/** Transforms a block of tiles of x or of dy that several units need, into `shared`. */
export function winogradShareWeight(
  plan: usize,
  reading: usize,
  left: usize,
  right: usize,
  shared: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WinogradWeightPlan>(plan);
  const own = scratch + <usize>thread * <usize>scratchBytes;
  const leftBlocks = conv.tileBlocks * conv.outBlocks;
  if (chunk < leftBlocks) {
    const block = chunk / conv.outBlocks;
    const outBlock = chunk % conv.outBlocks;
    const to = shared + bytes(conv.leftOf(block, outBlock));
    transformLeft(conv, reading, left, outBlock, block, to, own);
  } else {
    const block = (chunk - leftBlocks) / conv.channelBlocks;
    const channelBlock = (chunk - leftBlocks) % conv.channelBlocks;
    const to = shared + bytes(conv.rightOf(block, channelBlock));
    transformRight(conv, right, channelBlock, block, to, own);
  }
}

/**
 * dWeight, or where there are several parts their sums for `winogradSumWeights`.
 *
 * Numerics: float32 sums over the tiles of a block, blocks, then parts added in float32.
 */
export function winogradGradWeight(
  plan: usize,
  reading: usize,
  left: usize,
  right: usize,
  shared: usize,
  sums: usize,
  dWeight: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WinogradWeightPlan>(plan);
  const own = scratch + <usize>thread * <usize>scratchBytes;
  const slices = conv.channelBlocks * conv.outBlocks;
  const slice = chunk % slices;
  const part = chunk / slices;
  const isWhole = conv.parts === 1;
  const target = isWhole ? own + conv.sumsAt : sums + bytes(chunk * conv.sumFloats);
  const channelBlock = slice % conv.channelBlocks;
  const outBlock = slice / conv.channelBlocks;
  const first = (part * conv.tileBlocks) / conv.parts;
  const end = ((part + 1) * conv.tileBlocks) / conv.parts;
  let rightFactor = own + conv.rightAt;
  let leftFactor = own + conv.leftAt;
  for (let block = first; block < end; block++) {
    if (conv.shares !== 0) {
      rightFactor = shared + bytes(conv.rightOf(block, channelBlock));
      leftFactor = shared + bytes(conv.leftOf(block, outBlock));
    } else {
      transformRight(conv, right, channelBlock, block, rightFactor, own);
      transformLeft(conv, reading, left, outBlock, block, leftFactor, own);
    }
    addProducts(conv, leftFactor, rightFactor, block, target, block === first);
  }
  if (isWhole) storeWeights(conv, target, slice, 0, conv.outPerBlock, dWeight, own + conv.workAt);
}

/** Adds the products of a block of tiles to the sums: for each element those of the tiles that use it, which are one run of them. */
function addProducts(
  plan: WinogradWeightPlan,
  left: usize,
  right: usize,
  block: i32,
  sums: usize,
  isFirst: bool,
): void {
  const depth = plan.tilesBefore(plan.regions, block);
  const panels = plan.channelsPerBlock >> 3;
  const panelFloats = 8 * plan.factors;
  const next = bytes(panelFloats * panels);
  for (let element = 0; element < plan.elements; element++) {
    let region = 0;
    while (!plan.region(region).uses(element)) region++;
    const before = plan.tilesBefore(region, block);
    while (region < plan.regions && plan.region(region).uses(element)) region++;
    const tiles = plan.tilesBefore(region, block) - before;
    const factor = plan.factorOf(element);
    // Elements that share a factor follow an element that all tiles use.
    const startsSum = isFirst && plan.isFirstOf(element);
    let columns = right + bytes(element * plan.elementFloats + 8 * before);
    for (let panel = 0; panel < panels; panel++, columns += bytes(8 * depth)) {
      let rows = left + bytes(element * plan.leftFloats);
      let to = sums + bytes(panelFloats * panel + 8 * factor);
      for (let p = 0; p < plan.outPanels; p++) {
        const count = rowsOfPanel(p, plan.sixes);
        const from = rows + bytes(count * before);
        if (count === 6) product6x8(from, columns, tiles, to, next, startsSum);
        else product4x8(from, columns, tiles, to, next, startsSum);
        rows += bytes(count * depth);
        to += <usize>count * next;
      }
    }
  }
}

/** dWeight from the sums of several parts; a chunk is two rows of a slice. */
export function winogradSumWeights(
  plan: usize,
  sums: usize,
  dWeight: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WinogradWeightPlan>(plan);
  const own = scratch + <usize>thread * <usize>scratchBytes;
  const pairs = conv.outPerBlock >> 1;
  const slice = chunk / pairs;
  const k = (chunk % pairs) << 1;
  const rowBytes = bytes(conv.factors * conv.channelsPerBlock);
  const partBytes = bytes(conv.channelBlocks * conv.outBlocks * conv.sumFloats);
  // The other parts are added to the first, whose sums nobody else needs.
  const first = sums + bytes(slice * conv.sumFloats);
  const end = first + <usize>(k + 2) * rowBytes;
  for (let at = first + <usize>k * rowBytes; at < end; at += 16) {
    let sum = v128.load(at);
    for (let part = 1; part < conv.parts; part++) {
      sum = f32x4.add(sum, v128.load(at + <usize>part * partBytes));
    }
    v128.store(at, sum);
  }
  storeWeights(conv, first, slice, k, k + 2, dWeight, own + conv.workAt);
}

/** G' m G for some rows of a slice. */
function storeWeights(
  plan: WinogradWeightPlan,
  sums: usize,
  slice: i32,
  firstRow: i32,
  endRow: i32,
  dWeight: usize,
  work: usize,
): void {
  const firstIn = (slice % plan.channelBlocks) * plan.channelsPerBlock;
  const firstOut = (slice / plan.channelBlocks) * plan.outPerBlock;
  const channels = min(plan.channelsPerBlock, plan.channels - firstIn);
  const rows = min(endRow, plan.outChannels - firstOut);
  const rowBytes = bytes(plan.factors * plan.channelsPerBlock);
  for (let row = firstRow; row < rows; row++) {
    const from = sums + <usize>row * rowBytes;
    const to = dWeight + bytes((firstOut + row) * plan.outKernelStep + firstIn * plan.kernelStep);
    for (let c = 0; c < channels; c += 4) {
      const m = from + bytes(plan.factors * (c & ~7) + (c & 4));
      const kernels = to + bytes(plan.kernelStep * c);
      if (plan.stride === 2) transformStridedSums(m, work, kernels, min(4, channels - c));
      else if (plan.tile === 3) {
        transformSums3x3(m, work, kernels, bytes(plan.kernelStep), min(4, channels - c));
      } else if (plan.tile === 4) transformSums4x4(m, work, kernels, min(4, channels - c));
      else transformSums2x2(m, work, kernels, min(4, channels - c));
    }
  }
}

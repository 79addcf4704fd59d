import { bytes } from "./floats";
import { panelOfRow, placeInPanels, rowsOfPanel, storeHalves } from "./panels";
import { transformGradient2x2, transformInput2x2, transformSums2x2 } from "./winograd-2x2";
import { transformInput4x4 } from "./winograd-4x4";
import { transformGradient4x4, transformSums4x4 } from "./winograd-4x4-weight";
import { product4x8, product6x8 } from "./winograd-products";
import { copyStrips, placeTiles, WinogradTiles } from "./winograd-strips";

/**
 * The gradient of the weight of a 3 x 3 convolution of stride 1, through the same transforms as the convolution itself
 * (winograd.ts): dWeight = G'(sum over tiles of (A dy A') * (B' d B))G. For each of the elements the sums are a matrix
 * product, channels of dy times channels of x.
 *
 *   inputs     [element][panel of eight channels][tile][channel]
 *   gradients  [element][panel of six or four][tile][output channel]
 *   sums       [output channel][panel][element][channel]
 *
 * A unit of work is one part of the tiles, one block of output channels and one of channels; units are ordered [part][output
 * block][block]. Written by the host (../winograd-weight.ts) as 32-bit words in the order of the fields.
 */
class WinogradWeightPlan extends WinogradTiles {
  outChannels: i32;
  parts: i32;
  /** A multiple of 8. */
  channelsPerBlock: i32;
  channelBlocks: i32;
  /** Panels of output channels (panels.ts) make a block, the first ones of six. */
  outPerBlock: i32;
  outBlocks: i32;
  outPanels: i32;
  sixes: i32;
  /** Of the sums of a unit. */
  sumFloats: i32;
  /** Where in a thread's scratch the parts begin. */
  workAt: usize;
  inputsAt: usize;
  gradientsAt: usize;
  sumsAt: usize;
}

/**
 * dWeight, or where there are several parts their sums for `winogradSumWeights`. `reading` is a `WinogradTiles` for dy.
 *
 * Numerics: float32 sums over the tiles of a block, blocks, then parts added in float32.
 */
export function winogradGradWeight(
  plan: usize,
  reading: usize,
  dy: usize,
  x: usize,
  sums: usize,
  dWeight: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WinogradWeightPlan>(plan);
  const gradient = changetype<WinogradTiles>(reading);
  const own = scratch + <usize>thread * <usize>scratchBytes;
  const slices = conv.channelBlocks * conv.outBlocks;
  const slice = chunk % slices;
  const part = chunk / slices;
  const isWhole = conv.parts === 1;
  const target = isWhole ? own + conv.sumsAt : sums + bytes(chunk * conv.sumFloats);
  const firstIn = (slice % conv.channelBlocks) * conv.channelsPerBlock;
  const firstOut = (slice / conv.channelBlocks) * conv.outPerBlock;
  const first = (part * conv.tileBlocks) / conv.parts;
  const end = ((part + 1) * conv.tileBlocks) / conv.parts;
  for (let block = first; block < end; block++) {
    transformInputs(conv, x, firstIn, block, own);
    transformGradients(conv, gradient, dy, firstOut, block, own);
    addProducts(conv, gradient, block, target, own, block === first);
  }
  if (isWhole) storeWeights(conv, target, slice, 0, conv.outPerBlock, dWeight, own + conv.workAt);
}

/** B' d B of a block of tiles, for a block of channels. */
function transformInputs(
  plan: WinogradWeightPlan,
  x: usize,
  firstIn: i32,
  block: i32,
  own: usize,
): void {
  const first = plan.firstPanel(block);
  const count = plan.firstPanel(block + 1) - first;
  const tiles = min(8 * count, plan.tiles - 8 * first);
  const end = min(firstIn + plan.channelsPerBlock, plan.channels);
  placeTiles(plan, 8, first, count, own);
  let to = own + plan.inputsAt;
  for (let c = firstIn; c < end; c += 8) {
    copyStrips(plan, x, c, min(8, end - c), first, count, own);
    for (let i = 0; i < tiles; i++, to += 32) {
      const d = own + load<usize>(own + plan.placesAt + bytes(i));
      transformPlace(plan, d, own + plan.workAt, to);
      transformPlace(plan, d + bytes(4 * plan.stripFloats), own + plan.workAt, to + 16);
    }
  }
}

/** One tile of four channels. */
function transformPlace(plan: WinogradWeightPlan, d0: usize, work: usize, to: usize): void {
  const plane = bytes(plan.stripFloats);
  const pitch = bytes(plan.pitch);
  const next = bytes(plan.inputFloats);
  const d1 = d0 + plane;
  const d2 = d1 + plane;
  if (plan.tile === 4) transformInput4x4(d0, d1, d2, d2 + plane, pitch, work, to, next);
  else transformInput2x2(d0, d1, d2, d2 + plane, pitch, work, to, next);
}

/** A dy A' of a block of tiles, for a block of output channels. */
function transformGradients(
  plan: WinogradWeightPlan,
  reading: WinogradTiles,
  dy: usize,
  firstOut: i32,
  block: i32,
  own: usize,
): void {
  const first = plan.firstPanel(block);
  const count = plan.firstPanel(block + 1) - first;
  const tiles = min(8 * count, plan.tiles - 8 * first);
  const channels = min(plan.outPerBlock, plan.outChannels - firstOut);
  const gradients = own + plan.gradientsAt;
  placeTiles(reading, 4, first, count, own);
  for (let k = 0; k < channels; k += 4) {
    copyStrips(reading, dy, firstOut + k, min(4, channels - k), first, count, own);
    transformFour(plan, reading, k, tiles, gradients, own);
  }
}

/** Tiles of four output channels from k of the block on, which stand in one panel or half in one and half in the next. */
function transformFour(
  plan: WinogradWeightPlan,
  reading: WinogradTiles,
  k: i32,
  tiles: i32,
  gradients: usize,
  own: usize,
): void {
  const work = own + plan.workAt;
  const next = bytes(reading.inputFloats);
  // Where there is no second half, it goes where the first one goes.
  const other = k + 2 < plan.outPerBlock ? k + 2 : k;
  const step = bytes(rowsOfPanel(panelOfRow(k, plan.sixes), plan.sixes));
  const otherStep = bytes(rowsOfPanel(panelOfRow(other, plan.sixes), plan.sixes));
  let to = gradients + bytes(placeInPanels(k, plan.sixes, tiles));
  let second = gradients + bytes(placeInPanels(other, plan.sixes, tiles));
  const isWhole = second === to + 8;
  for (let i = 0; i < tiles; i++, to += step, second += otherStep) {
    const y = own + load<usize>(own + reading.placesAt + bytes(i));
    if (isWhole) {
      transformPixels(reading, y, work, to, next);
    } else {
      transformPixels(reading, y, work, work + halvesAt, 16);
      storeHalves(work + halvesAt, plan.elements, to, second, next);
    }
  }
}

/** Where in the work of the transforms the halves are: behind what the transforms of gradients need. */
const halvesAt: usize = 448;

/** One tile of four output channels. */
function transformPixels(
  reading: WinogradTiles,
  y0: usize,
  work: usize,
  to: usize,
  next: usize,
): void {
  const plane = bytes(reading.stripFloats);
  const pitch = bytes(reading.pitch);
  const y1 = y0 + plane;
  const y2 = y1 + plane;
  if (reading.tile === 4) transformGradient4x4(y0, y1, y2, y2 + plane, pitch, work, to, next);
  else transformGradient2x2(y0, y1, y2, y2 + plane, pitch, work, to, next);
}

/** Adds the products of a block of tiles to the sums. */
function addProducts(
  plan: WinogradWeightPlan,
  reading: WinogradTiles,
  block: i32,
  sums: usize,
  own: usize,
  isFirst: bool,
): void {
  const first = plan.firstPanel(block);
  const tiles = min(8 * plan.firstPanel(block + 1), plan.tiles) - 8 * first;
  const panels = plan.channelsPerBlock >> 3;
  const panelFloats = 8 * plan.elements;
  const next = bytes(panelFloats * panels);
  for (let element = 0; element < plan.elements; element++) {
    let inputs = own + plan.inputsAt + bytes(element * plan.inputFloats);
    for (let panel = 0; panel < panels; panel++, inputs += bytes(8 * tiles)) {
      let rows = own + plan.gradientsAt + bytes(element * reading.inputFloats);
      let to = sums + bytes(panelFloats * panel + 8 * element);
      for (let p = 0; p < plan.outPanels; p++) {
        const count = rowsOfPanel(p, plan.sixes);
        if (count === 6) product6x8(rows, inputs, tiles, to, next, isFirst);
        else product4x8(rows, inputs, tiles, to, next, isFirst);
        rows += bytes(count * tiles);
        to += <usize>count * next;
      }
    }
  }
}

/** dWeight from the sums of several parts; a chunk is two output channels of a slice. */
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
  const rowBytes = bytes(conv.elements * conv.channelsPerBlock);
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

/** G' m G for some output channels of a slice. */
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
  const rowBytes = bytes(plan.elements * plan.channelsPerBlock);
  for (let row = firstRow; row < rows; row++) {
    const from = sums + <usize>row * rowBytes;
    const to = dWeight + bytes(9 * ((firstOut + row) * plan.channels + firstIn));
    for (let c = 0; c < channels; c += 4) {
      const m = from + bytes(plan.elements * (c & ~7) + (c & 4));
      const kernels = to + bytes(9 * c);
      if (plan.tile === 4) transformSums4x4(m, work, kernels, min(4, channels - c));
      else transformSums2x2(m, work, kernels, min(4, channels - c));
    }
  }
}

import { bytes } from "./floats";
import { rowOfPanel, rowsOfPanel } from "./panels";
import { transformInput2x2 } from "./winograd-2x2";
import { transformInput4x4 } from "./winograd-4x4";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { transformKernels, WinogradPlan } from "./winograd-kernels";
import { transformNarrowInput } from "./winograd-narrow";
import { product4x8, product6x8 } from "./winograd-products";
import { placeOutputs, storeTiles } from "./winograd-store";
import { transformSpread, transformStrided } from "./winograd-strided";
import { clearRow, placeTiles, transformStrips } from "./winograd-strips";

/**
 * Convolutions of 3 x 3 and stride 1 with 36 multiplications where 144 would be needed, for each tile of 4 x 4 outputs, or 16
 * where 36 would, for each of 2 x 2: y = A'((G g G') * (B' d B))A, summed over channels between the transforms (Lavin and Gray
 * 2016; also for the gradient of the input). With a stride of 2 there are 81 for 144 (winograd-strided.ts). For each of the elements
 * the sums are a matrix product, kernels times tiles.
 *
 *   inputs    [block of tiles][element][panel of eight tiles][channel][tile]
 *   kernels   [block of output channels][factor][panel of six or four][channel][output channel]
 *   products  [output channel][panel][element][tile]
 *
 * The smaller of the two factors is transformed once, for all threads; the other block by block, by the thread that then
 * multiplies it with all of the first.
 */

/** Transforms one block of the factor that all threads share. */
export function winogradShare(
  plan: usize,
  source: usize,
  weight: usize,
  shared: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WinogradPlan>(plan);
  const own = scratch + <usize>thread * <usize>scratchBytes;
  if (conv.sharesInputs !== 0) {
    transformInputs(
      regionOf(plan, chunk),
      source,
      chunk,
      shared + bytes(conv.elements * chunk * conv.elementFloats),
      own,
    );
  } else {
    transformKernels(
      conv,
      weight,
      chunk,
      shared + bytes(conv.factors * chunk * conv.kernelFloats),
      own,
    );
  }
}

/**
 * Transforms one block of the other factor and multiplies it with all blocks of the shared one. `bias` is 0 where there is none.
 *
 * Numerics: see ../winograd.ts.
 */
export function winograd(
  plan: usize,
  source: usize,
  weight: usize,
  shared: usize,
  bias: usize,
  out: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WinogradPlan>(plan);
  const own = scratch + <usize>thread * <usize>scratchBytes;
  const factor = own + conv.factorAt;
  if (conv.sharesInputs !== 0) {
    transformKernels(conv, weight, chunk, factor, own);
    for (let block = 0; block < conv.allTileBlocks; block++) {
      multiply(regionOf(plan, block), shared, factor, bias, out, block, chunk, own);
      shared += bytes(conv.elements * conv.elementFloats);
    }
  } else {
    const region = regionOf(plan, chunk);
    transformInputs(region, source, chunk, factor, own);
    for (let block = 0; block < conv.channelBlocks; block++) {
      multiply(region, factor, shared, bias, out, chunk, block, own);
      shared += bytes(conv.factors * conv.kernelFloats);
    }
  }
}

/** The plan of the region with a block: those of all regions stand one behind the other. */
function regionOf(plan: usize, block: i32): WinogradPlan {
  let region = changetype<WinogradPlan>(plan);
  while (block >= region.firstBlock + region.tileBlocks) {
    plan += offsetof<WinogradPlan>();
    region = changetype<WinogradPlan>(plan);
  }
  return region;
}

/** B' d B of a block of tiles for all channels. */
function transformInputs(
  plan: WinogradPlan,
  source: usize,
  block: i32,
  inputs: usize,
  own: usize,
): void {
  const first = plan.firstPanel(block);
  const count = plan.firstPanel(block + 1) - first;
  clearRow(plan, own);
  placeTiles(plan, 8 * first, 8 * count, own);
  for (let c = 0; c < plan.channels; c += 2, inputs += 64) {
    // Two channels make whole cache lines of inputs.
    const pair = min(2, plan.channels - c);
    transformStrips(plan, source, c, pair, 8 * first, 8 * count, own);
    let to = inputs;
    let place = own + plan.placesAt;
    for (let panel = 0; panel < count; panel++, place += 32, to += bytes(8 * plan.channels)) {
      for (let i = 0; i < pair; i++) {
        const strips = plan.stripsIn(own) + bytes(i * plan.stripFloats);
        const at = to + ((<usize>i) << 5);
        transformFour(plan, place, strips, at);
        transformFour(plan, place + 16, strips, at + 16);
      }
    }
  }
}

function transformFour(plan: WinogradPlan, place: usize, strips: usize, to: usize): void {
  const next = bytes(plan.elementFloats);
  const pitch = bytes(plan.pitch);
  const d0 = strips + load<usize>(place);
  const d1 = strips + load<usize>(place, 4);
  const d2 = strips + load<usize>(place, 8);
  const d3 = strips + load<usize>(place, 12);
  if (plan.stride === 2 && plan.isGradient !== 0) {
    transformSpread(d0, d1, d2, d3, pitch, plan.tileH, plan.tileW, to, next);
  } else if (plan.stride === 2) {
    transformStrided(d0, d1, d2, d3, pitch, plan.tileH, plan.tileW, to, next);
  } else if (plan.tile === 2) transformInput2x2(d0, d1, d2, d3, pitch, to, next);
  else if (plan.isWhole()) transformInput4x4(d0, d1, d2, d3, pitch, to, next);
  else transformNarrowInput(d0, d1, d2, d3, pitch, plan.tileH, plan.tileW, to, next);
}

/** The outputs of a block of tiles and of output channels. */
function multiply(
  plan: WinogradPlan,
  inputs: usize,
  kernels: usize,
  bias: usize,
  out: usize,
  tileBlock: i32,
  channelBlock: i32,
  own: usize,
): void {
  const first = plan.firstPanel(tileBlock);
  const panels = plan.firstPanel(tileBlock + 1) - first;
  const firstRows = plan.firstKernelPanel(channelBlock);
  const endRows = plan.firstKernelPanel(channelBlock + 1);
  const products = own + plan.productsAt;
  const panelBytes = bytes(8 * plan.channels);
  const panelProducts = bytes(8 * plan.elements);
  const next = <usize>panels * panelProducts;
  for (let element = 0; element < plan.elements; element++) {
    if (!plan.uses(element)) continue;
    let panel = inputs + bytes(element * plan.elementFloats);
    let to = products + bytes(8 * element);
    for (let i = 0; i < panels; i++, panel += panelBytes, to += panelProducts) {
      let rows = kernels + bytes(plan.factorOf(element) * plan.kernelFloats);
      let result = to;
      for (let p = firstRows; p < endRows; p++) {
        const count = rowsOfPanel(p, plan.sixes);
        multiplyPanels(rows, panel, count, plan.channels, result, next, own + plan.workAt);
        rows += bytes(count * plan.channels);
        result += <usize>count * next;
      }
    }
  }
  const firstChannel = rowOfPanel(firstRows, plan.sixes);
  const count = min(rowOfPanel(endRows, plan.sixes), plan.outChannels) - firstChannel;
  placeOutputs(plan, 8 * first, 8 * panels, own);
  for (let k = 0; k < count; k++) {
    const channel = firstChannel + k;
    const added: f32 = bias === 0 ? 0 : load<f32>(bias + bytes(channel));
    const plane = out + bytes(channel * plan.outH * plan.outW);
    storeTiles(plan, products + <usize>k * next, plane, 8 * panels, f32x4.splat(added), own);
  }
}

/** Long sums are taken in parts, which rounds less: the products of so many channels each. */
const mostInSum = 256;

/** The product of a panel of six or four output channels and one of eight tiles. */
function multiplyPanels(
  rows: usize,
  panel: usize,
  count: i32,
  channels: i32,
  result: usize,
  next: usize,
  work: usize,
): void {
  const depth = min(channels, mostInSum);
  if (count === 6) product6x8(rows, panel, depth, result, next, true);
  else product4x8(rows, panel, depth, result, next, true);
  for (let c = depth; c < channels; c += mostInSum) {
    const part = min(channels - c, mostInSum);
    const from = rows + bytes(count * c);
    if (count === 6) product6x8(from, panel + bytes(8 * c), part, work, 32, true);
    else product4x8(from, panel + bytes(8 * c), part, work, 32, true);
    for (let row = 0; row < count; row++) {
      const at = work + ((<usize>row) << 5);
      const to = result + <usize>row * next;
      v128.store(to, f32x4.add(v128.load(to), v128.load(at)));
      v128.store(to, f32x4.add(v128.load(to, 16), v128.load(at, 16)), 16);
    }
  }
}

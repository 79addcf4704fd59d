import { bytes } from "./floats";
import { panelOfRow, placeInPanels, rowOfPanel, rowsOfPanel, storeHalves } from "./panels";
import { transformKernel2x2 } from "./winograd-2x2";
import { transformKernel3x3 } from "./winograd-3x3";
import { transformKernel4x4 } from "./winograd-4x4";
import { transformStridedKernel } from "./winograd-strided-weight";
import { copyRun, cutAt, WinogradTiles } from "./winograd-strips";

/** How a region of a convolution is cut. Written by the host (../winograd.ts) as 32-bit words in the order of the fields. */
export class WinogradPlan extends WinogradTiles {
  /** Blocks of tiles are numbered through all regions. */
  firstBlock: i32;
  tileBlocks: i32;
  allTileBlocks: i32;
  outChannels: i32;
  outH: i32;
  outW: i32;
  /** Panels of output channels (panels.ts), and the first ones of six. */
  kernelPanels: i32;
  sixes: i32;
  channelBlocks: i32;
  /** What a kernel becomes: as many factors as elements, or fewer where elements share them. */
  factors: i32;
  /** Of one element of a block, and some so that elements keep out of each other's way. */
  kernelFloats: i32;
  /** Floats from the kernel of one channel to the next, for the source and for the output. */
  kernelStep: i32;
  outKernelStep: i32;
  /** Whether the inputs are the factor that is transformed for all threads. */
  sharesInputs: i32;
  /** Where in a thread's scratch the parts begin: the copies of the source, the work of the transforms, the other factor, the products. */
  workAt: usize;
  factorAt: usize;
  productsAt: usize;

  /** The panel of tiles that a block begins with. */
  firstPanel(block: i32): i32 {
    return cutAt(block - this.firstBlock, this.tileBlocks, (this.tiles + 7) >> 3);
  }

  /** The panel of output channels that a block begins with. */
  firstKernelPanel(block: i32): i32 {
    return cutAt(block, this.channelBlocks, this.kernelPanels);
  }
}

/** G g G' of a block of output channels for all channels, two panels of six at a time: they are whole cache lines. */
export function transformKernels(
  plan: WinogradPlan,
  weight: usize,
  block: i32,
  kernels: usize,
  own: usize,
): void {
  const first = rowOfPanel(plan.firstKernelPanel(block), plan.sixes);
  const end = rowOfPanel(plan.firstKernelPanel(block + 1), plan.sixes);
  const start = kernels - bytes(first * plan.channels);
  for (let k = first; k < end; k += mostRows) {
    const rows = min(mostRows, end - k);
    for (let c = 0; c < plan.channels; c += mostChannels) {
      const channels = min(mostChannels, plan.channels - c);
      copyTaps(plan, weight, k, (rows + 3) & -4, c, channels, own + plan.workAt + tapsAt);
      for (let row = 0; row < rows; row += 4) {
        transformFour(plan, k, row, rows, c, channels, own + plan.workAt, start);
      }
    }
  }
}

/** Kernels whose taps are copied at a time, so that many reads of memory are under way at once. */
const mostRows = 12;
const mostChannels = 8;
const rowBytes: usize = 4 * 16 * mostChannels;

/**
 * The taps of output channels from k and channels from c on, as [output channel][channel][tap], backwards for the gradient; the last
 * output channel stands in for those that are missing.
 */
function copyTaps(
  plan: WinogradPlan,
  weight: usize,
  k: i32,
  rows: i32,
  c: i32,
  channels: i32,
  taps: usize,
): void {
  const last = plan.outChannels - 1 - k;
  weight += bytes(k * plan.outKernelStep + c * plan.kernelStep);
  if (plan.isGradient !== 0) {
    for (let i = 0; i < channels; i++, weight += bytes(plan.kernelStep), taps += 36) {
      for (let row = 0; row < rows; row++) {
        copyBackwards(weight + bytes(9 * min(row, last)), taps + <usize>row * rowBytes);
      }
    }
    return;
  }
  for (let row = 0; row < rows; row++, taps += rowBytes) {
    copyRun(weight + bytes(min(row, last) * plan.outKernelStep), taps, plan.kernelStep * channels);
  }
}

function copyBackwards(from: usize, to: usize): void {
  const low = v128.load(from);
  const high = v128.load(from, 16);
  store<f32>(to, load<f32>(from, 32));
  v128.store(to, v128.shuffle<f32>(high, high, 3, 2, 1, 0), 4);
  v128.store(to, v128.shuffle<f32>(low, low, 3, 2, 1, 0), 20);
}

/**
 * Those of some channels and four of the copied output channels from k on, of which there are `rows`. A panel of six begins with
 * every second four or in the middle of one.
 */
function transformFour(
  plan: WinogradPlan,
  k: i32,
  row: i32,
  rows: i32,
  c: i32,
  channels: i32,
  work: usize,
  kernels: usize,
): void {
  const next = bytes(plan.kernelFloats);
  const first = k + row;
  // Where there is no second half, it goes where the first one goes.
  const other = row + 2 < rows ? first + 2 : first;
  const step = bytes(rowsOfPanel(panelOfRow(first, plan.sixes), plan.sixes));
  const otherStep = bytes(rowsOfPanel(panelOfRow(other, plan.sixes), plan.sixes));
  let to = kernels + bytes(placeInPanels(first, plan.sixes, plan.channels)) + <usize>c * step;
  let second =
    kernels + bytes(placeInPanels(other, plan.sixes, plan.channels)) + <usize>c * otherStep;
  const isWhole = second === to + 8;
  const kernelBytes = bytes(plan.taps * plan.taps);
  let g = work + tapsAt + <usize>row * rowBytes;
  for (let i = 0; i < channels; i++, g += kernelBytes, to += step, second += otherStep) {
    if (isWhole) {
      transformTaps(plan, g, work, to, next);
    } else {
      transformTaps(plan, g, work, work + halvesAt, 16);
      storeHalves(work + halvesAt, plan.factors, to, second, next);
    }
  }
}

/** Where in the work of the transforms the halves are: behind what the transforms of kernels need. */
const halvesAt: usize = 640;
/** Where the copied taps are: behind the halves. */
const tapsAt: usize = 1280;

function transformTaps(plan: WinogradPlan, g0: usize, work: usize, to: usize, next: usize): void {
  const g1 = g0 + rowBytes;
  const g2 = g1 + rowBytes;
  const g3 = g2 + rowBytes;
  if (plan.stride === 2) transformStridedKernel(g0, g1, g2, g3, work, to, next);
  else if (plan.tile === 3) transformKernel3x3(g0, g1, g2, g3, work, to, next);
  else if (plan.tile === 4) transformKernel4x4(g0, g1, g2, g3, work, to, next);
  else transformKernel2x2(g0, g1, g2, g3, work, to, next);
}

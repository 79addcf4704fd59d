import { bytes } from "./floats";
import { panelOfRow, placeInPanels, rowOfPanel, rowsOfPanel, storeHalves } from "./panels";
import { transformKernel2x2 } from "./winograd-2x2";
import { transformKernel4x4 } from "./winograd-4x4";
import { WinogradTiles } from "./winograd-strips";

/** How a convolution is cut. Written by the host (../winograd.ts) as 32-bit words in the order of the fields. */
export class WinogradPlan extends WinogradTiles {
  outChannels: i32;
  outH: i32;
  outW: i32;
  /** Panels of output channels (panels.ts), the first ones of six, in all and at most in a block. */
  kernelPanels: i32;
  sixes: i32;
  panelsPerBlock: i32;
  channelBlocks: i32;
  /** Of one element of a block, and a cache line so that elements keep out of each other's way. */
  kernelFloats: i32;
  /** Floats from the kernel of one channel to the next, for the source and for the output. */
  stride: i32;
  outStride: i32;
  isBackwards: i32;
  /** Whether the inputs are the factor that is transformed for all threads. */
  sharesInputs: i32;
  /** Or 0. */
  bias: usize;
  /** Where in a thread's scratch the parts begin: the copies of the source, the work of the transforms, the other factor, the products. */
  workAt: usize;
  factorAt: usize;
  productsAt: usize;

  /** The panel of output channels that a block begins with. */
  firstKernelPanel(block: i32): i32 {
    return min(block * this.panelsPerBlock, this.kernelPanels);
  }
}

/** G g G' of a block of output channels for all channels, in the order in which the kernels lie in memory. */
export function transformKernels(
  plan: WinogradPlan,
  weight: usize,
  block: i32,
  kernels: usize,
  own: usize,
): void {
  const work = own + plan.workAt;
  let first = rowOfPanel(plan.firstKernelPanel(block), plan.sixes);
  const end = rowOfPanel(plan.firstKernelPanel(block + 1), plan.sixes);
  const start = kernels - bytes(first * plan.channels);
  // Kernels of a channel lie together if backwards, else those of an output channel: two panels of six are whole cache lines.
  const most = plan.isBackwards !== 0 ? end - first : 12;
  for (; first < end; first += most) {
    const last = min(first + most, end);
    for (let c = 0; c < plan.channels; c++) {
      for (let k = first; k < last; k += 4) transformFour(plan, weight, k, last, c, work, start);
    }
  }
}

/**
 * Those of channel c and output channels from k to at most `end`; the last output channel stands in for those that are missing.
 * A panel of six begins with every second four of them or in the middle of one.
 */
function transformFour(
  plan: WinogradPlan,
  weight: usize,
  k: i32,
  end: i32,
  c: i32,
  work: usize,
  kernels: usize,
): void {
  const next = bytes(plan.kernelFloats);
  const to = kernels + placeOf(plan, k, c);
  const second = k + 2 < end ? kernels + placeOf(plan, k + 2, c) : to;
  if (second === to + 8) {
    transformRows(plan, weight, k, c, work, to, next);
    return;
  }
  const halves = work + halvesAt;
  transformRows(plan, weight, k, c, work, halves, 16);
  storeHalves(halves, plan.elements, to, second, next);
}

/** Where in the work of the transforms the halves are: behind what the transforms of kernels need. */
const halvesAt: usize = 448;

/** In bytes, from the first element of output channel 0. */
function placeOf(plan: WinogradPlan, k: i32, c: i32): usize {
  const rows = rowsOfPanel(panelOfRow(k, plan.sixes), plan.sixes);
  return bytes(placeInPanels(k, plan.sixes, plan.channels) + c * rows);
}

function transformRows(
  plan: WinogradPlan,
  weight: usize,
  k: i32,
  c: i32,
  work: usize,
  to: usize,
  next: usize,
): void {
  const isBackwards = plan.isBackwards !== 0;
  const last = plan.outChannels - 1;
  weight += bytes(c * plan.stride);
  const g0 = weight + bytes(min(k, last) * plan.outStride);
  const g1 = weight + bytes(min(k + 1, last) * plan.outStride);
  const g2 = weight + bytes(min(k + 2, last) * plan.outStride);
  const g3 = weight + bytes(min(k + 3, last) * plan.outStride);
  if (plan.tile === 4) transformKernel4x4(g0, g1, g2, g3, isBackwards, work, to, next);
  else transformKernel2x2(g0, g1, g2, g3, isBackwards, work, to, next);
}

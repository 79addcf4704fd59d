import type { Backend, MatmulLayout } from "../backend.ts";
import { cutEvenly, groupUnits, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

/** Columns and depth of b that a thread packs at a time: 64 KiB, read once for every four rows of a. */
const mostColumns = 64;
const mostDepth = 256;
/** Work is cut into this many units where there is enough of it, whatever the number of threads. */
const enoughUnits = 32;
/** Rows that repay packing the same columns of b once more. */
const fewestRows = 32;
/** Products of K that repay adding up one more partial result. */
const fewestDepth = 512;
/** Multiply-adds that one chunk takes, where units are small: several us of work. */
const chunkWork = 131072;

/** Matrix products: both factors are packed into panels, which 4 x 8 elements of the product at a time are summed from. */
export function matmulKernels(machine: Machine): Pick<Backend, "matmul"> {
  return {
    matmul(a, b, out, layout) {
      multiply(machine, layout, { a: addressOf(a), b: addressOf(b), out: addressOf(out) });
    },
  };
}

interface Addresses {
  readonly a: number;
  readonly b: number;
  readonly out: number;
}

function multiply(machine: Machine, layout: MatmulLayout, { a, b, out }: Addresses): void {
  const { batch, M, N, K, aStep, bStep } = layout;
  const cut = cutOf(layout);
  const panels = (aStep === 0 ? Math.min(batch, 1) : batch) * Math.ceil(M / 4);
  const packing = groupUnits(panels, 4 * K);
  const partFloats = cut.splits > 1 ? cut.splits * batch * M * N : 0;
  // The words of `MatmulPlan` in kernels/matmul.ts.
  const words = [
    ...[batch, M, N, K],
    ...[aStep, ...(layout.transposeA ? [1, M] : [K, 1])],
    ...[bStep, ...(layout.transposeB ? [1, K] : [N, 1])],
    ...[cut.rows, cut.rowBlocks, cut.columns, cut.columnBlocks, cut.splits, cut.splitDepth],
    ...[mostDepth, panels, packing.perChunk, cut.units, cut.unitsPerChunk],
  ];
  withJob(machine, words, (plan) => {
    machine.temporary((panels * 4 * K + partFloats) * 4, (packed) => {
      machine.run("matmulPackRows", packing.chunks, [plan, a, packed]);
      const parts = packed + panels * 4 * K * 4;
      const scratchBytes = mostDepth * cut.columns * 4;
      const scratch = machine.scratch(scratchBytes);
      const target = cut.splits > 1 ? parts : out;
      machine.run("matmul", cut.chunks, [plan, packed, b, target, scratch, scratchBytes]);
      if (cut.splits === 1) return;
      const count = batch * M * N;
      const sums = cutEvenly(count);
      machine.run("matmulSumSplits", sums.chunks, [parts, cut.splits, count, out, sums.perChunk]);
    });
  });
}

/** How the work is cut, by sizes alone: by products and columns, then by rows, and along the sum where that leaves too few units. */
function cutOf({ batch, M, N, K }: MatmulLayout) {
  const columnBlocks = Math.ceil(N / mostColumns);
  const columns = Math.ceil(N / Math.max(columnBlocks, 1) / 8) * 8;
  const rowsWanted = Math.ceil((M * columnBlocks * batch) / enoughUnits);
  const rows = Math.ceil(Math.max(rowsWanted, fewestRows) / 4) * 4;
  const rowBlocks = Math.ceil(M / rows);
  const blocks = batch * rowBlocks * columnBlocks;
  const splitsWanted = Math.min(enoughUnits / blocks, K / fewestDepth);
  // Whole depth blocks, because a is packed by these.
  const depthBlocks = Math.max(1, Math.ceil(K / mostDepth));
  const splitBlocks = Math.ceil(depthBlocks / Math.max(1, Math.floor(splitsWanted)));
  const splits = Math.ceil(depthBlocks / splitBlocks);
  const units = blocks * splits;
  const unitWork = Math.min(rows, M) * columns * Math.min(splitBlocks * mostDepth, K);
  const unitsPerChunk = Math.max(1, Math.floor(chunkWork / Math.max(1, unitWork)));
  return {
    ...{ columns, columnBlocks, rows, rowBlocks, splits, splitDepth: splitBlocks * mostDepth },
    ...{ units, unitsPerChunk, chunks: Math.ceil(units / unitsPerChunk) },
  };
}

import type { Backend, MatmulLayout } from "../backend.ts";
import { cutEvenly, evenly, groupUnits, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { memoize } from "./memoize.ts";
import { panelsOf } from "./panels.ts";

/** Depth of b that a thread packs at a time, and columns: sums that are short leave room for more of these, which makes runs longer. */
const mostDepth = 512;
const mostColumns = 64;
const mostShortColumns = 128;
/** Floats of packed b that stay in a first-level cache for all panels of a. */
const groupFloats = 8192;
/** Work is cut into this many units where there is enough of it, whatever the number of threads. */
const enoughUnits = 32;
/** Rows that repay packing the same columns of b once more, and rows of a that stay in a second-level cache. */
const fewestRows = 72;
const mostRows = 576;
/** Products of K that repay adding up one more partial result. */
const fewestDepth = 768;
/** Multiply-adds that one chunk takes, where units are small: several us of work. */
const chunkWork = 131072;
/** Room for a tile of the product, in bytes. */
const tileBytes = 192;

/** Matrix products: both factors are packed into panels, which 6 x 8 elements of the product at a time are summed from. */
export function matmulKernels(machine: Machine): Pick<Backend, "matmul"> {
  return {
    matmul(a, b, out, layout) {
      const addresses = { a: addressOf(a), b: addressOf(b), out: addressOf(out), bias: 0 };
      multiply(machine, productOf(layout), addresses);
    },
  };
}

/** Products of matrices that may lie in runs; strides in elements, as in kernels/matmul-plan.ts. All of `out` together is dense. */
export interface Product {
  readonly batch: number;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly a: { readonly step: number; readonly row: number; readonly depth: number };
  readonly b: { readonly step: number; readonly depth: number; readonly column: number };
  readonly out: { readonly step: number; readonly row: number };
  /** Columns that lie evenly, and how far behind their first the next ones of b and out begin. */
  readonly columnRun: { readonly length: number; readonly b: number; readonly out: number };
  /** The same for the steps of the sum. */
  readonly depthRun: { readonly length: number; readonly a: number; readonly b: number };
}

interface Addresses {
  readonly a: number;
  readonly b: number;
  readonly out: number;
  /** (M) what is added to each row; 0 for nothing. */
  readonly bias: number;
}

function productOf(layout: MatmulLayout): Product {
  const { batch, M, N, K, aStep, bStep, transposeA, transposeB } = layout;
  return {
    ...{ batch, M, N, K },
    a: { step: aStep, row: transposeA ? 1 : K, depth: transposeA ? M : 1 },
    b: { step: bStep, depth: transposeB ? 1 : N, column: transposeB ? K : 1 },
    out: { step: M * N, row: N },
    columnRun: { length: Math.max(N, 1), b: 0, out: 0 },
    depthRun: { length: Math.max(K, 1), a: 0, b: 0 },
  };
}

/** out = a * b + bias. */
export function multiply(machine: Machine, product: Product, { a, b, out, bias }: Addresses): void {
  const { batch, M, N, K } = product;
  const cut = cutFor(product);
  const panels = panelsOf(M);
  const matrices = product.a.step === 0 ? Math.min(batch, 1) : batch;
  const packings = matrices * panels.count;
  const packing = groupUnits(packings, 6 * K);
  const packedFloats = matrices * panels.rows * (K + cut.depthBlocks);
  const partFloats = cut.splits > 1 ? cut.splits * batch * M * N : 0;
  machine.temporary((packedFloats + partFloats + mostDepth) * 4, (packed) => {
    const parts = packed + packedFloats * 4;
    const offsets = parts + partFloats * 4;
    machine.memory.i32.set(stepOffsets, offsets / 4);
    const isSplit = cut.splits > 1;
    // The words of `MatmulPlan` in kernels/matmul-plan.ts.
    const words = [
      ...[batch, M, N, K],
      ...[product.a.step, product.a.row, product.a.depth, product.depthRun.a],
      ...[product.b.step, product.b.depth, product.depthRun.b],
      ...[product.b.column, product.columnRun.b],
      ...[product.out.step, product.out.row, product.columnRun.out, batch * M * N],
      ...[product.depthRun.length, product.columnRun.length],
      ...[panels.sixes, panels.count, cut.panels, cut.panelBlocks, cut.columns],
      ...[cut.columnBlocks, cut.columnsPerGroup],
      ...[cut.splits, cut.splitDepth, mostDepth, packings, packing.perChunk],
      ...[cut.units, cut.unitsPerChunk, offsets, bias],
    ];
    withJob(machine, words, (plan) => {
      machine.run("matmulPackRows", packing.chunks, [plan, a, packed]);
      const scratchBytes = mostDepth * cut.columns * 4 + tileBytes;
      const scratch = machine.scratch(scratchBytes);
      const to = isSplit ? parts : out;
      machine.run("matmul", cut.chunks, [plan, packed, b, to, scratch, scratchBytes]);
      if (!isSplit) return;
      const count = batch * M * N;
      const sums = cutEvenly(count);
      machine.run("matmulSumSplits", sums.chunks, [parts, cut.splits, count, out, sums.perChunk]);
    });
  });
}

/** Panels of b: 32 bytes from one step to the next. */
const stepOffsets = Int32Array.from({ length: mostDepth }, (_, step) => 32 * step);

const cutFor = memoize(({ batch, M, N, K }: Product) => [batch, M, N, K], cutOf);

/**
 * How the work is cut, by sizes alone: by products, columns and as many rows as a cache takes; where that leaves too few units along
 * the sum, and where that is too short by rows.
 */
function cutOf({ batch, M, N, K }: Product) {
  const { columns, columnBlocks, columnsPerGroup } = columnsOf({ batch, N, K });
  const fewestBlocks = batch * columnBlocks * Math.ceil(M / mostRows);
  const splitsWanted = Math.min(enoughUnits / fewestBlocks, K / fewestDepth);
  // Whole depth blocks, because a is packed by these.
  const depthBlocks = Math.max(1, Math.ceil(K / mostDepth));
  const splitBlocks = Math.ceil(depthBlocks / Math.max(1, Math.floor(splitsWanted)));
  const splits = Math.ceil(depthBlocks / splitBlocks);
  const rowsWanted = Math.ceil((M * batch * columnBlocks * splits) / enoughUnits);
  const rows = Math.min(Math.max(rowsWanted, fewestRows), mostRows);
  const allPanels = panelsOf(M).count;
  const panels = evenly(Math.max(1, allPanels), Math.ceil(rows / 6));
  const panelBlocks = Math.ceil(allPanels / panels);
  const units = batch * columnBlocks * panelBlocks * splits;
  const unitWork = Math.min(6 * panels, M) * columns * Math.min(splitBlocks * mostDepth, K);
  const unitsPerChunk = Math.max(1, Math.floor(chunkWork / Math.max(1, unitWork)));
  return {
    ...{ columns, columnBlocks, columnsPerGroup, panels, panelBlocks, depthBlocks },
    ...{ splits, splitDepth: splitBlocks * mostDepth },
    ...{ units, unitsPerChunk, chunks: Math.ceil(units / unitsPerChunk) },
  };
}

function columnsOf({ batch, N, K }: Pick<Product, "batch" | "N" | "K">) {
  const depth = Math.min(Math.max(K, 1), mostDepth);
  const fitting = Math.min((mostColumns * mostDepth) / depth, mostShortColumns);
  const most = Math.max(mostColumns, Math.min(fitting, (batch * N) / (4 * enoughUnits)));
  const columnBlocks = Math.ceil(N / most);
  const columns = Math.ceil(N / Math.max(columnBlocks, 1) / 8) * 8;
  const columnsPerGroup = 8 * Math.max(1, Math.floor(groupFloats / 8 / depth));
  return { columns, columnBlocks, columnsPerGroup };
}

import { tile4x8, tile6x8 } from "./conv-tiles";
import { bytes } from "./floats";
import { addTile } from "./matmul-tile";
import { packRuns, rowOfPanel, rowsOfPanel } from "./panels";
import { highHalf, joinHalves, loadPart, lowHalf, storePart } from "./simd";

/**
 * A batch of products out[p] = a[p] * b[p], written by the host (../matmul.ts) as 32-bit words in the order of the fields. Strides are
 * in floats: a[p, m, k] is at p * aStep + m * aRow + k * aDepth and b[p, k, n] at p * bStep + k * bDepth + n * bColumn.
 *
 * Images are matrices in runs: after `columnRun` columns b and out go on bColumnRun and outColumnRun floats further on, or after
 * `depthRun` steps of the sum a and b go on aRun and bRun further on. Only one of the two is shorter than N or K.
 *
 * A unit of work is one split of K, one block of panels of rows and one block of columns of one product; every split has an out
 * of its own.
 */
class MatmulPlan {
  batch: i32;
  M: i32;
  N: i32;
  K: i32;
  aStep: i32;
  aRow: i32;
  aDepth: i32;
  aRun: i32;
  bStep: i32;
  bDepth: i32;
  bRun: i32;
  bColumn: i32;
  bColumnRun: i32;
  outStep: i32;
  outRow: i32;
  outColumnRun: i32;
  splitStep: i32;
  depthRun: i32;
  columnRun: i32;
  /** Of the rows (panels.ts). */
  sixes: i32;
  panels: i32;
  panelsPerBlock: i32;
  panelBlocks: i32;
  /** A multiple of 8. */
  columnsPerBlock: i32;
  columnBlocks: i32;
  splits: i32;
  depthPerSplit: i32;
  /** Of b that is packed at a time. */
  depthPerBlock: i32;
  /** Of all packed matrices together; one matrix serves the whole batch where aStep is 0. */
  packings: i32;
  packingsPerChunk: i32;
  units: i32;
  unitsPerChunk: i32;
  /** (depthPerBlock) bytes from a packed panel of b to its steps. */
  offsets: usize;
  /** (M) what is added to each row, or 0. */
  bias: usize;
}

/** Floats in front of the packed depth block that begins with step k. Every panel of it has a step more. */
function packedBlock(product: MatmulPlan, k: i32): i32 {
  const rows = rowOfPanel(product.panels, product.sixes);
  return rows * (k + k / product.depthPerBlock);
}

/** Floats of a whole packed matrix. */
function packedFloats(product: MatmulPlan): i32 {
  const blocks = max(1, (product.K + product.depthPerBlock - 1) / product.depthPerBlock);
  return rowOfPanel(product.panels, product.sixes) * (product.K + blocks);
}

/**
 * Packs each matrix of a into panels of rows, [depth block][panel][start, then k][row], as tile6x8 reads them; rows that complete
 * the last panel are zero. Sums start from the bias in the first block and from zero in the others.
 */
export function matmulPackRows(
  plan: usize,
  a: usize,
  packed: usize,
  chunk: i32,
  _thread: i32,
): void {
  const product = changetype<MatmulPlan>(plan);
  const first = chunk * product.packingsPerChunk;
  const end = min(first + product.packingsPerChunk, product.packings);
  for (let packing = first; packing < end; packing++) {
    const matrix = packing / product.panels;
    const from = a + bytes(matrix * product.aStep);
    const to = packed + bytes(matrix * packedFloats(product));
    packRowPanel(product, from, to, packing - matrix * product.panels);
  }
}

function packRowPanel(product: MatmulPlan, a: usize, packed: usize, panel: i32): void {
  const row = rowOfPanel(panel, product.sixes);
  const width = rowsOfPanel(panel, product.sixes);
  const lanes = min(width, product.M - row);
  const from = a + bytes(row * product.aRow);
  let k = 0;
  // At least once, for a sum over nothing.
  do {
    const depth = min(product.depthPerBlock, product.K - k);
    const to = packed + bytes(packedBlock(product, k) + row * (depth + 1));
    memory.fill(to, 0, bytes(width));
    if (product.bias !== 0 && k === 0) {
      memory.copy(to, product.bias + bytes(row), bytes(lanes));
    }
    packRuns(
      from,
      product.aRow,
      product.aDepth,
      product.aRun,
      product.depthRun,
      k,
      lanes,
      depth,
      width,
      to + bytes(width),
    );
    k += product.depthPerBlock;
  } while (k < product.K);
}

/**
 * out = a * b from packed a. b is packed into scratch block by block, in panels of eight columns; behind them is room for a tile.
 *
 * Numerics: float32 sums over `depthPerBlock` products, added up in float32.
 */
export function matmul(
  plan: usize,
  packedA: usize,
  b: usize,
  out: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const product = changetype<MatmulPlan>(plan);
  const panels = scratch + <usize>thread * <usize>scratchBytes;
  let unit = chunk * product.unitsPerChunk;
  const end = min(unit + product.unitsPerChunk, product.units);
  for (; unit < end; unit++) multiplyUnit(product, unit, packedA, b, out, panels);
}

function multiplyUnit(
  product: MatmulPlan,
  unit: i32,
  packedA: usize,
  b: usize,
  out: usize,
  panels: usize,
): void {
  const firstPanel = (unit % product.panelBlocks) * product.panelsPerBlock;
  const place = unit / product.panelBlocks;
  const firstColumn = (place % product.columnBlocks) * product.columnsPerBlock;
  const rest = place / product.columnBlocks;
  const split = rest % product.splits;
  const p = rest / product.splits;
  const endDepth = min((split + 1) * product.depthPerSplit, product.K);
  const endColumn = min(firstColumn + product.columnsPerBlock, product.N);
  if (product.aStep !== 0) packedA += bytes(p * packedFloats(product));
  b += bytes(p * product.bStep);
  out += bytes(split * product.splitStep + p * product.outStep);
  let k = split * product.depthPerSplit;
  let isFirst = true;
  // At least once, so that a sum over nothing is stored as 0.
  do {
    const depth = min(product.depthPerBlock, endDepth - k);
    packColumns(product, b, firstColumn, endColumn, k, depth, panels);
    const a = packedA + bytes(packedBlock(product, k));
    for (let n = firstColumn; n < endColumn; n += 8) {
      const panel = panels + bytes((n - firstColumn) * depth);
      const tile = panels + bytes(product.columnsPerBlock * product.depthPerBlock);
      addColumns(product, a, panel, depth, out, firstPanel, n, isFirst, tile);
    }
    isFirst = false;
    k += depth;
  } while (k < endDepth);
}

function packColumns(
  product: MatmulPlan,
  b: usize,
  firstColumn: i32,
  endColumn: i32,
  k: i32,
  depth: i32,
  to: usize,
): void {
  for (let n = firstColumn; n < endColumn; n += 8, to += bytes(8 * depth)) {
    const lanes = min(8, endColumn - n);
    const run = n / product.columnRun;
    const inRun = n - run * product.columnRun;
    if (inRun + lanes > product.columnRun) {
      packAcross(product, b + bytes(k * product.bDepth), n, lanes, depth, to);
      continue;
    }
    packRuns(
      b + bytes(run * product.bColumnRun + inRun * product.bColumn),
      product.bColumn,
      product.bDepth,
      product.bRun,
      product.depthRun,
      k,
      lanes,
      depth,
      8,
      to,
    );
  }
}

/** A panel of columns that lie in several runs. */
function packAcross(
  product: MatmulPlan,
  b: usize,
  firstColumn: i32,
  lanes: i32,
  depth: i32,
  to: usize,
): void {
  if (lanes < 8) memory.fill(to, 0, bytes(8 * depth));
  for (let lane = 0; lane < lanes; lane++, to += 4) {
    const run = (firstColumn + lane) / product.columnRun;
    const inRun = firstColumn + lane - run * product.columnRun;
    let from = b + bytes(run * product.bColumnRun + inRun * product.bColumn);
    for (let step = to, end = to + bytes(8 * depth); step < end; step += 32) {
      store<f32>(step, load<f32>(from));
      from += bytes(product.bDepth);
    }
  }
}

/** Adds a block's products to eight columns: their panel of b stays in the first-level cache for all rows. */
function addColumns(
  product: MatmulPlan,
  a: usize,
  panel: usize,
  depth: i32,
  out: usize,
  firstPanel: i32,
  column: i32,
  isFirst: bool,
  tile: usize,
): void {
  const lanes = min(8, product.N - column);
  const columnRun = product.columnRun;
  const run = column / columnRun;
  const inRun = column - run * columnRun;
  const isWhole = lanes === 8 && inRun + 8 <= columnRun;
  const columns = out + bytes(run * product.outColumnRun + inRun);
  const next = bytes(product.outRow);
  const end = min(firstPanel + product.panelsPerBlock, product.panels);
  for (let p = firstPanel; p < end; p++) {
    const row = rowOfPanel(p, product.sixes);
    const height = rowsOfPanel(p, product.sixes);
    const rows = min(height, product.M - row);
    const weights = a + bytes(row * (depth + 1));
    const at = columns + <usize>row * next;
    const isDirect = isFirst && isWhole && rows === height;
    const to = isDirect ? at : tile;
    const toNext: usize = isDirect ? next : 32;
    if (height === 6) tile6x8(panel, product.offsets, weights, depth, to, toNext);
    else tile4x8(panel, product.offsets, weights, depth, to, toNext);
    if (!isDirect) {
      const first = min(lanes, columnRun - inRun);
      addTile(tile, rows, 0, first, at, next, isFirst);
      for (let lane = first, from = at - bytes(inRun); lane < lanes; lane += columnRun) {
        from += bytes(product.outColumnRun);
        addTile(tile, rows, lane, min(columnRun, lanes - lane), from, next, isFirst);
      }
    }
  }
}

/** out = the sum of the `splits` outs, in order and in double precision, `perChunk` elements a chunk. */
export function matmulSumSplits(
  parts: usize,
  splits: i32,
  count: i32,
  out: usize,
  perChunk: i32,
  chunk: i32,
  _thread: i32,
): void {
  const end = min((chunk + 1) * perChunk, count);
  for (let i = chunk * perChunk; i < end; i += 4) {
    const lanes = min(4, end - i);
    let low = f64x2.splat(0);
    let high = low;
    for (let split = 0; split < splits; split++) {
      const values = loadPart(parts + bytes(split * count + i), lanes, 0);
      low = f64x2.add(low, lowHalf(values));
      high = f64x2.add(high, highHalf(values));
    }
    storePart(out + bytes(i), lanes, joinHalves(low, high));
  }
}

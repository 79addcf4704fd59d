import { tile4x8, tile6x8 } from "./conv-tiles";
import { bytes } from "./floats";
import { packColumns } from "./matmul-columns";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { MatmulPlan } from "./matmul-plan";
import { addTile } from "./matmul-tile";
import { packRuns, rowOfPanel, rowsOfPanel } from "./panels";
import { highHalf, joinHalves, loadPart, lowHalf, storePart } from "./simd";

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
    const tile = panels + bytes(product.columnsPerBlock * product.depthPerBlock);
    for (let n = firstColumn; n < endColumn; n += product.columnsPerGroup) {
      const group = panels + bytes((n - firstColumn) * depth);
      const end = min(n + product.columnsPerGroup, endColumn);
      addColumns(product, a, group, depth, out, firstPanel, n, end, isFirst, tile);
    }
    isFirst = false;
    k += depth;
  } while (k < endDepth);
}

/**
 * Adds a block's products to a group of columns: their panels of b stay in the first-level cache for all rows, a panel of rows does
 * for all columns, and out is written in runs of whole cache lines.
 */
function addColumns(
  product: MatmulPlan,
  a: usize,
  panels: usize,
  depth: i32,
  out: usize,
  firstPanel: i32,
  firstColumn: i32,
  endColumn: i32,
  isFirst: bool,
  tile: usize,
): void {
  const end = min(firstPanel + product.panelsPerBlock, product.panels);
  const panelBytes = bytes(8 * depth);
  const run = firstColumn / product.columnRun;
  const inRun = firstColumn - run * product.columnRun;
  const columns = endColumn - firstColumn;
  const isWhole = isFirst && columns % 8 === 0 && inRun + columns <= product.columnRun;
  const next = bytes(product.outRow);
  const first = out + bytes(run * product.outColumnRun + inRun);
  for (let p = firstPanel; p < end; p++) {
    const row = rowOfPanel(p, product.sixes);
    const height = rowsOfPanel(p, product.sixes);
    const weights = a + bytes(row * (depth + 1));
    let panel = panels;
    if (isWhole && row + height <= product.M) {
      let to = first + <usize>row * next;
      for (const last = to + bytes(columns); to < last; to += 32, panel += panelBytes) {
        if (height === 6) tile6x8(panel, product.offsets, weights, depth, to, next);
        else tile4x8(panel, product.offsets, weights, depth, to, next);
      }
      continue;
    }
    for (let n = firstColumn; n < endColumn; n += 8, panel += panelBytes) {
      addProduct(product, weights, panel, depth, out, row, height, n, isFirst, tile);
    }
  }
}

/** Adds the product of one panel of rows and one of columns. */
function addProduct(
  product: MatmulPlan,
  weights: usize,
  panel: usize,
  depth: i32,
  out: usize,
  row: i32,
  height: i32,
  column: i32,
  isFirst: bool,
  tile: usize,
): void {
  const columnRun = product.columnRun;
  const run = column / columnRun;
  const inRun = column - run * columnRun;
  const lanes = min(8, product.N - column);
  const rows = min(height, product.M - row);
  const next = bytes(product.outRow);
  const at = out + bytes(run * product.outColumnRun + inRun) + <usize>row * next;
  const isDirect = isFirst && lanes === 8 && inRun + 8 <= columnRun && rows === height;
  const to = isDirect ? at : tile;
  const toNext: usize = isDirect ? next : 32;
  if (height === 6) tile6x8(panel, product.offsets, weights, depth, to, toNext);
  else tile4x8(panel, product.offsets, weights, depth, to, toNext);
  if (isDirect) return;
  const first = min(lanes, columnRun - inRun);
  addTile(tile, rows, 0, first, at, next, isFirst);
  for (let lane = first, from = at - bytes(inRun); lane < lanes; lane += columnRun) {
    from += bytes(product.outColumnRun);
    addTile(tile, rows, lane, min(columnRun, lanes - lane), from, next, isFirst);
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

import { bytes } from "./floats";
import { packPanel } from "./panels";
import { loadPart, madd, storePart } from "./simd";

/**
 * A batch of products out[p] = a[p] * b[p], written by the host (../matmul.ts) as 32-bit words in the order of the fields. Strides are
 * in floats: a[p, m, k] is at p * aStep + m * aRow + k * aDepth and b[p, k, n] at p * bStep + k * bDepth + n * bColumn.
 *
 * A unit of work is one split of K, one block of rows and one of columns of one product; every split has an out (batch, M, N) of
 * its own.
 */
class MatmulPlan {
  batch: i32;
  M: i32;
  N: i32;
  K: i32;
  aStep: i32;
  aRow: i32;
  aDepth: i32;
  bStep: i32;
  bDepth: i32;
  bColumn: i32;
  /** A multiple of 4. */
  rowsPerBlock: i32;
  rowBlocks: i32;
  /** A multiple of 8. */
  columnsPerBlock: i32;
  columnBlocks: i32;
  splits: i32;
  depthPerSplit: i32;
  /** Of b that is packed at a time. */
  depthPerBlock: i32;
  /** Of all packed matrices together; one matrix serves the whole batch where aStep is 0. */
  panels: i32;
  panelsPerChunk: i32;
  units: i32;
  unitsPerChunk: i32;
}

/** Floats that a packed matrix takes. */
function packedFloats(product: MatmulPlan): i32 {
  return ((product.M + 3) & ~3) * product.K;
}

/**
 * Packs each matrix of a into panels of four rows, [depth block][panel][k][row], so that what a unit reads of a depth block is one
 * run; rows that complete the last panel are zero.
 */
export function matmulPackRows(
  plan: usize,
  a: usize,
  packed: usize,
  chunk: i32,
  _thread: i32,
): void {
  const product = changetype<MatmulPlan>(plan);
  const perMatrix = (product.M + 3) >> 2;
  let panel = chunk * product.panelsPerChunk;
  const end = min(panel + product.panelsPerChunk, product.panels);
  while (panel < end) {
    const matrix = panel / perMatrix;
    const inMatrix = panel - matrix * perMatrix;
    const count = min(perMatrix - inMatrix, end - panel);
    const from = a + bytes(matrix * product.aStep);
    packRows(product, from, packed + bytes(matrix * packedFloats(product)), inMatrix, count);
    panel += count;
  }
}

/** `count` panels of one matrix. */
function packRows(product: MatmulPlan, a: usize, packed: usize, panel: i32, count: i32): void {
  const end = min((panel + count) << 2, product.M);
  for (let m = panel << 2; m < end; m += 4) {
    const rows = min(4, product.M - m);
    for (let k = 0; k < product.K; k += product.depthPerBlock) {
      const depth = min(product.depthPerBlock, product.K - k);
      const from = a + bytes(m * product.aRow + k * product.aDepth);
      packPanel(
        from,
        product.aRow,
        product.aDepth,
        rows,
        depth,
        4,
        packedRow(product, packed, m, k, depth),
      );
    }
  }
}

/** Where the panel that begins with row m begins in the depth block from k on. */
function packedRow(product: MatmulPlan, packed: usize, m: i32, k: i32, depth: i32): usize {
  return packed + bytes(k * ((product.M + 3) & ~3) + m * depth);
}

/**
 * out = a * b from packed a. b is packed into scratch block by block, in panels of eight columns.
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
  const firstRow = (unit % product.rowBlocks) * product.rowsPerBlock;
  const firstColumn = ((unit / product.rowBlocks) % product.columnBlocks) * product.columnsPerBlock;
  const rest = unit / (product.rowBlocks * product.columnBlocks);
  const split = rest % product.splits;
  const p = rest / product.splits;
  const firstDepth = split * product.depthPerSplit;
  const endDepth = min(firstDepth + product.depthPerSplit, product.K);
  const columns = min(product.columnsPerBlock, product.N - firstColumn);
  if (product.aStep !== 0) packedA += bytes(p * packedFloats(product));
  b += bytes(p * product.bStep + firstColumn * product.bColumn);
  out += bytes((split * product.batch + p) * product.M * product.N + firstColumn);
  let k = firstDepth;
  // At least once, so that a sum over nothing is stored as 0.
  do {
    const depth = min(product.depthPerBlock, endDepth - k);
    packColumns(product, b + bytes(k * product.bDepth), columns, depth, panels);
    const isFirst = k === firstDepth;
    const a = packedRow(product, packedA, firstRow, k, depth);
    addBlock(product, a, panels, out, firstRow, columns, depth, isFirst);
    k += depth;
  } while (k < endDepth);
}

function packColumns(
  product: MatmulPlan,
  from: usize,
  columns: i32,
  depth: i32,
  panels: usize,
): void {
  for (let n = 0; n < columns; n += 8) {
    const lanes = min(8, columns - n);
    packPanel(from, product.bColumn, product.bDepth, lanes, depth, 8, panels);
    from += bytes(8 * product.bColumn);
    panels += bytes(8 * depth);
  }
}

/** Adds a block's products to the rows from `firstRow` on; a panel of b stays in the first-level cache for all of them. */
function addBlock(
  product: MatmulPlan,
  a: usize,
  panels: usize,
  out: usize,
  firstRow: i32,
  columns: i32,
  depth: i32,
  isFirst: bool,
): void {
  const endRow = min(firstRow + product.rowsPerBlock, product.M);
  for (let n = 0; n < columns; n += 8) {
    for (let m = firstRow; m < endRow; m += 4) {
      const panel = a + bytes((m - firstRow) * depth);
      const tile = out + bytes(m * product.N + n);
      addTile(
        panel,
        panels,
        depth,
        tile,
        product.N,
        min(4, endRow - m),
        min(8, columns - n),
        isFirst,
      );
    }
    panels += bytes(8 * depth);
  }
}

/** Up to four rows by eight columns: eight accumulators hide the latency of the multiply-adds. */
function addTile(
  a: usize,
  b: usize,
  depth: i32,
  out: usize,
  rowFloats: i32,
  rows: i32,
  columns: i32,
  isFirst: bool,
): void {
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  for (const end = a + bytes(4 * depth); a < end; a += 16, b += 32) {
    const low = v128.load(b);
    const high = v128.load(b, 16);
    let w = v128.load32_splat(a);
    a0 = madd(w, low, a0);
    a1 = madd(w, high, a1);
    w = v128.load32_splat(a, 4);
    b0 = madd(w, low, b0);
    b1 = madd(w, high, b1);
    w = v128.load32_splat(a, 8);
    c0 = madd(w, low, c0);
    c1 = madd(w, high, c1);
    w = v128.load32_splat(a, 12);
    d0 = madd(w, low, d0);
    d1 = madd(w, high, d1);
  }
  const next = bytes(rowFloats);
  addRow(out, a0, a1, columns, isFirst);
  if (rows > 1) addRow(out + next, b0, b1, columns, isFirst);
  if (rows > 2) addRow(out + 2 * next, c0, c1, columns, isFirst);
  if (rows > 3) addRow(out + 3 * next, d0, d1, columns, isFirst);
}

function addRow(out: usize, low: v128, high: v128, columns: i32, isFirst: bool): void {
  if (columns < 8) {
    addPart(out, low, min(4, columns), isFirst);
    if (columns > 4) addPart(out + 16, high, columns - 4, isFirst);
    return;
  }
  v128.store(out, isFirst ? low : f32x4.add(v128.load(out), low));
  v128.store(out, isFirst ? high : f32x4.add(v128.load(out, 16), high), 16);
}

function addPart(out: usize, values: v128, columns: usize, isFirst: bool): void {
  storePart(out, columns, isFirst ? values : f32x4.add(loadPart(out, columns, 0), values));
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
  for (let i = chunk * perChunk; i < end; i++) {
    let sum: f64 = 0;
    for (let split = 0; split < splits; split++) sum += load<f32>(parts + bytes(split * count + i));
    store<f32>(out + bytes(i), <f32>sum);
  }
}

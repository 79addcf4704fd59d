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
export class MatmulPlan {
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
  /** Columns whose panels stay in a first-level cache for all rows, a multiple of 8. */
  columnsPerGroup: i32;
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

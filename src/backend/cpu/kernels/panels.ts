import { bytes } from "./floats";

/**
 * How rows, or output channels, are taken: six at a time as far as possible, the last ones by four where that leaves fewer
 * places empty (../panels.ts).
 */

/** The first row of a panel, of which the first `sixes` have six rows. */
export function rowOfPanel(panel: i32, sixes: i32): i32 {
  return panel <= sixes ? 6 * panel : 4 * panel + 2 * sixes;
}

export function rowsOfPanel(panel: i32, sixes: i32): i32 {
  return panel < sixes ? 6 : 4;
}

export function panelOfRow(row: i32, sixes: i32): i32 {
  return row < 6 * sixes ? row / 6 : sixes + (row - 6 * sixes) / 4;
}

/** Where step 0 of a row is in panels of `depth` steps one behind the other, as [panel][step][row], in floats. */
export function placeInPanels(row: i32, sixes: i32, depth: i32): i32 {
  const first = rowOfPanel(panelOfRow(row, sixes), sixes);
  return first * depth + (row - first);
}

/**
 * Packs `depth` steps of `lanes` (at most `width`: 4, 6 or 8) one behind the other, as [step][lane]; missing lanes become zero.
 * Lane l of step d comes from `from` + l * laneStride + d * depthStride floats.
 */
function packPanel(
  from: usize,
  laneStride: i32,
  depthStride: i32,
  lanes: i32,
  depth: i32,
  width: i32,
  to: usize,
): void {
  if (lanes < width) packLanes(from, laneStride, depthStride, lanes, depth, width, to);
  else if (laneStride === 1) packRows(from, depthStride, depth, width, to);
  else packTransposed(from, laneStride, depthStride, depth, width, to);
}

/** `packPanel` from step `first` on, where after every `run` steps the next lies `runStride` floats behind the run's first. */
export function packRuns(
  from: usize,
  laneStride: i32,
  depthStride: i32,
  runStride: i32,
  run: i32,
  first: i32,
  lanes: i32,
  depth: i32,
  width: i32,
  to: usize,
): void {
  for (let d = first; d < first + depth; ) {
    const before = d / run;
    const inRun = d - before * run;
    const count = min(run - inRun, first + depth - d);
    const at = from + bytes(before * runStride + inRun * depthStride);
    packPanel(at, laneStride, depthStride, lanes, count, width, to);
    to += bytes(count * width);
    d += count;
  }
}

/** Steps are runs of lanes. */
function packRows(from: usize, depthStride: i32, depth: i32, width: i32, to: usize): void {
  for (let d = 0; d < depth; d++) {
    v128.store(to, v128.load(from));
    if (width === 8) v128.store(to, v128.load(from, 16), 16);
    if (width === 6) store<u64>(to, load<u64>(from, 16), 16);
    from += bytes(depthStride);
    to += bytes(width);
  }
}

/** Lanes are runs of steps where depthStride is 1: four by four at a time, the last two of six by two. */
function packTransposed(
  from: usize,
  laneStride: i32,
  depthStride: i32,
  depth: i32,
  width: i32,
  to: usize,
): void {
  const whole = depthStride === 1 ? depth & ~3 : 0;
  const next = bytes(laneStride);
  for (let d = 0; d < whole; d += 4) {
    const source = from + bytes(d);
    const target = to + bytes(d * width);
    transpose4(source, next, target, bytes(width));
    if (width === 8) transpose4(source + 4 * next, next, target + 16, bytes(width));
    if (width === 6) transpose2(source + 4 * next, next, target + 16, bytes(width));
  }
  from += bytes(whole * depthStride);
  to += bytes(whole * width);
  packLanes(from, laneStride, depthStride, width, depth - whole, width, to);
}

/** Transposes a block of 4 x 4 floats between rows that lie `stride` and `toStride` bytes apart. */
function transpose4(from: usize, stride: usize, to: usize, toStride: usize): void {
  const a = v128.load(from);
  const b = v128.load(from + stride);
  const c = v128.load(from + 2 * stride);
  const d = v128.load(from + 3 * stride);
  const ab01 = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
  const ab23 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  const cd01 = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
  const cd23 = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(ab01, cd01, 0, 1, 4, 5));
  v128.store(to + toStride, v128.shuffle<f32>(ab01, cd01, 2, 3, 6, 7));
  v128.store(to + 2 * toStride, v128.shuffle<f32>(ab23, cd23, 0, 1, 4, 5));
  v128.store(to + 3 * toStride, v128.shuffle<f32>(ab23, cd23, 2, 3, 6, 7));
}

/** The same for 2 rows of 4 floats. */
function transpose2(from: usize, stride: usize, to: usize, toStride: usize): void {
  const a = v128.load(from);
  const b = v128.load(from + stride);
  const first = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
  const second = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  v128.store64_lane(to, first, 0);
  v128.store64_lane(to + toStride, first, 1);
  v128.store64_lane(to + 2 * toStride, second, 0);
  v128.store64_lane(to + 3 * toStride, second, 1);
}

function packLanes(
  from: usize,
  laneStride: i32,
  depthStride: i32,
  lanes: i32,
  depth: i32,
  width: i32,
  to: usize,
): void {
  for (let d = 0; d < depth; d++) {
    for (let lane = 0; lane < width; lane++, to += 4) {
      const source = from + bytes(lane * laneStride + d * depthStride);
      store<f32>(to, lane < lanes ? load<f32>(source) : 0);
    }
  }
}

/** Takes vectors of four rows apart: their first halves go to `to`, the second ones to `second`, each `next` bytes behind the one before. */
export function storeHalves(from: usize, count: i32, to: usize, second: usize, next: usize): void {
  for (let i = 0; i < count; i++, from += 16, to += next, second += next) {
    const rows = v128.load(from);
    v128.store64_lane(second, rows, 1);
    // Where there is no second half, both go to the same place.
    v128.store64_lane(to, rows, 0);
  }
}

import { bytes } from "./floats";

/**
 * Packs `depth` steps of up to `width` lanes (4 or 8) one behind the other, as [step][lane]; missing lanes become zero. Lane l
 * of step d comes from `from` + l * laneStride + d * depthStride floats.
 */
export function packPanel(
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

/** Steps are runs of lanes. */
function packRows(from: usize, depthStride: i32, depth: i32, width: i32, to: usize): void {
  for (let d = 0; d < depth; d++) {
    v128.store(to, v128.load(from));
    if (width === 8) v128.store(to, v128.load(from, 16), 16);
    from += bytes(depthStride);
    to += bytes(width);
  }
}

/** Lanes are runs of steps where depthStride is 1: four by four at a time. */
function packTransposed(
  from: usize,
  laneStride: i32,
  depthStride: i32,
  depth: i32,
  width: i32,
  to: usize,
): void {
  const whole = depthStride === 1 ? depth & ~3 : 0;
  for (let d = 0; d < whole; d += 4) {
    for (let lane = 0; lane < width; lane += 4) {
      const source = from + bytes(lane * laneStride + d);
      transpose4(source, bytes(laneStride), to + bytes(d * width + lane), bytes(width));
    }
  }
  packLanes(
    from + bytes(whole * depthStride),
    laneStride,
    depthStride,
    width,
    depth - whole,
    width,
    to + bytes(whole * width),
  );
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

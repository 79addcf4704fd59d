import { copyRows, isNear, RowsPlan } from "./conv-depthwise-rows";
import { bytes } from "./floats";
import { madd, storePart } from "./simd";

/**
 * One run of `depthwise`, written by the host (../conv-depthwise.ts) as 32-bit words in the order of the fields. A unit of work
 * is one block of output rows of one group of one image.
 */
class DepthwisePlan extends RowsPlan {
  /** Taps in the order last to first: the gradient of x. */
  isMirrored: i32;
  bias: usize;
  units: i32;
  unitsPerChunk: i32;
}

/**
 * Convolution of kernel 3 x 3 with one input channel in each group; also the gradient of x where each group has one output channel
 * too. A tile is four outputs of a row, the last one of a row overlaps the one before it.
 *
 * Numerics: one float32 sum over the taps in order, starting from the bias.
 */
export function depthwise(
  plan: usize,
  x: usize,
  weights: usize,
  y: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<DepthwisePlan>(plan);
  const image = scratch + <usize>thread * <usize>scratchBytes;
  memory.fill(image, 0, conv.imageBytes);
  const first = chunk * conv.unitsPerChunk;
  const end = min(first + conv.unitsPerChunk, conv.units);
  for (let unit = first; unit < end; unit++) {
    const plane = unit / conv.rowBlocks;
    const firstRow = (unit % conv.rowBlocks) * conv.rowsPerBlock;
    const rows = min(conv.rowsPerBlock, conv.outRows - firstRow);
    copyRows(conv, x + bytes(plane * conv.rows * conv.columns), image, firstRow, rows);
    for (let i = 0; i < conv.outs; i++) {
      const out = (plane * conv.outs + i) * conv.outRows + firstRow;
      const k = (plane % conv.groups) * conv.outs + i;
      const start: f32 = conv.bias === 0 ? 0 : load<f32>(conv.bias + bytes(k));
      const kernel = weights + bytes(9 * k);
      const to = y + bytes(out * conv.outColumns);
      if (isNear(conv) && rows > 1) convolvePairs(conv, image, kernel, to, rows, start);
      else convolveRows(conv, image, kernel, to, rows, start);
    }
  }
}

/** Weight `tap` of the plan's order, in all lanes. */
function weightOf(plan: DepthwisePlan, kernel: usize, tap: i32): v128 {
  return v128.load32_splat(kernel + bytes(plan.isMirrored ? 8 - tap : tap));
}

/** Two rows at a time, of outputs whose taps are neighbours. The last pair overlaps the one before it where rows are odd. */
function convolvePairs(
  plan: DepthwisePlan,
  image: usize,
  kernel: usize,
  out: usize,
  rows: i32,
  start: f32,
): void {
  const a0 = weightOf(plan, kernel, 0);
  const a1 = weightOf(plan, kernel, 1);
  const a2 = weightOf(plan, kernel, 2);
  const b0 = weightOf(plan, kernel, 3);
  const b1 = weightOf(plan, kernel, 4);
  const b2 = weightOf(plan, kernel, 5);
  const c0 = weightOf(plan, kernel, 6);
  const c1 = weightOf(plan, kernel, 7);
  const c2 = weightOf(plan, kernel, 8);
  const pitch = bytes(plan.pitch);
  const end = bytes(plan.outColumns);
  const last: usize = end < 16 ? 0 : end - 16;
  for (let row = 0; row < rows; row += 2) {
    const first: usize = min(row, rows - 2);
    const rowA = image + first * pitch;
    const to = out + first * end;
    for (let q: usize = 0; q < end; q += 16) {
      const at = min(q, last);
      let from = rowA + at;
      let x = v128.load(from);
      let high = madd(a0, x, f32x4.splat(start));
      x = v128.load(from, 4);
      high = madd(a1, x, high);
      x = v128.load(from, 8);
      high = madd(a2, x, high);
      from += pitch;
      x = v128.load(from);
      high = madd(b0, x, high);
      let low = madd(a0, x, f32x4.splat(start));
      x = v128.load(from, 4);
      high = madd(b1, x, high);
      low = madd(a1, x, low);
      x = v128.load(from, 8);
      high = madd(b2, x, high);
      low = madd(a2, x, low);
      from += pitch;
      x = v128.load(from);
      high = madd(c0, x, high);
      low = madd(b0, x, low);
      x = v128.load(from, 4);
      high = madd(c1, x, high);
      low = madd(b1, x, low);
      x = v128.load(from, 8);
      high = madd(c2, x, high);
      low = madd(b2, x, low);
      from += pitch;
      low = madd(c0, v128.load(from), low);
      low = madd(c1, v128.load(from, 4), low);
      low = madd(c2, v128.load(from, 8), low);
      storeAt(to, at, end, high);
      storeAt(to + end, at, end, low);
    }
  }
}

/** Four outputs of a row, or as many as a row of `end` bytes has. */
function storeAt(out: usize, at: usize, end: usize, values: v128): void {
  if (end >= 16) v128.store(out + at, values);
  else storePart(out, end >> 2, values);
}

/** Row by row, for taps at any distance. */
function convolveRows(
  plan: DepthwisePlan,
  image: usize,
  kernel: usize,
  out: usize,
  rows: i32,
  start: f32,
): void {
  const a0 = weightOf(plan, kernel, 0);
  const a1 = weightOf(plan, kernel, 1);
  const a2 = weightOf(plan, kernel, 2);
  const b0 = weightOf(plan, kernel, 3);
  const b1 = weightOf(plan, kernel, 4);
  const b2 = weightOf(plan, kernel, 5);
  const c0 = weightOf(plan, kernel, 6);
  const c1 = weightOf(plan, kernel, 7);
  const c2 = weightOf(plan, kernel, 8);
  const begin = f32x4.splat(start);
  const step = bytes(plan.step * plan.pitch);
  const tap1 = plan.tap1;
  const tap2 = plan.tap2;
  const end = bytes(plan.outColumns);
  const last: usize = end < 16 ? 0 : end - 16;
  for (let row = 0; row < rows; row++) {
    for (let q: usize = 0; q < end; q += 16) {
      const at = min(q, last);
      let from = image + at;
      let sum = madd(a0, v128.load(from), begin);
      sum = madd(a1, v128.load(from + tap1), sum);
      sum = madd(a2, v128.load(from + tap2), sum);
      from += step;
      sum = madd(b0, v128.load(from), sum);
      sum = madd(b1, v128.load(from + tap1), sum);
      sum = madd(b2, v128.load(from + tap2), sum);
      from += step;
      sum = madd(c0, v128.load(from), sum);
      sum = madd(c1, v128.load(from + tap1), sum);
      sum = madd(c2, v128.load(from + tap2), sum);
      storeAt(out, at, end, sum);
    }
    image += bytes(plan.scale * plan.pitch);
    out += end;
  }
}

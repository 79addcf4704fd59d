import { copyRows, isNear, RowsPlan } from "./conv-depthwise-rows";
import { bytes } from "./floats";
import { loadPart, madd, sumLanes } from "./simd";

/**
 * One run of `depthwiseGradWeight`, written by the host (../conv-depthwise.ts) as 32-bit words in the order of the fields. A unit
 * of work is one group of one part of the images.
 */
class DepthwiseWeightPlan extends RowsPlan {
  images: i32;
  imagesPerPart: i32;
  units: i32;
  unitsPerChunk: i32;
  /** Where the vectors of sums lie in a thread's scratch, behind the rows. */
  sumsAt: usize;
  /** Blocks of rows that are summed in float32. */
  blocksPerSum: i32;
}

/**
 * The gradient of the weights of a depthwise convolution, as sums (parts, K, 9) in double precision for
 * `depthwiseSumWeights` to gather.
 *
 * Numerics: float32 sums of four lanes over about `blocksPerSum` blocks, all else in double precision.
 */
export function depthwiseGradWeight(
  plan: usize,
  dy: usize,
  x: usize,
  totals: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<DepthwiseWeightPlan>(plan);
  const image = scratch + <usize>thread * <usize>scratchBytes;
  memory.fill(image, 0, conv.imageBytes);
  const first = chunk * conv.unitsPerChunk;
  const end = min(first + conv.unitsPerChunk, conv.units);
  for (let unit = first; unit < end; unit++) {
    const total = totals + ((<usize>(unit * conv.outs * 9)) << 3);
    memory.fill(total, 0, conv.outs * 72);
    sumUnit(conv, dy, x, image, total, unit);
  }
}

function sumUnit(
  plan: DepthwiseWeightPlan,
  dy: usize,
  x: usize,
  image: usize,
  total: usize,
  unit: i32,
): void {
  const sums = image + plan.sumsAt;
  const firstImage = (unit / plan.groups) * plan.imagesPerPart;
  const end = min(firstImage + plan.imagesPerPart, plan.images);
  let blocks = 0;
  for (let n = firstImage; n < end; n++) {
    const plane = n * plan.groups + (unit % plan.groups);
    const source = x + bytes(plane * plan.rows * plan.columns);
    for (let row = 0; row < plan.outRows; row += plan.rowsPerBlock) {
      const rows = min(plan.rowsPerBlock, plan.outRows - row);
      copyRows(plan, source, image, row, rows);
      for (let i = 0; i < plan.outs; i++) {
        const out = (plane * plan.outs + i) * plan.outRows + row;
        const from = dy + bytes(out * plan.outColumns);
        sumBlock(plan, image, from, sums + 144 * i, rows);
      }
      if (++blocks === plan.blocksPerSum) {
        addUp(sums, total, 9 * plan.outs);
        blocks = 0;
      }
    }
  }
  addUp(sums, total, 9 * plan.outs);
}

/** Adds vectors of sums to totals, and begins them anew. */
function addUp(sums: usize, totals: usize, count: i32): void {
  for (let i = 0; i < count; i++, sums += 16, totals += 8) {
    store<f64>(totals, load<f64>(totals) + sumLanes(v128.load(sums)));
    v128.store(sums, f32x4.splat(0));
  }
}

function sumBlock(plan: RowsPlan, image: usize, dy: usize, sums: usize, rows: i32): void {
  const paired = isNear(plan) ? rows & ~1 : 0;
  if (paired > 0) sumPairs(plan, image, dy, sums, paired);
  if (paired === rows) return;
  image += bytes(paired * plan.scale * plan.pitch);
  sumRows(plan, image, dy + bytes(paired * plan.outColumns), sums, rows - paired);
}

/** Adds the products of rows of dy and their nine taps to nine vectors of sums. */
function sumRows(plan: RowsPlan, image: usize, dy: usize, sums: usize, rows: i32): void {
  let a0 = v128.load(sums);
  let a1 = v128.load(sums, 16);
  let a2 = v128.load(sums, 32);
  let b0 = v128.load(sums, 48);
  let b1 = v128.load(sums, 64);
  let b2 = v128.load(sums, 80);
  let c0 = v128.load(sums, 96);
  let c1 = v128.load(sums, 112);
  let c2 = v128.load(sums, 128);
  const step = bytes(plan.step * plan.pitch);
  const tap1 = plan.tap1;
  const tap2 = plan.tap2;
  const end = bytes(plan.outColumns);
  const last: usize = end < 16 ? 0 : end - 16;
  for (let row = 0; row < rows; row++) {
    for (let q: usize = 0; q < end; q += 16) {
      const at = min(q, last);
      const g = gradients(dy, q, at, end);
      let from = image + at;
      a0 = madd(g, v128.load(from), a0);
      a1 = madd(g, v128.load(from + tap1), a1);
      a2 = madd(g, v128.load(from + tap2), a2);
      from += step;
      b0 = madd(g, v128.load(from), b0);
      b1 = madd(g, v128.load(from + tap1), b1);
      b2 = madd(g, v128.load(from + tap2), b2);
      from += step;
      c0 = madd(g, v128.load(from), c0);
      c1 = madd(g, v128.load(from + tap1), c1);
      c2 = madd(g, v128.load(from + tap2), c2);
    }
    image += bytes(plan.scale * plan.pitch);
    dy += end;
  }
  v128.store(sums, a0);
  v128.store(sums, a1, 16);
  v128.store(sums, a2, 32);
  v128.store(sums, b0, 48);
  v128.store(sums, b1, 64);
  v128.store(sums, b2, 80);
  v128.store(sums, c0, 96);
  v128.store(sums, c1, 112);
  v128.store(sums, c2, 128);
}

/** The same, two rows at a time, where taps and outputs are neighbours; rows are even. */
function sumPairs(plan: RowsPlan, image: usize, dy: usize, sums: usize, rows: i32): void {
  let a0 = v128.load(sums);
  let a1 = v128.load(sums, 16);
  let a2 = v128.load(sums, 32);
  let b0 = v128.load(sums, 48);
  let b1 = v128.load(sums, 64);
  let b2 = v128.load(sums, 80);
  let c0 = v128.load(sums, 96);
  let c1 = v128.load(sums, 112);
  let c2 = v128.load(sums, 128);
  const pitch = bytes(plan.pitch);
  const end = bytes(plan.outColumns);
  const last: usize = end < 16 ? 0 : end - 16;
  for (let row = 0; row < rows; row += 2) {
    for (let q: usize = 0; q < end; q += 16) {
      const at = min(q, last);
      const high = gradients(dy, q, at, end);
      const low = gradients(dy + end, q, at, end);
      let from = image + at;
      a0 = madd(high, v128.load(from), a0);
      a1 = madd(high, v128.load(from, 4), a1);
      a2 = madd(high, v128.load(from, 8), a2);
      from += pitch;
      let x = v128.load(from);
      a0 = madd(low, x, a0);
      b0 = madd(high, x, b0);
      x = v128.load(from, 4);
      a1 = madd(low, x, a1);
      b1 = madd(high, x, b1);
      x = v128.load(from, 8);
      a2 = madd(low, x, a2);
      b2 = madd(high, x, b2);
      from += pitch;
      x = v128.load(from);
      b0 = madd(low, x, b0);
      c0 = madd(high, x, c0);
      x = v128.load(from, 4);
      b1 = madd(low, x, b1);
      c1 = madd(high, x, c1);
      x = v128.load(from, 8);
      b2 = madd(low, x, b2);
      c2 = madd(high, x, c2);
      from += pitch;
      c0 = madd(low, v128.load(from), c0);
      c1 = madd(low, v128.load(from, 4), c1);
      c2 = madd(low, v128.load(from, 8), c2);
    }
    image += 2 * pitch;
    dy += 2 * end;
  }
  v128.store(sums, a0);
  v128.store(sums, a1, 16);
  v128.store(sums, a2, 32);
  v128.store(sums, b0, 48);
  v128.store(sums, b1, 64);
  v128.store(sums, b2, 80);
  v128.store(sums, c0, 96);
  v128.store(sums, c1, 112);
  v128.store(sums, c2, 128);
}

/** Four elements of a row of dy from byte `at` on, those before byte q as zeros: they have been counted. */
function gradients(dy: usize, q: usize, at: usize, end: usize): v128 {
  if (end < 16) return loadPart(dy, end >> 2, 0);
  const four = v128.load(dy + at);
  if (at === q) return four;
  const lanes = i32x4.splat(<i32>(q - at));
  return v128.and(four, i32x4.ge_s(i32x4(0, 4, 8, 12), lanes));
}

/** dWeight from the totals of `depthwiseGradWeight`: those of the parts in order, rounded once. */
export function depthwiseSumWeights(
  totals: usize,
  parts: i32,
  dWeight: usize,
  count: i32,
  perChunk: i32,
  chunk: i32,
  _thread: i32,
): void {
  const first = chunk * perChunk;
  const end = min(first + perChunk, count);
  for (let i = first; i < end; i++) {
    let sum: f64 = 0;
    for (let part = 0; part < parts; part++) {
      sum += load<f64>(totals + ((<usize>(part * count + i)) << 3));
    }
    store<f32>(dWeight + bytes(i), <f32>sum);
  }
}

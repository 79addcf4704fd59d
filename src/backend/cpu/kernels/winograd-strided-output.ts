import { madd } from "./simd";
import { usesStridedPoint } from "./winograd-strided";
import { storeColumns } from "./winograd-taps";

/** The way back from the products of winograd-strided.ts: to y, and to dx. */

/** What the points of odd places give, `step` bytes apart: so many vectors, `next` bytes apart, each with the even one added if asked for. */
function storeOutputs(
  outputs: i32,
  m: usize,
  step: usize,
  addsEven: bool,
  bias: v128,
  to: usize,
  next: usize,
): void {
  let y0 = bias;
  let y1 = bias;
  let y2 = bias;
  let y3 = bias;
  if (addsEven) {
    y0 = f32x4.add(v128.load(m), bias);
    y1 = f32x4.add(v128.load(m + step), bias);
    if (outputs > 2) y2 = f32x4.add(v128.load(m + 2 * step), bias);
    if (outputs > 3) y3 = f32x4.add(v128.load(m + 3 * step), bias);
  }
  m += 4 * step;
  const minus = v128.load(m + step);
  y0 = f32x4.add(y0, f32x4.add(v128.load(m), minus));
  y1 = f32x4.sub(y1, minus);
  const ends = v128.load(m + 4 * step);
  if (outputs === 2) {
    v128.store(to, y0);
    v128.store(to + next, f32x4.add(y1, ends));
    return;
  }
  const half = v128.load(m + 2 * step);
  y0 = f32x4.add(y0, half);
  y1 = madd(f32x4.splat(0.5), half, y1);
  y2 = madd(f32x4.splat(0.25), half, f32x4.add(y2, minus));
  if (outputs === 3) {
    v128.store(to, y0);
    v128.store(to + next, y1);
    v128.store(to + 2 * next, f32x4.add(y2, ends));
    return;
  }
  const two = v128.load(m + 3 * step);
  y3 = madd(f32x4.splat(0.125), half, f32x4.sub(f32x4.add(y3, ends), minus));
  v128.store(to, f32x4.add(y0, two));
  v128.store(to + next, madd(f32x4.splat(2), two, y1));
  v128.store(to + 2 * next, madd(f32x4.splat(4), two, y2));
  v128.store(to + 3 * next, madd(f32x4.splat(8), two, y3));
}

/** y of four tiles whose 81 elements lie 32 bytes apart: to y0 ... y3, in rows `pitch` bytes apart. */
export function transformStridedOutput(
  m: usize,
  bias: v128,
  tileH: i32,
  tileW: i32,
  work: usize,
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  pitch: usize,
): void {
  // Columns first, as [row][column][tile].
  const zero = f32x4.splat(0);
  for (let point = 0; point < 9; point++) {
    const at = (<usize>point) << 4;
    if (usesStridedPoint(tileW, point))
      storeOutputs(tileH, m + 2 * at, 288, true, zero, work + at, 144);
  }
  const row = work + 576;
  for (let i = 0; i < tileH; i++, work += 144) {
    storeOutputs(tileW, work, 16, true, bias, row, 16);
    storeColumns(row, y0, y1, y2, y3);
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** dx of four tiles: twice as many rows and columns as outputs, even and odd by turns. */
export function transformSpreadOutput(
  m: usize,
  tileH: i32,
  tileW: i32,
  work: usize,
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  pitch: usize,
): void {
  const zero = f32x4.splat(0);
  for (let point = 0; point < 9; point++) {
    if (!usesStridedPoint(tileW, point)) continue;
    const at = (<usize>point) << 4;
    const to = work + at;
    const from = m + 2 * at;
    for (let row: usize = 0; row < <usize>tileH; row++) {
      v128.store(to + 288 * row, v128.load(from + 288 * row));
    }
    storeOutputs(tileH, from, 288, false, zero, to + 144, 288);
  }
  const row = work + 1152;
  for (let i = 0; i < 2 * tileH; i++, work += 144) {
    for (let column: usize = 0; column < 4; column++) {
      v128.store(row + 32 * column, v128.load(work + 16 * column));
    }
    storeOutputs(tileW, work, 16, false, zero, row + 16, 32);
    storeColumns(row, y0, y1, y2, y3);
    if (tileW > 2) storeColumns(row + 64, y0 + 16, y1 + 16, y2 + 16, y3 + 16);
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

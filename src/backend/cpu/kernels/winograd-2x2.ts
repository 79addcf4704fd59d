import { storeKernels, storeTaps } from "./winograd-taps";

/** The transforms of Winograd's F(2x2, 3x3), for four tiles or four kernels side by side: points 0, +-1 and infinity. */

/** B' down four columns or more of four rows, whose addresses stand at `rows`: to four rows `pitch` bytes apart; the last vector overlaps the one before it. */
export function inputStrip2x2(rows: usize, count: i32, to: usize, pitch: usize): void {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    storeInput(
      v128.load(r0 + at),
      v128.load(r1 + at),
      v128.load(r2 + at),
      v128.load(r3 + at),
      to + at,
      pitch,
    );
    if (at === last) return;
  }
}

/** B' d B of four tiles from their strips, whose rows lie `pitch` bytes apart. Its 16 elements go `next` bytes apart. */
export function transformInput2x2(
  d0: usize,
  d1: usize,
  d2: usize,
  d3: usize,
  pitch: usize,
  to: usize,
  next: usize,
): void {
  for (const end = to + 16 * next; to < end; to += 4 * next) {
    const r0 = v128.load(d0);
    const r1 = v128.load(d1);
    const r2 = v128.load(d2);
    const r3 = v128.load(d3);
    const even01 = v128.shuffle<f32>(r0, r1, 0, 4, 2, 6);
    const odd01 = v128.shuffle<f32>(r0, r1, 1, 5, 3, 7);
    const even23 = v128.shuffle<f32>(r2, r3, 0, 4, 2, 6);
    const odd23 = v128.shuffle<f32>(r2, r3, 1, 5, 3, 7);
    storeInput(
      v128.shuffle<f32>(even01, even23, 0, 1, 4, 5),
      v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5),
      v128.shuffle<f32>(even01, even23, 2, 3, 6, 7),
      v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7),
      to,
      next,
    );
    d0 += pitch;
    d1 += pitch;
    d2 += pitch;
    d3 += pitch;
  }
}

/** B' times four vectors. */
function storeInput(d0: v128, d1: v128, d2: v128, d3: v128, to: usize, next: usize): void {
  v128.store(to, f32x4.sub(d0, d2));
  v128.store(to + next, f32x4.add(d1, d2));
  v128.store(to + 2 * next, f32x4.sub(d2, d1));
  v128.store(to + 3 * next, f32x4.sub(d1, d3));
}

/** G g G' of four kernels of 3 x 3 floats. Its 16 elements go `next` bytes apart. */
export function transformKernel2x2(
  g0: usize,
  g1: usize,
  g2: usize,
  g3: usize,
  work: usize,
  to: usize,
  next: usize,
): void {
  storeTaps(g0, g1, g2, g3, work);
  const rows = work + 144;
  for (let column: usize = 0; column < 3; column++) {
    storeKernel(work + 16 * column, 48, rows + 16 * column, 48);
  }
  for (let row: usize = 0; row < 4; row++) {
    storeKernel(rows + 48 * row, 16, to + 4 * row * next, next);
  }
}

/** G times three vectors. */
function storeKernel(g: usize, step: usize, to: usize, next: usize): void {
  const g0 = v128.load(g);
  const g2 = v128.load(g + 2 * step);
  const half = f32x4.splat(0.5);
  const ends = f32x4.mul(f32x4.add(g0, g2), half);
  const middle = f32x4.mul(v128.load(g + step), half);
  v128.store(to, g0);
  v128.store(to + next, f32x4.add(ends, middle));
  v128.store(to + 2 * next, f32x4.sub(ends, middle));
  v128.store(to + 3 * next, g2);
}

/** A' m A + bias of four tiles whose 16 elements lie 32 bytes apart: to y0 ... y3, in rows `pitch` bytes apart of room for four columns. */
export function transformOutput2x2(
  m: usize,
  bias: v128,
  work: usize,
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  pitch: usize,
): void {
  let to = work;
  for (let column: usize = 0; column < 4; column++, m += 32, to += 16) {
    const m1 = v128.load(m, 128);
    const m2 = v128.load(m, 256);
    v128.store(to, f32x4.add(v128.load(m), f32x4.add(m1, m2)));
    v128.store(to, f32x4.sub(f32x4.sub(m1, m2), v128.load(m, 384)), 64);
  }
  for (const end = work + 128; work < end; work += 64) {
    const m1 = v128.load(work, 16);
    const m2 = v128.load(work, 32);
    const left = f32x4.add(f32x4.add(v128.load(work), bias), f32x4.add(m1, m2));
    const right = f32x4.add(f32x4.sub(f32x4.sub(m1, m2), v128.load(work, 48)), bias);
    const low = v128.shuffle<f32>(left, right, 0, 4, 1, 5);
    const high = v128.shuffle<f32>(left, right, 2, 6, 3, 7);
    v128.store(y0, low);
    v128.store(y1, v128.shuffle<f32>(low, low, 2, 3, 2, 3));
    v128.store(y2, high);
    v128.store(y3, v128.shuffle<f32>(high, high, 2, 3, 2, 3));
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** A down four columns or more of two rows, as `inputStrip2x2`. */
export function gradientStrip2x2(rows: usize, count: i32, to: usize, pitch: usize): void {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    storeGradient(v128.load(r0 + at), v128.load(r1 + at), to + at, pitch);
    if (at === last) return;
  }
}

/** A dy A' of a tile of four channels from their strips, whose rows lie `pitch` bytes apart. Its 16 elements go `next` bytes apart. */
export function transformGradient2x2(
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  pitch: usize,
  to: usize,
  next: usize,
): void {
  for (const end = to + 16 * next; to < end; to += 4 * next) {
    const low = v128.load64_lane(y1, v128.load64_zero(y0), 1);
    const high = v128.load64_lane(y3, v128.load64_zero(y2), 1);
    storeGradient(
      v128.shuffle<f32>(low, high, 0, 2, 4, 6),
      v128.shuffle<f32>(low, high, 1, 3, 5, 7),
      to,
      next,
    );
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** A times two vectors. */
function storeGradient(y0: v128, y1: v128, to: usize, next: usize): void {
  v128.store(to, y0);
  v128.store(to + next, f32x4.add(y0, y1));
  v128.store(to + 2 * next, f32x4.sub(y0, y1));
  v128.store(to + 3 * next, f32x4.neg(y1));
}

/** G' m G of four channels, whose 16 elements lie 32 bytes apart: `count` kernels of 3 x 3 floats, one behind the other. */
export function transformSums2x2(m: usize, work: usize, kernels: usize, count: i32): void {
  for (let column: usize = 0; column < 4; column++) {
    storeSums(m + 32 * column, 128, work + 16 * column, 64);
  }
  const taps = work + 192;
  for (let row: usize = 0; row < 3; row++) storeSums(work + 64 * row, 16, taps + 48 * row, 16);
  storeKernels(taps, kernels, count);
}

/** G' times four vectors. */
function storeSums(m: usize, step: usize, to: usize, next: usize): void {
  const half = f32x4.splat(0.5);
  const m1 = v128.load(m + step);
  const m2 = v128.load(m + 2 * step);
  const sum = f32x4.mul(f32x4.add(m1, m2), half);
  v128.store(to, f32x4.add(v128.load(m), sum));
  v128.store(to + next, f32x4.mul(f32x4.sub(m1, m2), half));
  v128.store(to + 2 * next, f32x4.add(sum, v128.load(m + 3 * step)));
}

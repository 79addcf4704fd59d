import { madd } from "./simd";
import { Along } from "./winograd-4x4";
import { AlongWeight } from "./winograd-4x4-weight";
import { a, aa, aaa, b, bb, bbb, usesPoint } from "./winograd-points";
import { storeColumns } from "./winograd-taps";

/**
 * The transforms of F(4x4, 3x3) for tiles that have 2 or 3 outputs along one side or both (winograd-points.ts has what they
 * leave out): the same elements at the same places, less those of points that a side does not use.
 */

/** B' down the columns, as `inputStrip4x4`. */
export function narrowInputStrip(
  rows: usize,
  tileH: i32,
  count: i32,
  to: usize,
  pitch: usize,
): void {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  const r4 = load<usize>(rows, 16);
  const r5 = load<usize>(rows, 20);
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    storeInputs(
      tileH,
      v128.load(r0 + at),
      v128.load(r1 + at),
      v128.load(r2 + at),
      v128.load(r3 + at),
      v128.load(r4 + at),
      v128.load(r5 + at),
      to + at,
      pitch,
    );
    if (at === last) return;
  }
}

/** B' d B of four tiles from their strips, as `transformInput4x4`. */
export function transformNarrowInput(
  d0: usize,
  d1: usize,
  d2: usize,
  d3: usize,
  pitch: usize,
  tileH: i32,
  tileW: i32,
  to: usize,
  next: usize,
): void {
  for (let row = 0; row < 6; row++, to += 6 * next) {
    if (usesPoint(tileH, row)) {
      const r0 = v128.load(d0);
      const r1 = v128.load(d1);
      const r2 = v128.load(d2);
      const r3 = v128.load(d3);
      const r01 = v128.load64_lane(d1, v128.load64_zero(d0, 16), 1, 16);
      const r23 = v128.load64_lane(d3, v128.load64_zero(d2, 16), 1, 16);
      const even01 = v128.shuffle<f32>(r0, r1, 0, 4, 2, 6);
      const odd01 = v128.shuffle<f32>(r0, r1, 1, 5, 3, 7);
      const even23 = v128.shuffle<f32>(r2, r3, 0, 4, 2, 6);
      const odd23 = v128.shuffle<f32>(r2, r3, 1, 5, 3, 7);
      storeInputs(
        tileW,
        v128.shuffle<f32>(even01, even23, 0, 1, 4, 5),
        v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5),
        v128.shuffle<f32>(even01, even23, 2, 3, 6, 7),
        v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7),
        v128.shuffle<f32>(r01, r23, 0, 2, 4, 6),
        v128.shuffle<f32>(r01, r23, 1, 3, 5, 7),
        to,
        next,
      );
    }
    d0 += pitch;
    d1 += pitch;
    d2 += pitch;
    d3 += pitch;
  }
}

/** B' times as many vectors as `outputs` need: two more. */
function storeInputs(
  outputs: i32,
  d0: v128,
  d1: v128,
  d2: v128,
  d3: v128,
  d4: v128,
  d5: v128,
  to: usize,
  next: usize,
): void {
  if (outputs === 4) {
    Along.storeInput(d0, d1, d2, d3, d4, d5, to, next);
    return;
  }
  const low = madd(f32x4.splat(aa * bb), d0, f32x4.mul(f32x4.splat(-bb), d2));
  const even = f32x4.mul(f32x4.splat(aa - bb), d2);
  const odd = madd(f32x4.splat(-aa), d1, d3);
  if (outputs === 2) {
    v128.store(to, low);
    v128.store(to + next, madd(f32x4.splat(a * (aa - bb)), d1, even));
    v128.store(to + 2 * next, madd(f32x4.splat(a * (bb - aa)), d1, even));
    v128.store(to + 5 * next, odd);
    return;
  }
  v128.store(to, madd(f32x4.splat(b), odd, low));
  v128.store(to + next, madd(f32x4.splat(b + a), madd(f32x4.splat(-a * b), d1, d3), even));
  v128.store(to + 2 * next, madd(f32x4.splat(b - a), madd(f32x4.splat(a * b), d1, d3), even));
  v128.store(to + 3 * next, f32x4.mul(f32x4.splat(2 * b), odd));
  v128.store(to + 5 * next, madd(f32x4.splat(-b), odd, madd(f32x4.splat(-aa), d2, d4)));
}

/** A' m A + bias of four tiles, as `transformOutput4x4`. */
export function transformNarrowOutput(
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
  for (let column = 0; column < 6; column++) {
    if (!usesPoint(tileW, column)) continue;
    const at = (<usize>column) << 4;
    storeOutputs(tileH, m + 2 * at, 192, f32x4.splat(0), work + at, 96);
  }
  const row = work + 384;
  for (let i = 0; i < tileH; i++, work += 96) {
    storeOutputs(tileW, work, 16, bias, row, 16);
    storeColumns(row, y0, y1, y2, y3);
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** A' times the vectors of the points, `step` bytes apart, + bias: `outputs` vectors, `next` bytes apart. */
function storeOutputs(
  outputs: i32,
  m: usize,
  step: usize,
  bias: v128,
  to: usize,
  next: usize,
): void {
  const m1 = v128.load(m + step);
  const m2 = v128.load(m + 2 * step);
  const sumA = f32x4.add(m1, m2);
  const lessA = madd(f32x4.splat(a), f32x4.sub(m1, m2), bias);
  const ends = v128.load(m + 5 * step);
  const first = f32x4.add(f32x4.add(v128.load(m), bias), sumA);
  if (outputs === 2) {
    v128.store(to, first);
    v128.store(to + next, f32x4.add(lessA, ends));
    return;
  }
  const m3 = v128.load(m + 3 * step);
  const more = madd(f32x4.splat(aa), sumA, bias);
  if (outputs === 3) {
    v128.store(to, f32x4.add(first, m3));
    v128.store(to + next, madd(f32x4.splat(b), m3, lessA));
    v128.store(to + 2 * next, f32x4.add(madd(f32x4.splat(bb), m3, more), ends));
    return;
  }
  const m4 = v128.load(m + 4 * step);
  const sumB = f32x4.add(m3, m4);
  const lessB = f32x4.sub(m3, m4);
  v128.store(to, f32x4.add(first, sumB));
  v128.store(to + next, madd(f32x4.splat(b), lessB, lessA));
  v128.store(to + 2 * next, madd(f32x4.splat(bb), sumB, more));
  const cubes = madd(f32x4.splat(aaa), f32x4.sub(m1, m2), f32x4.add(ends, bias));
  v128.store(to + 3 * next, madd(f32x4.splat(bbb), lessB, cubes));
}

/** A down the columns, as `gradientStrip4x4`. */
export function narrowGradientStrip(
  rows: usize,
  tileH: i32,
  count: i32,
  to: usize,
  pitch: usize,
): void {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    storeGradients(
      tileH,
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

/** A dy A' of a tile of four channels from their strips, as `transformGradient4x4`. */
export function transformNarrowGradient(
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  pitch: usize,
  tileH: i32,
  tileW: i32,
  to: usize,
  next: usize,
): void {
  for (let row = 0; row < 6; row++, to += 6 * next) {
    if (usesPoint(tileH, row)) {
      const r0 = v128.load(y0);
      const r1 = v128.load(y1);
      const r2 = v128.load(y2);
      const r3 = v128.load(y3);
      const even01 = v128.shuffle<f32>(r0, r1, 0, 4, 2, 6);
      const odd01 = v128.shuffle<f32>(r0, r1, 1, 5, 3, 7);
      const even23 = v128.shuffle<f32>(r2, r3, 0, 4, 2, 6);
      const odd23 = v128.shuffle<f32>(r2, r3, 1, 5, 3, 7);
      storeGradients(
        tileW,
        v128.shuffle<f32>(even01, even23, 0, 1, 4, 5),
        v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5),
        v128.shuffle<f32>(even01, even23, 2, 3, 6, 7),
        v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7),
        to,
        next,
      );
    }
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** A times as many vectors as there are outputs. */
function storeGradients(
  outputs: i32,
  y0: v128,
  y1: v128,
  y2: v128,
  y3: v128,
  to: usize,
  next: usize,
): void {
  if (outputs === 4) {
    AlongWeight.storeGradient(y0, y1, y2, y3, to, next);
    return;
  }
  v128.store(to, y0);
  const odd = f32x4.mul(f32x4.splat(a), y1);
  if (outputs === 2) {
    v128.store(to + next, f32x4.add(y0, odd));
    v128.store(to + 2 * next, f32x4.sub(y0, odd));
    v128.store(to + 5 * next, y1);
    return;
  }
  const even = madd(f32x4.splat(aa), y2, y0);
  v128.store(to + next, f32x4.add(even, odd));
  v128.store(to + 2 * next, f32x4.sub(even, odd));
  v128.store(to + 3 * next, madd(f32x4.splat(bb), y2, madd(f32x4.splat(b), y1, y0)));
  v128.store(to + 5 * next, y2);
}

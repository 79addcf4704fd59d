import { madd } from "./simd";

/**
 * The transforms for convolutions of 3 x 3 and stride 2, for tiles of 4 x 4 outputs. Along a side even places of the image meet the
 * middle tap alone, four products for four outputs, and odd places meet the other two, F(4, 2) with five products:
 *
 *   y[i] = g1 * e[i] + (g0 * o[i] + g2 * o[i + 1])
 *
 * So there are nine points to a side: 0 to 3 are the even places as they are, 4 to 8 the values at 0, -1, 1/2, 2 and infinity. All even places
 * share their factors of the kernel, which has six to a side. Narrow tiles of 2 or 3 outputs leave out even places and the points 2, 1/2:
 * what these would have contributed to the others' factors is in the transform of the inputs.
 *
 * For dx the same products go the other way round: even places of dx are dy's times the middle tap, odd ones F(4, 2) of dy.
 */

/** Whether a tile with this many outputs in a row uses a point. */
export function usesStridedPoint(outputs: i32, point: i32): bool {
  return point < 4 ? point < outputs : point - 4 < outputs || point === 8;
}

/** Which of the kernel's six factors a point is multiplied with. */
export function factorOf(point: i32): i32 {
  return max(point - 3, 0);
}

/** Transforms along one side; methods, because only these can be inlined. */
// biome-ignore lint/complexity/noStaticOnlyClass: the decorator is for methods
class Along {
  /** Five odd places at the points. */
  @inline
  static storeOdd(d0: v128, d1: v128, d2: v128, d3: v128, d4: v128, to: usize, next: usize): void {
    const half = f32x4.splat(0.5);
    const more = f32x4.splat(-1.5);
    const less = f32x4.sub(d2, d1);
    v128.store(to, madd(more, f32x4.add(d1, d2), f32x4.add(d0, d3)));
    v128.store(to + next, madd(f32x4.splat(-2.5), d2, f32x4.add(d1, d3)));
    v128.store(to + 2 * next, madd(f32x4.splat(-2), d1, f32x4.sub(d3, d2)));
    v128.store(to + 3 * next, madd(half, less, d3));
    v128.store(to + 4 * next, madd(more, f32x4.add(d2, d3), f32x4.add(d1, d4)));
  }
}

/** Odd places of a tile with so many outputs: one more, at the points it uses. */
function storeOdds(
  outputs: i32,
  d0: v128,
  d1: v128,
  d2: v128,
  d3: v128,
  d4: v128,
  to: usize,
  next: usize,
): void {
  if (outputs === 4) {
    Along.storeOdd(d0, d1, d2, d3, d4, to, next);
  } else if (outputs === 3) {
    v128.store(to, madd(f32x4.splat(-2), d2, f32x4.sub(d0, d1)));
    v128.store(to + next, madd(f32x4.splat(-3), d2, f32x4.mul(f32x4.splat(1.5), d1)));
    v128.store(to + 2 * next, f32x4.mul(f32x4.splat(-1.5), f32x4.add(d1, d2)));
    v128.store(to + 4 * next, madd(f32x4.splat(0.5), f32x4.sub(d2, d1), d3));
  } else {
    v128.store(to, f32x4.add(d0, d1));
    v128.store(to + next, f32x4.mul(f32x4.splat(4.5), d1));
    v128.store(to + 4 * next, f32x4.add(d1, d2));
  }
}

/** Down four columns or more of the image: `rows` has the addresses of nine rows; to nine rows `pitch` bytes apart. */
export function stridedStrip(rows: usize, outputs: i32, count: i32, to: usize, pitch: usize): void {
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    const row = to + at;
    for (let i: usize = 0; i < 4; i++) {
      v128.store(row + i * pitch, v128.load(load<usize>(rows + 8 * i, 4) + at));
    }
    storeOdds(
      outputs,
      v128.load(load<usize>(rows) + at),
      v128.load(load<usize>(rows, 8) + at),
      v128.load(load<usize>(rows, 16) + at),
      v128.load(load<usize>(rows, 24) + at),
      v128.load(load<usize>(rows, 32) + at),
      row + 4 * pitch,
      pitch,
    );
    if (at === last) return;
  }
}

/** The same of dy, for dx: five rows. */
export function spreadStrip(rows: usize, outputs: i32, count: i32, to: usize, pitch: usize): void {
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    const y0 = v128.load(load<usize>(rows) + at);
    const y1 = v128.load(load<usize>(rows, 4) + at);
    const y2 = v128.load(load<usize>(rows, 8) + at);
    const y3 = v128.load(load<usize>(rows, 12) + at);
    const row = to + at;
    v128.store(row, y0);
    v128.store(row + pitch, y1);
    v128.store(row + 2 * pitch, y2);
    v128.store(row + 3 * pitch, y3);
    const y4 = v128.load(load<usize>(rows, 16) + at);
    storeOdds(outputs, y0, y1, y2, y3, y4, row + 4 * pitch, pitch);
    if (at === last) return;
  }
}

/** Of four tiles of the image, from their strips, whose rows lie `pitch` bytes apart. The 81 elements go `next` bytes apart. */
export function transformStrided(
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
  for (let point = 0; point < 9; point++, to += 9 * next) {
    if (usesStridedPoint(tileH, point)) {
      let r0 = v128.load(d0);
      let r1 = v128.load(d1);
      let r2 = v128.load(d2);
      let r3 = v128.load(d3);
      let even01 = v128.shuffle<f32>(r0, r1, 0, 4, 2, 6);
      let odd01 = v128.shuffle<f32>(r0, r1, 1, 5, 3, 7);
      let even23 = v128.shuffle<f32>(r2, r3, 0, 4, 2, 6);
      let odd23 = v128.shuffle<f32>(r2, r3, 1, 5, 3, 7);
      const o0 = v128.shuffle<f32>(even01, even23, 0, 1, 4, 5);
      const o1 = v128.shuffle<f32>(even01, even23, 2, 3, 6, 7);
      v128.store(to, v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5));
      v128.store(to + next, v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7));
      r0 = v128.load(d0, 16);
      r1 = v128.load(d1, 16);
      r2 = v128.load(d2, 16);
      r3 = v128.load(d3, 16);
      even01 = v128.shuffle<f32>(r0, r1, 0, 4, 2, 6);
      odd01 = v128.shuffle<f32>(r0, r1, 1, 5, 3, 7);
      even23 = v128.shuffle<f32>(r2, r3, 0, 4, 2, 6);
      odd23 = v128.shuffle<f32>(r2, r3, 1, 5, 3, 7);
      const o2 = v128.shuffle<f32>(even01, even23, 0, 1, 4, 5);
      const o3 = v128.shuffle<f32>(even01, even23, 2, 3, 6, 7);
      v128.store(to + 2 * next, v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5));
      v128.store(to + 3 * next, v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7));
      storeOdds(
        tileW,
        o0,
        o1,
        o2,
        o3,
        fifth(d0 + 32, d1 + 32, d2 + 32, d3 + 32),
        to + 4 * next,
        next,
      );
    }
    d0 += pitch;
    d1 += pitch;
    d2 += pitch;
    d3 += pitch;
  }
}

/** One float of each. */
function fifth(d0: usize, d1: usize, d2: usize, d3: usize): v128 {
  const low = v128.load32_lane(d1, v128.load32_zero(d0), 1);
  return v128.load32_lane(d3, v128.load32_lane(d2, low, 2), 3);
}

/** Of four tiles of dy, for dx. */
export function transformSpread(
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
  for (let point = 0; point < 9; point++, to += 9 * next) {
    if (usesStridedPoint(tileH, point)) {
      const r0 = v128.load(d0);
      const r1 = v128.load(d1);
      const r2 = v128.load(d2);
      const r3 = v128.load(d3);
      const even01 = v128.shuffle<f32>(r0, r1, 0, 4, 2, 6);
      const odd01 = v128.shuffle<f32>(r0, r1, 1, 5, 3, 7);
      const even23 = v128.shuffle<f32>(r2, r3, 0, 4, 2, 6);
      const odd23 = v128.shuffle<f32>(r2, r3, 1, 5, 3, 7);
      const y0 = v128.shuffle<f32>(even01, even23, 0, 1, 4, 5);
      const y1 = v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5);
      const y2 = v128.shuffle<f32>(even01, even23, 2, 3, 6, 7);
      const y3 = v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7);
      v128.store(to, y0);
      v128.store(to + next, y1);
      v128.store(to + 2 * next, y2);
      v128.store(to + 3 * next, y3);
      const y4 = fifth(d0 + 16, d1 + 16, d2 + 16, d3 + 16);
      storeOdds(tileW, y0, y1, y2, y3, y4, to + 4 * next, next);
    }
    d0 += pitch;
    d1 += pitch;
    d2 += pitch;
    d3 += pitch;
  }
}

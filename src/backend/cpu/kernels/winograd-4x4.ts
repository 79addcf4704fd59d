import { madd } from "./simd";
import { a, aa, aaa, atA, atB, atZero, b, bb, bbb, product, sum } from "./winograd-points";
import { storeTaps } from "./winograd-taps";

/** The transforms of Winograd's F(4x4, 3x3), for four tiles or four kernels side by side. */

/** B' down four columns or more of six rows, whose addresses stand at `rows`: to six rows `pitch` bytes apart; the last vector overlaps the one before it. */
export function inputStrip4x4(rows: usize, count: i32, to: usize, pitch: usize): void {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  const r4 = load<usize>(rows, 16);
  const r5 = load<usize>(rows, 20);
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    Along.storeInput(
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

/** B' d B of four tiles from their strips, whose rows lie `pitch` bytes apart. Its 36 elements go `next` bytes apart. */
export function transformInput4x4(
  d0: usize,
  d1: usize,
  d2: usize,
  d3: usize,
  pitch: usize,
  to: usize,
  next: usize,
): void {
  for (const end = to + 36 * next; to < end; to += 6 * next) {
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
    Along.storeInput(
      v128.shuffle<f32>(even01, even23, 0, 1, 4, 5),
      v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5),
      v128.shuffle<f32>(even01, even23, 2, 3, 6, 7),
      v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7),
      v128.shuffle<f32>(r01, r23, 0, 2, 4, 6),
      v128.shuffle<f32>(r01, r23, 1, 3, 5, 7),
      to,
      next,
    );
    d0 += pitch;
    d1 += pitch;
    d2 += pitch;
    d3 += pitch;
  }
}

/** The transforms along one side. They are inlined, because a call of each costs a seventh of the whole; only methods can be. */
// biome-ignore lint/complexity/noStaticOnlyClass: the decorator is for methods
export class Along {
  /** B' times six vectors. */
  @inline
  static storeInput(
    d0: v128,
    d1: v128,
    d2: v128,
    d3: v128,
    d4: v128,
    d5: v128,
    to: usize,
    next: usize,
  ): void {
    v128.store(to, madd(f32x4.splat(product), d0, madd(f32x4.splat(-sum), d2, d4)));
    let even = madd(f32x4.splat(-bb), d2, d4);
    let odd = madd(f32x4.splat(-bb), d1, d3);
    v128.store(to + next, madd(f32x4.splat(a), odd, even));
    v128.store(to + 2 * next, madd(f32x4.splat(-a), odd, even));
    even = madd(f32x4.splat(-aa), d2, d4);
    odd = madd(f32x4.splat(-aa), d1, d3);
    v128.store(to + 3 * next, madd(f32x4.splat(b), odd, even));
    v128.store(to + 4 * next, madd(f32x4.splat(-b), odd, even));
    v128.store(to + 5 * next, madd(f32x4.splat(product), d1, madd(f32x4.splat(-sum), d3, d5)));
  }

  /** G times three vectors. */
  @inline
  static storeKernel(g0: v128, g1: v128, g2: v128, to: usize, next: usize): void {
    v128.store(to, f32x4.mul(f32x4.splat(atZero), g0));
    let even = madd(f32x4.splat(aa * atA), g2, f32x4.mul(f32x4.splat(atA), g0));
    let odd = f32x4.mul(f32x4.splat(a * atA), g1);
    v128.store(to + next, f32x4.add(even, odd));
    v128.store(to + 2 * next, f32x4.sub(even, odd));
    even = madd(f32x4.splat(bb * atB), g2, f32x4.mul(f32x4.splat(atB), g0));
    odd = f32x4.mul(f32x4.splat(b * atB), g1);
    v128.store(to + 3 * next, f32x4.add(even, odd));
    v128.store(to + 4 * next, f32x4.sub(even, odd));
    v128.store(to + 5 * next, g2);
  }
}

/** G g G' of four kernels of 3 x 3 floats. Its 36 elements go `next` bytes apart. */
export function transformKernel4x4(
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
  for (let at: usize = 0; at < 48; at += 16) {
    const g = work + at;
    Along.storeKernel(v128.load(g), v128.load(g, 48), v128.load(g, 96), rows + at, 48);
  }
  for (let row: usize = 0; row < 6; row++) {
    const g = rows + 48 * row;
    Along.storeKernel(v128.load(g), v128.load(g, 16), v128.load(g, 32), to + 6 * row * next, next);
  }
}

/** A' m A + bias of four tiles whose 36 elements lie 32 bytes apart: to y0 ... y3, in rows `pitch` bytes apart. */
export function transformOutput4x4(
  m: usize,
  bias: v128,
  work: usize,
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  pitch: usize,
): void {
  // Columns first, as [row][column][tile].
  let to = work;
  for (let column: usize = 0; column < 6; column++, m += 32, to += 16) {
    storeOutput(
      v128.load(m),
      v128.load(m, 192),
      v128.load(m, 384),
      v128.load(m, 576),
      v128.load(m, 768),
      v128.load(m, 960),
      to,
    );
  }
  for (const end = work + 384; work < end; work += 96) {
    const m1 = v128.load(work, 16);
    const m2 = v128.load(work, 32);
    const m3 = v128.load(work, 48);
    const m4 = v128.load(work, 64);
    const sumA = f32x4.add(m1, m2);
    const sumB = f32x4.add(m3, m4);
    const lessA = f32x4.sub(m1, m2);
    const lessB = f32x4.sub(m3, m4);
    const r0 = f32x4.add(f32x4.add(v128.load(work), bias), f32x4.add(sumA, sumB));
    const r1 = madd(f32x4.splat(b), lessB, madd(f32x4.splat(a), lessA, bias));
    const r2 = madd(f32x4.splat(bb), sumB, madd(f32x4.splat(aa), sumA, bias));
    const rest = f32x4.add(v128.load(work, 80), bias);
    const r3 = madd(f32x4.splat(bbb), lessB, madd(f32x4.splat(aaa), lessA, rest));
    const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
    const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
    const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
    v128.store(y0, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
    v128.store(y1, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7));
    v128.store(y2, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5));
    v128.store(y3, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7));
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** A' times six vectors; they go 96 bytes apart. */
function storeOutput(m0: v128, m1: v128, m2: v128, m3: v128, m4: v128, m5: v128, to: usize): void {
  const sumA = f32x4.add(m1, m2);
  const sumB = f32x4.add(m3, m4);
  const lessA = f32x4.sub(m1, m2);
  const lessB = f32x4.sub(m3, m4);
  v128.store(to, f32x4.add(m0, f32x4.add(sumA, sumB)));
  v128.store(to, madd(f32x4.splat(b), lessB, f32x4.mul(f32x4.splat(a), lessA)), 96);
  v128.store(to, madd(f32x4.splat(bb), sumB, f32x4.mul(f32x4.splat(aa), sumA)), 192);
  v128.store(to, madd(f32x4.splat(bbb), lessB, madd(f32x4.splat(aaa), lessA, m5)), 288);
}

import { madd } from "./simd";
import { Along } from "./winograd-4x4";
import { a, aa, aaa, atA, atB, atZero, b, bb, bbb } from "./winograd-points";
import { storeFourTaps } from "./winograd-taps";

/** The transforms of F(3x3, 4x4): tiles of 3 x 3 outputs and kernels of 4 x 4. Images are transformed as for F(4x4, 3x3). */

/** G g G' of four kernels of 4 x 4 floats. Its 36 elements go `next` bytes apart. */
export function transformKernel3x3(
  g0: usize,
  g1: usize,
  g2: usize,
  g3: usize,
  work: usize,
  to: usize,
  next: usize,
): void {
  // As [row][column][kernel].
  for (let row: usize = 0; row < 64; row += 16) {
    storeFourTaps(g0 + row, g1 + row, g2 + row, g3 + row, work + 4 * row);
  }
  let columns = work + 256;
  for (let at: usize = 0; at < 64; at += 16) storeKernel(work + at, 64, columns + at, 64);
  for (const end = to + 36 * next; to < end; to += 6 * next, columns += 64) {
    storeKernel(columns, 16, to, next);
  }
}

/** G times four vectors, `step` bytes apart. */
function storeKernel(g: usize, step: usize, to: usize, next: usize): void {
  const g0 = v128.load(g);
  const g1 = v128.load(g + step);
  const g2 = v128.load(g + 2 * step);
  const g3 = v128.load(g + 3 * step);
  v128.store(to, f32x4.mul(f32x4.splat(atZero), g0));
  let even = f32x4.mul(f32x4.splat(atA), madd(f32x4.splat(aa), g2, g0));
  let odd = f32x4.mul(f32x4.splat(a * atA), madd(f32x4.splat(aa), g3, g1));
  v128.store(to + next, f32x4.add(even, odd));
  v128.store(to + 2 * next, f32x4.sub(even, odd));
  even = f32x4.mul(f32x4.splat(atB), madd(f32x4.splat(bb), g2, g0));
  odd = f32x4.mul(f32x4.splat(b * atB), madd(f32x4.splat(bb), g3, g1));
  v128.store(to + 3 * next, f32x4.add(even, odd));
  v128.store(to + 4 * next, f32x4.sub(even, odd));
  v128.store(to + 5 * next, g3);
}

/** A' m A + bias of four tiles whose 36 elements lie 32 bytes apart: to y0 ... y3, in rows `pitch` bytes apart of three columns. */
export function transformOutput3x3(
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
    const m1 = v128.load(m, 192);
    const m2 = v128.load(m, 384);
    const m3 = v128.load(m, 576);
    const m4 = v128.load(m, 768);
    const sumA = f32x4.add(m1, m2);
    const sumB = f32x4.add(m3, m4);
    const lessA = f32x4.mul(f32x4.splat(a), f32x4.sub(m1, m2));
    v128.store(to, f32x4.add(v128.load(m), f32x4.add(sumA, sumB)));
    v128.store(to, madd(f32x4.splat(b), f32x4.sub(m3, m4), lessA), 96);
    const ends = madd(f32x4.splat(aa), sumA, v128.load(m, 960));
    v128.store(to, madd(f32x4.splat(bb), sumB, ends), 192);
  }
  for (const end = work + 288; work < end; work += 96) {
    const m1 = v128.load(work, 16);
    const m2 = v128.load(work, 32);
    const m3 = v128.load(work, 48);
    const m4 = v128.load(work, 64);
    const sumA = f32x4.add(m1, m2);
    const sumB = f32x4.add(m3, m4);
    const lessA = madd(f32x4.splat(a), f32x4.sub(m1, m2), bias);
    const c0 = f32x4.add(f32x4.add(v128.load(work), bias), f32x4.add(sumA, sumB));
    const c1 = madd(f32x4.splat(b), f32x4.sub(m3, m4), lessA);
    const ends = madd(f32x4.splat(aa), sumA, f32x4.add(v128.load(work, 80), bias));
    const c2 = madd(f32x4.splat(bb), sumB, ends);
    const low = v128.shuffle<f32>(c0, c1, 0, 4, 1, 5);
    const high = v128.shuffle<f32>(c0, c1, 2, 6, 3, 7);
    v128.store64_lane(y0, low, 0);
    v128.store64_lane(y1, low, 1);
    v128.store64_lane(y2, high, 0);
    v128.store64_lane(y3, high, 1);
    v128.store32_lane(y0, c2, 0, 8);
    v128.store32_lane(y1, c2, 1, 8);
    v128.store32_lane(y2, c2, 2, 8);
    v128.store32_lane(y3, c2, 3, 8);
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** G down four columns or more of three rows of dy, for the gradient of the weight: to six rows `pitch` bytes apart. */
export function gradientStrip3x3(rows: usize, count: i32, to: usize, pitch: usize): void {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    Along.storeKernel(v128.load(r0 + at), v128.load(r1 + at), v128.load(r2 + at), to + at, pitch);
    if (at === last) return;
  }
}

/** G dy G' of a tile of four channels from their strips, whose rows lie `pitch` bytes apart. Its 36 elements go `next` bytes apart. */
export function transformGradient3x3(
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  pitch: usize,
  to: usize,
  next: usize,
): void {
  for (const end = to + 36 * next; to < end; to += 6 * next) {
    const r0 = v128.load(y0);
    const r1 = v128.load(y1);
    const r2 = v128.load(y2);
    const r3 = v128.load(y3);
    const even01 = v128.shuffle<f32>(r0, r1, 0, 4, 2, 6);
    const odd01 = v128.shuffle<f32>(r0, r1, 1, 5, 3, 7);
    const even23 = v128.shuffle<f32>(r2, r3, 0, 4, 2, 6);
    const odd23 = v128.shuffle<f32>(r2, r3, 1, 5, 3, 7);
    Along.storeKernel(
      v128.shuffle<f32>(even01, even23, 0, 1, 4, 5),
      v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5),
      v128.shuffle<f32>(even01, even23, 2, 3, 6, 7),
      to,
      next,
    );
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** A' m A of four channels, whose 36 elements lie 32 bytes apart: `count` kernels of 4 x 4 floats, `next` bytes apart. */
export function transformSums3x3(
  m: usize,
  work: usize,
  kernels: usize,
  next: usize,
  count: i32,
): void {
  // As [row][column].
  for (let column: usize = 0; column < 6; column++) {
    storeSums(m + 32 * column, 192, work + 16 * column, 96);
  }
  const taps = work + 384;
  for (let row: usize = 0; row < 4; row++, work += 96) {
    storeSums(work, 16, taps, 16);
    for (let i: usize = 0; i < <usize>count; i++) {
      for (let column: usize = 0; column < 4; column++) {
        const tap = load<f32>(taps + 16 * column + 4 * i);
        store<f32>(kernels + next * i + 16 * row + 4 * column, tap);
      }
    }
  }
}

/** A' times six vectors, `step` bytes apart: four, `next` bytes apart. */
function storeSums(m: usize, step: usize, to: usize, next: usize): void {
  const m1 = v128.load(m + step);
  const m2 = v128.load(m + 2 * step);
  const m3 = v128.load(m + 3 * step);
  const m4 = v128.load(m + 4 * step);
  const sumA = f32x4.add(m1, m2);
  const sumB = f32x4.add(m3, m4);
  const lessA = f32x4.sub(m1, m2);
  const lessB = f32x4.sub(m3, m4);
  v128.store(to, f32x4.add(v128.load(m), f32x4.add(sumA, sumB)));
  v128.store(to + next, madd(f32x4.splat(b), lessB, f32x4.mul(f32x4.splat(a), lessA)));
  v128.store(to + 2 * next, madd(f32x4.splat(bb), sumB, f32x4.mul(f32x4.splat(aa), sumA)));
  const cubes = madd(f32x4.splat(aaa), lessA, v128.load(m + 5 * step));
  v128.store(to + 3 * next, madd(f32x4.splat(bbb), lessB, cubes));
}

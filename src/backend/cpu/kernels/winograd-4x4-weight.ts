import { madd } from "./simd";
import { a, aa, aaa, atA, atB, atZero, b, bb, bbb } from "./winograd-points";
import { storeKernels } from "./winograd-taps";

/** The transforms of F(4x4, 3x3) for the gradient of its weight: dg = G'((A dy A') * (B' d B))G. */

/** A down four columns or more of four rows, as `inputStrip4x4`. */
export function gradientStrip4x4(rows: usize, count: i32, to: usize, pitch: usize): void {
  const r0 = load<usize>(rows);
  const r1 = load<usize>(rows, 4);
  const r2 = load<usize>(rows, 8);
  const r3 = load<usize>(rows, 12);
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    AlongWeight.storeGradient(
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

/** A dy A' of a tile of four channels from their strips, whose rows lie `pitch` bytes apart. Its 36 elements go `next` bytes apart. */
export function transformGradient4x4(
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
    AlongWeight.storeGradient(
      v128.shuffle<f32>(even01, even23, 0, 1, 4, 5),
      v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5),
      v128.shuffle<f32>(even01, even23, 2, 3, 6, 7),
      v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7),
      to,
      next,
    );
    y0 += pitch;
    y1 += pitch;
    y2 += pitch;
    y3 += pitch;
  }
}

/** The transforms along one side. They are inlined, because a call of each costs a seventh of the whole; only methods can be. */
// biome-ignore lint/complexity/noStaticOnlyClass: the decorator is for methods
export class AlongWeight {
  /** A times four vectors. */
  @inline
  static storeGradient(y0: v128, y1: v128, y2: v128, y3: v128, to: usize, next: usize): void {
    v128.store(to, y0);
    let even = madd(f32x4.splat(aa), y2, y0);
    let odd = madd(f32x4.splat(aaa), y3, f32x4.mul(f32x4.splat(a), y1));
    v128.store(to + next, f32x4.add(even, odd));
    v128.store(to + 2 * next, f32x4.sub(even, odd));
    even = madd(f32x4.splat(bb), y2, y0);
    odd = madd(f32x4.splat(bbb), y3, f32x4.mul(f32x4.splat(b), y1));
    v128.store(to + 3 * next, f32x4.add(even, odd));
    v128.store(to + 4 * next, f32x4.sub(even, odd));
    v128.store(to + 5 * next, y3);
  }

  /** G' times six vectors. */
  @inline
  static storeSums(m: usize, step: usize, to: usize, next: usize): void {
    const m1 = v128.load(m + step);
    const m2 = v128.load(m + 2 * step);
    const m3 = v128.load(m + 3 * step);
    const m4 = v128.load(m + 4 * step);
    const sumA = f32x4.mul(f32x4.splat(atA), f32x4.add(m1, m2));
    const sumB = f32x4.mul(f32x4.splat(atB), f32x4.add(m3, m4));
    const lessA = f32x4.mul(f32x4.splat(a * atA), f32x4.sub(m1, m2));
    const lessB = f32x4.mul(f32x4.splat(b * atB), f32x4.sub(m3, m4));
    v128.store(to, madd(f32x4.splat(atZero), v128.load(m), f32x4.add(sumA, sumB)));
    v128.store(to + next, f32x4.add(lessA, lessB));
    const last = madd(f32x4.splat(aa), sumA, v128.load(m + 5 * step));
    v128.store(to + 2 * next, madd(f32x4.splat(bb), sumB, last));
  }
}

/** G' m G of four channels, whose 36 elements lie 32 bytes apart: `count` kernels of 3 x 3 floats, one behind the other. */
export function transformSums4x4(m: usize, work: usize, kernels: usize, count: i32): void {
  // Columns first, as [row][column].
  for (let column: usize = 0; column < 6; column++) {
    AlongWeight.storeSums(m + 32 * column, 192, work + 16 * column, 96);
  }
  const taps = work + 288;
  for (let row: usize = 0; row < 3; row++)
    AlongWeight.storeSums(work + 96 * row, 16, taps + 48 * row, 16);
  storeKernels(taps, kernels, count);
}

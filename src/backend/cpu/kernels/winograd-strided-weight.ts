import { madd } from "./simd";
import { usesStridedPoint } from "./winograd-strided";
import { storeKernels, storeTaps } from "./winograd-taps";

/** What winograd-strided.ts makes of kernels, and the gradient of a weight: of dy, and of the sums. */

/** Transforms along one side; methods, because only these can be inlined. */
// biome-ignore lint/complexity/noStaticOnlyClass: the decorator is for methods
class Along {
  /** The six factors of three taps. */
  @inline
  static storeFactors(g0: v128, g1: v128, g2: v128, to: usize, next: usize): void {
    v128.store(to, g1);
    v128.store(to + next, g0);
    v128.store(to + 2 * next, f32x4.mul(f32x4.splat(-2.0 / 9.0), f32x4.sub(g0, g2)));
    const half = madd(f32x4.splat(0.5), g2, g0);
    v128.store(to + 3 * next, f32x4.mul(f32x4.splat(-8.0 / 9.0), half));
    v128.store(to + 4 * next, f32x4.mul(f32x4.splat(1.0 / 9.0), madd(f32x4.splat(2), g2, g0)));
    v128.store(to + 5 * next, g2);
  }

  /** Four values of dy, for the gradient of the weight. */
  @inline
  static storeGradient(y0: v128, y1: v128, y2: v128, y3: v128, to: usize, next: usize): void {
    v128.store(to, y0);
    const even = f32x4.add(y0, y2);
    v128.store(to + next, f32x4.sub(even, f32x4.add(y1, y3)));
    const halves = madd(f32x4.splat(0.25), y2, y0);
    const twos = madd(f32x4.splat(4), y2, y0);
    v128.store(to + 2 * next, madd(f32x4.splat(0.5), madd(f32x4.splat(0.25), y3, y1), halves));
    v128.store(to + 3 * next, madd(f32x4.splat(2), madd(f32x4.splat(4), y3, y1), twos));
  }
}

/** The 36 factors of four kernels of 3 x 3 floats; they go `next` bytes apart. */
export function transformStridedKernel(
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
    const g = work + 16 * column;
    const to = rows + 16 * column;
    Along.storeFactors(v128.load(g), v128.load(g, 48), v128.load(g, 96), to, 48);
  }
  for (let row: usize = 0; row < 6; row++) {
    const g = rows + 48 * row;
    Along.storeFactors(v128.load(g), v128.load(g, 16), v128.load(g, 32), to + 6 * row * next, next);
  }
}

/** The same of dy, for the gradient of the weight: as many rows as outputs, and zeros. */
export function stridedGradientStrip(
  rows: usize,
  outputs: i32,
  count: i32,
  to: usize,
  pitch: usize,
): void {
  const last = (<usize>(count - 4)) << 2;
  for (let at: usize = 0; ; at = min(at + 16, last)) {
    const y0 = v128.load(load<usize>(rows) + at);
    const y1 = v128.load(load<usize>(rows, 4) + at);
    const y2 = v128.load(load<usize>(rows, 8) + at);
    const y3 = v128.load(load<usize>(rows, 12) + at);
    storeGradients(outputs, y0, y1, y2, y3, to + at, pitch);
    if (at === last) return;
  }
}

function storeGradients(
  outputs: i32,
  y0: v128,
  y1: v128,
  y2: v128,
  y3: v128,
  to: usize,
  next: usize,
): void {
  v128.store(to, y0);
  v128.store(to + next, y1);
  v128.store(to + 2 * next, y2);
  v128.store(to + 3 * next, y3);
  Along.storeGradient(y0, y1, y2, y3, to + 4 * next, next);
  v128.store(to + 8 * next, outputs === 4 ? y3 : outputs === 3 ? y2 : y1);
}

/** Of a tile of four channels of dy, for the gradient of the weight. */
export function transformStridedGradient(
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
      const zero = f32x4.splat(0);
      storeGradients(
        tileW,
        v128.shuffle<f32>(even01, even23, 0, 1, 4, 5),
        v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5),
        tileW > 2 ? v128.shuffle<f32>(even01, even23, 2, 3, 6, 7) : zero,
        tileW > 3 ? v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7) : zero,
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

/** From 36 sums of four channels, 32 bytes apart: `count` kernels of 3 x 3 floats, one behind the other. */
export function transformStridedSums(m: usize, work: usize, kernels: usize, count: i32): void {
  for (let column: usize = 0; column < 6; column++) {
    storeSums(m + 32 * column, 192, work + 16 * column, 96);
  }
  const taps = work + 288;
  for (let row: usize = 0; row < 3; row++) storeSums(work + 96 * row, 16, taps + 48 * row, 16);
  storeKernels(taps, kernels, count);
}

/** Three taps of six sums. */
function storeSums(m: usize, step: usize, to: usize, next: usize): void {
  const minus = f32x4.mul(f32x4.splat(-2.0 / 9.0), v128.load(m + 2 * step));
  const half = f32x4.mul(f32x4.splat(-8.0 / 9.0), v128.load(m + 3 * step));
  const two = f32x4.mul(f32x4.splat(1.0 / 9.0), v128.load(m + 4 * step));
  const first = f32x4.add(f32x4.add(v128.load(m + step), minus), f32x4.add(half, two));
  v128.store(to, first);
  v128.store(to + next, v128.load(m));
  const last = f32x4.sub(v128.load(m + 5 * step), minus);
  v128.store(to + 2 * next, madd(f32x4.splat(2), two, madd(f32x4.splat(0.5), half, last)));
}

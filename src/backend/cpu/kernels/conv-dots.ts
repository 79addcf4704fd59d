import { madd } from "./simd";

/**
 * The dot products of dy and four taps of x, each over `length` bytes of `count` images, which lie `length` and xStep bytes apart.
 */
export function dot1x4(
  dy: usize,
  x: usize,
  offsets: usize,
  length: usize,
  count: i32,
  xStep: usize,
  sums: usize,
): void {
  let x0 = x + load<usize>(offsets);
  let x1 = x + load<usize>(offsets, 4);
  let x2 = x + load<usize>(offsets, 8);
  let x3 = x + load<usize>(offsets, 12);
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  for (let i = 0; i < count; i++) {
    for (let p: usize = 0; p < length; p += 16) {
      const g = v128.load(dy + p);
      a0 = madd(g, v128.load(x0 + p), a0);
      a1 = madd(g, v128.load(x1 + p), a1);
      a2 = madd(g, v128.load(x2 + p), a2);
      a3 = madd(g, v128.load(x3 + p), a3);
    }
    dy += length;
    x0 += xStep;
    x1 += xStep;
    x2 += xStep;
    x3 += xStep;
  }
  v128.store(sums, sumsOfFour(a0, a1, a2, a3));
}

/** The sum of each vector's lanes, as one vector. */
function sumsOfFour(a: v128, b: v128, c: v128, d: v128): v128 {
  // [a0 + a2, b0 + b2, a1 + a3, b1 + b3]
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

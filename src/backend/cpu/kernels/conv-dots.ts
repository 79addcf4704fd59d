import { madd } from "./simd";

/**
 * Adds the dot products of four channels of dy and two taps of x to sums[tap][channel]. Each is over `length` bytes at each of
 * `count` places, dyStep and xStep bytes apart. Channels of dy lie `plane` bytes apart, the sums of the second tap `next` bytes
 * behind the first.
 */
export function dot4x2(
  dy: usize,
  x: usize,
  offsets: usize,
  plane: usize,
  length: usize,
  count: i32,
  dyStep: usize,
  xStep: usize,
  sums: usize,
  next: usize,
): void {
  let x0 = x + load<usize>(offsets);
  let x1 = x + load<usize>(offsets, 4);
  let a0 = f32x4.splat(0);
  let b0 = a0;
  let c0 = a0;
  let d0 = a0;
  let a1 = a0;
  let b1 = a0;
  let c1 = a0;
  let d1 = a0;
  for (let i = 0; i < count; i++) {
    const dyB = dy + plane;
    const dyC = dyB + plane;
    const dyD = dyC + plane;
    for (let p: usize = 0; p < length; p += 16) {
      const v0 = v128.load(x0 + p);
      const v1 = v128.load(x1 + p);
      let g = v128.load(dy + p);
      a0 = madd(g, v0, a0);
      a1 = madd(g, v1, a1);
      g = v128.load(dyB + p);
      b0 = madd(g, v0, b0);
      b1 = madd(g, v1, b1);
      g = v128.load(dyC + p);
      c0 = madd(g, v0, c0);
      c1 = madd(g, v1, c1);
      g = v128.load(dyD + p);
      d0 = madd(g, v0, d0);
      d1 = madd(g, v1, d1);
    }
    dy += dyStep;
    x0 += xStep;
    x1 += xStep;
  }
  addTo(sums, sumsOfFour(a0, b0, c0, d0));
  addTo(sums + next, sumsOfFour(a1, b1, c1, d1));
}

/** The same for one channel and four taps, whose sums lie side by side: depthwise convolutions. */
export function dot1x4(
  dy: usize,
  x: usize,
  offsets: usize,
  length: usize,
  count: i32,
  dyStep: usize,
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
    dy += dyStep;
    x0 += xStep;
    x1 += xStep;
    x2 += xStep;
    x3 += xStep;
  }
  addTo(sums, sumsOfFour(a0, a1, a2, a3));
}

function addTo(sums: usize, values: v128): void {
  v128.store(sums, f32x4.add(v128.load(sums), values));
}

/** The sum of each vector's lanes, as one vector. */
function sumsOfFour(a: v128, b: v128, c: v128, d: v128): v128 {
  // [a0 + a2, b0 + b2, a1 + a3, b1 + b3]
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

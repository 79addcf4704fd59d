import { bytes } from "./floats";
import { madd } from "./simd";

/**
 * Six output channels by eight pixels: twelve accumulators, which hide the latency of multiply-adds and leave no register over:
 * it must stay a function of its own, with two calls at least, or the compiler puts it among others' variables and they spill.
 * Tap t of a pixel is offsets[t] bytes from it; `weights` are the six biases and then six weights for each tap; the channels of
 * the result lie `next` bytes apart.
 */
export function tile6x8(
  image: usize,
  offsets: usize,
  weights: usize,
  taps: i32,
  result: usize,
  next: usize,
): void {
  let a0 = v128.load32_splat(weights);
  let b0 = v128.load32_splat(weights, 4);
  let c0 = v128.load32_splat(weights, 8);
  let d0 = v128.load32_splat(weights, 12);
  let e0 = v128.load32_splat(weights, 16);
  let f0 = v128.load32_splat(weights, 20);
  let a1 = a0;
  let b1 = b0;
  let c1 = c0;
  let d1 = d0;
  let e1 = e0;
  let f1 = f0;
  for (const end = offsets + bytes(taps); offsets < end; offsets += 4) {
    const pixels = image + load<usize>(offsets);
    const x0 = v128.load(pixels);
    const x1 = v128.load(pixels, 16);
    weights += 24;
    let w = v128.load32_splat(weights);
    a0 = madd(w, x0, a0);
    a1 = madd(w, x1, a1);
    w = v128.load32_splat(weights, 4);
    b0 = madd(w, x0, b0);
    b1 = madd(w, x1, b1);
    w = v128.load32_splat(weights, 8);
    c0 = madd(w, x0, c0);
    c1 = madd(w, x1, c1);
    w = v128.load32_splat(weights, 12);
    d0 = madd(w, x0, d0);
    d1 = madd(w, x1, d1);
    w = v128.load32_splat(weights, 16);
    e0 = madd(w, x0, e0);
    e1 = madd(w, x1, e1);
    w = v128.load32_splat(weights, 20);
    f0 = madd(w, x0, f0);
    f1 = madd(w, x1, f1);
  }
  storePair(result, a0, a1);
  storePair(result + next, b0, b1);
  storePair(result + 2 * next, c0, c1);
  storePair(result + 3 * next, d0, d1);
  storePair(result + 4 * next, e0, e1);
  storePair(result + 5 * next, f0, f1);
}

/** The same for four output channels: those that do not make up six. */
export function tile4x8(
  image: usize,
  offsets: usize,
  weights: usize,
  taps: i32,
  result: usize,
  next: usize,
): void {
  let a0 = v128.load32_splat(weights);
  let b0 = v128.load32_splat(weights, 4);
  let c0 = v128.load32_splat(weights, 8);
  let d0 = v128.load32_splat(weights, 12);
  let a1 = a0;
  let b1 = b0;
  let c1 = c0;
  let d1 = d0;
  for (const end = offsets + bytes(taps); offsets < end; offsets += 4) {
    const pixels = image + load<usize>(offsets);
    const x0 = v128.load(pixels);
    const x1 = v128.load(pixels, 16);
    weights += 16;
    let w = v128.load32_splat(weights);
    a0 = madd(w, x0, a0);
    a1 = madd(w, x1, a1);
    w = v128.load32_splat(weights, 4);
    b0 = madd(w, x0, b0);
    b1 = madd(w, x1, b1);
    w = v128.load32_splat(weights, 8);
    c0 = madd(w, x0, c0);
    c1 = madd(w, x1, c1);
    w = v128.load32_splat(weights, 12);
    d0 = madd(w, x0, d0);
    d1 = madd(w, x1, d1);
  }
  storePair(result, a0, a1);
  storePair(result + next, b0, b1);
  storePair(result + 2 * next, c0, c1);
  storePair(result + 3 * next, d0, d1);
}

/** One output channel by 16 pixels, from weights of the same layout: depthwise convolutions. */
export function tile1x16(
  image: usize,
  offsets: usize,
  weights: usize,
  taps: i32,
  result: usize,
): void {
  let a0 = v128.load32_splat(weights);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  for (let t = 0; t < taps; t++) {
    const pixels = image + load<usize>(offsets);
    offsets += 4;
    weights += 16;
    const w = v128.load32_splat(weights);
    a0 = madd(w, v128.load(pixels), a0);
    a1 = madd(w, v128.load(pixels, 16), a1);
    a2 = madd(w, v128.load(pixels, 32), a2);
    a3 = madd(w, v128.load(pixels, 48), a3);
  }
  storePair(result, a0, a1);
  storePair(result + 32, a2, a3);
}

function storePair(to: usize, low: v128, high: v128): void {
  v128.store(to, low);
  v128.store(to, high, 16);
}

import { bytes } from "./floats";
import { madd } from "./simd";

/**
 * Rows by eight columns of a product, from panels: `left` as [step][row], `right` as [step][column]. The rows of the result lie
 * `next` bytes apart; the product is added to what stands there unless it is the first part.
 *
 * Six rows: twelve accumulators, which hide the latency of multiply-adds and leave no register over. It must stay a function of
 * its own, with two calls at least, or the compiler puts it among others' variables and they spill; so they do where
 * something is added behind the loop instead of before it.
 */
export function product6x8(
  left: usize,
  right: usize,
  depth: i32,
  result: usize,
  next: usize,
  isFirst: bool,
): void {
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  let e0 = a0;
  let e1 = a0;
  let f0 = a0;
  let f1 = a0;
  if (!isFirst) {
    a0 = v128.load(result);
    a1 = v128.load(result, 16);
    b0 = v128.load(result + next);
    b1 = v128.load(result + next, 16);
    c0 = v128.load(result + 2 * next);
    c1 = v128.load(result + 2 * next, 16);
    d0 = v128.load(result + 3 * next);
    d1 = v128.load(result + 3 * next, 16);
    e0 = v128.load(result + 4 * next);
    e1 = v128.load(result + 4 * next, 16);
    f0 = v128.load(result + 5 * next);
    f1 = v128.load(result + 5 * next, 16);
  }
  for (const end = left + bytes(6 * depth); left < end; left += 24, right += 32) {
    const low = v128.load(right);
    const high = v128.load(right, 16);
    let w = v128.load32_splat(left);
    a0 = madd(w, low, a0);
    a1 = madd(w, high, a1);
    w = v128.load32_splat(left, 4);
    b0 = madd(w, low, b0);
    b1 = madd(w, high, b1);
    w = v128.load32_splat(left, 8);
    c0 = madd(w, low, c0);
    c1 = madd(w, high, c1);
    w = v128.load32_splat(left, 12);
    d0 = madd(w, low, d0);
    d1 = madd(w, high, d1);
    w = v128.load32_splat(left, 16);
    e0 = madd(w, low, e0);
    e1 = madd(w, high, e1);
    w = v128.load32_splat(left, 20);
    f0 = madd(w, low, f0);
    f1 = madd(w, high, f1);
  }
  storePair(result, a0, a1);
  storePair(result + next, b0, b1);
  storePair(result + 2 * next, c0, c1);
  storePair(result + 3 * next, d0, d1);
  storePair(result + 4 * next, e0, e1);
  storePair(result + 5 * next, f0, f1);
}

/** The same for four rows: those that do not make up six. */
export function product4x8(
  left: usize,
  right: usize,
  depth: i32,
  result: usize,
  next: usize,
  isFirst: bool,
): void {
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  if (!isFirst) {
    a0 = v128.load(result);
    a1 = v128.load(result, 16);
    b0 = v128.load(result + next);
    b1 = v128.load(result + next, 16);
    c0 = v128.load(result + 2 * next);
    c1 = v128.load(result + 2 * next, 16);
    d0 = v128.load(result + 3 * next);
    d1 = v128.load(result + 3 * next, 16);
  }
  for (const end = left + bytes(4 * depth); left < end; left += 16, right += 32) {
    const low = v128.load(right);
    const high = v128.load(right, 16);
    let w = v128.load32_splat(left);
    a0 = madd(w, low, a0);
    a1 = madd(w, high, a1);
    w = v128.load32_splat(left, 4);
    b0 = madd(w, low, b0);
    b1 = madd(w, high, b1);
    w = v128.load32_splat(left, 8);
    c0 = madd(w, low, c0);
    c1 = madd(w, high, c1);
    w = v128.load32_splat(left, 12);
    d0 = madd(w, low, d0);
    d1 = madd(w, high, d1);
  }
  storePair(result, a0, a1);
  storePair(result + next, b0, b1);
  storePair(result + 2 * next, c0, c1);
  storePair(result + 3 * next, d0, d1);
}

function storePair(to: usize, low: v128, high: v128): void {
  v128.store(to, low);
  v128.store(to, high, 16);
}

import { bytes } from "./floats";
import { madd } from "./simd";

/**
 * Four rows by eight columns of a product, from panels: a as [step][row], b as [step][column]. The rows of the result lie `next`
 * bytes apart; it is added to what stands there unless it is the first part. Eight accumulators hide the latency of multiply-adds.
 */
export function product4x8(
  a: usize,
  b: usize,
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
  for (const end = a + bytes(4 * depth); a < end; a += 16, b += 32) {
    const low = v128.load(b);
    const high = v128.load(b, 16);
    let w = v128.load32_splat(a);
    a0 = madd(w, low, a0);
    a1 = madd(w, high, a1);
    w = v128.load32_splat(a, 4);
    b0 = madd(w, low, b0);
    b1 = madd(w, high, b1);
    w = v128.load32_splat(a, 8);
    c0 = madd(w, low, c0);
    c1 = madd(w, high, c1);
    w = v128.load32_splat(a, 12);
    d0 = madd(w, low, d0);
    d1 = madd(w, high, d1);
  }
  put(result, a0, a1, isFirst);
  put(result + next, b0, b1, isFirst);
  put(result + 2 * next, c0, c1, isFirst);
  put(result + 3 * next, d0, d1, isFirst);
}

function put(to: usize, low: v128, high: v128, isFirst: bool): void {
  v128.store(to, isFirst ? low : f32x4.add(v128.load(to), low));
  v128.store(to, isFirst ? high : f32x4.add(v128.load(to, 16), high), 16);
}

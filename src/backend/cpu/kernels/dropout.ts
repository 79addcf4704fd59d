/** Dropout with the draws of core/random.ts, a function of seed and place alone. */

/** The bijection of core/random.ts on four words. */
function mix(word: v128): v128 {
  let z = i32x4.mul(v128.xor(word, i32x4.shr_u(word, 16)), i32x4.splat(0x7feb352d));
  z = i32x4.mul(v128.xor(z, i32x4.shr_u(z, 15)), i32x4.splat(0x846ca68b));
  return v128.xor(z, i32x4.shr_u(z, 16));
}

/** x * scale where the draw of the element, in units of 2^-24, is `threshold` or more; else 0. */
function dropoutFour(x: v128, index: v128, seed: i32, threshold: i32, scale: f32): v128 {
  const inner = mix(v128.xor(index, i32x4.splat(seed)));
  const draw = i32x4.shr_u(mix(i32x4.add(inner, i32x4.splat(seed * 0x9e3779b9))), 8);
  const isKept = i32x4.ge_s(draw, i32x4.splat(threshold));
  return v128.and(f32x4.mul(x, f32x4.splat(scale)), isKept);
}

export function dropout(
  x: usize,
  out: usize,
  count: usize,
  perChunk: usize,
  seed: i32,
  threshold: i32,
  scale: f32,
  chunk: i32,
  thread: i32,
): void {
  let i = <usize>chunk * perChunk;
  const end = min(i + perChunk, count);
  const steps = i32x4(0, 1, 2, 3);
  for (; i + 4 <= end; i += 4) {
    const index = i32x4.add(i32x4.splat(<i32>i), steps);
    const y = dropoutFour(v128.load(x + (i << 2)), index, seed, threshold, scale);
    v128.store(out + (i << 2), y);
  }
  for (; i < end; i++) {
    const y = dropoutFour(
      v128.load32_zero(x + (i << 2)),
      i32x4.splat(<i32>i),
      seed,
      threshold,
      scale,
    );
    v128.store32_lane(out + (i << 2), y, 0);
  }
}

/** a * b + c in every lane: one rounding in the relaxed build, two in the plain one. */
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** Sum of the four lanes in double precision, always in the same order. */
export function sumLanes(a: v128): f64 {
  return (
    <f64>f32x4.extract_lane(a, 0) +
    <f64>f32x4.extract_lane(a, 1) +
    (<f64>f32x4.extract_lane(a, 2) + <f64>f32x4.extract_lane(a, 3))
  );
}

/** `count` float32, at most four, and `filler` in the lanes behind them. */
export function loadPart(at: usize, count: usize, filler: f32): v128 {
  if (count >= 4) return v128.load(at);
  let part = f32x4.splat(filler);
  if (count > 0) part = v128.load32_lane(at, part, 0);
  if (count > 1) part = v128.load32_lane(at, part, 1, 4);
  if (count > 2) part = v128.load32_lane(at, part, 2, 8);
  return part;
}

/** The first `count` lanes, at most four. */
export function storePart(at: usize, count: usize, value: v128): void {
  if (count >= 4) {
    v128.store(at, value);
    return;
  }
  if (count > 0) v128.store32_lane(at, value, 0);
  if (count > 1) v128.store32_lane(at, value, 1, 4);
  if (count > 2) v128.store32_lane(at, value, 2, 8);
}

/** Lanes 0 and 1 in double precision. */
export function lowHalf(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}

/** Lanes 2 and 3 in double precision. */
export function highHalf(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1));
}

/** Four float32 from twice two float64. */
export function joinHalves(low: v128, high: v128): v128 {
  return v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

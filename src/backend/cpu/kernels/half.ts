/**
 * float16 in four lanes of 32 bits each: the upper half of a lane is 0. After Fabian Giesen's conversions in integer arithmetic,
 * https://fgiesen.wordpress.com/2012/03/28/half-to-float-done-quic/, which need no branch and keep the fractions of NaN.
 */

/** Exact. The fraction in its new place is a float32 that is 2^112 too small, and for subnormals a subnormal: one product does all. */
export function halfToFloat(bits: v128): v128 {
  const magnitude = v128.and(bits, i32x4.splat(0x7fff));
  const placed = i32x4.shl(magnitude, 13);
  const scaled = f32x4.mul(placed, f32x4.splat(reinterpret<f32>(0x77800000)));
  const isSpecial = i32x4.gt_s(magnitude, i32x4.splat(0x7bff));
  const value = v128.or(scaled, v128.and(isSpecial, i32x4.splat(0x7f800000)));
  return v128.or(value, i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16));
}

/** To nearest, ties to even; from 65520 on infinite. A NaN keeps the head of its fraction, or gets one. */
export function floatToHalf(x: v128): v128 {
  const magnitude = v128.and(x, i32x4.splat(0x7fffffff));
  const isOdd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  // Half a unit less 1 in the last place, and that 1 where the last place kept is odd; 112 less in the exponent.
  const rounded = i32x4.add(i32x4.add(magnitude, isOdd), i32x4.splat(0xfff - (112 << 23)));
  // At 0.5 the last place of a float32 is 2^-24, that of the subnormals of float16.
  const half = i32x4.splat(0x3f000000);
  const tiny = i32x4.sub(f32x4.add(magnitude, half), half);
  const isTiny = i32x4.lt_s(magnitude, i32x4.splat(0x38800000));
  let bits = v128.bitselect(tiny, i32x4.shr_u(rounded, 13), isTiny);
  const isSpecial = i32x4.gt_s(magnitude, i32x4.splat(0x477fefff));
  if (v128.any_true(isSpecial)) bits = v128.bitselect(specialBits(magnitude), bits, isSpecial);
  return v128.or(bits, v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000)));
}

/** Infinity, and where that was NaN its fraction. */
function specialBits(magnitude: v128): v128 {
  const fraction = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(0x3ff));
  const lacks = v128.and(i32x4.eq(fraction, i32x4.splat(0)), i32x4.splat(0x200));
  const isNaNs = i32x4.gt_s(magnitude, i32x4.splat(0x7f800000));
  return v128.or(i32x4.splat(0x7c00), v128.and(v128.or(fraction, lacks), isNaNs));
}

/** The nearest float16, rounded once: adding and taking away the power whose last place is the one wanted rounds there. */
export function roundToHalf(x: f64): f64 {
  const size = abs(x);
  if (!(size < 65520)) return size >= 65520 ? copysign<f64>(Infinity, x) : x;
  const exponent = max<i64>(-14, <i64>(reinterpret<u64>(size) >> 52) - 1023);
  const magic = reinterpret<f64>((exponent + 42 + 1023) << 52);
  return copysign<f64>(size + magic - magic, x);
}

/**
 * Elementary functions on four float32 lanes, from arithmetic alone: the standard library's read tables, and kernels have
 * no static data. The polynomials interpolate at Chebyshev nodes of the reduced range. Bounds are those found over 2^24
 * arguments of all magnitudes and as many of the usual ones, in both builds; test/cpu-math.test.ts samples them again.
 */
import { madd } from "./simd";

/** The argument of exp, reduced: exp(x) = 2^n * exp(r), |r| <= ln(2) / 2. */
const log2e: f32 = 1.44269504;
/** ln(2) in two parts; the first has few enough digits that n times it is exact. */
const ln2High: f32 = 0.693359375;
const ln2Low: f32 = -2.12194442e-4;
/** Adding 1.5 * 2^23 leaves a float's nearest integer in its low bits. */
const rounder: f32 = 12582912;

/** x / ln(2), rounded to an integer that stands in the low bits. */
function multiples(x: v128): v128 {
  return f32x4.add(f32x4.mul(x, f32x4.splat(log2e)), f32x4.splat(rounder));
}

/** r for x and the rounded multiple of ln(2) in it. */
function remainder(x: v128, n: v128): v128 {
  const high = madd(n, f32x4.splat(-ln2High), x);
  return madd(n, f32x4.splat(-ln2Low), high);
}

/** exp(r) - 1 for |r| <= ln(2) / 2. */
function expm1Reduced(r: v128): v128 {
  let p = f32x4.splat(1.98910100152716e-4);
  p = madd(p, r, f32x4.splat(1.393366721458733e-3));
  p = madd(p, r, f32x4.splat(8.33331048488617e-3));
  p = madd(p, r, f32x4.splat(4.1666463017463684e-2));
  p = madd(p, r, f32x4.splat(0.1666666716337204));
  p = madd(p, r, f32x4.splat(0.5));
  return madd(f32x4.mul(r, r), p, r);
}

/** 2^n for integers -126 <= n <= 127. */
function power2(n: v128): v128 {
  return i32x4.shl(i32x4.add(n, i32x4.splat(127)), 23);
}

/** e to the power of each lane. Numerics: at most 1 ulp (found 0.98), subnormal results too. */
export function exp(x: v128): v128 {
  // Beyond these bounds the result is 0 or infinite; written so that NaN passes.
  const bounded = f32x4.pmax(f32x4.pmin(x, f32x4.splat(90)), f32x4.splat(-105));
  const shifted = multiples(bounded);
  const r = remainder(bounded, f32x4.sub(shifted, f32x4.splat(rounder)));
  const y = f32x4.add(f32x4.splat(1), expm1Reduced(r));
  // In two steps, since 2^n itself may be out of range.
  const n = i32x4.sub(shifted, f32x4.splat(rounder));
  const half = i32x4.shr_s(n, 1);
  return f32x4.mul(f32x4.mul(y, power2(half)), power2(i32x4.sub(n, half)));
}

/** Natural logarithm of each lane: -Infinity for 0, NaN below. Numerics: at most 1 ulp (found 0.83). */
export function log(x: v128): v128 {
  const isTiny = f32x4.lt(x, f32x4.splat(1.17549435e-38));
  const scaled = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608)), x, isTiny);
  // x = 2^e * m with m from sqrt(1/2) to sqrt(2): 0x3f3504f3 are the bits of sqrt(1/2).
  const exponent = i32x4.shr_s(i32x4.sub(scaled, i32x4.splat(0x3f3504f3)), 23);
  const f = f32x4.sub(i32x4.sub(scaled, i32x4.shl(exponent, 23)), f32x4.splat(1));
  const shift = v128.and(isTiny, i32x4.splat(23));
  const e = f32x4.convert_i32x4_s(i32x4.sub(exponent, shift));

  let p = f32x4.splat(6.971611082553864e-2);
  p = madd(p, f, f32x4.splat(-0.11479733884334564));
  p = madd(p, f, f32x4.splat(0.11685419827699661));
  p = madd(p, f, f32x4.splat(-0.12425687164068222));
  p = madd(p, f, f32x4.splat(0.14249058067798615));
  p = madd(p, f, f32x4.splat(-0.1666780263185501));
  p = madd(p, f, f32x4.splat(0.20000715553760529));
  p = madd(p, f, f32x4.splat(-0.2499999701976776));
  p = madd(p, f, f32x4.splat(0.3333333134651184));
  const square = f32x4.mul(f, f);
  let small = f32x4.mul(f32x4.mul(square, f), p);
  small = madd(e, f32x4.splat(ln2Low), small);
  small = madd(square, f32x4.splat(-0.5), small);
  const y = madd(e, f32x4.splat(ln2High), f32x4.add(f, small));
  return logSpecials(x, y);
}

function logSpecials(x: v128, y: v128): v128 {
  const infinity = f32x4.splat(Infinity);
  // Infinity and NaN give themselves; so does no other lane.
  let result = v128.bitselect(y, x, f32x4.lt(x, infinity));
  result = v128.bitselect(f32x4.splat(NaN), result, f32x4.lt(x, f32x4.splat(0)));
  return v128.bitselect(f32x4.neg(infinity), result, f32x4.eq(x, f32x4.splat(0)));
}

/** exp(-|x|), at most 1: what the functions of sigmoid's family are made of. */
export function decay(x: v128): v128 {
  return exp(f32x4.neg(f32x4.abs(x)));
}

/** 1 / (1 + exp(-x)). Numerics: at most 3 ulp (found 2.4), small results too. */
export function sigmoid(x: v128): v128 {
  return sigmoidFrom(x, decay(x));
}

/** `sigmoid` of x, whose decay is e. */
export function sigmoidFrom(x: v128, e: v128): v128 {
  const top = v128.bitselect(e, f32x4.splat(1), f32x4.lt(x, f32x4.splat(0)));
  return f32x4.div(top, f32x4.add(f32x4.splat(1), e));
}

/** Its derivative, sigmoid(x) * (1 - sigmoid(x)), where x has decay e. */
export function sigmoidSlope(e: v128): v128 {
  const sum = f32x4.add(f32x4.splat(1), e);
  return f32x4.div(e, f32x4.mul(sum, sum));
}

/** log(1 + exp(x)), without overflow. Numerics: at most 3 ulp (found 2.7), small results too. */
export function softplus(x: v128): v128 {
  // log(1 + e) = 2 atanh(s), where s is at most 1/3.
  const e = decay(x);
  const s = f32x4.div(e, f32x4.add(f32x4.splat(2), e));
  const z = f32x4.mul(s, s);
  let p = f32x4.splat(0.26851498022700443);
  p = madd(p, z, f32x4.splat(0.28236619805329605));
  p = madd(p, z, f32x4.splat(0.4000756064491055));
  p = madd(p, z, f32x4.splat(0.6666664033669925));
  const rest = madd(f32x4.mul(s, z), p, f32x4.add(s, s));
  return f32x4.add(f32x4.pmax(x, f32x4.splat(0)), rest);
}

/** exp(-x^2 / 2) of each lane. */
export function gaussian(x: v128): v128 {
  // Beyond this bound the result is 0; written so that NaN passes.
  const t = f32x4.pmin(f32x4.abs(x), f32x4.splat(15));
  // The square's rounding error, which the exponential would multiply by the square: both halves of t have half its digits.
  const square = f32x4.mul(t, t);
  const high = v128.and(t, i32x4.splat(0xfffff000));
  const low = f32x4.sub(t, high);
  const cross = f32x4.mul(f32x4.add(high, high), low);
  const error = f32x4.add(f32x4.sub(f32x4.mul(high, high), square), cross);
  const rest = f32x4.mul(f32x4.add(error, f32x4.mul(low, low)), f32x4.splat(-0.5));
  const y = exp(f32x4.mul(square, f32x4.splat(-0.5)));
  return madd(y, rest, y);
}

/**
 * P(X <= x) of a standard normal X, (1 + erf(x / sqrt(2))) / 2, where g is the gaussian of x.
 *
 * Numerics: gelu, which is x times this, is off by at most 2 ulp for positive x (found 1.9), 7 ulp for others (found 6.8), and
 * 10 ulp where this is subnormal (found 9.5). The sum 1 + erf would lose all digits of small results.
 */
export function normalCdf(x: v128, g: v128): v128 {
  const tail = f32x4.mul(tailRatio(f32x4.abs(x)), g);
  const y = v128.bitselect(tail, f32x4.sub(f32x4.splat(1), tail), f32x4.lt(x, f32x4.splat(0)));
  const isCentral = f32x4.lt(f32x4.abs(x), f32x4.splat(1));
  return v128.bitselect(centralCdf(x), y, isCentral);
}

/** P(X <= x) for |x| <= 1. */
function centralCdf(x: v128): v128 {
  const z = f32x4.mul(x, x);
  let p = f32x4.splat(-7.660538166734039e-6);
  p = madd(p, z, f32x4.splat(1.1350229618347939e-4));
  p = madd(p, z, f32x4.splat(-1.186343988794472e-3));
  p = madd(p, z, f32x4.splat(9.973328481253e-3));
  p = madd(p, z, f32x4.splat(-0.0664903605671862));
  p = madd(p, z, f32x4.splat(0.3989422801308407));
  return madd(p, x, f32x4.splat(0.5));
}

/** P(X >= t) / gaussian(t) for 0 <= t <= 15: nearly linear in u. */
function tailRatio(t: v128): v128 {
  const u = f32x4.div(f32x4.splat(2.5), f32x4.add(f32x4.splat(2.5), t));
  let p = f32x4.splat(0.03242086140520077);
  p = madd(p, u, f32x4.splat(-0.17800212905586393));
  p = madd(p, u, f32x4.splat(0.38521947876173435));
  p = madd(p, u, f32x4.splat(-0.3780117064253274));
  p = madd(p, u, f32x4.splat(0.12280943846606453));
  p = madd(p, u, f32x4.splat(-0.02858797187767957));
  p = madd(p, u, f32x4.splat(0.09191165289703614));
  p = madd(p, u, f32x4.splat(0.1330251946775341));
  p = madd(p, u, f32x4.splat(0.15963984397401149));
  p = madd(p, u, f32x4.splat(0.15957534413044405));
  return f32x4.mul(u, p);
}

/** Hyperbolic tangent. Numerics: at most 3 ulp (found 2.4). */
export function tanh(x: v128): v128 {
  const z = f32x4.pmin(f32x4.abs(f32x4.add(x, x)), f32x4.splat(20));
  const shifted = multiples(z);
  const n = i32x4.sub(shifted, f32x4.splat(rounder));
  const p = expm1Reduced(remainder(z, f32x4.sub(shifted, f32x4.splat(rounder))));
  // exp(z) - 1, without the cancellation of subtracting 1 at the end.
  const scale = power2(n);
  const e = madd(p, scale, f32x4.sub(scale, f32x4.splat(1)));
  const y = f32x4.div(e, f32x4.add(e, f32x4.splat(2)));
  return v128.bitselect(x, y, f32x4.splat(-0));
}

/** Natural logarithm of a positive number in double precision, infinity and NaN included. Numerics: relative error below 1e-15. */
export function log64(x: f64): f64 {
  if (!(x < Infinity)) return x;
  const bits = reinterpret<i64>(x);
  const e = (bits - 0x3fe6a09e667f3bcd) >> 52;
  const m = reinterpret<f64>(bits - (e << 52));
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let p: f64 = 1.0 / 23;
  p = p * z + 1.0 / 21;
  p = p * z + 1.0 / 19;
  p = p * z + 1.0 / 17;
  p = p * z + 1.0 / 15;
  p = p * z + 1.0 / 13;
  p = p * z + 1.0 / 11;
  p = p * z + 1.0 / 9;
  p = p * z + 1.0 / 7;
  p = p * z + 1.0 / 5;
  p = p * z + 1.0 / 3;
  return <f64>e * 0.6931471805599453 + (2 * s + 2 * s * z * p);
}

/** exp in double precision, infinities included. Numerics: relative error below 1e-15 * (1 + |x|); below -708 it is 0. */
export function exp64(x: f64): f64 {
  if (x > 709) return Infinity;
  if (x < -708) return 0;
  const n = nearest(x * 1.4426950408889634);
  const r = x - n * 0.6931471805599453;
  let p: f64 = 1.0 / 13;
  p = (1 + r * p) * (1.0 / 12);
  p = (1 + r * p) * (1.0 / 11);
  p = (1 + r * p) * (1.0 / 10);
  p = (1 + r * p) * (1.0 / 9);
  p = (1 + r * p) * (1.0 / 8);
  p = (1 + r * p) * (1.0 / 7);
  p = (1 + r * p) * (1.0 / 6);
  p = (1 + r * p) * (1.0 / 5);
  p = (1 + r * p) * (1.0 / 4);
  p = (1 + r * p) * (1.0 / 3);
  p = (1 + r * p) * (1.0 / 2);
  p = 1 + r * (1 + r * p);
  return p * reinterpret<f64>((<i64>n + 1023) << 52);
}

/** C's pow: 1 for an exponent of 0 or a base of 1 whatever the other, NaN for a negative base and a fractional exponent. */
export function pow64(base: f64, exponent: f64): f64 {
  if (exponent === 0 || base === 1) return 1;
  if (isNaN(base) || isNaN(exponent)) return NaN;
  const size = abs(base);
  const isWhole = trunc(exponent) === exponent;
  const isOdd = isWhole && abs(exponent) < 9007199254740992 && (<i64>exponent & 1) === 1;
  const isNegative = reinterpret<i64>(base) < 0;
  if (isNegative && !isWhole && size !== 0 && size !== Infinity) return NaN;
  let result: f64;
  if (size === 1) result = 1;
  else if (size === 0) result = exponent < 0 ? Infinity : 0;
  else if (size === Infinity) result = exponent < 0 ? 0 : Infinity;
  else result = exp64(exponent * log64(size));
  return isNegative && isOdd ? -result : result;
}

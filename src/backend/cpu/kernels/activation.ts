/** Activations and their gradients; loops as in contiguous.ts. */
import { map, zip } from "./contiguous";
import {
  decay,
  gaussian,
  normalCdf,
  sigmoid,
  sigmoidFrom,
  sigmoidSlope,
  softplus,
  tanh,
} from "./math";
import { madd } from "./simd";

class Relu {
  of(x: v128, alpha: v128): v128 {
    // This order of arguments keeps NaN.
    return f32x4.pmax(x, f32x4.splat(0));
  }
}

class Relu6 {
  of(x: v128, alpha: v128): v128 {
    return f32x4.pmin(f32x4.pmax(x, f32x4.splat(0)), f32x4.splat(6));
  }
}

class ReluInt {
  of(x: v128, alpha: v128): v128 {
    return i32x4.max_s(x, i32x4.splat(0));
  }
}

class LeakyRelu {
  of(x: v128, alpha: v128): v128 {
    return v128.bitselect(x, f32x4.mul(x, alpha), f32x4.gt(x, f32x4.splat(0)));
  }
}

class Sigmoid {
  of(x: v128, alpha: v128): v128 {
    return sigmoid(x);
  }
}

class Tanh {
  of(x: v128, alpha: v128): v128 {
    return tanh(x);
  }
}

/** x where |x| <= 20, else 20 or -20: by then the approximate gelu's sigmoid is 1 or 0. Written so that NaN passes. */
function bounded(x: v128): v128 {
  return f32x4.pmax(f32x4.pmin(x, f32x4.splat(20)), f32x4.splat(-20));
}

/** z = 2 sqrt(2 / pi) (x + 0.044715 x^3), for gelu's approximation x (1 + tanh(z / 2)) / 2 = x sigmoid(z). */
function tanhArgument(x: v128): v128 {
  const factor = madd(f32x4.mul(x, x), f32x4.splat(0.0713548163), f32x4.splat(1.5957691216));
  return f32x4.mul(x, factor);
}

class Gelu {
  of(x: v128, alpha: v128): v128 {
    return f32x4.mul(x, normalCdf(x, gaussian(x)));
  }
}

class GeluTanh {
  of(x: v128, alpha: v128): v128 {
    return f32x4.mul(x, sigmoid(tanhArgument(bounded(x))));
  }
}

class Silu {
  of(x: v128, alpha: v128): v128 {
    return f32x4.mul(x, sigmoid(x));
  }
}

class Softplus {
  of(x: v128, threshold: v128): v128 {
    return v128.bitselect(x, softplus(x), f32x4.gt(x, threshold));
  }
}

// ---- gradients: dy, then what the contract says is saved ------------------------------------------------------------

class ReluGrad {
  of(dy: v128, y: v128, alpha: v128): v128 {
    return v128.and(dy, f32x4.gt(y, f32x4.splat(0)));
  }
}

class Relu6Grad {
  of(dy: v128, y: v128, alpha: v128): v128 {
    const isInside = v128.and(f32x4.gt(y, f32x4.splat(0)), f32x4.lt(y, f32x4.splat(6)));
    return v128.and(dy, isInside);
  }
}

class LeakyReluGrad {
  of(dy: v128, x: v128, alpha: v128): v128 {
    return v128.bitselect(dy, f32x4.mul(dy, alpha), f32x4.gt(x, f32x4.splat(0)));
  }
}

class SigmoidGrad {
  of(dy: v128, y: v128, alpha: v128): v128 {
    return f32x4.mul(f32x4.mul(dy, y), f32x4.sub(f32x4.splat(1), y));
  }
}

class TanhGrad {
  of(dy: v128, y: v128, alpha: v128): v128 {
    // (1 - y) * (1 + y) does not cancel where 1 - y * y does.
    const one = f32x4.splat(1);
    return f32x4.mul(dy, f32x4.mul(f32x4.sub(one, y), f32x4.add(one, y)));
  }
}

class GeluGrad {
  of(dy: v128, x: v128, alpha: v128): v128 {
    const g = gaussian(x);
    // The density has 1 / sqrt(2 pi) before its exponential.
    const density = f32x4.mul(g, f32x4.splat(0.3989422804014327));
    return f32x4.mul(dy, madd(x, density, normalCdf(x, g)));
  }
}

class GeluTanhGrad {
  of(dy: v128, x: v128, alpha: v128): v128 {
    const t = bounded(x);
    const z = tanhArgument(t);
    const e = decay(z);
    // dz / dx
    const slope = madd(f32x4.mul(t, t), f32x4.splat(0.2140644488), f32x4.splat(1.5957691216));
    const steep = f32x4.mul(sigmoidSlope(e), slope);
    return f32x4.mul(dy, madd(x, steep, sigmoidFrom(z, e)));
  }
}

class SiluGrad {
  of(dy: v128, x: v128, alpha: v128): v128 {
    const e = decay(x);
    return f32x4.mul(dy, madd(x, sigmoidSlope(e), sigmoidFrom(x, e)));
  }
}

class SoftplusGrad {
  of(dy: v128, x: v128, threshold: v128): v128 {
    return v128.bitselect(dy, f32x4.mul(dy, sigmoid(x)), f32x4.gt(x, threshold));
  }
}

// ---- kernels ----------------------------------------------------------------------------------------------------------

export function reluFloat(job: usize, chunk: i32, thread: i32): void {
  map<Relu>(job, chunk);
}

export function relu6Float(job: usize, chunk: i32, thread: i32): void {
  map<Relu6>(job, chunk);
}

export function leakyReluFloat(job: usize, chunk: i32, thread: i32): void {
  map<LeakyRelu>(job, chunk);
}

export function sigmoidFloat(job: usize, chunk: i32, thread: i32): void {
  map<Sigmoid>(job, chunk);
}

export function tanhFloat(job: usize, chunk: i32, thread: i32): void {
  map<Tanh>(job, chunk);
}

export function geluFloat(job: usize, chunk: i32, thread: i32): void {
  map<Gelu>(job, chunk);
}

export function geluTanhFloat(job: usize, chunk: i32, thread: i32): void {
  map<GeluTanh>(job, chunk);
}

export function siluFloat(job: usize, chunk: i32, thread: i32): void {
  map<Silu>(job, chunk);
}

export function softplusFloat(job: usize, chunk: i32, thread: i32): void {
  map<Softplus>(job, chunk);
}

export function reluInt(job: usize, chunk: i32, thread: i32): void {
  map<ReluInt>(job, chunk);
}

export function reluGrad(job: usize, chunk: i32, thread: i32): void {
  zip<ReluGrad>(job, chunk);
}

export function relu6Grad(job: usize, chunk: i32, thread: i32): void {
  zip<Relu6Grad>(job, chunk);
}

export function leakyReluGrad(job: usize, chunk: i32, thread: i32): void {
  zip<LeakyReluGrad>(job, chunk);
}

export function sigmoidGrad(job: usize, chunk: i32, thread: i32): void {
  zip<SigmoidGrad>(job, chunk);
}

export function tanhGrad(job: usize, chunk: i32, thread: i32): void {
  zip<TanhGrad>(job, chunk);
}

export function geluGrad(job: usize, chunk: i32, thread: i32): void {
  zip<GeluGrad>(job, chunk);
}

export function geluTanhGrad(job: usize, chunk: i32, thread: i32): void {
  zip<GeluTanhGrad>(job, chunk);
}

export function siluGrad(job: usize, chunk: i32, thread: i32): void {
  zip<SiluGrad>(job, chunk);
}

export function softplusGrad(job: usize, chunk: i32, thread: i32): void {
  zip<SoftplusGrad>(job, chunk);
}

/**
 * Kernels that read and write contiguous float32 or int32, element by element. Each operation is a class with one formula on
 * four lanes, as in broadcast.ts.
 */
import { exp, log, sigmoid, tanh } from "./math";

class Elements {
  a: usize;
  b: usize;
  out: usize;
  count: usize;
  perChunk: usize;
  alpha: f32;
}

class Neg {
  of(x: v128, alpha: v128): v128 {
    return f32x4.neg(x);
  }
}

class Abs {
  of(x: v128, alpha: v128): v128 {
    return f32x4.abs(x);
  }
}

class Exp {
  of(x: v128, alpha: v128): v128 {
    return exp(x);
  }
}

class Log {
  of(x: v128, alpha: v128): v128 {
    return log(x);
  }
}

class Sqrt {
  of(x: v128, alpha: v128): v128 {
    return f32x4.sqrt(x);
  }
}

class Relu {
  of(x: v128, alpha: v128): v128 {
    // This order of arguments keeps NaN.
    return f32x4.pmax(x, f32x4.splat(0));
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

class NegInt {
  of(x: v128, alpha: v128): v128 {
    return i32x4.neg(x);
  }
}

class AbsInt {
  of(x: v128, alpha: v128): v128 {
    return i32x4.abs(x);
  }
}

class ReluInt {
  of(x: v128, alpha: v128): v128 {
    return i32x4.max_s(x, i32x4.splat(0));
  }
}

class ReluGrad {
  of(dy: v128, y: v128, alpha: v128): v128 {
    return v128.and(dy, f32x4.gt(y, f32x4.splat(0)));
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

class Accumulate {
  of(x: v128, sum: v128, alpha: v128): v128 {
    return f32x4.add(sum, x);
  }
}

class AccumulateInt {
  of(x: v128, sum: v128, alpha: v128): v128 {
    return i32x4.add(sum, x);
  }
}

// ---- loops ------------------------------------------------------------------------------------------------------------

/** out = op(a) for this chunk's share of the elements. */
function map<Op>(job: Elements, chunk: i32): void {
  const op = changetype<Op>(0);
  const a = job.a;
  const out = job.out;
  const alpha = f32x4.splat(job.alpha);
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count) << 2;
  let i = first << 2;
  for (; i + 16 <= end; i += 16) v128.store(out + i, op.of(v128.load(a + i), alpha));
  for (; i < end; i += 4) v128.store32_lane(out + i, op.of(v128.load32_zero(a + i), alpha), 0);
}

/** out = op(a, b) likewise; out may be one of the two. */
function zip<Op>(job: Elements, chunk: i32): void {
  const op = changetype<Op>(0);
  const a = job.a;
  const b = job.b;
  const out = job.out;
  const alpha = f32x4.splat(job.alpha);
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count) << 2;
  let i = first << 2;
  for (; i + 16 <= end; i += 16) {
    v128.store(out + i, op.of(v128.load(a + i), v128.load(b + i), alpha));
  }
  for (; i < end; i += 4) {
    const y = op.of(v128.load32_zero(a + i), v128.load32_zero(b + i), alpha);
    v128.store32_lane(out + i, y, 0);
  }
}

// ---- kernels ----------------------------------------------------------------------------------------------------------

export function negFloat(job: Elements, chunk: i32, thread: i32): void {
  map<Neg>(job, chunk);
}

export function absFloat(job: Elements, chunk: i32, thread: i32): void {
  map<Abs>(job, chunk);
}

export function expFloat(job: Elements, chunk: i32, thread: i32): void {
  map<Exp>(job, chunk);
}

export function logFloat(job: Elements, chunk: i32, thread: i32): void {
  map<Log>(job, chunk);
}

export function sqrtFloat(job: Elements, chunk: i32, thread: i32): void {
  map<Sqrt>(job, chunk);
}

export function reluFloat(job: Elements, chunk: i32, thread: i32): void {
  map<Relu>(job, chunk);
}

export function leakyReluFloat(job: Elements, chunk: i32, thread: i32): void {
  map<LeakyRelu>(job, chunk);
}

export function sigmoidFloat(job: Elements, chunk: i32, thread: i32): void {
  map<Sigmoid>(job, chunk);
}

export function tanhFloat(job: Elements, chunk: i32, thread: i32): void {
  map<Tanh>(job, chunk);
}

export function negInt(job: Elements, chunk: i32, thread: i32): void {
  map<NegInt>(job, chunk);
}

export function absInt(job: Elements, chunk: i32, thread: i32): void {
  map<AbsInt>(job, chunk);
}

export function reluInt(job: Elements, chunk: i32, thread: i32): void {
  map<ReluInt>(job, chunk);
}

export function reluGrad(job: Elements, chunk: i32, thread: i32): void {
  zip<ReluGrad>(job, chunk);
}

export function leakyReluGrad(job: Elements, chunk: i32, thread: i32): void {
  zip<LeakyReluGrad>(job, chunk);
}

export function sigmoidGrad(job: Elements, chunk: i32, thread: i32): void {
  zip<SigmoidGrad>(job, chunk);
}

export function tanhGrad(job: Elements, chunk: i32, thread: i32): void {
  zip<TanhGrad>(job, chunk);
}

export function addIntoFloat(job: Elements, chunk: i32, thread: i32): void {
  zip<Accumulate>(job, chunk);
}

export function addIntoInt(job: Elements, chunk: i32, thread: i32): void {
  zip<AccumulateInt>(job, chunk);
}

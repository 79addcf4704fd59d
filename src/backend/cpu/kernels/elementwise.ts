/** Kernels that read and write contiguous elements, one by one; activations have a file of their own. */
import { map, zip } from "./contiguous";
import { exp, log } from "./math";

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

// ---- kernels -------------------------------------------------------------------------------------------------------

export function negFloat(job: usize, chunk: i32, thread: i32): void {
  map<Neg>(job, chunk);
}

export function absFloat(job: usize, chunk: i32, thread: i32): void {
  map<Abs>(job, chunk);
}

export function expFloat(job: usize, chunk: i32, thread: i32): void {
  map<Exp>(job, chunk);
}

export function logFloat(job: usize, chunk: i32, thread: i32): void {
  map<Log>(job, chunk);
}

export function sqrtFloat(job: usize, chunk: i32, thread: i32): void {
  map<Sqrt>(job, chunk);
}

export function negInt(job: usize, chunk: i32, thread: i32): void {
  map<NegInt>(job, chunk);
}

export function absInt(job: usize, chunk: i32, thread: i32): void {
  map<AbsInt>(job, chunk);
}

export function addIntoFloat(job: usize, chunk: i32, thread: i32): void {
  zip<Accumulate>(job, chunk);
}

export function addIntoInt(job: usize, chunk: i32, thread: i32): void {
  zip<AccumulateInt>(job, chunk);
}

// ---- choice -----------------------------------------------------------------------------------------------------------

class Choice {
  condition: usize;
  a: usize;
  b: usize;
  out: usize;
  count: usize;
  perChunk: usize;
}

/** out = condition ? a : b on elements of four bytes. */
export function selectWords(job: Choice, chunk: i32, thread: i32): void {
  const condition = job.condition;
  const a = job.a;
  const b = job.b;
  const out = job.out;
  let i = <usize>chunk * job.perChunk;
  const end = min(i + job.perChunk, job.count);
  for (; i + 4 <= end; i += 4) {
    const at = i << 2;
    const bytes = v128.load32_zero(condition + i);
    const words = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
    const holds = i32x4.ne(words, i32x4.splat(0));
    v128.store(out + at, v128.bitselect(v128.load(a + at), v128.load(b + at), holds));
  }
  for (; i < end; i++) {
    const at = i << 2;
    store<u32>(out + at, load<u32>((load<u8>(condition + i) ? a : b) + at));
  }
}

/** out = condition ? a : b on bytes. */
export function selectBytes(job: Choice, chunk: i32, thread: i32): void {
  const condition = job.condition;
  const a = job.a;
  const b = job.b;
  const out = job.out;
  let i = <usize>chunk * job.perChunk;
  const end = min(i + job.perChunk, job.count);
  for (; i + 16 <= end; i += 16) {
    const holds = i8x16.ne(v128.load(condition + i), i8x16.splat(0));
    v128.store(out + i, v128.bitselect(v128.load(a + i), v128.load(b + i), holds));
  }
  for (; i < end; i++) store<u8>(out + i, load<u8>((load<u8>(condition + i) ? a : b) + i));
}

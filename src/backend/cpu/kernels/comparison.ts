/** Comparisons: four masks at a time, stored as bytes 0 and 1. Greater-than is less-than with the operands exchanged. */
import { comparison } from "./broadcast";

class Equal {
  of(a: v128, b: v128): v128 {
    return f32x4.eq(a, b);
  }
}

class NotEqual {
  of(a: v128, b: v128): v128 {
    return f32x4.ne(a, b);
  }
}

class Less {
  of(a: v128, b: v128): v128 {
    return f32x4.lt(a, b);
  }
}

class LessOrEqual {
  of(a: v128, b: v128): v128 {
    return f32x4.le(a, b);
  }
}

class EqualInt {
  of(a: v128, b: v128): v128 {
    return i32x4.eq(a, b);
  }
}

class NotEqualInt {
  of(a: v128, b: v128): v128 {
    return i32x4.ne(a, b);
  }
}

class LessInt {
  of(a: v128, b: v128): v128 {
    return i32x4.lt_s(a, b);
  }
}

class LessOrEqualInt {
  of(a: v128, b: v128): v128 {
    return i32x4.le_s(a, b);
  }
}

export function eqFloat(job: usize, chunk: i32, thread: i32): void {
  comparison<Equal>(job, chunk);
}

export function neFloat(job: usize, chunk: i32, thread: i32): void {
  comparison<NotEqual>(job, chunk);
}

export function ltFloat(job: usize, chunk: i32, thread: i32): void {
  comparison<Less>(job, chunk);
}

export function leFloat(job: usize, chunk: i32, thread: i32): void {
  comparison<LessOrEqual>(job, chunk);
}

export function eqInt(job: usize, chunk: i32, thread: i32): void {
  comparison<EqualInt>(job, chunk);
}

export function neInt(job: usize, chunk: i32, thread: i32): void {
  comparison<NotEqualInt>(job, chunk);
}

export function ltInt(job: usize, chunk: i32, thread: i32): void {
  comparison<LessInt>(job, chunk);
}

export function leInt(job: usize, chunk: i32, thread: i32): void {
  comparison<LessOrEqualInt>(job, chunk);
}

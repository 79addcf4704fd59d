/** Binary kernels with results like their operands. */
import { arithmetic } from "./broadcast";
import { pow64 } from "./math";

class Add {
  of(a: v128, b: v128): v128 {
    return f32x4.add(a, b);
  }
}

class Sub {
  of(a: v128, b: v128): v128 {
    return f32x4.sub(a, b);
  }
}

class Mul {
  of(a: v128, b: v128): v128 {
    return f32x4.mul(a, b);
  }
}

class Div {
  of(a: v128, b: v128): v128 {
    return f32x4.div(a, b);
  }
}

class Pow {
  of(a: v128, b: v128): v128 {
    if (i32x4.all_true(f32x4.eq(b, f32x4.splat(2)))) return f32x4.mul(a, a);
    let y = f32x4.splat(powLane(f32x4.extract_lane(a, 0), f32x4.extract_lane(b, 0)));
    const y1 = powLane(f32x4.extract_lane(a, 1), f32x4.extract_lane(b, 1));
    const y2 = powLane(f32x4.extract_lane(a, 2), f32x4.extract_lane(b, 2));
    const y3 = powLane(f32x4.extract_lane(a, 3), f32x4.extract_lane(b, 3));
    y = f32x4.replace_lane(y, 1, y1);
    y = f32x4.replace_lane(y, 2, y2);
    return f32x4.replace_lane(y, 3, y3);
  }
}

class Maximum {
  of(a: v128, b: v128): v128 {
    return f32x4.max(a, b);
  }
}

class Minimum {
  of(a: v128, b: v128): v128 {
    return f32x4.min(a, b);
  }
}

class AddInt {
  of(a: v128, b: v128): v128 {
    return i32x4.add(a, b);
  }
}

class SubInt {
  of(a: v128, b: v128): v128 {
    return i32x4.sub(a, b);
  }
}

class MulInt {
  of(a: v128, b: v128): v128 {
    return i32x4.mul(a, b);
  }
}

class DivInt {
  of(a: v128, b: v128): v128 {
    return laneByLane<Quotient>(a, b);
  }
}

class PowInt {
  of(a: v128, b: v128): v128 {
    return laneByLane<Power>(a, b);
  }
}

class MaximumInt {
  of(a: v128, b: v128): v128 {
    return i32x4.max_s(a, b);
  }
}

class MinimumInt {
  of(a: v128, b: v128): v128 {
    return i32x4.min_s(a, b);
  }
}

class Quotient {
  of(a: i32, b: i32): i32 {
    // Wasm traps on both: x / 0 is 0 here, and the one quotient that overflows wraps.
    if (b === 0) return 0;
    return b === -1 ? -a : a / b;
  }
}

class Power {
  of(a: i32, b: i32): i32 {
    if (b < 0) return a === 1 ? 1 : a === -1 ? ((b & 1) === 0 ? 1 : -1) : 0;
    let result = 1;
    for (; b > 0; b >>= 1) {
      if ((b & 1) === 1) result *= a;
      a *= a;
    }
    return result;
  }
}

function laneByLane<Op>(a: v128, b: v128): v128 {
  const op = changetype<Op>(0);
  let y = i32x4.splat(op.of(i32x4.extract_lane(a, 0), i32x4.extract_lane(b, 0)));
  y = i32x4.replace_lane(y, 1, op.of(i32x4.extract_lane(a, 1), i32x4.extract_lane(b, 1)));
  y = i32x4.replace_lane(y, 2, op.of(i32x4.extract_lane(a, 2), i32x4.extract_lane(b, 2)));
  return i32x4.replace_lane(y, 3, op.of(i32x4.extract_lane(a, 3), i32x4.extract_lane(b, 3)));
}

function powLane(a: f32, b: f32): f32 {
  return <f32>pow64(a, b);
}

export function addFloat(job: usize, chunk: i32, thread: i32): void {
  arithmetic<Add>(job, chunk);
}

export function subFloat(job: usize, chunk: i32, thread: i32): void {
  arithmetic<Sub>(job, chunk);
}

export function mulFloat(job: usize, chunk: i32, thread: i32): void {
  arithmetic<Mul>(job, chunk);
}

export function divFloat(job: usize, chunk: i32, thread: i32): void {
  arithmetic<Div>(job, chunk);
}

export function powFloat(job: usize, chunk: i32, thread: i32): void {
  arithmetic<Pow>(job, chunk);
}

export function maximumFloat(job: usize, chunk: i32, thread: i32): void {
  arithmetic<Maximum>(job, chunk);
}

export function minimumFloat(job: usize, chunk: i32, thread: i32): void {
  arithmetic<Minimum>(job, chunk);
}

export function addInt(job: usize, chunk: i32, thread: i32): void {
  arithmetic<AddInt>(job, chunk);
}

export function subInt(job: usize, chunk: i32, thread: i32): void {
  arithmetic<SubInt>(job, chunk);
}

export function mulInt(job: usize, chunk: i32, thread: i32): void {
  arithmetic<MulInt>(job, chunk);
}

export function divInt(job: usize, chunk: i32, thread: i32): void {
  arithmetic<DivInt>(job, chunk);
}

export function powInt(job: usize, chunk: i32, thread: i32): void {
  arithmetic<PowInt>(job, chunk);
}

export function maximumInt(job: usize, chunk: i32, thread: i32): void {
  arithmetic<MaximumInt>(job, chunk);
}

export function minimumInt(job: usize, chunk: i32, thread: i32): void {
  arithmetic<MinimumInt>(job, chunk);
}

/** Conversions between element types: Float is float32, Double float64, Half float16, Byte uint8 and as a source bool too. */
import { floatToHalf, halfToFloat, roundToHalf } from "./half";

class Cast {
  x: usize;
  out: usize;
  count: usize;
  perChunk: usize;
}

/** One element. An integer too wide for its type saturates, into a byte go the low bits of that; NaN gives 0. */
function convert<From, To>(value: From): To {
  if (isFloat<From>() && isInteger<To>()) return <To>(<i32>value);
  return <To>value;
}

function cast<From, To>(job: Cast, chunk: i32): void {
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count);
  const x = job.x;
  const out = job.out;
  for (let i = first; i < end; i++) {
    store<To>(out + i * sizeof<To>(), convert<From, To>(load<From>(x + i * sizeof<From>())));
  }
}

function castToBool<From>(job: Cast, chunk: i32): void {
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count);
  for (let i = first; i < end; i++) {
    // Compared, not converted: NaN is not 0 and so true.
    store<u8>(job.out + i, load<From>(job.x + i * sizeof<From>()) !== <From>0 ? 1 : 0);
  }
}

/** Images: eight bytes at a time. */
export function castByteToFloat(job: Cast, chunk: i32, thread: i32): void {
  const x = job.x;
  const out = job.out;
  let i = <usize>chunk * job.perChunk;
  const end = min(i + job.perChunk, job.count);
  for (; i + 8 <= end; i += 8) {
    const words = v128.load8x8_u(x + i);
    const low = i32x4.extend_low_i16x8_u(words);
    const high = i32x4.extend_high_i16x8_u(words);
    v128.store(out + (i << 2), f32x4.convert_i32x4_s(low));
    v128.store(out + (i << 2), f32x4.convert_i32x4_s(high), 16);
  }
  for (; i < end; i++) store<f32>(out + (i << 2), <f32>load<u8>(x + i));
}

export function castFloatToInt(job: Cast, chunk: i32, thread: i32): void {
  cast<f32, i32>(job, chunk);
}

export function castFloatToByte(job: Cast, chunk: i32, thread: i32): void {
  cast<f32, u8>(job, chunk);
}

export function castFloatToDouble(job: Cast, chunk: i32, thread: i32): void {
  cast<f32, f64>(job, chunk);
}

export function castIntToFloat(job: Cast, chunk: i32, thread: i32): void {
  cast<i32, f32>(job, chunk);
}

export function castIntToByte(job: Cast, chunk: i32, thread: i32): void {
  cast<i32, u8>(job, chunk);
}

export function castIntToDouble(job: Cast, chunk: i32, thread: i32): void {
  cast<i32, f64>(job, chunk);
}

export function castByteToInt(job: Cast, chunk: i32, thread: i32): void {
  cast<u8, i32>(job, chunk);
}

export function castByteToDouble(job: Cast, chunk: i32, thread: i32): void {
  cast<u8, f64>(job, chunk);
}

export function castDoubleToFloat(job: Cast, chunk: i32, thread: i32): void {
  cast<f64, f32>(job, chunk);
}

export function castDoubleToInt(job: Cast, chunk: i32, thread: i32): void {
  cast<f64, i32>(job, chunk);
}

export function castDoubleToByte(job: Cast, chunk: i32, thread: i32): void {
  cast<f64, u8>(job, chunk);
}

export function castFloatToBool(job: Cast, chunk: i32, thread: i32): void {
  castToBool<f32>(job, chunk);
}

export function castIntToBool(job: Cast, chunk: i32, thread: i32): void {
  castToBool<i32>(job, chunk);
}

export function castByteToBool(job: Cast, chunk: i32, thread: i32): void {
  castToBool<u8>(job, chunk);
}

export function castDoubleToBool(job: Cast, chunk: i32, thread: i32): void {
  castToBool<f64>(job, chunk);
}

/** Eight at a time. */
export function castHalfToFloat(job: Cast, chunk: i32, thread: i32): void {
  const x = job.x;
  const out = job.out;
  let i = <usize>chunk * job.perChunk;
  const end = min(i + job.perChunk, job.count);
  for (; i + 8 <= end; i += 8) {
    const halves = v128.load(x + (i << 1));
    v128.store(out + (i << 2), halfToFloat(i32x4.extend_low_i16x8_u(halves)));
    v128.store(out + (i << 2), halfToFloat(i32x4.extend_high_i16x8_u(halves)), 16);
  }
  for (; i < end; i++) {
    v128.store32_lane(out + (i << 2), halfToFloat(i32x4.splat(load<u16>(x + (i << 1)))), 0);
  }
}

export function castFloatToHalf(job: Cast, chunk: i32, thread: i32): void {
  const x = job.x;
  const out = job.out;
  let i = <usize>chunk * job.perChunk;
  const end = min(i + job.perChunk, job.count);
  for (; i + 8 <= end; i += 8) {
    const low = floatToHalf(v128.load(x + (i << 2)));
    const high = floatToHalf(v128.load(x + (i << 2), 16));
    v128.store(out + (i << 1), i16x8.narrow_i32x4_u(low, high));
  }
  for (; i < end; i++) {
    v128.store16_lane(out + (i << 1), floatToHalf(v128.load32_zero(x + (i << 2))), 0);
  }
}

/** Batch norm's statistics, which are few. */
export function castDoubleToHalf(job: Cast, chunk: i32, thread: i32): void {
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count);
  for (let i = first; i < end; i++) {
    const value = <f32>roundToHalf(load<f64>(job.x + (i << 3)));
    v128.store16_lane(job.out + (i << 1), floatToHalf(f32x4.splat(value)), 0);
  }
}

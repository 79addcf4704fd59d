/** Conversions between element types: Float is float32, Double float64, Byte uint8 and as a source bool too. */

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

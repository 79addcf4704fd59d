/**
 * The 16-bit floating formats, from and to bits.
 *
 * float16 is IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits; the greatest number is 65504, the least above 0 is 2^-24.
 * float32 holds all of it exactly, so that numbers stand for bits everywhere but in device memory and in files.
 */

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/** Bits of a float32 from those of a float16. Exact; a NaN keeps its fraction. */
function widen(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  const magnitude = bits & 0x7fff;
  if (magnitude >= 0x7c00) return sign | 0x7f800000 | (magnitude << 13);
  if (magnitude >= 0x0400) return sign | ((magnitude << 13) + (112 << 23));
  single[0] = magnitude * 2 ** -24;
  return sign | word[0];
}

/** Bits of a float16 from those of a float32: to nearest, ties to even; from 65520 on infinite; a NaN keeps the head of its fraction. */
function narrow(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7c00 | ((magnitude >> 13) & 0x3ff || 0x200);
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    word[0] = magnitude;
    // At 0.5 the last place of a float32 is 2^-24, that of the subnormals of float16.
    single[0] += 0.5;
    return sign | (word[0] - 0x3f000000);
  }
  // Half a unit less 1 in the last place, and that 1 where the last place kept is odd. A carry moves on into the exponent.
  return sign | ((magnitude - (112 << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13);
}

/** The number that a float16 stands for. */
export function fromFloat16(bits: number): number {
  word[0] = widen(bits);
  return single[0];
}

/** The nearest number that float16 has, rounded once from double precision: to nearest, ties to even; from 65520 on infinite. */
export function roundToFloat16(value: number): number {
  const size = Math.abs(value);
  if (!(size < 65520)) return size >= 65520 ? Math.sign(value) * Number.POSITIVE_INFINITY : value;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  // Adding and taking away the power whose last place in double precision is the one wanted rounds there.
  const magic = 2 ** (exponent + 42);
  return Math.sign(value) * (size + magic - magic);
}

/** Bits of the float16 nearest to a number. */
export function toFloat16(value: number): number {
  single[0] = roundToFloat16(value);
  return narrow(word[0]);
}

/** The values of a float16 entry or memory as a Float32Array, each NaN with its own fraction. */
export function widenFloat16(bits: ArrayLike<number>): Float32Array<ArrayBuffer> {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < words.length; i++) words[i] = widen(bits[i]);
  return new Float32Array(words.buffer);
}

/** The reverse of `widenFloat16`, bit for bit; rounds what float16 does not have. */
export function narrowToFloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const { buffer, byteOffset, length } = values;
  return Uint16Array.from(new Uint32Array(buffer, byteOffset, length), narrow);
}

/** bfloat16: the upper half of a float32. Exact. */
export function fromBfloat16(bits: number): number {
  word[0] = bits << 16;
  return single[0];
}

/** The 16-bit floating formats of files, from their bits. */

/** IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits. Exact. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/** bfloat16: the upper half of a float32. Exact. */
export function fromBfloat16(bits: number): number {
  word[0] = bits << 16;
  return single[0];
}

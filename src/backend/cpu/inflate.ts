/**
 * Decompresses raw DEFLATE (RFC 1951), which makes a quarter of a module of kernels. The platforms' own decompressors are
 * asynchronous in a browser, and the first operation needs its kernel at once. What it reads is our own: it checks nothing.
 */

/** Lengths of the codes of a block of kind 1, by symbol: those of literals and lengths, then those of distances. */
const fixedLengths = [
  [...Array(144).fill(8), ...Array(112).fill(9), ...Array(24).fill(7), ...Array(8).fill(8)],
  Array(30).fill(5),
];

/** The order in which a block of kind 2 gives the lengths of the code that its other codes are written in. */
const lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** A Huffman code: what its longest code's worth of bits begins with, as symbol * 16 + length of the symbol's code. */
type Code = Uint16Array;

/** The first `size` bytes of what was compressed. */
export function inflate(compressed: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const bits = new Bits(compressed);
  const output = new Uint8Array(size);
  for (let at = 0, isLast = 0; isLast === 0; ) {
    isLast = bits.take(1);
    const kind = bits.take(2);
    at =
      kind === 0
        ? copyStored(bits, output, at)
        : inflateBlock(bits, codesOf(bits, kind), { output, at });
  }
  return output;
}

/** Bits of a byte array, the lowest of each byte first. */
class Bits {
  readonly #bytes: Uint8Array;
  #at = 0;
  #held = 0;
  #count = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** A number of at most 16 bits. */
  take(count: number): number {
    this.#hold(count);
    const value = this.#held & ((1 << count) - 1);
    this.#drop(count);
    return value;
  }

  symbol(code: Code): number {
    // The last code may need fewer bits than the longest one: there are zeros behind the end.
    this.#hold(16);
    const entry = code[this.#held & (code.length - 1)];
    this.#drop(entry & 15);
    return entry >> 4;
  }

  /** A number whose leading bits are a symbol's: the larger the number, the more of its bits follow the symbol. */
  extended(symbol: number, leading: number): number {
    const unit = 1 << leading;
    if (symbol < 2 * unit) return symbol;
    const extra = (symbol >> leading) - 1;
    return ((unit + (symbol & (unit - 1))) << extra) + this.take(extra);
  }

  skipToByte(): void {
    this.#drop(this.#count & 7);
  }

  #hold(count: number): void {
    for (; this.#count < count; this.#count += 8)
      this.#held |= this.#bytes[this.#at++] << this.#count;
  }

  #drop(count: number): void {
    this.#held >>>= count;
    this.#count -= count;
  }
}

/** Copies an uncompressed block; where the next one goes. */
function copyStored(bits: Bits, output: Uint8Array, start: number): number {
  bits.skipToByte();
  const end = start + bits.take(16);
  bits.take(16); // the length again, negated
  for (let at = start; at < end; at++) output[at] = bits.take(8);
  return end;
}

/** Writes what a block stands for: literals, and copies of what was written before; where the next one goes. */
function inflateBlock(
  bits: Bits,
  [literals, distances]: readonly Code[],
  target: { readonly output: Uint8Array; readonly at: number },
): number {
  const { output } = target;
  for (let at = target.at; ; ) {
    const symbol = bits.symbol(literals);
    if (symbol === 256) return at;
    if (symbol < 256) {
      output[at++] = symbol;
      continue;
    }
    const end = at + (symbol === 285 ? 258 : 3 + bits.extended(symbol - 257, 2));
    const distance = 1 + bits.extended(bits.symbol(distances), 1);
    for (; at < end; at++) output[at] = output[at - distance];
  }
}

/** The codes of literals and of distances at the head of a compressed block. */
function codesOf(bits: Bits, kind: number): Code[] {
  if (kind === 1) return fixedLengths.map(codeOf);
  const literals = 257 + bits.take(5);
  const distances = 1 + bits.take(5);
  const ofLengths = new Array<number>(19).fill(0);
  for (let i = 0, count = 4 + bits.take(4); i < count; i++)
    ofLengths[lengthOrder[i]] = bits.take(3);
  const lengths = readLengths(bits, codeOf(ofLengths), literals + distances);
  return [codeOf(lengths.slice(0, literals)), codeOf(lengths.slice(literals))];
}

/** Lengths of codes; symbols 16 to 18 repeat the last one or zero. */
function readLengths(bits: Bits, code: Code, count: number): number[] {
  const lengths: number[] = [];
  while (lengths.length < count) {
    const symbol = bits.symbol(code);
    if (symbol < 16) lengths.push(symbol);
    else if (symbol === 16) repeat(lengths, lengths[lengths.length - 1], 3 + bits.take(2));
    else if (symbol === 17) repeat(lengths, 0, 3 + bits.take(3));
    else repeat(lengths, 0, 11 + bits.take(7));
  }
  return lengths;
}

function repeat(lengths: number[], length: number, times: number): void {
  for (let i = 0; i < times; i++) lengths.push(length);
}

/** The canonical code of these lengths: shorter codes first, and in the symbols' order among those of a length. */
function codeOf(lengths: readonly number[]): Code {
  const longest = Math.max(...lengths);
  const code = new Uint16Array(1 << longest);
  for (let length = 1, next = 0; length <= longest; length++, next *= 2) {
    // One bit more: what follows a shorter code does not matter.
    code.copyWithin(1 << (length - 1), 0, 1 << (length - 1));
    for (let symbol = lengths.indexOf(length); symbol >= 0; next++) {
      code[reversed(next, length)] = symbol * 16 + length;
      symbol = lengths.indexOf(length, symbol + 1);
    }
  }
  return code;
}

/** Codes are written with their highest bit first. */
function reversed(value: number, bits: number): number {
  let result = 0;
  for (let i = 0; i < bits; i++) result |= ((value >> i) & 1) << (bits - 1 - i);
  return result;
}

/**
 * Pickles as PyTorch reads them without running code: protocol 2, plain data, names and calls. Nothing is memoized: what comes twice
 * is written twice, which costs some bytes per tensor and keeps the writer a list of opcodes.
 * Source: the opcodes' documentation in Python's pickletools.
 */

const encoder = new TextEncoder();

/** Collects opcodes; containers are written by their first and last mark with the values between. */
export class PickleWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  constructor() {
    this.#code("\x80\x02");
  }

  /** The pickle, complete. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#code(".");
    return this.#bytes.slice(0, this.#length);
  }

  none(): void {
    this.#code("N");
  }

  boolean(value: boolean): void {
    this.#code(value ? "\x88" : "\x89");
  }

  float(value: number): void {
    this.#code("G");
    const at = this.#take(8);
    this.#view.setFloat64(at, value);
  }

  /** Little-endian two's complement in as few bytes as hold it; small ones have opcodes of their own. */
  int(value: number | bigint): void {
    const big = BigInt(value);
    if (big >= 0n && big < 256n) {
      this.#code("K");
      const at = this.#take(1);
      this.#bytes[at] = Number(big);
      return;
    }
    if (BigInt.asIntN(32, big) === big) {
      this.#code("J");
      const at = this.#take(4);
      this.#view.setInt32(at, Number(big), true);
      return;
    }
    const length = byteLengthOf(big);
    this.#code("\x8a");
    const at = this.#take(1 + length);
    this.#bytes[at] = length;
    for (let i = 0; i < length; i++) {
      this.#bytes[at + 1 + i] = Number(BigInt.asUintN(8, big >> BigInt(8 * i)));
    }
  }

  text(value: string): void {
    const utf8 = encoder.encode(value);
    this.#code("X");
    const at = this.#take(4 + utf8.length);
    this.#view.setUint32(at, utf8.length, true);
    this.#bytes.set(utf8, at + 4);
  }

  /** A class or function by its module and name. */
  global(module: string, name: string): void {
    this.#code(`c${module}\n${name}\n`);
  }

  tuple(members: () => void): void {
    this.#code("(");
    members();
    this.#code("t");
  }

  list(members: () => void): void {
    this.#code("](");
    members();
    this.#code("e");
  }

  /** A dict of the keys and values that `members` writes by turns. */
  dict(members: () => void): void {
    this.#code("}(");
    members();
    this.#code("u");
  }

  /** The keys and values go into the object written before. */
  items(members: () => void): void {
    this.#code("(");
    members();
    this.#code("u");
  }

  /** Calls the global written before with the arguments that `args` writes. */
  call(args: () => void): void {
    this.tuple(args);
    this.#code("R");
  }

  /** Gives the object written before the attributes in the dict that `attributes` writes. */
  build(attributes: () => void): void {
    this.dict(attributes);
    this.#code("b");
  }

  /** What the reader finds outside of the pickle by this tuple. */
  persistent(id: () => void): void {
    this.tuple(id);
    this.#code("Q");
  }

  #code(latin1: string): void {
    const at = this.#take(latin1.length);
    for (let i = 0; i < latin1.length; i++) this.#bytes[at + i] = latin1.charCodeAt(i);
  }

  /** Room for so many bytes; where they begin. Moves what is there, so it comes before `#bytes` in a statement. */
  #take(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(2 * this.#length);
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}

/** The longest number that `int` writes, in bits with its sign. */
export const longestInt = 8 * 255;

/** Hexadecimal digits tell the size in one conversion, where shifting would take one for each byte. */
function byteLengthOf(value: bigint): number {
  const magnitude = value < 0n ? ~value : value;
  const bits = 4 * (magnitude.toString(16).length - 1) + 32 - Math.clz32(topDigit(magnitude));
  return Math.floor(bits / 8) + 1;
}

function topDigit(magnitude: bigint): number {
  return Number.parseInt(magnitude.toString(16)[0], 16);
}

/**
 * Just enough JSON for the header of a safetensors file, read from bytes: unlike JSON.parse it refuses duplicate keys and
 * can say at which byte a value stands.
 */
import { CheckpointError } from "../core/errors.ts";

/** A JSON value and where it starts in the file. */
export interface JsonNode {
  readonly offset: number;
  readonly value: number | string | boolean | null | readonly JsonNode[] | Map<string, JsonNode>;
}

/** A header needs three levels; more only serves to exhaust the stack. */
const deepest = 16;

const space = new Set([0x20, 0x09, 0x0a, 0x0d]);
const code = (character: string) => character.charCodeAt(0);
const backslash = code("\\");
const zero = code("0");
const isDigit = (byte: number) => byte >= zero && byte <= zero + 9;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Twice what the largest models have in one file. More only serve to take time and memory. */
const mostMembers = 250_000;

/** Sizes of axes are the longest lists of a header. */
const longestList = 64;

/**
 * Reads bytes `from` to `to` as one JSON object with nothing but white space after it, and gives its members one by one, so that
 * whoever takes them can refuse the first that is wrong before the rest is read.
 * Throws: CheckpointError at the byte where it stops being JSON, where a key comes twice, or where text is not UTF-8.
 */
export function* jsonMembers(
  bytes: Uint8Array,
  range: { from: number; to: number },
): Generator<readonly [string, JsonNode]> {
  const reader = new Reader(bytes, range);
  yield* reader.members(1);
  reader.skipSpace();
  if (reader.at < range.to) throw reader.fault("nothing after the header's closing brace");
}

class Reader {
  at: number;
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;
  /** One character per byte: names are nearly always plain ASCII, and a header may have a million. */
  readonly #ascii: string;

  constructor(bytes: Uint8Array, range: { readonly from: number; readonly to: number }) {
    this.#bytes = bytes;
    this.at = range.from;
    this.#start = range.from;
    this.#end = range.to;
    this.#ascii = new TextDecoder("latin1").decode(bytes.subarray(range.from, range.to));
  }

  fault(expected: string, offset = this.at): CheckpointError {
    const byte = offset < this.#end ? this.#bytes[offset] : null;
    const isPrintable = byte !== null && byte > 0x20 && byte < 0x7f;
    return new CheckpointError({
      op: "safetensors",
      expected: `${expected} at byte ${offset}`,
      actual:
        byte === null
          ? "the end of the header"
          : isPrintable
            ? `"${String.fromCharCode(byte)}"`
            : `byte 0x${byte.toString(16).padStart(2, "0")}`,
      offset,
    });
  }

  skipSpace(): void {
    while (this.at < this.#end && space.has(this.#bytes[this.at])) this.at++;
  }

  value(depth: number): JsonNode {
    if (depth > deepest) throw this.fault(`at most ${deepest} levels of brackets`);
    this.skipSpace();
    const offset = this.at;
    switch (this.#peek()) {
      case code("{"):
        return { offset, value: new Map(this.members(depth + 1)) };
      case code("["):
        return { offset, value: this.#array(depth) };
      case code('"'):
        return { offset, value: this.#string() };
      default:
        return { offset, value: this.#literal() };
    }
  }

  #peek(): number {
    return this.at < this.#end ? this.#bytes[this.at] : -1;
  }

  #take(character: string): void {
    this.skipSpace();
    if (this.#peek() !== code(character)) throw this.fault(`"${character}"`);
    this.at++;
  }

  /** After an item: true for a comma, false for the closing bracket. */
  #continues(close: string): boolean {
    this.skipSpace();
    if (this.#peek() === code(",")) {
      this.at++;
      return true;
    }
    this.#take(close);
    return false;
  }

  #isEmpty(close: string): boolean {
    this.skipSpace();
    if (this.#peek() !== code(close)) return false;
    this.at++;
    return true;
  }

  *members(depth: number): Generator<readonly [string, JsonNode]> {
    const keys = new Set<string>();
    this.#take("{");
    if (this.#isEmpty("}")) return;
    do {
      this.skipSpace();
      const offset = this.at;
      const key = this.#string();
      if (keys.has(key)) {
        throw new CheckpointError({
          op: "safetensors",
          expected: "every key of the header once",
          actual: `"${key}" again at byte ${offset}`,
          offset,
        });
      }
      if (keys.size === mostMembers) throw this.fault(`at most ${mostMembers} names`, offset);
      keys.add(key);
      this.#take(":");
      yield [key, this.value(depth)];
    } while (this.#continues("}"));
  }

  #array(depth: number): JsonNode[] {
    const items: JsonNode[] = [];
    this.#take("[");
    if (this.#isEmpty("]")) return items;
    do {
      if (items.length === longestList) throw this.fault(`at most ${longestList} items in a list`);
      items.push(this.value(depth + 1));
    } while (this.#continues("]"));
    return items;
  }

  #string(): string {
    const offset = this.at;
    this.#take('"');
    let isPlain = true;
    for (let byte = this.#peek(); byte !== code('"') && this.at < this.#end; byte = this.#peek()) {
      if (byte < 0x20 || byte > 0x7e || byte === backslash) isPlain = false;
      this.at += byte === backslash ? 2 : 1;
    }
    if (this.at >= this.#end) throw this.fault("a closing quotation mark", this.#end);
    this.at++;
    if (isPlain) return this.#ascii.slice(offset + 1 - this.#start, this.at - 1 - this.#start);
    return this.#parsed(offset, "text in UTF-8 and JSON's escapes", String);
  }

  #literal(): number | boolean | null {
    const offset = this.at;
    while (isDigit(this.#peek())) this.at++;
    const digits = this.#bytes.subarray(offset, this.at);
    while (this.at < this.#end && /[-+.\w]/.test(String.fromCharCode(this.#peek()))) this.at++;
    // A zero in front is for the platform to refuse, as are numbers that need more than 53 bits.
    const isCount = digits.length === 1 || (digits.length < 16 && digits[0] !== zero);
    if (isCount && digits.length > 0 && digits.length === this.at - offset) {
      return digits.reduce((sum, digit) => 10 * sum + digit - zero, 0);
    }
    if (this.at === offset) throw this.fault("a JSON value");
    return this.#parsed(offset, "a JSON value", (value) =>
      typeof value === "boolean" || value === null ? value : Number(value),
    );
  }

  /** The text since `offset`, by the platform's own rules for escapes, numbers and UTF-8. */
  #parsed<Value>(offset: number, expected: string, convert: (value: unknown) => Value): Value {
    try {
      return convert(JSON.parse(text.decode(this.#bytes.subarray(offset, this.at))));
    } catch {
      throw this.fault(expected, offset);
    }
  }
}

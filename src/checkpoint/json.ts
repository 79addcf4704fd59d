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

/**
 * Reads bytes `from` to `to` as one JSON value, with nothing but white space after it.
 * Throws: CheckpointError at the byte where it stops being JSON, where a key comes twice, or where text is not UTF-8.
 */
export function parseJson(bytes: Uint8Array, range: { from: number; to: number }): JsonNode {
  const reader = new Reader(bytes, range);
  const node = reader.value(0);
  reader.skipSpace();
  if (reader.at < range.to) throw reader.fault("nothing after the header's closing brace");
  return node;
}

class Reader {
  at: number;
  readonly #bytes: Uint8Array;
  readonly #end: number;

  constructor(bytes: Uint8Array, range: { readonly from: number; readonly to: number }) {
    this.#bytes = bytes;
    this.at = range.from;
    this.#end = range.to;
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
        return { offset, value: this.#object(depth) };
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

  #object(depth: number): Map<string, JsonNode> {
    const members = new Map<string, JsonNode>();
    this.#take("{");
    if (this.#isEmpty("}")) return members;
    do {
      this.skipSpace();
      const offset = this.at;
      const key = this.#string();
      if (members.has(key)) {
        throw new CheckpointError({
          op: "safetensors",
          expected: "every key of the header once",
          actual: `"${key}" again at byte ${offset}`,
          offset,
        });
      }
      this.#take(":");
      members.set(key, this.value(depth + 1));
    } while (this.#continues("}"));
    return members;
  }

  #array(depth: number): JsonNode[] {
    const items: JsonNode[] = [];
    this.#take("[");
    if (this.#isEmpty("]")) return items;
    do items.push(this.value(depth + 1));
    while (this.#continues("]"));
    return items;
  }

  #string(): string {
    const offset = this.at;
    this.#take('"');
    while (this.at < this.#end && this.#peek() !== code('"')) {
      this.at += this.#peek() === code("\\") ? 2 : 1;
    }
    if (this.at >= this.#end) throw this.fault("a closing quotation mark", this.#end);
    this.at++;
    return this.#parsed(offset, "text in UTF-8 and JSON's escapes", String);
  }

  #literal(): number | boolean | null {
    const offset = this.at;
    while (this.at < this.#end && /[-+.\w]/.test(String.fromCharCode(this.#peek()))) this.at++;
    if (this.at === offset) throw this.fault("a JSON value");
    return this.#parsed(offset, "a JSON value", (value) =>
      typeof value === "boolean" || value === null ? value : Number(value),
    );
  }

  /** The text since `offset`, by the platform's own rules for escapes, numbers and UTF-8. */
  #parsed<Value>(offset: number, expected: string, convert: (value: unknown) => Value): Value {
    try {
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      return convert(JSON.parse(text.decode(this.#bytes.subarray(offset, this.at))));
    } catch {
      throw this.fault(expected, offset);
    }
  }
}

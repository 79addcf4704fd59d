import { constants, deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { inflate } from "../src/backend/cpu/inflate.ts";

const kinds = {
  stored: { level: 0 },
  "fixed codes": { strategy: constants.Z_FIXED },
  "codes of its own": { level: 9 },
  "codes of its own, without copies": { strategy: constants.Z_HUFFMAN_ONLY },
};

/** Text with repetitions near and far, and noise. */
function sample(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) {
    bytes[i] = i % 5000 < 2500 ? (i * i) % 251 : bytes[i - 2500] ^ (i % 97 === 0 ? 1 : 0);
  }
  return bytes;
}

test.each(Object.entries(kinds))("blocks of kind: %s", (_, options) => {
  for (const length of [0, 1, 100, 200_000]) {
    const bytes = sample(length);
    expect(Buffer.from(inflate(deflateRawSync(bytes, options), length)).equals(bytes)).toBe(true);
  }
});

test("a run is a copy that overlaps itself, of any length", () => {
  for (const length of [2, 3, 10, 11, 18, 257, 258, 259, 65_536]) {
    const bytes = Buffer.alloc(length, 7);
    expect(Buffer.from(inflate(deflateRawSync(bytes), length)).equals(bytes)).toBe(true);
  }
});

test("whatever was compressed comes back", () => {
  const contents = fc.array(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(sample(300))));
  fc.assert(
    fc.property(contents, fc.constantFrom(...Object.values(kinds)), (parts, options) => {
      const bytes = Buffer.concat(parts);
      const back = inflate(deflateRawSync(bytes, options), bytes.length);
      expect(Buffer.from(back).equals(bytes)).toBe(true);
    }),
  );
});

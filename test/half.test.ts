/** float16 in ordinary memory: numbers from bits and bits from numbers. */
import { describe, expect, test } from "vitest";
import {
  fromFloat16,
  narrowToFloat16,
  roundToFloat16,
  toFloat16,
  widenFloat16,
} from "../src/core/half.ts";

const patterns = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
const isNaNBits = (bits: number) => (bits & 0x7fff) > 0x7c00;
/** 0, every subnormal, every normal number, in order. */
const magnitudes = Array.from({ length: 0x7c00 }, (_, bits) => fromFloat16(bits));

describe("float16 from bits", () => {
  test("is sign * (1 + fraction / 1024) * 2 ** (exponent - 15), for subnormals sign * fraction * 2 ** -24", () => {
    const expected = magnitudes.map((_, bits) => {
      const [exponent, fraction] = [bits >> 10, bits % 1024];
      return [fraction * 2 ** -24, (1 + fraction / 1024) * 2 ** (exponent - 15)][
        Math.min(1, exponent)
      ];
    });
    expect(magnitudes).toEqual(expected);
    expect(magnitudes.map((_, bits) => fromFloat16(bits | 0x8000))).toEqual(
      expected.map((x) => -x),
    );
  });

  test("has infinities and NaN", () => {
    expect([0x7c00, 0xfc00, 0x7c01, 0xffff].map(fromFloat16)).toEqual([
      Infinity,
      -Infinity,
      Number.NaN,
      Number.NaN,
    ]);
  });
});

describe("float16 from numbers", () => {
  test("gives all 65,536 patterns back, through float32 with the fractions of NaN", () => {
    const numbers = patterns.filter((bits) => !isNaNBits(bits));
    expect(Array.from(numbers, (bits) => toFloat16(fromFloat16(bits)))).toEqual([...numbers]);
    expect(narrowToFloat16(widenFloat16(patterns))).toEqual(patterns);
    expect(isNaNBits(toFloat16(Number.NaN))).toBe(true);
    const small = new Float32Array(Uint32Array.of(0x7f800001, 0xff801fff).buffer);
    expect([...narrowToFloat16(small)]).toEqual([0x7e00, 0xfe00]);
  });

  test("goes to the nearer neighbour, in the middle to the even one", () => {
    const lows = patterns.subarray(0, 0x7bff);
    const middles = Array.from(lows, (bits) => (magnitudes[bits] + magnitudes[bits + 1]) / 2);
    expect(middles.map(toFloat16)).toEqual(Array.from(lows, (bits) => bits + (bits % 2)));
    expect(middles.map((m) => toFloat16(m * (1 - 2 ** -50)))).toEqual([...lows]);
    expect(middles.map((m) => toFloat16(m * (1 + 2 ** -50)))).toEqual(
      Array.from(lows, (b) => b + 1),
    );
    expect(middles.map((m) => toFloat16(-m))).toEqual(
      Array.from(lows, (b) => (b + (b % 2)) | 0x8000),
    );
  });

  test("float32 arrays are rounded as single numbers are", () => {
    const middles = Float32Array.from(
      magnitudes,
      (low, i) => (low + (magnitudes[i + 1] ?? 65536)) / 2,
    );
    const sides = [
      middles,
      middles.map((m) => m * (1 - 2 ** -23)),
      middles.map((m) => m * (1 + 2 ** -23)),
    ];
    for (const side of sides)
      expect([...narrowToFloat16(side)]).toEqual(Array.from(side, toFloat16));
  });

  test("overflows at 65520, underflows at 2 ** -25, keeps the sign of 0", () => {
    expect([65519.99, 65520, -65520, 1e300].map(roundToFloat16)).toEqual([
      65504,
      Infinity,
      -Infinity,
      Infinity,
    ]);
    expect([2 ** -25, 2 ** -25 * 1.0001, -(2 ** -26)].map(roundToFloat16)).toEqual([
      0,
      2 ** -24,
      -0,
    ]);
    expect(roundToFloat16(-0)).toBe(-0);
  });
});

import { describe, expect, test } from "vitest";
import { expectClose, expectSameBytes, expectWithin } from "./close.ts";

const { NaN: nan } = Number;
const tolerance = { rtol: 0.1, atol: 0.01 };

describe("expectClose", () => {
  test("accepts up to atol + rtol * |expected|, both signs", () => {
    expectClose([1.1, -1.1, 0.01, -0.01], [1, -1, 0, 0], tolerance);
    expect(() => expectClose([1.12], [1], tolerance)).toThrow();
    expect(() => expectClose([-1.12], [-1], tolerance)).toThrow();
    expect(() => expectClose([0.011], [0], tolerance)).toThrow();
  });

  test("measures against the expected value, not the actual one", () => {
    expect(() => expectClose([1], [0], { rtol: 1, atol: 0 })).toThrow();
    expectClose([0], [1], { rtol: 1, atol: 0 });
  });

  test("takes NaN for NaN only, and an infinity for the same infinity only", () => {
    expectClose([nan, Infinity, -Infinity], [nan, Infinity, -Infinity], tolerance);
    const others = [nan, Infinity, -Infinity, 0, 1e308];
    for (const [i, actual] of others.entries()) {
      for (const expected of others.toSpliced(i, 1)) {
        expect(() => expectClose([actual], [expected], { rtol: 0.5, atol: 0.5 })).toThrow();
      }
    }
  });

  test("compares lengths, and accepts two empty arrays", () => {
    expectClose([], []);
    expect(() => expectClose([1], [1, 2])).toThrow("expected 2 elements, got 1");
    expect(() => expectClose([1, 2], [1])).toThrow("expected 1 elements, got 2");
  });

  test("says how many differ, where most, and both values", () => {
    expect(() => expectClose([1, 5, 9, 3], [1, 4, 6, 3], tolerance, "y")).toThrow(
      "y: 2 of 4 elements differ; worst at 2: expected 6, got 9",
    );
    expect(() => expectClose([1, 5, nan], [1, 4, 6], tolerance)).toThrow("worst at 2");
  });
});

test("expectWithin holds each element to its own bound, NaN bounds to none", () => {
  expectWithin([1.1, 2.5], [1, 2], [0.2, 0.6]);
  expect(() => expectWithin([1.1, 2.5], [1, 2], [0.2, 0.4])).toThrow("worst at 1");
  expect(() => expectWithin([1.1], [1], [nan])).toThrow("worst at 0");
});

test("expectSameBytes tells 0 from -0 and one NaN from another", () => {
  const nans = new Float32Array(Uint32Array.of(0x7fc00000, 0x7fc00001).buffer);
  expectSameBytes(Float32Array.of(1, -0, nan), Float32Array.of(1, -0, nan));
  expect(() => expectSameBytes(Float32Array.of(0), Float32Array.of(-0))).toThrow();
  expect(() => expectSameBytes(nans.slice(0, 1), nans.slice(1))).toThrow();
});

import { expect, test } from "vitest";
import { memoize } from "../src/backend/cpu/memoize.ts";

function counting(keyOf: (a: number, b: number) => readonly number[]) {
  const made: [number, number][] = [];
  const plan = memoize(keyOf, (a: number, b: number) => {
    made.push([a, b]);
    return { sum: a + b };
  });
  return { made, plan };
}

test("the same numbers give the same plan", () => {
  const { made, plan } = counting((a, b) => [a, b]);
  expect(plan(1, 2)).toEqual({ sum: 3 });
  expect(plan(1, 2)).toBe(plan(1, 2));
  expect(made).toEqual([[1, 2]]);
});

test("other numbers give another plan, also where a sum over them is the same", () => {
  const { plan } = counting((a, b) => [a, b]);
  // Neighbours in a hash of base 31.
  for (const [a, b] of [
    [0, 31],
    [1, 0],
    [2, 1],
    [1, 32],
    [1.5, 0],
  ]) {
    expect(plan(a, b)).toEqual({ sum: a + b });
  }
  const { plan: byLength } = counting((a, b) => Array(a).fill(b));
  expect(byLength(1, 0)).toEqual({ sum: 1 });
  expect(byLength(2, 0)).toEqual({ sum: 2 });
});

test("what was forgotten is made again", () => {
  const { made, plan } = counting((a, b) => [a, b]);
  for (let a = 0; a <= 128; a++) plan(a, 0);
  expect(plan(0, 0)).toEqual({ sum: 0 });
  expect(plan(128, 0)).toEqual({ sum: 128 });
  expect(made).toHaveLength(130);
});

test("a plan that could not be made is tried again", () => {
  let calls = 0;
  const plan = memoize(
    () => [],
    () => {
      calls++;
      throw new Error("no plan");
    },
  );
  expect(plan).toThrow("no plan");
  expect(plan).toThrow("no plan");
  expect(calls).toBe(2);
});

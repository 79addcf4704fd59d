import { afterAll, expect, test } from "vitest";
import { createMachine } from "../src/backend/cpu/machine.ts";

const machine = createMachine({ threads: 1 });
afterAll(() => machine.close());

/** Takes temporaries of these sizes inside one another; [start, end] of each. */
function nested(sizes: readonly number[], inner: () => void = () => {}): [number, number][] {
  const [bytes, ...rest] = sizes;
  if (bytes === undefined) {
    inner();
    return [];
  }
  return machine.temporary(bytes, (at) => [[at, at + bytes], ...nested(rest, inner)]);
}

test("temporaries inside one another do not overlap, however large", () => {
  const ranges = nested([100, 1, 0, 4096, 20_000, 64, 12_000, 64, 100_000, 8]);
  expect(ranges.filter(([start]) => start % 64 !== 0)).toEqual([]);
  const sorted = ranges.filter(([start, end]) => end > start).sort(([a], [b]) => a - b);
  for (const [i, [start]] of sorted.slice(1).entries()) {
    expect(start).toBeGreaterThanOrEqual(sorted[i][1]);
  }
});

test("all end with their call, also when it throws", () => {
  const before = machine.memory.liveBytes;
  const [first] = nested([64]);
  const fail = () => {
    throw new Error("inside");
  };
  expect(() => nested([64, 30_000, 1000], fail)).toThrow("inside");
  expect(nested([64])).toEqual([first]);
  expect(machine.memory.liveBytes).toBe(before);
  expect(before).toBe(machine.ownBytes);
});

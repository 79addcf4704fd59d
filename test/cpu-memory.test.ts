import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createMemory, DeviceMemory } from "../src/backend/cpu/memory.ts";
import { LifetimeError, OutOfMemoryError } from "../src/core/errors.ts";

const page = 65536;
const usable = page * 16 - 64;

function newMemory(pages = 16): DeviceMemory {
  return new DeviceMemory(createMemory(pages, true));
}

/** A size to allocate, or which of the live blocks to free. */
const steps = fc.array(
  fc.oneof(
    fc.record({ bytes: fc.oneof(fc.nat(300), fc.nat(3 * page)) }),
    fc.record({ free: fc.nat(1000) }),
  ),
  { maxLength: 120 },
);

interface Block {
  readonly address: number;
  readonly bytes: number;
}

/** Plays the steps and hands over the blocks that are live after each. */
function play(
  memory: DeviceMemory,
  script: readonly ({ bytes: number } | { free: number })[],
  look: (live: readonly Block[]) => void,
): Block[] {
  const live: Block[] = [];
  for (const step of script) {
    if ("bytes" in step) live.push({ address: memory.alloc(step.bytes), bytes: step.bytes });
    else
      for (const { address } of live.splice(step.free % (live.length + 1), 1)) memory.free(address);
    look(live);
  }
  return live;
}

/** Pairs of neighbours, by address, of which the first reaches into the second. */
function overlaps(live: readonly Block[]): Block[][] {
  const sorted = [...live].sort((a, b) => a.address - b.address);
  return sorted
    .slice(1)
    .map((next, index) => [sorted[index], next])
    .filter(([block, next]) => block.address + Math.max(block.bytes, 1) > next.address);
}

describe("the allocator", () => {
  test("gives blocks that never overlap, inside the memory, at multiples of 64, never at 0", () => {
    fc.assert(
      fc.property(steps, (script) => {
        const memory = newMemory();
        play(memory, script, (live) => {
          expect(overlaps(live)).toEqual([]);
          const end = memory.buffer.byteLength;
          const stray = live.filter(
            ({ address, bytes }) => address % 64 !== 0 || address < 64 || address + bytes > end,
          );
          expect(stray).toEqual([]);
        });
      }),
      { numRuns: 60 },
    );
  });

  test("joins everything into one free block when all is freed, in any order", () => {
    fc.assert(
      fc.property(steps, fc.infiniteStream(fc.nat()), (script, order) => {
        const memory = newMemory();
        const live = play(memory, script, () => {});
        while (live.length > 0) {
          const [{ address }] = live.splice((order.next().value ?? 0) % live.length, 1);
          memory.free(address);
        }
        expect(memory.freeBlocks).toBe(1);
        expect(memory.freeBytes).toBe(memory.buffer.byteLength - 64);
        expect(memory.liveBytes).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test("accounts for every byte: live and free add up to the memory", () => {
    fc.assert(
      fc.property(steps, (script) => {
        const memory = newMemory();
        play(memory, script, () => {
          expect(memory.liveBytes + memory.freeBytes).toBe(memory.buffer.byteLength - 64);
          expect(memory.peakBytes).toBeGreaterThanOrEqual(memory.liveBytes);
        });
      }),
      { numRuns: 60 },
    );
  });

  test("reuses what was freed last instead of growing", () => {
    const memory = newMemory();
    const first = memory.alloc(1000);
    memory.alloc(1000);
    memory.free(first);
    expect(memory.alloc(1000)).toBe(first);
  });

  test("takes the free block that fits best", () => {
    const memory = newMemory();
    const [wide, , narrow] = [6400, 64, 640, 64].map((bytes) => memory.alloc(bytes));
    memory.free(wide);
    memory.free(narrow);
    expect(memory.alloc(600)).toBe(narrow);
    expect(memory.alloc(600)).toBe(wide);
  });

  test("gives zero bytes an address of their own", () => {
    const memory = newMemory();
    const [a, b] = [memory.alloc(0), memory.alloc(0)];
    expect(a).not.toBe(b);
    expect([a, b]).not.toContain(0);
  });

  test("refuses to free twice, or what it never gave", () => {
    const memory = newMemory();
    const address = memory.alloc(100);
    memory.free(address);
    expect(() => memory.free(address)).toThrow(LifetimeError);
    expect(() => memory.free(address)).toThrow(/freed before or never given out/);
    expect(() => memory.free(0)).toThrow(LifetimeError);
  });
});

describe("growth", () => {
  test("keeps contents, and views taken afterwards see them", () => {
    const memory = newMemory();
    const address = memory.alloc(usable);
    memory.f32[address / 4] = 1.5;
    const beyond = memory.alloc(4 * page);
    memory.f32[beyond / 4] = 2.5;
    expect(memory.buffer.byteLength).toBeGreaterThanOrEqual(20 * page);
    expect([memory.f32[address / 4], memory.f32[beyond / 4]]).toEqual([1.5, 2.5]);
  });

  test("is by half at least, so that many small blocks grow it seldom", () => {
    const memory = newMemory();
    const sizes = new Set<number>();
    for (let i = 0; i < 2000; i++) {
      memory.alloc(page);
      sizes.add(memory.buffer.byteLength);
    }
    expect(sizes.size).toBeLessThan(16);
  });

  test("reaches past 2 GiB, where addresses no longer fit a signed word", () => {
    const memory = newMemory();
    const [low, high] = [memory.alloc(2 ** 31), memory.alloc(2 ** 30)];
    expect(high).toBeGreaterThanOrEqual(2 ** 31);
    memory.u8[high] = 7;
    memory.u8[low] = 8;
    expect([memory.u8[high], memory.u8[low]]).toEqual([7, 8]);
    memory.free(low);
    memory.free(high);
    expect(memory.freeBlocks).toBe(1);
  });

  test("ends in an error that names the bytes, what is live and the way out", () => {
    const memory = newMemory();
    memory.alloc(6400);
    const tooMuch = () => memory.alloc(5e9);
    expect(tooMuch).toThrow(OutOfMemoryError);
    expect(tooMuch).toThrow(/5000000000 bytes.*6400 bytes live.*scope\(\).*noGrad\(\).*batch/);
    expect(tooMuch).toThrow(expect.objectContaining({ bytes: 5e9 }));
    expect(memory.liveBytes).toBe(6400);
  });
});

test("a memory that is not shared works the same", () => {
  const memory = new DeviceMemory(createMemory(16, false));
  const first = memory.alloc(usable);
  memory.f32[first / 4] = 3;
  const second = memory.alloc(page);
  memory.f32[second / 4] = 4;
  expect(memory.buffer).toBeInstanceOf(ArrayBuffer);
  expect([memory.f32[first / 4], memory.f32[second / 4]]).toEqual([3, 4]);
});

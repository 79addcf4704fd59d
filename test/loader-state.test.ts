/** Where a loader stands, and going on from there. What a whole training run needs is in resume.test.ts. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type checkpoint,
  data,
  getRngState,
  manualSeed,
  rand,
  randn,
  StateDictError,
  setRngState,
} from "../src/index.ts";

const ten = new data.TensorDataset(Int32Array.from({ length: 10 }, (_, i) => i));

type Loader = data.DataLoader<readonly data.Field[]>;

/** At most so many batches of one pass; leaves the pass open when it stops before the end. */
async function take(loader: Loader, batches = Number.POSITIVE_INFINITY): Promise<number[][]> {
  const iterator = loader[Symbol.asyncIterator]();
  const taken: number[][] = [];
  while (taken.length < batches) {
    const { done, value } = await iterator.next();
    if (done) break;
    taken.push(Array.from(await value[0].data()));
  }
  return taken;
}

const kinds: readonly data.DataLoaderOptions[] = [
  { batchSize: 3 },
  { batchSize: 3, seed: 5 },
  { batchSize: 3, shuffle: true },
  { batchSize: 3, shuffle: true, seed: 5 },
  { batchSize: 3, shuffle: true, dropLast: true },
  { batchSize: 1, shuffle: true, seed: 2 ** 40 },
];

describe.each(kinds)("a loader with %j", (options) => {
  const make = () => new data.DataLoader(ten, options);

  test("goes on with the next batch after any number of them, and with the same later passes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 2 }), fc.nat({ max: 10 }), async (passes, batches) => {
        manualSeed(3);
        const loader = make();
        for (let pass = 0; pass < passes; pass++) await take(loader);
        const before = await take(loader, batches % (loader.length + 1));
        const [state, rng] = [loader.stateDict(), getRngState()];

        manualSeed(99);
        const resumed = make();
        resumed.loadStateDict(state);
        setRngState(rng);
        const rest = await take(resumed);
        const next = await take(resumed);

        manualSeed(3);
        const other = make();
        for (let pass = 0; pass < passes; pass++) await take(other);
        expect([...before, ...rest]).toEqual(await take(other));
        expect(next).toEqual(await take(other));
      }),
      { numRuns: 30 },
    );
  });

  test("gives back the state that it was given", async () => {
    const loader = make();
    await take(loader, 2);
    const resumed = make();
    resumed.loadStateDict(loader.stateDict());
    expect(resumed.stateDict()).toEqual(loader.stateDict());
    await take(resumed, 1);
    expect(resumed.stateDict().position).toBe(3);
  });
});

describe("the state", () => {
  test("is whole numbers that JSON and a checkpoint keep", async () => {
    const loader = new data.DataLoader(ten, { batchSize: 4, shuffle: true, seed: 1 });
    await take(loader, 2);
    const state = loader.stateDict();
    expect(state).toMatchObject({ pass: 0, position: 2, batchSize: 4, items: 10, shuffle: 1 });
    const sources = [JSON.parse(JSON.stringify(state)), new Map(Object.entries(state))];
    const entries = Object.entries(state).map(([key, value]) => {
      const entry: checkpoint.Entry = {
        dtype: "int64",
        shape: [],
        data: () => BigInt64Array.of(BigInt(value)),
      };
      return [key, entry];
    });
    for (const source of [...sources, Object.fromEntries(entries)]) {
      const resumed = new data.DataLoader(ten, { batchSize: 4, shuffle: true, seed: 1 });
      resumed.loadStateDict(source);
      expect(resumed.stateDict()).toEqual(state);
    }
  });

  test("at the end of a pass gives a loop without batches, and behind the loop the next pass", async () => {
    const loader = new data.DataLoader(ten, { batchSize: 5, shuffle: true, seed: 1 });
    let atTheEnd = loader.stateDict();
    for await (const _ of loader) atTheEnd = loader.stateDict();
    const behind = loader.stateDict();
    expect([atTheEnd.pass, atTheEnd.position, behind.pass, behind.position]).toEqual([0, 2, 1, 0]);
    const second = await take(loader);

    const resumed = new data.DataLoader(ten, { batchSize: 5, shuffle: true, seed: 1 });
    resumed.loadStateDict(atTheEnd);
    expect(await take(resumed)).toEqual([]);
    expect(await take(resumed)).toEqual(second);
    resumed.loadStateDict(behind);
    expect(await take(resumed)).toEqual(second);
  });

  test("after break is the next pass, as the next loop in the same process is", async () => {
    const loader = new data.DataLoader(ten, { batchSize: 5, shuffle: true, seed: 1 });
    for await (const _ of loader) break;
    expect(loader.stateDict()).toMatchObject({ pass: 1, position: 0, seed: -1 });
    const resumed = new data.DataLoader(ten, { batchSize: 5, shuffle: true, seed: 1 });
    resumed.loadStateDict(loader.stateDict());
    expect(await take(resumed)).toEqual(await take(loader));
  });

  test("counts batches in their order for one who asks ahead", async () => {
    const late = {
      length: 4,
      at: (index: number) =>
        new Promise<[number]>((done) => setTimeout(() => done([index]), 20 - 5 * index)),
    };
    const loader = new data.DataLoader(late);
    const iterator = loader[Symbol.asyncIterator]();
    const asked = [iterator.next(), iterator.next(), iterator.next()];
    await asked[0];
    expect(loader.stateDict().position).toBe(1);
    const values = (await Promise.all(asked)).map(({ value }) => value?.[0]);
    expect(await Promise.all(values.map((x) => x?.item()))).toEqual([0, 1, 2]);
    expect(loader.stateDict().position).toBe(3);
  });

  test("does not count a batch that failed", async () => {
    const broken = new Set([1]);
    const dataset = {
      length: 3,
      at: (index: number) => (broken.has(index) ? Promise.reject(new Error("lost")) : [index]),
    };
    const loader = new data.DataLoader(dataset);
    await expect(take(loader)).rejects.toThrow("lost");
    expect(loader.stateDict().position).toBe(1);
    broken.clear();
    const resumed = new data.DataLoader(dataset);
    resumed.loadStateDict(loader.stateDict());
    expect(await take(resumed)).toEqual([[1], [2]]);
  });

  test("between passes fits a loader with other batches", async () => {
    const loader = new data.DataLoader(ten, { batchSize: 5 });
    await take(loader);
    const resumed = new data.DataLoader(ten, { batchSize: 10, shuffle: true });
    resumed.loadStateDict(loader.stateDict());
    expect(resumed.stateDict().pass).toBe(1);
  });
});

describe("a state that does not fit is refused and changes nothing", () => {
  async function stateOf(options: data.DataLoaderOptions, batches = 2) {
    const loader = new data.DataLoader(ten, options);
    await take(loader, batches);
    return loader.stateDict();
  }

  const options = { batchSize: 3, shuffle: true, seed: 1 };

  async function expectRefused(state: unknown, message: RegExp): Promise<void> {
    const loader = new data.DataLoader(ten, options);
    const untouched = await take(new data.DataLoader(ten, options));
    expect(() => loader.loadStateDict(state)).toThrow(StateDictError);
    expect(() => loader.loadStateDict(state)).toThrow(message);
    expect(await take(loader)).toEqual(untouched);
  }

  test.each<[string, data.DataLoaderOptions, RegExp]>([
    ["batches", { ...options, batchSize: 4 }, /batches of 3.*got one over .* of 4/],
    ["order", { batchSize: 3, seed: 1 }, /shuffled.*in order, stopped after batch 2/],
    ["seed", { ...options, seed: 2 }, /a loader with seed 1/],
    ["randomness", { batchSize: 3, shuffle: true }, /a loader with seed 1/],
  ])("one of another kind of %s", async (_, other, message) => {
    await expectRefused(await stateOf(other), message);
  });

  test("one over another number of items", async () => {
    await expectRefused(
      { ...(await stateOf(options)), items: 9 },
      /over 10 items.*one over 9 items/,
    );
  });

  test("one beyond the pass's end", async () => {
    await expectRefused({ ...(await stateOf(options)), position: 5 }, /after batch 5/);
  });

  test.each<[string, unknown, RegExp]>([
    ["nothing", undefined, /at least 0 as pass, got nothing; pass what stateDict/],
    ["text", "state", /as pass, got nothing/],
    ["a fraction", { pass: 0.5 }, /as pass, got 0\.5/],
    ["a negative number", { pass: 0, position: -1 }, /as position, got -1/],
    ["a word", { pass: "0" }, /as pass, got string/],
    ["an entry of two", { pass: { data: () => Int32Array.of(1, 2) } }, /as pass, got object/],
    ["a seed of 33 bits", { pass: 0, position: 0, seed: 2 ** 32 }, /as seed, got 4294967296/],
    ["half a state", { pass: 0, position: 0, seed: 1 }, /at least 1 as batchSize, got nothing/],
  ])("%s", async (_, state, message) => {
    await expectRefused(state, message);
  });
});

describe("the state of manualSeed's random numbers", () => {
  test("brings back what was drawn, the second half of a normal pair included", async () => {
    manualSeed(8);
    const drawn = async () => [await randn([3]).array(), await rand([2]).array()];
    await randn([1]).data();
    const state = getRngState();
    const first = await drawn();
    expect(await drawn()).not.toEqual(first);
    setRngState(state);
    expect(await drawn()).toEqual(first);
  });

  test("is a snapshot: later draws and changes to its bytes leave it alone", async () => {
    manualSeed(8);
    const state = getRngState();
    const bytes = state.data();
    await rand([1]).data();
    state.data().fill(0);
    expect(state.data()).toEqual(bytes);
    manualSeed(8);
    expect(getRngState().data()).toEqual(bytes);
    expect(getRngState().shape).toEqual([bytes.length]);
  });

  test.each<[string, unknown, RegExp]>([
    ["nothing", undefined, /25 bytes that getRngState gave, got undefined/],
    ["PyTorch's 5056 bytes", { dtype: "uint8", data: () => new Uint8Array(5056) }, /5056 bytes/],
    ["another type", { dtype: "int64", data: () => BigInt64Array.of(1n) }, /entry of int64/],
    ["zeros", { dtype: "uint8", data: () => new Uint8Array(25) }, /no such state/],
    ["noise", { dtype: "uint8", data: () => new Uint8Array(25).fill(255) }, /no such state/],
    ["an object", {}, /an object without data/],
  ])("%s is refused, and the state is as before", (_, state, message) => {
    const before = getRngState().data();
    expect(() => setRngState(state)).toThrow(StateDictError);
    expect(() => setRngState(state)).toThrow(message);
    expect(getRngState().data()).toEqual(before);
  });
});

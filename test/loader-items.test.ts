/** Items on their way through a loader: mapped, drawing at random, collated. */
import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { Generator } from "../src/core/random.ts";
import {
  data,
  getRngState,
  manualSeed,
  type Random,
  ShapeError,
  type Tensor,
} from "../src/index.ts";

const numbers = new data.TensorDataset(Int32Array.from({ length: 12 }, (_, i) => i));

/** Every item as [index, what it drew]. */
const drawing = data.map(numbers, ([item], random) => [item, random.integer(2 ** 31)]);

async function pass(loader: data.DataLoader<readonly data.Field[]>): Promise<number[][]> {
  const rows: number[][] = [];
  for await (const [item, drawn] of loader) {
    const [items, draws] = [await item.data(), await drawn.data()];
    items.forEach((value, i) => {
      rows.push([value, draws[i]]);
    });
  }
  return rows.sort(([a], [b]) => a - b);
}

describe("map", () => {
  test("changes every item when it is asked for", async () => {
    const asked: number[] = [];
    const squares = data.map(numbers, ([item]) => {
      asked.push(item.data[0]);
      return [item.data[0] ** 2, item];
    });
    expect([squares.length, asked]).toEqual([12, []]);
    expect(await squares.at(5, new Generator(1))).toEqual([25, (await numbers.at(5))[0]]);
    expect(asked).toEqual([5]);
  });

  test("knows the types of what it gives, and waits for promises", async () => {
    const mapped = data.map(numbers, async ([item]) => [item, 1.5, Float32Array.of(1)]);
    expectTypeOf(mapped).toExtend<
      data.Dataset<[data.HostTensor, number, Float32Array<ArrayBuffer>]>
    >();
    expect((await mapped.at(0))[1]).toBe(1.5);
  });

  test("maps of maps draw one after the other from the item's own numbers", async () => {
    const twice = data.map(
      data.map(numbers, (_, random) => [random.uint32()]),
      ([first], random) => [first, random.uint32()],
    );
    const expected = new Generator(6);
    expect(await twice.at(0, new Generator(6))).toEqual([expected.uint32(), expected.uint32()]);
  });

  test("without a loader items draw from manualSeed's numbers", async () => {
    manualSeed(2);
    const first = await drawing.at(3);
    expect(await drawing.at(3)).not.toEqual(first);
    manualSeed(2);
    expect(await drawing.at(3)).toEqual(first);
  });
});

describe("what items draw", () => {
  const seeded = { seed: 4, shuffle: true };

  test("differs between items and between passes, and is the same in every run", async () => {
    const loader = new data.DataLoader(drawing, { ...seeded, batchSize: 4 });
    const [first, second] = [await pass(loader), await pass(loader)];
    const draws = [...first, ...second].map(([, drawn]) => drawn);
    expect(new Set(draws).size).toBe(24);
    const again = new data.DataLoader(drawing, { ...seeded, batchSize: 4 });
    expect([await pass(again), await pass(again)]).toEqual([first, second]);
  });

  test("depends on the pass and the index alone: not on order, batches or time", async () => {
    const expected = await pass(new data.DataLoader(drawing, { seed: 4, batchSize: 12 }));
    const slow = data.map(numbers, async ([item], random) => {
      await new Promise((done) => setTimeout(done, (item.data[0] * 7) % 5));
      return [item, random.integer(2 ** 31)];
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.boolean(),
        async (batchSize, shuffle) => {
          const options = { seed: 4, batchSize, shuffle };
          expect(await pass(new data.DataLoader(drawing, options))).toEqual(expected);
          expect(await pass(new data.DataLoader(slow, options))).toEqual(expected);
        },
      ),
      { numRuns: 10 },
    );
  });

  test("follows manualSeed in a loader without a seed, shuffled or not", async () => {
    for (const shuffle of [true, false]) {
      const loader = () => new data.DataLoader(drawing, { shuffle, batchSize: 5 });
      manualSeed(1);
      const first = await pass(loader());
      expect(await pass(loader())).not.toEqual(first);
      manualSeed(1);
      expect(await pass(loader())).toEqual(first);
    }
  });

  test("reaches items through a Subset", async () => {
    const subset = new data.Subset(drawing, [7, 7]);
    const loader = () => new data.DataLoader(subset, { seed: 1 });
    const [[, one], [, other]] = await pass(loader());
    expect(one).not.toBe(other);
    expect(await pass(loader())).toEqual([
      [7, one],
      [7, other],
    ]);
  });

  test("in one pass does not depend on whether others drew", async () => {
    const isDrawing = { now: true };
    const dataset = data.map(numbers, ([item], random) => {
      return [item, [() => 0, () => random.integer(2 ** 31)][Number(isDrawing.now)]()];
    });
    const loader = () => new data.DataLoader(dataset, { seed: 4 });
    const always = loader();
    await pass(always);
    const expected = await pass(always);
    const once = loader();
    isDrawing.now = false;
    await pass(once);
    isDrawing.now = true;
    expect(await pass(once)).toEqual(expected);
  });

  test("leaves manualSeed's numbers alone where nothing is drawn", async () => {
    const before = getRngState().data();
    const plain = data.map(numbers, ([item]) => [item, 1]);
    await pass(new data.DataLoader(plain, { batchSize: 5 }));
    await pass(new data.DataLoader(drawing, { batchSize: 5, shuffle: true, seed: 1 }));
    expect(getRngState().data()).toEqual(before);
    await pass(new data.DataLoader(drawing, { batchSize: 5 }));
    expect(getRngState().data()).not.toEqual(before);
  });

  test("covers every kind of number", async () => {
    const kinds = data.map(numbers, (_, random) => [
      Float32Array.of(random.uniform(), random.normal(), random.uint32()),
      Int32Array.from(random.permutation(4)),
    ]);
    for await (const [x, order] of new data.DataLoader(kinds, { batchSize: 12, seed: 3 })) {
      const rows = (await x.array()) as number[][];
      expect(new Set(rows.flat()).size).toBe(36);
      for (const row of (await order.array()) as number[][]) {
        expect(row.toSorted()).toEqual([0, 1, 2, 3]);
      }
    }
  });
});

describe("collate", () => {
  test("makes the batch's fields from its items, any number of them", async () => {
    const loader = new data.DataLoader(numbers, {
      batchSize: 5,
      collate: (items) => [
        { data: Float32Array.of(items.length), shape: [1] },
        { data: Int32Array.from(items, ([item]) => -item.data[0]), shape: [items.length, 1] },
      ],
    });
    const sizes: number[] = [];
    for await (const [size, values] of loader) {
      expectTypeOf(values).toEqualTypeOf<Tensor>();
      sizes.push(await size.item(), values.shape[0]);
    }
    expect(sizes).toEqual([5, 5, 5, 5, 2, 2]);
  });

  test("may mix what defaultCollate stacked, drawing its own numbers", async () => {
    const draws: number[] = [];
    const collate = async (items: readonly [data.HostTensor][], random: Random) => {
      const [x] = await data.defaultCollate(items);
      draws.push(random.uint32());
      return [{ ...x, data: x.data.toReversed() }] as const;
    };
    const loader = () => new data.DataLoader(numbers, { batchSize: 6, seed: 1, collate });
    const batches: unknown[] = [];
    for await (const [x] of loader()) batches.push(await x.array());
    expect(batches).toEqual([
      [5, 4, 3, 2, 1, 0],
      [11, 10, 9, 8, 7, 6],
    ]);
    for await (const _ of loader());
    expect(draws.slice(2)).toEqual(draws.slice(0, 2));
    expect(new Set(draws).size).toBe(2);
  });

  test("defaultCollate refuses items that do not stack", async () => {
    const stacking = data.defaultCollate([[Float32Array.of(1)], [Float32Array.of(1, 2)]]);
    await expect(stacking).rejects.toBeInstanceOf(ShapeError);
  });
});

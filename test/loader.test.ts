import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ArgumentError, DTypeError, data, manualSeed, ShapeError, tensor } from "../src/index.ts";

const seven = new data.TensorDataset(Int32Array.of(0, 1, 2, 3, 4, 5, 6));

/** The values of every batch of one pass. */
async function pass(loader: data.DataLoader<readonly data.Field[]>): Promise<number[][]> {
  const batches: number[][] = [];
  for await (const [x] of loader) batches.push(Array.from(await x.data()));
  return batches;
}

describe("batches", () => {
  test("come in order, one item at a time, when nothing is said", async () => {
    const loader = new data.DataLoader(seven);
    expect(await pass(loader)).toEqual([[0], [1], [2], [3], [4], [5], [6]]);
    expect(loader.length).toBe(7);
  });

  test("the last one is smaller, or dropped", async () => {
    const all = new data.DataLoader(seven, { batchSize: 3 });
    expect(await pass(all)).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
    expect(all.length).toBe(3);
    const full = new data.DataLoader(seven, { batchSize: 3, dropLast: true });
    expect(await pass(full)).toEqual([
      [0, 1, 2],
      [3, 4, 5],
    ]);
    expect(full.length).toBe(2);
  });

  test("an empty dataset gives none", async () => {
    const loader = new data.DataLoader(new data.TensorDataset(new Float32Array(0)), {
      batchSize: 2,
    });
    expect(await pass(loader)).toEqual([]);
    expect(loader.length).toBe(0);
  });

  test("are tensors with the fields stacked, in the field's type", async () => {
    const dataset = new data.TensorDataset(
      { data: Float32Array.of(1, 2, 3, 4, 5, 9), shape: [3, 2] },
      Uint8Array.of(7, 8, 6),
    );
    const loader = new data.DataLoader(dataset, { batchSize: 2 });
    for await (const [x, label] of loader) {
      expect([x.shape, x.dtype, x.device]).toEqual([[2, 2], "float32", "cpu"]);
      expect([label.shape, label.dtype]).toEqual([[2], "uint8"]);
      expect(await x.array()).toEqual([
        [1, 2],
        [3, 4],
      ]);
      break;
    }
  });

  test("go to the device that was asked for", async () => {
    for await (const [x] of new data.DataLoader(seven, { device: "reference" })) {
      expect(x.device).toBe("reference");
    }
  });

  test("are new memory: an earlier batch keeps its values", async () => {
    const held = [];
    for await (const [x] of new data.DataLoader(seven, { batchSize: 3 })) held.push(x);
    expect(await Promise.all(held.map((x) => x.array()))).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
  });
});

describe("items one by one", () => {
  test("are stacked; numbers are int32 labels", async () => {
    const images = [Float32Array.of(1, 2), Float32Array.of(3, 4), Float32Array.of(5, 9)];
    const dataset: data.Dataset<[Float32Array, number]> = {
      length: 3,
      at: async (index) => [images[index], index + 7],
    };
    const loader = new data.DataLoader(dataset, { batchSize: 3 });
    for await (const [x, label] of loader) {
      expect(await x.array()).toEqual([
        [1, 2],
        [3, 4],
        [5, 9],
      ]);
      expect([label.dtype, await label.array()]).toEqual(["int32", [7, 8, 9]]);
    }
  });

  test("may be tensors", async () => {
    const dataset = { length: 2, at: (index: number) => [tensor([[index, 1]])] };
    for await (const [x] of new data.DataLoader(dataset, { batchSize: 2 })) {
      expect(x.shape).toEqual([2, 1, 2]);
    }
  });

  test("of different shapes are refused", async () => {
    const dataset = { length: 2, at: (index: number) => [new Float32Array(index + 1)] };
    const loader = new data.DataLoader(dataset, { batchSize: 2 });
    await expect(pass(loader)).rejects.toBeInstanceOf(ShapeError);
    await expect(pass(loader)).rejects.toThrow(/\(1,\) float32, got \(2,\) float32/);
  });

  test("with a fraction as plain number are refused", async () => {
    const dataset = { length: 2, at: (index: number) => [index / 2] };
    const loader = new data.DataLoader(dataset, { batchSize: 2 });
    await expect(pass(loader)).rejects.toBeInstanceOf(DTypeError);
  });
});

describe("shuffling", () => {
  const hundred = new data.TensorDataset(Int32Array.from({ length: 100 }, (_, i) => i));
  const shuffled = (options: data.DataLoaderOptions) =>
    new data.DataLoader(hundred, { batchSize: 7, shuffle: true, ...options });

  test("gives every item once, in another order in every pass", async () => {
    const loader = shuffled({ seed: 3 });
    const [first, second] = [(await pass(loader)).flat(), (await pass(loader)).flat()];
    expect(first.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(second.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(first).not.toEqual(second);
  });

  test("two loaders with one seed agree in every pass; another seed differs", async () => {
    const [a, b, c] = [shuffled({ seed: 3 }), shuffled({ seed: 3 }), shuffled({ seed: 4 })];
    const first = await pass(a);
    expect(await pass(b)).toEqual(first);
    expect(await pass(a)).toEqual(await pass(b));
    expect(await pass(c)).not.toEqual(first);
  });

  test("without a seed, follows manualSeed", async () => {
    manualSeed(11);
    const first = await pass(shuffled({}));
    manualSeed(11);
    expect(await pass(shuffled({}))).toEqual(first);
    expect(await pass(shuffled({}))).not.toEqual(first);
  });

  test("passes at the same time do not disturb each other", async () => {
    const [a, b] = [shuffled({ seed: 5 }), shuffled({ seed: 5 })];
    const alone = [await pass(a), await pass(a)];
    expect(await Promise.all([pass(b), pass(b)])).toEqual(alone);
  });

  test("leaving a pass early leaves the next one whole", async () => {
    const [a, b] = [shuffled({ seed: 6 }), shuffled({ seed: 6 })];
    await pass(a);
    for await (const _ of b) break;
    expect(await pass(b)).toEqual(await pass(a));
  });

  test("any sizes give every item at most once, and all without dropLast", async () => {
    const sizes = fc.record({
      items: fc.integer({ min: 0, max: 40 }),
      batchSize: fc.integer({ min: 1, max: 45 }),
      dropLast: fc.boolean(),
      seed: fc.maxSafeNat(),
    });
    await fc.assert(
      fc.asyncProperty(sizes, async ({ items, dropLast, ...options }) => {
        const dataset = new data.TensorDataset(Int32Array.from({ length: items }, (_, i) => i));
        const loader = new data.DataLoader(dataset, { ...options, dropLast, shuffle: true });
        const batches = await pass(loader);
        const whole = items - (items % options.batchSize);
        expect(batches.length).toBe(loader.length);
        expect(new Set(batches.flat()).size).toBe({ true: whole, false: items }[`${dropLast}`]);
      }),
      { numRuns: 40 },
    );
  });
});

describe("options out of range", () => {
  test.each<[string, object]>([
    ["batchSize", { batchSize: 0 }],
    ["batchSize", { batchSize: 2.5 }],
    ["batchSize", { batchSize: "4" }],
    ["shuffle", { shuffle: 1 }],
    ["dropLast", { dropLast: "yes" }],
    ["seed", { seed: -1 }],
    ["seed", { seed: Number.NaN }],
  ])("%s is named: %j", (name, options) => {
    const make = () => new data.DataLoader(seven, options);
    expect(make).toThrow(ArgumentError);
    expect(make).toThrow(name);
  });
});

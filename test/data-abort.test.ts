/** Ending work with an AbortSignal: before it begins, in the middle, and after it is over. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { data, getRngState, memory, nn, tensor } from "../src/index.ts";
import { settled } from "./support/collector.ts";

const reason = new Error("enough");
const ten = new data.TensorDataset(Int32Array.from({ length: 10 }, (_, i) => i));

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "evenkeel-abort-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The values of the batches up to the abort, and what was thrown. */
async function collect(batches: AsyncIterable<readonly [{ item(): Promise<number> }]>) {
  const seen: number[] = [];
  const thrown = await (async () => {
    for await (const [x] of batches) seen.push(await x.item());
  })().catch((error: unknown) => error);
  return { seen, thrown };
}

describe("a loader", () => {
  test("aborted before it begins gives no batch and asks for no item", async () => {
    const asked: number[] = [];
    const dataset = { length: 3, at: (index: number) => [asked.push(index)] as [number] };
    const loader = new data.DataLoader(dataset, { signal: AbortSignal.abort(reason) });
    expect(await collect(loader)).toEqual({ seen: [], thrown: reason });
    expect(asked).toEqual([]);
    expect(loader.stateDict()).toMatchObject({ pass: 0, position: 0 });
  });

  test("aborted in the loop's body throws the reason instead of the next batch", async () => {
    const controller = new AbortController();
    const loader = new data.DataLoader(ten, { signal: controller.signal });
    const seen: number[] = [];
    const loop = async () => {
      for await (const [x] of loader) {
        seen.push(await x.item());
        if (seen.length === 3) controller.abort(reason);
      }
    };
    await expect(loop()).rejects.toBe(reason);
    expect(seen).toEqual([0, 1, 2]);
  });

  test("leaves the pass open, so that another loader goes on with the next batch", async () => {
    const controller = new AbortController();
    const options = { batchSize: 2, shuffle: true, seed: 3 };
    const whole: unknown[] = [];
    for await (const [x] of new data.DataLoader(ten, options)) whole.push(await x.array());

    const loader = new data.DataLoader(ten, { ...options, signal: controller.signal });
    const parts: unknown[] = [];
    for await (const [x] of loader) {
      parts.push(await x.array());
      controller.abort(reason);
      // Also where the program sees the signal first and leaves by itself.
      break;
    }
    expect(loader.stateDict()).toMatchObject({ pass: 0, position: 1 });
    const resumed = new data.DataLoader(ten, options);
    resumed.loadStateDict(loader.stateDict());
    for await (const [x] of resumed) parts.push(await x.array());
    expect(parts).toEqual(whole);
  });

  test("sees a timer although nothing in the loop leaves the microtask queue", async () => {
    const many = { length: 200_000, at: (index: number): [number] => [index] };
    const loader = new data.DataLoader(many, { signal: AbortSignal.timeout(20) });
    const { seen, thrown } = await collect(loader);
    expect(seen.length).toBeLessThan(many.length);
    expect(thrown).toMatchObject({ name: "TimeoutError" });
  });

  test("does not wait for an item that never comes, and makes no tensor of it", async () => {
    const controller = new AbortController();
    const stuck = { length: 2, at: () => new Promise<[number]>(() => {}) };
    const loader = new data.DataLoader(stuck, { signal: controller.signal });
    await settled(); // the tests above leave tensors that the collector takes at any time
    const before = memory().tensors;
    const next = loader[Symbol.asyncIterator]().next();
    setTimeout(() => controller.abort(reason), 5);
    await expect(next).rejects.toBe(reason);
    expect(memory().tensors).toBeLessThanOrEqual(before);
  });

  test("aborted after its pass does nothing to what was given", async () => {
    const controller = new AbortController();
    const loader = new data.DataLoader(ten, { signal: controller.signal });
    const { seen, thrown } = await collect(loader);
    controller.abort(reason);
    expect([seen.length, thrown]).toEqual([10, undefined]);
    expect(loader.stateDict()).toMatchObject({ pass: 1, position: 0 });
  });

  test("leaves no listener on the signal", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, args);
    };
    await collect(new data.DataLoader(ten, { signal }));
    expect(listeners).toBe(0);
  });

  test("draws the same numbers with a signal as without", async () => {
    const drawing = data.map(ten, (_, random) => [random.integer(1000)]);
    const options = { seed: 2, shuffle: true };
    const { signal } = new AbortController();
    const plain = await collect(new data.DataLoader(drawing, options));
    expect(await collect(new data.DataLoader(drawing, { ...options, signal }))).toEqual(plain);
    expect(getRngState().data()).toHaveLength(25);
  });

  test("ends what goes through it, statistics restored", async () => {
    const controller = new AbortController();
    const images = new data.TensorDataset({ data: new Float32Array(12).fill(3), shape: [6, 2] });
    const bn = new nn.BatchNorm1d(2);
    bn(
      tensor([
        [1, 2],
        [3, 5],
      ]),
    );
    const before = await bn.runningMean?.array();
    const seen = data.map(images, (item, random) => {
      if (random.uniform() >= 0) controller.abort(reason);
      return item;
    });
    const loader = new data.DataLoader(seen, { batchSize: 2, signal: controller.signal });
    await expect(nn.updateBatchNorm(bn, loader)).rejects.toBe(reason);
    expect(await bn.runningMean?.array()).toEqual(before);
  });
});

describe("progress", () => {
  /** Collects what is written. */
  class Paper {
    text = "";
    readonly isTTY = true;
    readonly columns = 120;
    write(text: string): boolean {
      this.text += text;
      return true;
    }
  }

  test("ends its bar on the loader's signal and throws the reason", async () => {
    const controller = new AbortController();
    const loader = new data.DataLoader(ten, { signal: controller.signal });
    const stream = new Paper();
    const loop = async () => {
      for await (const _ of data.progress(loader, { stream })) controller.abort(reason);
    };
    await expect(loop()).rejects.toBe(reason);
    expect(stream.text).toContain("1/10");
    expect(stream.text.endsWith("\n")).toBe(true);
    expect(loader.stateDict().position).toBe(1);
  });

  test("ends on its own signal, and what is looped over with it", async () => {
    const controller = new AbortController();
    let isClosed = false;
    async function* source() {
      try {
        for (;;) yield 1;
      } finally {
        isClosed = true;
      }
    }
    const stream = new Paper();
    const { signal } = controller;
    setTimeout(() => controller.abort(reason), 10);
    const loop = async () => {
      for await (const _ of data.progress(source(), { stream, signal }));
    };
    await expect(loop()).rejects.toBe(reason);
    await Promise.resolve();
    expect(isClosed).toBe(true);
    expect(stream.text.endsWith("\n")).toBe(true);
  });

  test("does not wait for an item that never comes", async () => {
    const stuck = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
    const signal = AbortSignal.timeout(10);
    const loop = async () => {
      for await (const _ of data.progress(stuck, { stream: new Paper(), signal }));
    };
    await expect(loop()).rejects.toMatchObject({ name: "TimeoutError" });
  });
});

describe("reading files", () => {
  const cifarRecord = new Uint8Array(3073);
  const cifarFiles = ["test_batch.bin", ...[1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`)];

  async function cifarFolder(): Promise<string> {
    for (const name of cifarFiles) await writeFile(join(folder, name), cifarRecord);
    return folder;
  }

  async function mnistFolder(): Promise<string> {
    const idx = (axes: number[], bytes: number) => {
      const header = [0, 0, 8, axes.length, ...axes.flatMap((size) => [0, 0, size >> 8, size])];
      return gzipSync(Uint8Array.from([...header, ...new Uint8Array(bytes)]));
    };
    for (const part of ["train", "t10k"]) {
      const images = idx([500, 28, 28], 500 * 784);
      await writeFile(join(folder, `${part}-images-idx3-ubyte.gz`), images);
      await writeFile(join(folder, `${part}-labels-idx1-ubyte.gz`), idx([500], 500));
    }
    return folder;
  }

  async function imagesFolder(): Promise<string> {
    await mkdir(join(folder, "a"), { recursive: true });
    await writeFile(join(folder, "a", "x.png"), "");
    return folder;
  }

  type Options = { readonly signal: AbortSignal };
  const readers: [string, (options: Options) => Promise<unknown>][] = [
    ["mnist", async (options) => data.mnist(await mnistFolder(), options)],
    ["cifar10", async (options) => data.cifar10(await cifarFolder(), options)],
    ["imageFolder", async (options) => data.imageFolder(await imagesFolder(), options)],
  ];

  test.each(readers)("%s aborted before it begins throws the reason", async (_, read) => {
    await expect(read({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test.each(readers)("%s aborted after it ended has read all", async (_, read) => {
    const controller = new AbortController();
    const outcome = await read({ signal: controller.signal });
    controller.abort(reason);
    expect(outcome).toBeTypeOf("object");
  });

  test.each([
    ["mnist", mnistFolder, data.mnist],
    ["cifar10", cifarFolder, data.cifar10],
    ["imageFolder", imagesFolder, data.imageFolder],
  ])("%s aborted in the middle throws the reason, not Node's own error", async (_, make, read) => {
    const place = await make();
    const controller = new AbortController();
    const reading = read(place, { signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    await expect(reading).rejects.toBe(reason);
  });
});

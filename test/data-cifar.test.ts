import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DataError, data } from "../src/index.ts";

type Files = Readonly<Record<string, Uint8Array | string>>;

const pixelBytes = 3072;

/** The byte at this place of an image; every image and channel has its own. */
function pixel(image: number, at: number): number {
  return (image * 17 + Math.floor(at / 1024) * 5 + at * 3) % 256;
}

/** Records as the files have them: label bytes, then the pixels of the image of this number. */
function records(...images: readonly { readonly head: number[]; readonly image: number }[]) {
  return Uint8Array.from(
    images.flatMap(({ head, image }) => [
      ...head,
      ...Array.from({ length: pixelBytes }, (_, at) => pixel(image, at)),
    ]),
  );
}

const ten: Files = {
  "data_batch_1.bin": records({ head: [6], image: 0 }, { head: [9], image: 1 }),
  "data_batch_2.bin": records({ head: [4], image: 2 }),
  "data_batch_3.bin": records({ head: [1], image: 3 }),
  "data_batch_4.bin": records({ head: [0], image: 4 }),
  "data_batch_5.bin": records({ head: [3], image: 5 }, { head: [8], image: 6 }),
  "test_batch.bin": records({ head: [2], image: 7 }),
};

const hundred: Files = {
  "train.bin": records({ head: [11, 19], image: 0 }, { head: [15, 99], image: 1 }),
  "test.bin": records({ head: [10, 49], image: 2 }),
};

const names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "evenkeel-cifar-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

let folders = 0;
async function folderWith(files: Files, inside = ""): Promise<string> {
  folders += 1;
  const folder = join(root, String(folders));
  await mkdir(join(folder, inside), { recursive: true });
  for (const [name, bytes] of Object.entries(files)) {
    await writeFile(join(folder, inside, name), bytes);
  }
  return folder;
}

describe("cifar10", () => {
  test("gives every image of all five batches as float32 in 0-1 with its label", async () => {
    const { train, test: testSet } = await data.cifar10(await folderWith(ten));
    expect([train.length, testSet.length]).toEqual([7, 1]);
    expect(train.labels).toEqual(Uint8Array.of(6, 9, 4, 1, 0, 3, 8));
    const [image, label] = train.at(6);
    expect(image.shape).toEqual([3, 32, 32]);
    expect(image.data).toEqual(
      Float32Array.from({ length: pixelBytes }, (_, at) => pixel(6, at) / 255),
    );
    expect(label).toBe(8);
    expect(testSet.at(0)[0].data[2000]).toBe(Math.fround(pixel(7, 2000) / 255));
  });

  test("batches come through a loader as (N, 3, 32, 32) float32 and int32 labels", async () => {
    const { train } = await data.cifar10(await folderWith(ten));
    const loader = new data.DataLoader(train, { batchSize: 7 });
    for await (const [x, label] of loader) {
      expect([x.shape, x.dtype]).toEqual([[7, 3, 32, 32], "float32"]);
      expect([label.dtype, await label.array()]).toEqual(["int32", [6, 9, 4, 1, 0, 3, 8]]);
      expect((await x.data())[3 * pixelBytes + 1500]).toBe(Math.fround(pixel(3, 1500) / 255));
    }
  });

  test("pixels stay bytes in memory; scale: false leaves 0-255", async () => {
    const { test: testSet } = await data.cifar10(await folderWith(ten), { scale: false });
    expect(testSet.pixels).toBeInstanceOf(Uint8Array);
    expect(testSet.pixels[1025]).toBe(pixel(7, 1025));
    expect(testSet.at(0)[0].data[1025]).toBe(pixel(7, 1025));
  });

  test("reads the archive's folder from the one that holds it", async () => {
    const { train } = await data.cifar10(await folderWith(ten, "cifar-10-batches-bin"));
    expect(train.length).toBe(7);
  });

  test("reads gzipped files", async () => {
    const packed = Object.entries(ten).map(([name, bytes]) => [`${name}.gz`, gzipSync(bytes)]);
    const { train } = await data.cifar10(await folderWith(Object.fromEntries(packed)));
    expect(train.labels).toEqual(Uint8Array.of(6, 9, 4, 1, 0, 3, 8));
  });

  test("classes are the names in batches.meta.txt, and none without it", async () => {
    const named = await data.cifar10(await folderWith({ ...ten, "batches.meta.txt": names }));
    expect(named.train.classes[6]).toBe("frog");
    expect(named.test.classes).toHaveLength(10);
    expect((await data.cifar10(await folderWith(ten))).train.classes).toEqual([]);
  });
});

describe("cifar100", () => {
  test("labels are the fine classes", async () => {
    const { train, test: testSet } = await data.cifar100(
      await folderWith(hundred, "cifar-100-binary"),
    );
    expect(train.labels).toEqual(Uint8Array.of(19, 99));
    expect(testSet.labels).toEqual(Uint8Array.of(49));
    expect(train.at(1)[0].data[0]).toBe(Math.fround(pixel(1, 0) / 255));
  });
});

describe("trouble is named with the file", () => {
  async function failure(files: Files): Promise<string> {
    const error = await data.cifar10(await folderWith(files)).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(DataError);
    return String(error);
  }

  const without = (...missing: string[]) =>
    Object.fromEntries(Object.entries(ten).filter(([name]) => !missing.includes(name)));

  test.each<[string, Files, RegExp]>([
    ["a missing batch", without("data_batch_3.bin"), /the file data_batch_3\.bin.*data_batch_1/],
    ["a missing test batch", without("test_batch.bin"), /test_batch\.bin.*cifar-10-batches-bin/],
    ["an empty folder", {}, /data_batch_1\.bin.*an empty folder/],
    [
      "an archive that was not unpacked",
      { "cifar-10-binary.tar.gz": "x" },
      /unpack it first: tar xf cifar-10-binary\.tar\.gz/,
    ],
    ["the Python version", { data_batch_1: "x" }, /Python version.*cifar-10-binary\.tar\.gz/],
    [
      "a file cut short",
      { ...ten, "data_batch_2.bin": new Uint8Array(3000) },
      /records of 3073 bytes in .*data_batch_2\.bin.*got 3000 bytes/,
    ],
    ["an empty file", { ...ten, "test_batch.bin": "" }, /test_batch\.bin.*got an empty file/],
    [
      "a label out of range",
      { ...ten, "data_batch_5.bin": records({ head: [9], image: 0 }, { head: [10], image: 1 }) },
      /labels from 0 to 9 in .*data_batch_5\.bin.*10 for image 1/,
    ],
    [
      "another number of names",
      { ...ten, "batches.meta.txt": "airplane\n" },
      /10 names.*batches\.meta\.txt.*got 1/,
    ],
  ])("%s", async (_, files, message) => {
    expect(await failure(files)).toMatch(message);
  });

  test("a folder that is not there", async () => {
    const reading = data.cifar10(join(root, "absent"));
    await expect(reading).rejects.toThrow(/absent, got nothing there/);
    await expect(reading).rejects.toBeInstanceOf(DataError);
  });

  test("a file of cifar100 with records of another length", async () => {
    const files = { ...hundred, "train.bin": new Uint8Array(3073) };
    await expect(data.cifar100(await folderWith(files))).rejects.toThrow(
      /records of 3074 bytes in .*train\.bin/,
    );
  });
});

import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { ArgumentError, DataError, data } from "../src/index.ts";

/** Three by two pixels, every value different. */
const pixels = [255, 0, 1, 2, 250, 3, 4, 5, 245, 10, 20, 30, 40, 50, 60, 70, 80, 90];

function picture(
  bytes: readonly number[] = pixels,
  raw: { width: number; height: number; channels: 1 | 2 | 3 | 4 } = {
    ...{ width: 3, height: 2, channels: 3 },
  },
) {
  return sharp(Uint8Array.from(bytes), { raw });
}

/** Values in 0-255 as the dataset gives them: planes of float32. */
function planes(rows: readonly (readonly number[])[]): Float32Array {
  return Float32Array.from(rows.flat(), (value) => value / 255);
}

const red = [255, 2, 4, 10, 40, 70];
const green = [0, 250, 5, 20, 50, 80];
const blue = [1, 3, 245, 30, 60, 90];

let root = "";
let png = new Uint8Array(0);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "evenkeel-images-"));
  png = await picture().png().toBuffer();
});
afterAll(() => rm(root, { recursive: true, force: true }));
afterEach(() => {
  vi.doUnmock("sharp");
  vi.resetModules();
});

let folders = 0;
async function folderWith(files: Readonly<Record<string, Uint8Array>>): Promise<string> {
  folders += 1;
  const folder = join(root, String(folders));
  await mkdir(folder);
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
  }
  return folder;
}

async function only(bytes: Uint8Array, options: data.ImageFolderOptions = {}) {
  const images = await data.imageFolder(await folderWith({ "a/image.png": bytes }), options);
  const [image] = await images.at(0);
  return image;
}

describe("imageFolder", () => {
  test("sorted sub-folders are the classes, sorted images below them the items", async () => {
    const folder = await folderWith({
      "dogs/b.png": png,
      "dogs/a.PNG": png,
      "dogs/B.jpeg": png,
      "dogs/notes.txt": png,
      "dogs/more/a.png": png,
      "cats/x.webp": png,
      "Zebras/x.tiff": png,
      "README.md": png,
    });
    const images = await data.imageFolder(folder);
    expect(images.classes).toEqual(["Zebras", "cats", "dogs"]);
    const places = images.samples.map(({ path, label }) => [relative(folder, path), label]);
    expect(places).toEqual([
      ["Zebras/x.tiff", 0],
      ["cats/x.webp", 1],
      ["dogs/B.jpeg", 2],
      ["dogs/a.PNG", 2],
      ["dogs/b.png", 2],
      ["dogs/more/a.png", 2],
    ]);
    expect(images.length).toBe(6);
    expect((await images.at(3))[1]).toBe(2);
  });

  test("follows links to folders", async () => {
    const folder = await folderWith({ "a/x.png": png });
    await symlink(join(folder, "a"), join(folder, "b"));
    expect((await data.imageFolder(folder)).classes).toEqual(["a", "b"]);
  });

  test("takes other endings", async () => {
    const folder = await folderWith({ "a/x.gif": png, "a/y.png": png });
    const images = await data.imageFolder(folder, { extensions: [".GIF"] });
    expect(images.samples.map(({ path }) => relative(folder, path))).toEqual(["a/x.gif"]);
  });

  test("decodes an item when it is asked for, not before", async () => {
    const folder = await folderWith({ "a/x.png": Uint8Array.of(1, 2, 3) });
    const images = await data.imageFolder(folder);
    await writeFile(join(folder, "a/x.png"), png);
    expect((await images.at(0))[0].shape).toEqual([3, 2, 3]);
  });

  test("batches of images come through a loader with transforms", async () => {
    const folder = await folderWith({ "a/x.png": png, "b/y.png": png });
    const images = await data.imageFolder(folder, { size: 2 });
    const flipped = data.map(images, ([image, label], random) => [
      data.transforms.randomHorizontalFlip(1)(image, random),
      label,
    ]);
    for await (const [x, label] of new data.DataLoader(flipped, { batchSize: 2 })) {
      expect([x.shape, x.dtype]).toEqual([[2, 3, 2, 2], "float32"]);
      expect(await label.array()).toEqual([0, 1]);
      expect((await x.data())[0]).toBe(Math.fround(2 / 255));
    }
  });
});

describe("pixels", () => {
  test("are planes of red, green and blue, float32 in 0-1", async () => {
    const image = await only(png);
    expect(image).toEqual({
      data: planes([red, green, blue]),
      shape: [3, 2, 3],
      dtype: "float32",
    });
  });

  test("of a JPEG are near those it was made of", async () => {
    const smooth = Array.from({ length: 16 * 16 }, (_, i) => [i / 2, 128, 255 - i / 2]).flat();
    const raw = { width: 16, height: 16, channels: 3 } as const;
    const jpeg = picture(smooth, raw).jpeg({ quality: 95, chromaSubsampling: "4:4:4" });
    const image = await only(await jpeg.toBuffer());
    expect(image.data[255] * 255 - 127).toBeLessThan(6);
    expect(Math.abs(image.data[256 + 77] * 255 - 128)).toBeLessThan(6);
  });

  test("of grey images are three equal channels", async () => {
    const raw = { width: 2, height: 2, channels: 1 } as const;
    const grey = await picture([1, 2, 3, 200], raw).toColourspace("b-w").png().toBuffer();
    expect((await sharp(grey).metadata()).channels).toBe(1);
    const values = [1, 2, 3, 200];
    expect((await only(grey)).data).toEqual(planes([values, values, values]));
  });

  test.each<[string, number[], 2 | 4, number[][]]>([
    [
      "in colour",
      [255, 1, 2, 0, 9, 8, 7, 128],
      4,
      [
        [255, 9],
        [1, 8],
        [2, 7],
      ],
    ],
    [
      "in grey",
      [100, 0, 9, 128],
      2,
      [
        [100, 9],
        [100, 9],
        [100, 9],
      ],
    ],
  ])("drop transparency %s and keep what was under it", async (_, bytes, channels, expected) => {
    const clear = picture(bytes, { width: 2, height: 1, channels });
    const space = { 2: "b-w", 4: "srgb" }[channels];
    const image = await only(await clear.toColourspace(space).png().toBuffer());
    expect(image.data).toEqual(planes(expected));
  });

  test("of a palette are its colours", async () => {
    const image = await only(await picture().png({ palette: true, colours: 256 }).toBuffer());
    expect(image.data).toEqual(planes([red, green, blue]));
  });

  test("of 16 bits are cut to 8", async () => {
    const deep = await picture().toColourspace("rgb16").png().toBuffer();
    expect((await sharp(deep).metadata()).depth).toBe("ushort");
    expect((await only(deep)).data).toEqual(planes([red, green, blue]));
  });

  test("stand upright as the photograph's orientation says", async () => {
    const turned = await picture().withMetadata({ orientation: 6 }).png().toBuffer();
    const image = await only(turned);
    expect(image.shape).toEqual([3, 3, 2]);
    // A quarter to the right: the lower left corner comes to the upper left.
    expect(image.data.subarray(0, 6)).toEqual(planes([[10, 255, 40, 2, 70, 4]]));
  });

  test("are those that are stored, whatever the colour profile", async () => {
    const profiled = await picture().withIccProfile("p3").png().toBuffer();
    const stored = await sharp(profiled, { ignoreIcc: true }).raw().toBuffer();
    const image = await only(profiled);
    expect(image.data[0]).toBe(Math.fround(stored[0] / 255));
    expect(stored[0]).not.toBe(255);
  });
});

describe("size", () => {
  /** Two by four, columns 10, 20, 30, 40 in every channel. */
  const columns = [10, 20, 30, 40, 10, 20, 30, 40].flatMap((value) => [value, value, value]);
  const wide = () => picture(columns, { width: 4, height: 2, channels: 3 }).png().toBuffer();
  const high = async () =>
    sharp(await wide())
      .rotate(90)
      .png()
      .toBuffer();

  test("cuts the middle of what covers it", async () => {
    const image = await only(await wide(), { size: 2 });
    expect(image.shape).toEqual([3, 2, 2]);
    expect(image.data.subarray(0, 4)).toEqual(planes([[20, 30, 20, 30]]));
    const upright = await only(await high(), { size: 2 });
    expect(upright.data.subarray(0, 4)).toEqual(planes([[20, 20, 30, 30]]));
  });

  test.each<[number, number]>([
    [1, 2],
    [5, 3],
    [4, 9],
    [7, 7],
  ])("gives [%i, %i], whatever the image", async (height, width) => {
    for (const bytes of [await wide(), await high(), png]) {
      const image = await only(bytes, { size: [height, width] });
      expect(image.shape).toEqual([3, height, width]);
      // None of the zeros that would stand beside an image that is too small.
      expect(Math.min(...image.data.subarray(0, height * width))).toBeGreaterThan(0);
    }
  });

  test.each([[0], [2.5], [[3]], ["4"]])("%j is refused", async (size) => {
    const folder = await folderWith({ "a/x.png": png });
    const reading = data.imageFolder(folder, { size: size as number });
    await expect(reading).rejects.toThrow(/data\.imageFolder: expected a size/);
    await expect(reading).rejects.toBeInstanceOf(ArgumentError);
  });
});

describe("trouble is named", () => {
  test.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ["cut short", (bytes) => bytes.subarray(0, bytes.length / 2)],
    ["empty", () => new Uint8Array(0)],
    ["no image", () => new TextEncoder().encode("<!DOCTYPE html>")],
    ["changed in the middle", (bytes) => bytes.map((byte, i) => byte ^ (Number(i === 60) * 255))],
  ])("with the path of an image that is %s", async (_, damage) => {
    const noise = { type: "gaussian", mean: 128, sigma: 30 } as const;
    const create = { width: 60, height: 40, channels: 3, background: "red", noise } as const;
    const large = await sharp({ create }).png().toBuffer();
    const folder = await folderWith({ "a/x.png": damage(large) });
    const images = await data.imageFolder(folder);
    await expect(images.at(0)).rejects.toBeInstanceOf(DataError);
    await expect(images.at(0)).rejects.toThrow(join(folder, "a/x.png"));
  });

  test("with the path of a JPEG that is cut short", async () => {
    const jpeg = await picture().resize(100, 100).jpeg().toBuffer();
    const folder = await folderWith({ "a/x.jpg": jpeg.subarray(0, jpeg.length - 10) });
    const images = await data.imageFolder(folder);
    await expect(images.at(0)).rejects.toThrow(/a\/x\.jpg.*premature end/);
  });

  test("with the path of an image that is gone", async () => {
    const folder = await folderWith({ "a/x.png": png });
    const images = await data.imageFolder(folder);
    await rm(join(folder, "a/x.png"));
    await expect(images.at(0)).rejects.toThrow(join(folder, "a/x.png"));
  });

  test.each<[string, Readonly<Record<string, Uint8Array>>, RegExp]>([
    ["an empty folder", {}, /one sub-folder per class.*got an empty folder/],
    ["images without classes", { "x.png": png, "y.png": png }, /got 2 files and no folder/],
    ["a class without images", { "a/x.png": png, "b/x.txt": png }, /images in .*b.*\.jpg/],
  ])("for %s", async (_, files, message) => {
    const reading = data.imageFolder(await folderWith(files));
    await expect(reading).rejects.toThrow(message);
    await expect(reading).rejects.toBeInstanceOf(DataError);
  });

  test("for a folder that is not there", async () => {
    await expect(data.imageFolder(join(root, "absent"))).rejects.toThrow(/absent, got nothing/);
  });

  test("without sharp, and says how to install it", async () => {
    vi.doMock("sharp", () => {
      throw new Error("Cannot find package 'sharp'");
    });
    const folder = await folderWith({ "a/x.png": png });
    const reading = data.imageFolder(folder);
    await expect(reading).rejects.toThrow(/the package sharp.*npm install sharp/);
    await expect(reading).rejects.toBeInstanceOf(ArgumentError);
  });

  test("in a page, where there are no folders", async () => {
    const { getBuiltinModule } = process;
    Reflect.set(process, "getBuiltinModule", undefined);
    const readings = [data.imageFolder("x"), data.cifar10("x"), data.mnist("x")];
    const outcomes = await Promise.allSettled(readings);
    Reflect.set(process, "getBuiltinModule", getBuiltinModule);
    expect(outcomes).toMatchObject(
      Array(3).fill({ status: "rejected", reason: { name: "ArgumentError", actual: "a page" } }),
    );
  });
});

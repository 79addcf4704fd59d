import type { Dirent } from "node:fs";
import { DataError } from "../core/errors.ts";
import { type AbortOptions, throwIfAborted } from "./abort.ts";
import type { ImageItem } from "./byte-images.ts";
import type { Dataset, HostTensor } from "./dataset.ts";
import { type Decode, imageDecoder } from "./decode.ts";
import { describe, node } from "./files.ts";
import { readSize, type Size } from "./image.ts";
import { centerCrop, resize } from "./transform.ts";

const op = "data.imageFolder";

/** Endings of files that are images, as torchvision has them. */
const imageEndings = [
  ...[".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"],
] as const;

/** Which files are images, and how large they become. */
export interface ImageFolderOptions extends AbortOptions {
  /**
   * Makes every image this large, so that images of different sizes fit into one batch: scaled until it covers the square (or
   * [height, width]), and cut at its centre. Default: every image as large as it is.
   */
  readonly size?: Size;
  /** Endings of the files that are images, in any case. Default torchvision's: .jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp. */
  readonly extensions?: readonly string[];
}

/** One file of a folder of images. */
export interface ImageSample {
  /** Where it is, the folder's own path included. */
  readonly path: string;
  /** Index of its class. */
  readonly label: number;
}

/** Images that are decoded when they are asked for: image (3, H, W) float32 in 0-1, label. Made by `imageFolder`. */
export class ImageFolderDataset implements Dataset<ImageItem> {
  /** Number of images. */
  readonly length: number;
  /** The names of the sub-folders, sorted: the name of every class, by its label. */
  readonly classes: readonly string[];
  /** The files, in the order of the items. */
  readonly samples: readonly ImageSample[];
  readonly #decode: Decode;

  /** @internal `imageFolder` makes it. */
  constructor(
    classes: readonly string[],
    samples: readonly ImageSample[],
    { decode }: { readonly decode: Decode },
  ) {
    this.length = samples.length;
    this.classes = classes;
    this.samples = samples;
    this.#decode = decode;
  }

  /** Item `index`, decoded now. Throws DataError naming the file if it is gone, damaged, or of a kind that sharp does not read. */
  async at(index: number): Promise<ImageItem> {
    const { path, label } = this.samples[index];
    return [await this.#decode(path), label];
  }
}

/**
 * Images in one sub-folder per class, as torchvision's ImageFolder: the sub-folders' names, sorted, are the classes; the files below
 * them that end like images, sorted, are the items. Decoding takes the package sharp, which is installed apart (`npm install sharp`).
 *
 * Pixels are RGB, and converted as by PIL's convert("RGB"): grey becomes three equal channels, transparency is dropped, a colour
 * profile is not applied.
 * Unlike PyTorch: a photograph's orientation (EXIF) is applied; torchvision leaves such a one lying on its side.
 * Shapes: image (3, H, W) float32 in 0-1, label int32.
 * Throws: DataError if the folder cannot be read, has no sub-folders, or one of them no image; ArgumentError without sharp, in a
 * page, or for options out of range; the signal's reason.
 *
 * @example
 * const train = await data.imageFolder("photos/train", { size: 224 });
 */
export async function imageFolder(
  folder: string,
  options: ImageFolderOptions = {},
): Promise<ImageFolderDataset> {
  const { size, extensions = imageEndings, signal } = options;
  const { path: paths } = node(op);
  const cut = size === undefined ? null : cover(size);
  const endings = extensions.map((ending) => ending.toLowerCase());
  await throwIfAborted(signal);
  const decode = await imageDecoder(op);
  const classes = await classesIn(folder);
  const samples: ImageSample[] = [];
  for (const [label, name] of classes.entries()) {
    await throwIfAborted(signal);
    const inside = await imagesUnder(paths.join(folder, name), endings);
    samples.push(...inside.map((path) => ({ path, label })));
  }
  return new ImageFolderDataset(classes, samples, {
    decode: cut === null ? decode : async (path) => cut(await decode(path)),
  });
}

/** Scales an image to cover the size and cuts its centre. */
function cover(target: Size): (image: HostTensor) => HostTensor {
  const [height, width] = readSize(op, target);
  const crop = centerCrop(target);
  return (image) => {
    const [, rows, columns] = image.shape;
    // The side that has more to spare, cut to whole pixels as torchvision's Resize does.
    const isWide = columns * height >= rows * width;
    const covering = isWide
      ? ([height, Math.trunc((height * columns) / rows)] as const)
      : ([Math.trunc((width * rows) / columns), width] as const);
    return crop(resize(covering)(image));
  };
}

async function classesIn(folder: string): Promise<readonly string[]> {
  const entries = await entriesOf(folder);
  const names: string[] = [];
  for (const entry of entries) if (await isFolder(folder, entry)) names.push(entry.name);
  if (names.length > 0) return names.sort(byCodePoint);
  throw new DataError({
    op,
    expected: `one sub-folder per class in ${folder}`,
    actual: entries.length === 0 ? "an empty folder" : `${entries.length} files and no folder`,
    hint: "put the images of each class in a folder named like the class",
  });
}

/** All image files below a class's folder: by their folder's path, then by name. */
async function imagesUnder(root: string, endings: readonly string[]): Promise<readonly string[]> {
  const { path } = node(op);
  const found: string[] = [];
  const folders = [root];
  for (let i = 0; i < folders.length; i++) {
    for (const entry of await entriesOf(folders[i])) {
      const name = entry.name.toLowerCase();
      if (await isFolder(folders[i], entry)) folders.push(path.join(folders[i], entry.name));
      else if (endings.some((ending) => name.endsWith(ending))) {
        found.push(path.join(folders[i], entry.name));
      }
    }
  }
  if (found.length === 0) throw noImages(root, endings);
  const folderOf = new Map(found.map((file) => [file, path.dirname(file)]));
  return found.sort(
    (a, b) => byCodePoint(folderOf.get(a) ?? "", folderOf.get(b) ?? "") || byCodePoint(a, b),
  );
}

function noImages(folder: string, endings: readonly string[]): DataError {
  return new DataError({
    op,
    expected: `images in ${folder}, a sub-folder and so a class`,
    actual: `no file ending in ${endings.join(", ")}`,
    hint: "put images there or take the folder away",
  });
}

async function entriesOf(folder: string): Promise<readonly Dirent[]> {
  try {
    return await node(op).fs.readdir(folder, { withFileTypes: true });
  } catch (cause) {
    throw new DataError({
      op,
      expected: `a folder of folders of images at ${folder}`,
      actual: describe(cause),
      cause,
    });
  }
}

/** Links to folders count as folders; one that leads nowhere does not. */
async function isFolder(folder: string, entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  const { fs, path } = node(op);
  const target = await fs.stat(path.join(folder, entry.name)).catch(() => null);
  return target?.isDirectory() ?? false;
}

/** The order of Python's `sorted`, the same in every locale; strings of UTF-16 units compare otherwise beyond U+FFFF. */
function byCodePoint(a: string, b: string): number {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = (left[i].codePointAt(0) ?? 0) - (right[i].codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

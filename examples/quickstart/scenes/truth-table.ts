import { nn, noGrad, type Tensor } from "evenkeel";
import {
  type DigitLoader,
  type Digits,
  firstBatch,
  firstOf,
  sortedByClass,
  type TestDigits,
  testLoader,
} from "../digits.ts";
import { type DigitNet, netWithBatchNorm } from "../model.ts";
import type { Sizes } from "../settings.ts";
import { type Cell, heading, LiveBar, say, table } from "../terminal.ts";
import { accuracy } from "../training.ts";

type Tracking = "on" | "turned off later" | "built without";

/** One combination, and what was seen. */
export interface TruthRow {
  readonly training: boolean;
  readonly tracking: Tracking;
  readonly normalizedWith: string;
  readonly buffers: string;
  /** Test accuracy at batch 256, 2 and 1, and at batch 256 with images sorted by class; null where the layer refuses. */
  readonly accuracies: readonly (number | null)[];
  readonly upTo15: string;
}

/** What PyTorch up to 1.5 did: cited, not measured. */
const upTo15: Readonly<Record<Tracking, { readonly training: string; readonly eval: string }>> = {
  on: { training: "batch, changed", eval: "running, kept" },
  "turned off later": { training: "batch, changed", eval: "batch, changed" },
  "built without": { training: "batch, none", eval: "batch, none" },
};

export const accuracyTitles = ["batch 256", "batch 2", "batch 1", "sorted, 256"] as const;

/** Scene 2: what `training` and `trackRunningStats` really do, on copies of the trained network. */
export async function showTruthTable(
  trained: DigitNet,
  test: TestDigits,
  sizes: Sizes,
): Promise<TruthRow[]> {
  heading("2. What training mode and trackRunningStats really do");
  const images = firstOf(test, sizes.tableImages);
  const loaders = [
    testLoader(images),
    testLoader(images, 2),
    testLoader(firstOf(test, sizes.singleImages), 1),
    testLoader(sortedByClass(test, sizes.tableImages)),
  ];
  const combinations = [true, false].flatMap((training) =>
    (["on", "turned off later", "built without"] as const).map((tracking) => ({
      training,
      tracking,
    })),
  );
  const bar = new LiveBar("six combinations", combinations.length * loaders.length);
  const rows: TruthRow[] = [];
  try {
    for (const combination of combinations) {
      const accuracies: (number | null)[] = [];
      for (const loader of loaders) {
        // A new copy each time: in three of the six, testing changes the network.
        accuracies.push(await accuracyOrNull(prepare(trained, combination), loader));
        bar.update(rows.length * loaders.length + accuracies.length, "");
      }
      const seen = await observe(prepare(trained, combination), images);
      const cited = upTo15[combination.tracking][combination.training ? "training" : "eval"];
      rows.push({ ...combination, ...seen, accuracies, upTo15: cited });
    }
  } finally {
    bar.stop();
  }
  print(rows, sizes);
  return rows;
}

function prepare(
  trained: DigitNet,
  combination: { readonly training: boolean; readonly tracking: Tracking },
): DigitNet {
  const { training, tracking } = combination;
  const net = netWithBatchNorm({ trackRunningStats: tracking !== "built without" });
  // Not strict: a network built without tracking has no place for the running statistics.
  net.loadStateDict(trained.stateDict(), { strict: false });
  if (tracking === "turned off later") {
    for (const layer of net.batchNorms()) layer.trackRunningStats = false;
  }
  return net.train(training);
}

async function accuracyOrNull(net: DigitNet, loader: DigitLoader): Promise<number | null> {
  try {
    return await accuracy(net, loader);
  } catch (error) {
    if (error instanceof Error && error.name === "ShapeError") return null;
    throw error;
  }
}

/** Passes one batch through the first block, and finds out what its batch norm did. */
async function observe(net: DigitNet, images: Digits) {
  const [block] = net.blocks;
  const [layer] = net.batchNorms();
  const [x] = await firstBatch(testLoader(images));
  const before = await buffersOf(layer);
  const { weight, bias, eps, runningMean, runningVar } = layer;
  const maps = noGrad(() => block.conv(x));
  const byBatch = noGrad(() =>
    nn.functional.batchNorm(maps, null, null, { weight, bias, eps, training: true }),
  );
  const byRunning =
    runningMean &&
    noGrad(() => nn.functional.batchNorm(maps, runningMean, runningVar, { weight, bias, eps }));
  const y = noGrad(() => layer(maps));
  const after = await buffersOf(layer);

  const isBatch = await sameValues(y, byBatch);
  const isRunning = byRunning !== null && (await sameValues(y, byRunning));
  const normalizedWith = isBatch ? "batch" : isRunning ? "running" : "neither";
  const buffers = before === "" ? "none" : before === after ? "kept" : "changed";
  return { normalizedWith, buffers };
}

/** All buffers of a layer as text, to the last bit. */
async function buffersOf(layer: nn.BatchNorm2d): Promise<string> {
  const texts = layer
    .buffers()
    .map(async (buffer) => (typeof buffer === "number" ? buffer : (await buffer.data()).join()));
  return (await Promise.all(texts)).join(";");
}

async function sameValues(a: Tensor, b: Tensor): Promise<boolean> {
  const [first, second] = [await a.data(), await b.data()];
  return first.every((value, i) => Math.abs(value - second[i]) <= 1e-5 + 1e-5 * Math.abs(value));
}

/** Short enough for a line of 80 characters. */
const shortNames: Readonly<Record<Tracking, string>> = {
  on: "on",
  "turned off later": "off later",
  "built without": "built off",
};

function print(rows: readonly TruthRow[], sizes: Sizes): void {
  const header = ["mode", "tracking", "uses", "buffers", "256", "2", "1", "sorted"];
  table(
    [...header, "PyTorch < 1.6"],
    rows.map(({ training, tracking, normalizedWith, buffers, accuracies, upTo15: old }) => [
      training ? "train" : "eval",
      shortNames[tracking],
      normalizedWith,
      buffers === "changed" ? { text: buffers, style: "yellow" } : buffers,
      ...accuracies.map(accuracyCell),
      old === `${normalizedWith}, ${buffers}` ? old : { text: old, style: "yellow" },
    ]),
  );
  say(`  Accuracy in % on ${sizes.tableImages} test images at batch 256, 2 and 1 (there on`);
  say(
    `  ${sizes.singleImages}), and at 256 with images sorted by class. Tracking off later: the flag of`,
  );
  say("  the finished layer; built off: trackRunningStats: false from the start.");
  say("  The last column is cited, not run. Batch statistics need a large and mixed");
  say("  batch: see batch 1, and sorted.");
}

function accuracyCell(share: number | null): Cell {
  if (share === null) return { text: "error", style: "red" };
  const style = share > 0.97 ? "green" : share > 0.9 ? "yellow" : "red";
  return { text: (100 * share).toFixed(1), style };
}

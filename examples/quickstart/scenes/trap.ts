import { nn, noGrad } from "evenkeel";
import { type DigitLoader, type Digits, firstOf, testLoader, trainingLoader } from "../digits.ts";
import { safePoint } from "../interrupt.ts";
import { copyOf, type DigitNet } from "../model.ts";
import { batchSize, type Settings } from "../settings.ts";
import { heading, LiveBar, percent, say, table } from "../terminal.ts";
import { accuracy } from "../training.ts";

/** How far the statistics of one layer moved, and where they were. */
export interface Drift {
  readonly layer: string;
  /** Largest change of a channel's running mean. */
  readonly mean: number;
  /** Standard deviation of that channel before: the unit in which the change is large or small. */
  readonly deviation: number;
  /** Geometric mean over the channels of variance after / variance before. */
  readonly varianceRatio: number;
}

export interface TrapOutcome {
  readonly passes: number;
  readonly drifts: readonly Drift[];
  readonly before: number;
  readonly after: number;
  readonly repaired: number;
}

export interface TrapInput {
  readonly settings: Settings;
  readonly trained: DigitNet;
  readonly train: Digits;
  readonly test: Digits;
}

/** Scene 3: a network that only looks, in training mode and at images of the wrong scale, and what that does to it. */
export async function showTrap({
  settings,
  trained,
  train,
  test,
}: TrapInput): Promise<TrapOutcome> {
  const { sizes, seed } = settings;
  heading("3. The trap: forward passes that destroy a network");
  const net = copyOf(trained);
  const testing = testLoader(firstOf(test, sizes.testImages));
  const before = await accuracy(net.eval(), testing);

  const statistics = await statisticsOf(net);
  await forwardOnly(net.train(), trainingLoader(train, seed), sizes.trapPasses);
  const drifts = compareStatistics(statistics, await statisticsOf(net));
  const after = await accuracy(net.eval(), testing);

  const correct = firstOf(train, sizes.repairBatches * batchSize);
  await nn.updateBatchNorm(net, interruptible(trainingLoader(correct, seed)));
  const repaired = await accuracy(net.eval(), testing);

  const outcome = { passes: sizes.trapPasses, drifts, before, after, repaired };
  print(outcome, sizes.repairBatches);
  return outcome;
}

/** No gradient, no optimizer, no step: the forward pass alone moves the running statistics. */
async function forwardOnly(net: DigitNet, loader: DigitLoader, passes: number) {
  const bar = new LiveBar("images as 0-255", passes);
  let done = 0;
  try {
    while (done < passes) {
      for await (const [x] of loader) {
        noGrad(() => net(x.mul(255)));
        bar.update(++done, "");
        await safePoint();
        if (done === passes) break;
      }
    }
  } finally {
    bar.stop();
  }
}

/** The same batches, with a chance for Ctrl-C after each. */
async function* interruptible(loader: DigitLoader) {
  for await (const batch of loader) {
    yield batch;
    await safePoint();
  }
}

interface Statistics {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

async function statisticsOf(net: DigitNet): Promise<Statistics[]> {
  return Promise.all(
    net.batchNorms().map(async ({ runningMean, runningVar }) => ({
      mean: Float32Array.from((await runningMean?.data()) ?? []),
      variance: Float32Array.from((await runningVar?.data()) ?? []),
    })),
  );
}

function compareStatistics(before: readonly Statistics[], after: readonly Statistics[]): Drift[] {
  return before.map(({ mean, variance }, i) => {
    const moved = mean.map((value, channel) => Math.abs(after[i].mean[channel] - value));
    const widest = moved.indexOf(Math.max(...moved));
    const logs = variance.map((value, channel) => Math.log(after[i].variance[channel] / value));
    return {
      layer: `blocks.${i}.norm`,
      mean: moved[widest],
      deviation: Math.sqrt(variance[widest]),
      varianceRatio: Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length),
    };
  });
}

function print(outcome: TrapOutcome, repairBatches: number): void {
  const { passes, drifts, before, after, repaired } = outcome;
  say(`  ${passes} passes in training mode under noGrad, without an optimizer,`);
  say("  of images fed as 0-255 instead of 0-1:");
  table(
    ["layer", "running mean moved by", "in deviations", "running variance times"],
    drifts.map(({ layer, mean, deviation, varianceRatio }) => [
      layer,
      mean.toPrecision(3),
      (mean / deviation).toPrecision(3),
      varianceRatio.toPrecision(3),
    ]),
  );
  say();
  table(
    ["accuracy on correct images", ""],
    [
      ["before", { text: percent(before), style: "green" }],
      ["after the passes", { text: percent(after), style: after < 0.5 ? "red" : "yellow" }],
      [
        `after nn.updateBatchNorm, ${repairBatches} correct batches`,
        { text: percent(repaired), style: repaired > 0.9 ? "green" : "yellow" },
      ],
    ],
  );
}

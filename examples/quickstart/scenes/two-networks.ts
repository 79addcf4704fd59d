import { type DigitLoader, type Digits, firstOf, testLoader, trainingLoader } from "../digits.ts";
import { Estimate } from "../estimate.ts";
import { buildPair, type DigitNet } from "../model.ts";
import { TrainingRecord } from "../recorder.ts";
import { batchSize, highLearningRate, learningRate, type Settings } from "../settings.ts";
import { clock, heading, LiveBar, paint, percent, say, seconds, table } from "../terminal.ts";
import { accuracy, Learner, train } from "../training.ts";

/** How one network did. */
export interface Result {
  readonly label: string;
  readonly lr: number;
  readonly epochs: number;
  readonly images: number;
  readonly losses: readonly number[];
  readonly ms: number;
  readonly accuracy: number;
}

export interface TrainedPair {
  readonly results: readonly Result[];
  readonly withBN: DigitNet;
  readonly without: DigitNet;
  readonly record: TrainingRecord;
}

export interface SceneInput {
  readonly settings: Settings;
  readonly train: Digits;
  readonly test: Digits;
  /** Hands out the network that Ctrl-C should save, as soon as there is one. */
  readonly onNetwork: (net: DigitNet) => void;
}

/** Scene 1: both networks at a usual learning rate, then new ones at a high one. */
export async function trainTwoNetworks(input: SceneInput): Promise<TrainedPair> {
  const { settings, test } = input;
  const { sizes, seed } = settings;
  heading("1. Two networks, the same but for batch norm");
  const { withBN, without } = await buildPair(seed);
  input.onNetwork(withBN);
  say("  Their weights are identical bit for bit (checked). While they learn you see");
  say("  with batch norm | without.");

  const record = await TrainingRecord.of({ withBN, without }, test);
  const estimate = new Estimate(settings, withBN);
  const usual = { lr: learningRate, epochs: sizes.epochs, images: sizes.trainImages };
  const onStep = async (done: number, steps: number) => {
    await record.after(done, steps);
    return estimate.after(done);
  };
  const results = await compare(input, { ...usual, withBN, without, onStep });

  const fast = { lr: highLearningRate, epochs: 1, images: sizes.fastImages };
  results.push(...(await compare(input, { ...fast, ...(await buildPair(seed)) })));
  printResults(results);
  return { results, withBN, without, record };
}

interface Comparison {
  readonly withBN: DigitNet;
  readonly without: DigitNet;
  readonly lr: number;
  readonly epochs: number;
  readonly images: number;
  /** Called after every step; a line that it returns is printed. */
  readonly onStep?: (done: number, steps: number) => Promise<string | null>;
}

async function compare(input: SceneInput, comparison: Comparison): Promise<Result[]> {
  const { lr, epochs, images } = comparison;
  const learners = [
    new Learner("with batch norm", comparison.withBN, lr),
    new Learner("without", comparison.without, lr),
  ];
  const loader = trainingLoader(firstOf(input.train, images), input.settings.seed);
  await trainLive(learners, loader, comparison);
  const testing = testLoader(firstOf(input.test, input.settings.sizes.testImages));
  const results: Result[] = [];
  for (const { label, net, losses, ms } of learners) {
    const share = await accuracy(net.eval(), testing);
    results.push({ label, lr, epochs, images, losses, ms, accuracy: share });
  }
  return results;
}

async function trainLive(
  learners: readonly Learner[],
  loader: DigitLoader,
  { lr, epochs, onStep }: Comparison,
): Promise<void> {
  const steps = epochs * loader.length;
  const bar = new LiveBar(`lr ${lr}`, steps);
  const startedAt = performance.now();
  try {
    await train(learners, loader, {
      epochs,
      onStep: async (done) => {
        const line = await onStep?.(done, steps);
        bar.update(done, liveText(learners, { done, steps, ms: performance.now() - startedAt }));
        if (line) bar.announce(line);
      },
    });
  } finally {
    bar.stop();
  }
}

function liveText(
  learners: readonly Learner[],
  progress: { readonly done: number; readonly steps: number; readonly ms: number },
): string {
  const { done, steps, ms } = progress;
  const pair = (numberOf: (learner: Learner) => string) => learners.map(numberOf).join("|");
  const losses = pair(({ losses }) => losses[losses.length - 1].toFixed(3));
  const shares = pair(({ recentAccuracy }) => (100 * recentAccuracy).toFixed(1));
  const rate = Math.round((done * batchSize * 1000) / ms);
  const left = clock(((steps - done) * ms) / done);
  return `loss ${losses} accuracy ${shares}% ${rate} images/s ${left} left`;
}

function printResults(results: readonly Result[]): void {
  say();
  table(
    ["network", "learning rate", "images", "test accuracy", "time of its steps"],
    results.map(({ label, lr, epochs, images, accuracy: share, ms }) => [
      label,
      String(lr),
      `${epochs} x ${images}`,
      { text: percent(share), style: share > 0.9 ? "green" : "red" },
      seconds(ms),
    ]),
  );
  say(paint("dim", "  Both learned from the same batches in turns; the time is that of each"));
  say(paint("dim", "  network's own steps."));
}

import { type data, nn, noGrad, optim, type Tensor } from "evenkeel";
import { safePoint } from "./interrupt.ts";
import type { DigitNet } from "./model.ts";
import { momentum } from "./settings.ts";

/** Batches that the accuracy on the bar averages over. */
const recentBatches = 50;

/** One network with its optimizer and its record. */
export class Learner {
  readonly label: string;
  readonly net: DigitNet;
  /** Loss of every step. */
  readonly losses: number[] = [];
  /** Time in this network's own steps. */
  ms = 0;
  readonly #optimizer: optim.SGD;
  readonly #criterion = new nn.CrossEntropyLoss();
  readonly #recent: number[] = [];

  constructor(label: string, net: DigitNet, lr: number) {
    this.label = label;
    this.net = net;
    this.#optimizer = new optim.SGD(net.parameters(), { lr, momentum });
  }

  async step(x: Tensor, label: Tensor): Promise<void> {
    const startedAt = performance.now();
    const prediction = this.net(x);
    const loss = this.#criterion(prediction, label);
    this.#optimizer.zeroGrad();
    loss.backward();
    this.#optimizer.step();
    this.losses.push(await loss.item());
    this.ms += performance.now() - startedAt;

    this.#recent.push((await countRight(prediction, label)) / label.shape[0]);
    if (this.#recent.length > recentBatches) this.#recent.shift();
  }

  /** Share of the last batches' training images that were recognised before learning from them. */
  get recentAccuracy(): number {
    return this.#recent.reduce((sum, share) => sum + share, 0) / this.#recent.length;
  }
}

export interface TrainOptions {
  readonly epochs: number;
  /** Called after every step with the number of steps done and the batch. */
  readonly onStep: (done: number, x: Tensor) => Promise<void> | void;
}

/**
 * Trains all learners on the same batches, taking turns step by step: whatever else the machine does meanwhile
 * slows all of them alike.
 */
export async function train(
  learners: readonly Learner[],
  loader: data.DataLoader<data.MnistItem>,
  { epochs, onStep }: TrainOptions,
): Promise<void> {
  let done = 0;
  for (const learner of learners) learner.net.train();
  for (let epoch = 0; epoch < epochs; epoch++) {
    for await (const [x, label] of loader) {
      for (const learner of learners) await learner.step(x, label);
      await onStep(++done, x);
      await safePoint();
    }
  }
}

/** Share of the images that are recognised, in whatever mode the network is. */
export async function accuracy(
  net: DigitNet,
  loader: data.DataLoader<data.MnistItem>,
): Promise<number> {
  let right = 0;
  for await (const [x, label] of loader) {
    right += await countRight(
      noGrad(() => net(x)),
      label,
    );
    await safePoint();
  }
  return right / loader.dataset.length;
}

async function countRight(logits: Tensor, label: Tensor): Promise<number> {
  const guesses = await noGrad(() => logits.argmax(1)).data();
  const labels = await label.data();
  let right = 0;
  for (let i = 0; i < labels.length; i++) if (guesses[i] === labels[i]) right++;
  return right;
}

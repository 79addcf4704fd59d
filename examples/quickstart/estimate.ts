import { noGrad, zeros } from "evenkeel";
import { copyOf, type DigitNet } from "./model.ts";
import { batchSize, type Settings } from "./settings.ts";
import { clock } from "./terminal.ts";

/** Rows of scene 2. */
const rows = 6;

/** The estimate is made after this many steps, from all but the first of them: these compile and start threads. */
const stepsBefore = 20;
const stepsIgnored = 5;

/** Says after 20 steps how long the whole run will take. */
export class Estimate {
  readonly #settings: Settings;
  readonly #net: DigitNet;
  #measuredFrom = 0;

  constructor(settings: Settings, net: DigitNet) {
    this.#settings = settings;
    this.#net = net;
  }

  /** To be called after every step of both networks; a line to print, once. */
  after(done: number): string | null {
    if (done === stepsIgnored) this.#measuredFrom = performance.now();
    if (done !== stepsBefore) return null;
    const stepMs = (performance.now() - this.#measuredFrom) / (stepsBefore - stepsIgnored);
    return `  After ${done} steps: about ${clock(this.#restMs(stepMs))} to go for everything below.`;
  }

  #restMs(stepMs: number): number {
    const { sizes } = this.#settings;
    const stepsOf = (images: number) => Math.floor(images / batchSize);
    const steps = sizes.epochs * stepsOf(sizes.trainImages) - stepsBefore;
    const forward =
      7 * sizes.testImages + // four accuracies in scene 1, three in scene 3
      2 * rows * sizes.tableImages +
      (sizes.trapPasses + sizes.repairBatches) * batchSize;
    const tiny = rows * (sizes.tableImages / 2 + sizes.singleImages);
    const net = copyOf(this.#net).eval();
    return (
      (steps + stepsOf(sizes.fastImages)) * stepMs +
      (forward / 256) * forwardMs(net, 256) +
      tiny * forwardMs(net, 2)
    );
  }
}

function forwardMs(net: DigitNet, images: number): number {
  const x = zeros([images, 1, 28, 28]);
  const runs = 5;
  noGrad(() => net(x));
  const startedAt = performance.now();
  for (let i = 0; i < runs; i++) noGrad(() => net(x));
  return (performance.now() - startedAt) / runs;
}

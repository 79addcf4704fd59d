import { noGrad, zeros } from "evenkeel";
import { copyOf, type DigitNet } from "./model.ts";
import { batchSize, type Settings } from "./settings.ts";
import { clock } from "./terminal.ts";

/** Rows of scene 2. */
const rows = 6;

/** The estimate is made after this many steps. */
const stepsBefore = 20;

/** Says after 20 steps how long the whole run will take. */
export class Estimate {
  readonly #settings: Settings;
  readonly #net: DigitNet;
  readonly #stepMs: number[] = [];
  #lastAt = performance.now();

  constructor(settings: Settings, net: DigitNet) {
    this.#settings = settings;
    this.#net = net;
  }

  /** To be called after every step of both networks; a line to print, once. */
  after(done: number): string | null {
    const now = performance.now();
    this.#stepMs.push(now - this.#lastAt);
    this.#lastAt = now;
    if (done !== stepsBefore) return null;
    // The median: the first steps compile kernels and start threads.
    const stepMs = this.#stepMs.toSorted((a, b) => a - b)[stepsBefore / 2];
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

/** The shortest of some runs: code that has just started runs slowly at first. */
function forwardMs(net: DigitNet, images: number): number {
  const x = zeros([images, 1, 28, 28]);
  const runs = Array.from({ length: 20 }, () => {
    const startedAt = performance.now();
    noGrad(() => net(x));
    return performance.now() - startedAt;
  });
  return Math.min(...runs);
}

import { type nn, noGrad, type Tensor } from "evenkeel";
import { type Digits, firstBatch, firstOf, testLoader } from "./digits.ts";
import { copyOf, type DigitNet } from "./model.ts";

/** Statistics of one batch norm layer after every step: one array of all channels per step. */
export interface LayerHistory {
  readonly runningMean: Float32Array[];
  readonly runningVar: Float32Array[];
  readonly batchMean: Float32Array[];
  readonly batchVar: Float32Array[];
}

/** What one neuron got over the probe images: its 15th, 50th and 85th percentile, and after which step. */
export interface Spread {
  readonly step: number;
  readonly percentiles: readonly number[];
}

/** The percentiles of the paper's figure 1. */
const ranks = [0.15, 0.5, 0.85];

/** The neuron that is watched: channel 0 of the last block, in the middle of its 3 x 3 map. */
const place = { channel: 0, row: 1, column: 1 };

/** Images that the neuron is watched on, and how often in a run. */
const probeImages = 256;
const looks = 100;

/** What the report shows of the training of the two networks. */
export class TrainingRecord {
  readonly statistics: StatisticsRecorder;
  readonly withBN: PreActivationProbe;
  readonly without: PreActivationProbe;

  private constructor(nets: NetPair, images: Tensor) {
    this.statistics = new StatisticsRecorder(nets.withBN);
    this.withBN = new PreActivationProbe(nets.withBN, images);
    this.without = new PreActivationProbe(nets.without, images);
  }

  /** A record that has seen the networks as they are before the first step. */
  static async of(nets: NetPair, test: Digits): Promise<TrainingRecord> {
    const [images] = await firstBatch(testLoader(firstOf(test, probeImages), probeImages));
    const record = new TrainingRecord(nets, images);
    await record.#look(0);
    return record;
  }

  /** To be called after every step. */
  async after(step: number, steps: number): Promise<void> {
    await this.statistics.record();
    if (step % Math.ceil(steps / looks) === 0) await this.#look(step);
  }

  async #look(step: number): Promise<void> {
    await this.withBN.look(step);
    await this.without.look(step);
  }
}

interface NetPair {
  readonly withBN: DigitNet;
  readonly without: DigitNet;
}

/** Follows the statistics of every batch norm layer of a network while it trains. */
export class StatisticsRecorder {
  readonly layers: readonly LayerHistory[];
  readonly #batchNorms: readonly nn.BatchNorm2d[];

  constructor(net: DigitNet) {
    this.#batchNorms = net.batchNorms();
    this.layers = this.#batchNorms.map(() => ({
      runningMean: [],
      runningVar: [],
      batchMean: [],
      batchVar: [],
    }));
  }

  /** To be called after every step. */
  async record(): Promise<void> {
    for (const [i, layer] of this.#batchNorms.entries()) {
      const { runningMean, runningVar, batchMean, batchVar } = this.layers[i];
      const mean = await valuesOf(layer.runningMean);
      const variance = await valuesOf(layer.runningVar);
      const start = { mean: mean.map(() => 0), variance: variance.map(() => 1) };
      batchMean.push(observed(runningMean.at(-1) ?? start.mean, mean, layer.momentum));
      batchVar.push(observed(runningVar.at(-1) ?? start.variance, variance, layer.momentum));
      runningMean.push(mean);
      runningVar.push(variance);
    }
  }
}

/** The layer keeps only the running value; new = (1 - momentum) * old + momentum * observed tells what the batch's was. */
function observed(
  before: Float32Array,
  after: Float32Array,
  momentum: number | null,
): Float32Array {
  const share = momentum ?? 1;
  return after.map((value, i) => (value - (1 - share) * before[i]) / share);
}

async function valuesOf(buffer: Tensor | null): Promise<Float32Array> {
  return Float32Array.from(buffer === null ? [] : await buffer.data());
}

/** Watches what one neuron's activation gets for the same images again and again during training. */
export class PreActivationProbe {
  readonly spreads: Spread[] = [];
  readonly #net: DigitNet;
  /** Looking must not change the running statistics of the network in training. */
  readonly #copy: DigitNet;
  readonly #images: Tensor;

  constructor(net: DigitNet, images: Tensor) {
    this.#net = net;
    this.#copy = copyOf(net).train();
    this.#images = images;
  }

  async look(step: number): Promise<void> {
    this.#copy.loadStateDict(this.#net.stateDict());
    const values = noGrad(() => this.#preActivation());
    const [, channels, rows, columns] = values.shape;
    const size = channels * rows * columns;
    const offset = (place.channel * rows + place.row) * columns + place.column;
    const neuron = (await values.data()).filter((_, i) => i % size === offset).sort();
    const percentiles = ranks.map((rank) => neuron[Math.round(rank * (neuron.length - 1))]);
    this.spreads.push({ step, percentiles });
  }

  #preActivation(): Tensor {
    const [first, second, third] = this.#copy.blocks;
    return third.preActivation(second(first(this.#images)));
  }
}

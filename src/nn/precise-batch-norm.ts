import { ArgumentError } from "../core/errors.ts";
import { batchMoments, type Moments } from "../ops/batch-moments.ts";
import type { AnyBatchNorm } from "./batch-norm.ts";
import { overwrite } from "./overwrite.ts";
import {
  type Batches,
  type BatchModel,
  type Estimator,
  recalibrate,
  type UpdateBatchNormOptions,
} from "./recalibrate.ts";
import type { Recalibration } from "./recalibration.ts";

/** How a pass that measures the population runs. */
export interface PreciseBatchNormOptions extends UpdateBatchNormOptions {
  /** Batches to use at most; a loader with fewer is used up, and the report says how many there were. Default: all. */
  readonly batches?: number;
}

/**
 * Sets all running statistics to those of the population: mean and unbiased variance of everything that a layer is given in the batches of
 * `loader` together, as one batch of all of it would have. Every value weighs the same, whatever the size of its batch, and the variance
 * between batches counts. Returns how far each layer moved.
 *
 * mean = sum(n mean_b) / N, variance = (sum(n variance_b) + sum(n (mean_b - mean)^2)) / (N - 1), merged batch by batch
 *
 * The model runs in training mode without gradients, so that layers behind are given what training gives them. A layer called several times
 * in one forward counts every call. The unbiased variance is stored because that is what `runningVar` holds everywhere else: the result is
 * what one forward over all data with momentum 1 would leave. Counters are set to the number of batches.
 * Modes, momenta, frozen layers, `dropout`, `preview`, unreached layers and errors are as in `updateBatchNorm`. Calls with NaN or infinity go
 * in, are left out, or throw, by the layer's `onNonFinite`.
 *
 * Numerics: counts, means and sums of squared deviations merge in float64 on the host (Chan, Golub and LeVeque 1979), never E[x^2] - E[x]^2.
 * Cost: each layer's input is read once more than in a forward.
 * Throws: ArgumentError if `batches` is no integer >= 1; otherwise as `updateBatchNorm`.
 * Unlike PyTorch: it has no such function. fvcore's update_bn_stats stores the biased variance, skips layers in evaluation mode, refuses layers
 * called twice and loaders with too few batches.
 * Source: Wu and Johnson 2021, arXiv:2105.07576.
 *
 * @example
 * await nn.preciseBatchNorm(model, loader, { batches: 200 });
 */
export async function preciseBatchNorm(
  model: BatchModel,
  loader: Batches,
  options: PreciseBatchNormOptions = {},
): Promise<Recalibration> {
  const { batches = Number.POSITIVE_INFINITY } = options;
  if (!(batches >= 1) || (Number.isFinite(batches) && !Number.isInteger(batches))) {
    throw new ArgumentError({
      op: "preciseBatchNorm",
      expected: "batches to be an integer >= 1",
      actual: String(batches),
    });
  }
  return recalibrate(populationOf(batches), model, loader, options);
}

/** Statistics of all that a layer was given so far. */
interface Population {
  batches: number;
  count: number;
  readonly mean: Float64Array;
  /** Sum of squared deviations from the mean. */
  readonly squares: Float64Array;
}

function populationOf(most: number): Estimator {
  const populations = new Map<AnyBatchNorm, Population>();
  let waiting: { readonly layer: AnyBatchNorm; readonly moments: Moments }[] = [];
  const op = "preciseBatchNorm";
  return {
    ...{ op, most },
    begin(layer) {
      // Training mode that normalises with the batch and writes nothing.
      layer.trackRunningStats = false;
    },
    observe(layer, x) {
      const moments = batchMoments(x);
      moments.mean.keep();
      moments.variance.keep();
      waiting.push({ layer, moments });
    },
    async gather() {
      const taken = waiting;
      waiting = [];
      for (const { layer, moments } of taken) await takeIn(populations, layer, moments);
    },
    finish(layer) {
      const { batches, count, mean, squares } = populations.get(layer) ?? nothing;
      const { runningMean, runningVar } = layer;
      layer.numBatchesTracked = batches;
      if (runningMean === null || runningVar === null || batches === 0) return;
      overwrite(op, runningMean, (c) => mean[c]);
      overwrite(op, runningVar, (c) => squares[c] / (count - 1));
    },
  };
}

const nothing: Population = {
  ...{ batches: 0, count: 0, mean: new Float64Array(0), squares: new Float64Array(0) },
};

async function takeIn(
  populations: Map<AnyBatchNorm, Population>,
  layer: AnyBatchNorm,
  { mean, variance, count }: Moments,
): Promise<void> {
  const [means, variances] = await Promise.all([mean.data(), variance.data()]);
  mean.dispose();
  variance.dispose();
  if (!mayCount(layer, means, variances)) return;
  const C = means.length;
  const empty = { ...nothing, mean: new Float64Array(C), squares: new Float64Array(C) };
  const population = populations.get(layer) ?? empty;
  populations.set(layer, population);
  merge(population, { means, variances, count });
}

function merge(
  population: Population,
  {
    means,
    variances,
    count,
  }: Readonly<Record<"means" | "variances", ArrayLike<number>>> & {
    readonly count: number;
  },
): void {
  const { mean, squares } = population;
  const total = population.count + count;
  for (let c = 0; c < mean.length; c++) {
    const distance = means[c] - mean[c];
    mean[c] += (distance * count) / total;
    squares[c] += variances[c] * count + (distance ** 2 * population.count * count) / total;
  }
  population.count = total;
  population.batches += 1;
}

/** Whether a call may go into the statistics, by the layer's own policy. */
function mayCount(
  layer: AnyBatchNorm,
  means: ArrayLike<number>,
  variances: ArrayLike<number>,
): boolean {
  if (layer.onNonFinite === "propagate") return true;
  const channel = Array.from(means, (mean, c) => mean + variances[c]).findIndex(
    (value) => !Number.isFinite(value),
  );
  if (channel < 0) return true;
  if (layer.onNonFinite === "skip") return false;
  throw new ArgumentError({
    op: "preciseBatchNorm",
    expected: 'finite batch statistics (onNonFinite is "throw")',
    actual: `NaN or infinity in channel ${channel} of a ${layer.kind}`,
    hint: "all running statistics are as they were; look at the inputs of this batch",
  });
}

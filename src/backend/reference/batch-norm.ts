import type { TypedArray } from "../../core/dtype.ts";
import type { Backend, ChannelLayout, Operand, RunningUpdate } from "../backend.ts";
import type { View } from "./memory.ts";

type BatchNormKernels = Pick<
  Backend,
  "batchNormStats" | "batchNormApply" | "batchNormTrain" | "batchNormGrad"
>;

/** Batch normalization as its formulas say it, channel by channel. Derivations: docs/batch-norm.md. */
export function batchNormKernels(view: View): BatchNormKernels {
  const viewOf = (operand: Operand | null) => operand && view(operand);
  const kernels: BatchNormKernels = {
    batchNormStats(x, mean, variance, layout, update) {
      const [xs, means, variances] = [view(x), view(mean), view(variance)];
      const n = layout.N * layout.S;
      for (let c = 0; c < layout.C; c++) {
        let sum = 0;
        for (const i of channel(layout, c)) sum += xs[i];
        means[c] = sum / n;

        let squares = 0;
        for (const i of channel(layout, c)) squares += (xs[i] - sum / n) ** 2;
        variances[c] = squares / n;
      }
      if (update) moveRunning(view, { means, variances, n }, update);
    },

    batchNormApply(x, mean, variance, weight, bias, y, options) {
      const [xs, means, variances, ys] = [view(x), view(mean), view(variance), view(y)];
      const [weights, biases, residuals] = [weight, bias, options.residual].map(viewOf);
      for (let c = 0; c < options.C; c++) {
        const invStd = 1 / Math.sqrt(variances[c] + options.eps);
        const w = weights ? weights[c] : 1;
        const b = biases ? biases[c] : 0;
        for (const i of channel(options, c)) {
          const sum = (xs[i] - means[c]) * invStd * w + b + (residuals ? residuals[i] : 0);
          ys[i] = options.relu ? Math.max(sum, 0) : sum;
        }
      }
    },

    batchNormTrain(x, mean, variance, weight, bias, y, update, options) {
      kernels.batchNormStats(x, mean, variance, options, update);
      kernels.batchNormApply(x, mean, variance, weight, bias, y, options);
    },

    batchNormGrad(dy, x, mean, variance, weight, bias, reluOutput, outputs, options) {
      const [dys, xs, means, variances] = [view(dy), view(x), view(mean), view(variance)];
      const [weights, biases, ys] = [weight, bias, reluOutput].map(viewOf);
      const [dxs, dResiduals] = [outputs.dx, outputs.dResidual].map(viewOf);
      const [dWeights, dBiases] = [outputs.dWeight, outputs.dBias].map(viewOf);
      const n = options.N * options.S;
      for (let c = 0; c < options.C; c++) {
        const invStd = 1 / Math.sqrt(variances[c] + options.eps);
        const w = weights ? weights[c] : 1;
        const b = biases ? biases[c] : 0;
        const y = (i: number) => ys?.[i] ?? like(xs, (xs[i] - means[c]) * invStd * w + b);
        const g = (i: number) => (!options.relu || y(i) > 0 ? dys[i] : 0);
        let sumG = 0;
        let sumGCentred = 0;
        for (const i of channel(options, c)) {
          sumG += g(i);
          sumGCentred += g(i) * (xs[i] - means[c]);
        }
        for (const i of channel(options, c)) {
          // What moving x[i] does through the batch's own mean and variance, which every element of the channel feels.
          const shared = sumG / n + ((xs[i] - means[c]) * invStd ** 2 * sumGCentred) / n;
          if (dxs) dxs[i] = w * invStd * (options.batchStatistics ? g(i) - shared : g(i));
          if (dResiduals) dResiduals[i] = g(i);
        }
        if (dWeights) dWeights[c] = invStd * sumGCentred;
        if (dBiases) dBiases[c] = sumG;
      }
    },
  };
  return kernels;
}

/** As an array would hold it: what is above 0 in double precision may be 0 in float32. */
function like(values: TypedArray, value: number): number {
  return values instanceof Float32Array ? Math.fround(value) : value;
}

/** Positions of the N * S elements of channel c. */
function* channel({ N, C, S }: ChannelLayout, c: number): Generator<number> {
  for (let n = 0; n < N; n++) {
    for (let s = 0; s < S; s++) yield (n * C + c) * S + s;
  }
}

type Observed = Record<"means" | "variances", ArrayLike<number>> & { readonly n: number };

/** running = (1 - f) * running + f * observed; or, where a batch with NaN or infinity is to be skipped, only the count of it. */
function moveRunning(view: View, { means, variances, n }: Observed, update: RunningUpdate): void {
  const [runningMeans, runningVars] = [view(update.runningMean), view(update.runningVar)];
  const skipped = update.skipped && view(update.skipped);
  const unbias = n / (n - 1);
  // As the buffers would hold them: a variance of 1e50 is finite here and not in float32.
  const stored = (v: number) => like(runningVars, v);
  const isBad = (mean: number, c: number) =>
    !Number.isFinite(stored(mean)) || !Number.isFinite(stored(variances[c] * unbias));
  const badChannel = Array.from(means).findIndex(isBad);
  if (skipped && badChannel >= 0) {
    if (skipped[0] === 0) skipped.set([badChannel, update.batches], 1);
    skipped[0] += 1;
    return;
  }
  const f = update.momentum ?? 1 / (update.batches - (skipped ? skipped[0] : 0));
  for (let c = 0; c < means.length; c++) {
    runningMeans[c] = (1 - f) * runningMeans[c] + f * means[c];
    runningVars[c] = (1 - f) * runningVars[c] + f * variances[c] * unbias;
  }
}

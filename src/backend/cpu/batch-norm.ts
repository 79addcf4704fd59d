import type {
  Backend,
  BatchNormApplyOptions,
  BatchNormGradOptions,
  BatchNormGradOutputs,
  ChannelLayout,
  Operand,
  RunningUpdate,
} from "../backend.ts";
import { type ChannelCut, cutGradSums, cutPass, cutSums } from "./batch-norm-cut.ts";
import { floatBits, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

/** What a unit leaves of each channel. */
const entryBytes = 48;
/** Float32 vectors (C) of coefficients: three of the forward, two more of the backward. */
const coefficients = 5;

type BatchNormKernels = Pick<
  Backend,
  "batchNormStats" | "batchNormApply" | "batchNormTrain" | "batchNormGrad"
>;

/**
 * Batch normalization: forward and backward each read a tensor once for sums over its channels and once for the result, the second time
 * from the cache where the channels of a block fit into it.
 */
export function batchNormKernels(machine: Machine): BatchNormKernels {
  return {
    batchNormStats(x, mean, variance, layout, update) {
      const operands = { x, mean, variance, weight: null, bias: null };
      statistics(machine, { layout, operands, words: [] });
      if (update !== null) moveRunning(machine, { mean, variance, layout }, update);
    },

    batchNormApply(x, mean, variance, weight, bias, y, options) {
      const operands = { x, mean, variance, weight, bias };
      apply(machine, { layout: options, operands, words: applyWords(y, options) }, options.eps);
    },

    batchNormTrain(x, mean, variance, weight, bias, y, update, options) {
      const operands = { x, mean, variance, weight, bias };
      const work = { layout: options, operands, words: applyWords(y, options) };
      const cut = cutSums(options);
      if (cut.parts === 1) {
        withWork(machine, work, cut, (job) => {
          machine.run("batchNormTrain", cut.chunks, [job, options.eps]);
        });
      } else {
        statistics(machine, work);
        apply(machine, work, options.eps);
      }
      if (update !== null) moveRunning(machine, { mean, variance, layout: options }, update);
    },

    batchNormGrad(dy, x, mean, variance, weight, bias, reluOutput, outputs, options) {
      const operands = { x, mean, variance, weight, bias };
      const words = gradWords({ dy, reluOutput }, outputs, options);
      gradients(machine, { layout: options, operands, words }, outputs, options);
    },
  };
}

/** What every kernel is told, and what the kernel at hand is. */
interface ChannelJob {
  readonly layout: ChannelLayout;
  readonly operands: Readonly<
    Record<"x" | "mean" | "variance", Operand> & Record<"weight" | "bias", Operand | null>
  >;
  readonly words: readonly number[];
}

function applyWords(y: Operand, { residual, relu }: BatchNormApplyOptions): number[] {
  const floor = floatBits(relu ? 0 : Number.NEGATIVE_INFINITY);
  return [addressOrZero(residual), addressOf(y), floor];
}

function statistics(machine: Machine, work: ChannelJob): void {
  const cut = cutSums(work.layout);
  withWork(machine, work, cut, (job) => {
    machine.run("batchNormMoments", cut.chunks, [job]);
    machine.run("batchNormJoin", 1, [job]);
  });
}

function apply(machine: Machine, work: ChannelJob, eps: number): void {
  const cut = cutPass(work.layout);
  withWork(machine, work, cut, (job) => {
    machine.run("batchNormCoefficients", 1, [job, eps]);
    machine.run("batchNormApply", cut.chunks, [job]);
  });
}

function gradWords(
  { dy, reluOutput }: Readonly<Record<"dy", Operand> & Record<"reluOutput", Operand | null>>,
  { dx, dResidual, dWeight, dBias }: BatchNormGradOutputs,
  { relu, batchStatistics }: BatchNormGradOptions,
): number[] {
  const repeatsRelu = relu && reluOutput === null;
  return [
    ...[dy, reluOutput, dx, dResidual, dWeight, dBias].map(addressOrZero),
    ...[Number(repeatsRelu), Number(dx !== null && batchStatistics)],
  ];
}

function gradients(
  machine: Machine,
  work: ChannelJob,
  { dx, dWeight, dBias, dResidual }: BatchNormGradOutputs,
  { eps, batchStatistics }: BatchNormGradOptions,
): void {
  const wantsSums = (dx !== null && batchStatistics) || dWeight !== null || dBias !== null;
  const wantsPass = dx !== null || dResidual !== null;
  const sums = cutGradSums(work.layout);
  if (wantsSums && sums.parts === 1) {
    withWork(machine, work, sums, (job) => {
      machine.run("batchNormGradWhole", sums.chunks, [job, eps]);
    });
    return;
  }
  const pass = cutPass(work.layout);
  withWork(machine, work, sums, (job, vectors) => {
    machine.run("batchNormCoefficients", 1, [job, eps]);
    if (wantsSums) {
      machine.run("batchNormGradSums", sums.chunks, [job]);
      machine.run("batchNormGradJoin", 1, [job, eps]);
    }
    if (!wantsPass) return;
    const words = [...cutWords(work.layout, pass), 0, vectors, ...operandWords(work)];
    withJob(machine, words, (passJob) => machine.run("batchNormGrad", pass.chunks, [passJob]));
  });
}

/** Writes the kernels' `ChannelWork`, followed by the words of the kernel at hand. */
function withWork(
  machine: Machine,
  work: ChannelJob,
  cut: ChannelCut,
  use: (job: number, vectors: number) => void,
): void {
  const { C } = work.layout;
  const entriesEnd = cut.parts * C * entryBytes;
  machine.temporary(entriesEnd + coefficients * C * 4, (entries) => {
    const vectors = entries + entriesEnd;
    const words = [...cutWords(work.layout, cut), entries, vectors, ...operandWords(work)];
    withJob(machine, words, (job) => use(job, vectors));
  });
}

function cutWords({ N, C, S }: ChannelLayout, cut: ChannelCut): number[] {
  const { images, segmentLength, segments, parts, channels, channelBlocks, perChunk } = cut;
  return [N, C, S, images, segmentLength, segments, parts, channels, channelBlocks, perChunk];
}

function operandWords({ operands, words }: ChannelJob): number[] {
  const { x, mean, variance, weight, bias } = operands;
  return [...[x, mean, variance, weight, bias].map(addressOrZero), ...words];
}

interface Statistics {
  readonly mean: Operand;
  readonly variance: Operand;
  readonly layout: ChannelLayout;
}

function moveRunning(
  machine: Machine,
  { mean, variance, layout }: Statistics,
  update: RunningUpdate,
): void {
  const { runningMean, runningVar, momentum, batches, skipped } = update;
  machine.run("batchNormUpdate", 1, [
    ...[addressOf(mean), addressOf(variance), layout.C, layout.N * layout.S],
    ...[addressOf(runningMean), addressOf(runningVar)],
    ...[momentum ?? 0, Number(momentum === null), batches, addressOrZero(skipped)],
  ]);
}

function addressOrZero(operand: Operand | null): number {
  return operand === null ? 0 : addressOf(operand);
}

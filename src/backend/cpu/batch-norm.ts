import type {
  Backend,
  BatchNormGradOptions,
  BatchNormGradOutputs,
  ChannelLayout,
  Operand,
  RunningUpdate,
} from "../backend.ts";
import { chunkElements, evenly, floatBits, groupUnits, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

/** Rows of (N, C) summed at a time: a first-level cache keeps what was read of them for the next columns. */
const mostRows = 256;
/** Units that sums are cut into where they are large: more would only be more to join. */
const enoughUnits = 64;
/** What a unit leaves of each channel, and how many elements that should at least stand for. */
const entryBytes = 32;
const entryElements = 1024;

type BatchNormKernels = Pick<Backend, "batchNormStats" | "batchNormApply" | "batchNormGrad">;

/** Batch normalization: forward and backward each read a tensor once for sums over its channels and once for the result. */
export function batchNormKernels(machine: Machine): BatchNormKernels {
  return {
    batchNormStats(x, mean, variance, layout, update) {
      withSums(machine, layout, [addressOf(x)], (sums, chunks) => {
        machine.run("batchNormMoments", chunks, [sums]);
        machine.run("batchNormJoin", 1, [sums, addressOf(mean), addressOf(variance)]);
      });
      if (update !== null) moveRunning(machine, { mean, variance, layout }, update);
    },

    batchNormApply(x, mean, variance, weight, bias, y, options) {
      const { residual, relu, eps } = options;
      const floor = floatBits(relu ? 0 : Number.NEGATIVE_INFINITY);
      const words = [addressOf(x), addressOrZero(residual), addressOf(y), floor];
      withPass(machine, options, { coefficients: 3, words }, (pass, chunks) => {
        const operands = [mean, variance, weight, bias].map(addressOrZero);
        machine.run("batchNormCoefficients", 1, [pass, ...operands, eps]);
        machine.run("batchNormApply", chunks, [pass]);
      });
    },

    batchNormGrad(dy, x, mean, variance, weight, reluOutput, outputs, options) {
      const given = { dy, x, mean, variance, weight, reluOutput };
      gradients(machine, given, outputs, options);
    },
  };
}

interface GradInputs {
  readonly dy: Operand;
  readonly x: Operand;
  readonly mean: Operand;
  readonly variance: Operand;
  readonly weight: Operand | null;
  readonly reluOutput: Operand | null;
}

function gradients(
  machine: Machine,
  inputs: GradInputs,
  outputs: BatchNormGradOutputs,
  options: BatchNormGradOptions,
): void {
  const { variance, weight } = inputs;
  const [dy, x, mean, reluOutput] = [inputs.dy, inputs.x, inputs.mean, inputs.reluOutput].map(
    addressOrZero,
  );
  const [dx, dWeight, dBias, dResidual] = [
    outputs.dx,
    outputs.dWeight,
    outputs.dBias,
    outputs.dResidual,
  ].map(addressOrZero);
  const throughStatistics = dx !== 0 && options.batchStatistics;
  const words = [dy, throughStatistics ? x : 0, reluOutput, dx, dResidual];
  withPass(machine, options, { coefficients: 4, words }, (pass, chunks) => {
    withSums(machine, options, [x, dy, reluOutput, mean], (sums, sumChunks) => {
      // Sums that are not wanted are left undefined, and so are the coefficients made from them.
      const wantsSums = throughStatistics || dWeight !== 0 || dBias !== 0;
      if (wantsSums) machine.run("batchNormGradSums", sumChunks, [sums]);
      const operands = [addressOf(variance), addressOrZero(weight), options.eps, dWeight, dBias];
      machine.run("batchNormGradJoin", 1, [sums, pass, ...operands]);
    });
    if (dx !== 0 || dResidual !== 0) machine.run("batchNormGrad", chunks, [pass]);
  });
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

/** Cuts sums over channels and writes the kernels' `ChannelSums`, followed by the addresses of what is summed. */
function withSums(
  machine: Machine,
  layout: ChannelLayout,
  operands: readonly number[],
  use: (sums: number, chunks: number) => void,
): void {
  const { N, C, S } = layout;
  const cut = S === 1 ? cutColumns(layout) : cutPlanes(layout);
  const segments = Math.ceil(S / cut.segmentLength);
  const parts = Math.ceil(N / cut.images) * segments;
  const channelBlocks = Math.ceil(C / cut.channels);
  const unitElements = cut.images * cut.segmentLength * cut.channels;
  const { chunks, perChunk } = groupUnits(parts * channelBlocks, unitElements);
  machine.temporary(parts * C * entryBytes, (entries) => {
    const words = [
      ...[N, C, S, cut.images, cut.segmentLength, segments, parts],
      ...[cut.channels, channelBlocks, perChunk, entries, ...operands],
    ];
    withJob(machine, words, (sums) => use(sums, chunks));
  });
}

/** Sizes of a unit of work; functions of shape alone, like everything that decides in which order numbers are added. */
interface SumsCut {
  readonly images: number;
  readonly segmentLength: number;
  readonly channels: number;
}

function cutColumns({ N, C }: ChannelLayout): SumsCut {
  const images = evenly(N, mostRows);
  // Whole cache lines of channels.
  const channels = Math.max(1, Math.floor(chunkElements / images / 16)) * 16;
  return { images, segmentLength: 1, channels: Math.min(channels, C) };
}

/**
 * Units are runs of memory as far as possible: planes of one channel alone, image after image, were read 2.5 times slower from
 * a tensor of 100 MB. But an entry must stand for enough elements to be worth joining.
 */
function cutPlanes({ N, C, S }: ChannelLayout): SumsCut {
  const elements = Math.max(chunkElements, Math.ceil((N * C * S) / enoughUnits));
  if (S > elements) return { images: 1, segmentLength: evenly(S, elements), channels: 1 };
  const images = Math.max(Math.ceil(entryElements / S), Math.floor(elements / (C * S)));
  const channels = Math.max(1, Math.floor(elements / (Math.min(images, N) * S)));
  return { images: evenly(N, images), segmentLength: S, channels: Math.min(channels, C) };
}

interface Pass {
  /** Vectors (C) of coefficients that the pass has. */
  readonly coefficients: number;
  /** The kernel's own words. */
  readonly words: readonly number[];
}

/** Cuts a pass over a whole tensor and writes the kernels' `ChannelPass`, followed by the words of the kernel at hand. */
function withPass(
  machine: Machine,
  { N, C, S }: ChannelLayout,
  { coefficients, words }: Pass,
  use: (pass: number, chunks: number) => void,
): void {
  const segmentLength = Math.min(S, chunkElements);
  const segments = Math.ceil(S / segmentLength);
  const units = S === 1 ? N : N * C;
  const { chunks, perChunk } = groupUnits(units, S === 1 ? C : S);
  machine.temporary(coefficients * C * 4, (vectors) => {
    const common = [C, S, units, segmentLength, segments, perChunk, vectors];
    withJob(machine, [...common, ...words], (pass) => use(pass, chunks * segments));
  });
}

/** Optimizer steps, each one pass over parameters and their state. */
import type {
  AdamEntry,
  AdamOptions,
  Backend,
  Operand,
  RmspropEntry,
  RmspropOptions,
  SgdEntry,
  SgdOptions,
  Stepped,
} from "../backend.ts";
import { requireFloat } from "./elementwise.ts";
import { chunkElements, cutEvenly, floatBits, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

type OptimizerKernels = Pick<Backend, "sgdStep" | "adamStep" | "rmspropStep" | "averageInto">;

/** Elements of a chunk: a step reads up to five arrays from memory, and each new place in each of them starts slowly. */
const stepElements = 4 * chunkElements;

/** Of one parameter, beside its gradient: what the kernel calls first, second and third. */
type State = readonly (Operand | null)[];

export function optimizerKernels(machine: Machine): OptimizerKernels {
  /** Runs a kernel over all parameters at once. Job words: how many, what the step adds, and an `Entry` for each. */
  function run<Entry extends Stepped>(
    kernel: "sgd" | "adam" | "rmsprop",
    entries: readonly Entry[],
    { words, stateOf }: { readonly words: readonly number[]; stateOf(entry: Entry): State },
  ): void {
    const job = [entries.length, ...words];
    let chunks = 0;
    for (const entry of entries) {
      const { parameter, grad } = entry;
      requireFloat(`${kernel}Step`, parameter);
      const cut = cutEvenly(parameter.length, stepElements);
      for (const operand of [parameter, grad, ...stateOf(entry)]) {
        job.push(operand === null ? 0 : addressOf(operand));
      }
      job.push(parameter.length, cut.perChunk, chunks);
      chunks += cut.chunks;
    }
    withJob(machine, job, (address) => machine.run(kernel, chunks, [address]));
  }
  return {
    sgdStep(entries, options) {
      const stateOf = ({ momentumBuffer }: SgdEntry) => [momentumBuffer, null, null];
      run("sgd", entries, { words: sgdWords(options), stateOf });
    },
    adamStep(entries, options) {
      const stateOf = (entry: AdamEntry) => [entry.expAvg, entry.expAvgSq, entry.maxExpAvgSq];
      run("adam", entries, { words: adamWords(options), stateOf });
    },
    rmspropStep(entries, options) {
      const stateOf = (entry: RmspropEntry) => [
        entry.squareAvg,
        entry.gradAvg,
        entry.momentumBuffer,
      ];
      run("rmsprop", entries, { words: rmspropWords(options), stateOf });
    },
    averageInto(x, average, weight) {
      requireFloat("averageInto", average);
      const { chunks, perChunk } = cutEvenly(average.length);
      const args = [addressOf(x), addressOf(average), average.length, perChunk];
      machine.run("averageInto", chunks, [...args, weight, 1 - weight]);
    },
  };
}

/** The scalars of `Sgd` in kernels/optimizer.ts. */
function sgdWords(options: SgdOptions): number[] {
  const { learningRate, momentum, dampening, weightDecay, isFirstStep, nesterov } = options;
  const scalars = [signOf(options), weightDecay, learningRate, momentum, 1 - dampening];
  return [...scalars.map(floatBits), Number(isFirstStep), Number(nesterov)];
}

/** The scalars of `Adam` in kernels/optimizer.ts: what depends on the step alone is computed here in double precision. */
function adamWords(options: AdamOptions): number[] {
  const { learningRate, beta1, beta2, eps, weightDecay, decoupledWeightDecay, step } = options;
  const coupled = decoupledWeightDecay ? 0 : weightDecay;
  const kept = decoupledWeightDecay ? 1 - learningRate * weightDecay : 1;
  const stepSize = learningRate / (1 - beta1 ** step);
  const correction = 1 / Math.sqrt(1 - beta2 ** step);
  const shares = [beta1, 1 - beta1, beta2, 1 - beta2];
  const scalars = [signOf(options), coupled, kept, ...shares, stepSize, correction, eps];
  return scalars.map(floatBits);
}

/** The scalars of `Rmsprop` in kernels/optimizer.ts. */
function rmspropWords(options: RmspropOptions): number[] {
  const { learningRate, alpha, eps, weightDecay, momentum } = options;
  const scalars = [signOf(options), weightDecay, learningRate, alpha, 1 - alpha, momentum, eps];
  return scalars.map(floatBits);
}

function signOf({ maximize }: { readonly maximize: boolean }): number {
  return maximize ? -1 : 1;
}

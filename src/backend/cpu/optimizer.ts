/** Optimizer steps, each one pass over a parameter and its state. */
import type { AdamOptions, Backend, Operand, RmspropOptions, SgdOptions } from "../backend.ts";
import { requireFloat } from "./elementwise.ts";
import { cutEvenly, floatBits, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

type OptimizerKernels = Pick<Backend, "sgdStep" | "adamStep" | "rmspropStep" | "averageInto">;

export function optimizerKernels(machine: Machine): OptimizerKernels {
  /** Job words: an address per operand, 0 for null; how the elements are cut; what the kernel adds. */
  function run(
    kernel: "sgd" | "adam" | "rmsprop",
    operands: readonly [Operand, ...(Operand | null)[]],
    words: readonly number[],
  ): void {
    const [parameter] = operands;
    requireFloat(`${kernel}Step`, parameter);
    const { chunks, perChunk } = cutEvenly(parameter.length);
    const addresses = operands.map((operand) => (operand === null ? 0 : addressOf(operand)));
    withJob(machine, [...addresses, parameter.length, perChunk, ...words], (job) =>
      machine.run(kernel, chunks, [job]),
    );
  }
  return {
    sgdStep(parameter, grad, momentumBuffer, options) {
      run("sgd", [parameter, grad, momentumBuffer], sgdWords(options));
    },
    adamStep(parameter, grad, expAvg, expAvgSq, maxExpAvgSq, options) {
      run("adam", [parameter, grad, expAvg, expAvgSq, maxExpAvgSq], adamWords(options));
    },
    rmspropStep(parameter, grad, squareAvg, gradAvg, momentumBuffer, options) {
      const operands = [parameter, grad, squareAvg, gradAvg, momentumBuffer] as const;
      run("rmsprop", operands, rmspropWords(options));
    },
    averageInto(x, average, weight) {
      requireFloat("averageInto", average);
      const { chunks, perChunk } = cutEvenly(average.length);
      const args = [addressOf(x), addressOf(average), average.length, perChunk];
      machine.run("averageInto", chunks, [...args, weight, 1 - weight]);
    },
  };
}

/** The last words of `Sgd` in kernels/optimizer.ts. */
function sgdWords(options: SgdOptions): number[] {
  const { learningRate, momentum, dampening, weightDecay, isFirstStep, nesterov } = options;
  const scalars = [signOf(options), weightDecay, learningRate, momentum, 1 - dampening];
  return [...scalars.map(floatBits), Number(isFirstStep), Number(nesterov)];
}

/** The last words of `Adam` in kernels/optimizer.ts: what depends on the step alone is computed here in double precision. */
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

/** The last words of `Rmsprop` in kernels/optimizer.ts. */
function rmspropWords(options: RmspropOptions): number[] {
  const { learningRate, alpha, eps, weightDecay, momentum } = options;
  const scalars = [signOf(options), weightDecay, learningRate, alpha, 1 - alpha, momentum, eps];
  return scalars.map(floatBits);
}

function signOf({ maximize }: { readonly maximize: boolean }): number {
  return maximize ? -1 : 1;
}

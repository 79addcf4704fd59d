/** Optimizer steps, each one pass over a parameter and its state. */
import type { AdamOptions, Backend, Operand, SgdOptions } from "../backend.ts";
import { requireFloat } from "./elementwise.ts";
import { cutEvenly, floatBits, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

export function optimizerKernels(machine: Machine): Pick<Backend, "sgdStep" | "adamStep"> {
  return {
    sgdStep(parameter, grad, momentumBuffer, options) {
      requireFloat("sgdStep", parameter);
      const buffer = momentumBuffer === null ? 0 : addressOf(momentumBuffer);
      const addresses = [addressOf(parameter), addressOf(grad), buffer];
      const { chunks, perChunk } = cutEvenly(parameter.length);
      const words = [...addresses, parameter.length, perChunk, ...sgdWords(options)];
      withJob(machine, words, (job) => machine.run("sgd", chunks, [job]));
    },
    adamStep(parameter, grad, expAvg, expAvgSq, options) {
      requireFloat("adamStep", parameter);
      const operands: readonly Operand[] = [parameter, grad, expAvg, expAvgSq];
      const { chunks, perChunk } = cutEvenly(parameter.length);
      const words = [
        ...[...operands.map(addressOf), parameter.length, perChunk],
        ...adamWords(options),
      ];
      withJob(machine, words, (job) => machine.run("adam", chunks, [job]));
    },
  };
}

/** The last words of `Sgd` in kernels/optimizer.ts. */
function sgdWords(options: SgdOptions): number[] {
  const { learningRate, momentum, dampening, weightDecay, isFirstStep, nesterov } = options;
  const scalars = [learningRate, momentum, 1 - dampening, weightDecay];
  return [...scalars.map(floatBits), Number(isFirstStep), Number(nesterov)];
}

/** The last words of `Adam` in kernels/optimizer.ts: what depends on the step alone is computed here in double precision. */
function adamWords(options: AdamOptions): number[] {
  const { learningRate, beta1, beta2, eps, weightDecay, step } = options;
  const stepSize = learningRate / (1 - beta1 ** step);
  const correction = 1 / Math.sqrt(1 - beta2 ** step);
  const scalars = [weightDecay, beta1, 1 - beta1, beta2, 1 - beta2, stepSize, correction, eps];
  return scalars.map(floatBits);
}

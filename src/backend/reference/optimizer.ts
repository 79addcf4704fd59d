import type {
  AdamEntry,
  AdamOptions,
  Backend,
  RmspropEntry,
  RmspropOptions,
  SgdEntry,
  SgdOptions,
} from "../backend.ts";
import type { View } from "./memory.ts";

type OptimizerKernels = Pick<Backend, "sgdStep" | "adamStep" | "rmspropStep" | "averageInto">;

/** PyTorch's update rules, element by element. State is rounded to its own dtype once a step, when it is stored. */
export function optimizerKernels(view: View): OptimizerKernels {
  return {
    sgdStep(entries, options) {
      for (const entry of entries) sgdStep(view, entry, options);
    },
    adamStep(entries, options) {
      for (const entry of entries) adamStep(view, entry, options);
    },
    rmspropStep(entries, options) {
      for (const entry of entries) rmspropStep(view, entry, options);
    },
    averageInto(x, average, weight) {
      const [values, averages] = [view(x), view(average)];
      for (let i = 0; i < averages.length; i++) {
        // Counted from the nearer end, so that weight 1 gives x itself.
        const distance = values[i] - averages[i];
        averages[i] =
          weight < 0.5 ? averages[i] + weight * distance : values[i] - distance * (1 - weight);
      }
    },
  };
}

function sgdStep(view: View, entry: SgdEntry, options: SgdOptions): void {
  const { learningRate, momentum, dampening, nesterov, isFirstStep } = options;
  const [parameters, grads] = [view(entry.parameter), view(entry.grad)];
  const velocities = entry.momentumBuffer && view(entry.momentumBuffer);
  for (let i = 0; i < parameters.length; i++) {
    const g = penalised(grads[i], parameters[i], options);
    let direction = g;
    if (velocities) {
      const velocity = isFirstStep ? g : momentum * velocities[i] + (1 - dampening) * g;
      velocities[i] = velocity;
      direction = nesterov ? g + momentum * velocity : velocity;
    }
    parameters[i] -= learningRate * direction;
  }
}

function adamStep(view: View, entry: AdamEntry, options: AdamOptions): void {
  const { learningRate, beta1, beta2, eps, weightDecay, decoupledWeightDecay, step } = options;
  const coupled = decoupledWeightDecay ? { ...options, weightDecay: 0 } : options;
  const kept = decoupledWeightDecay ? 1 - learningRate * weightDecay : 1;
  const [parameters, grads] = [view(entry.parameter), view(entry.grad)];
  const [averages, squares] = [view(entry.expAvg), view(entry.expAvgSq)];
  const maxima = entry.maxExpAvgSq && view(entry.maxExpAvgSq);
  for (let i = 0; i < parameters.length; i++) {
    const g = penalised(grads[i], parameters[i], coupled);
    const average = beta1 * averages[i] + (1 - beta1) * g;
    let square = beta2 * squares[i] + (1 - beta2) * g * g;
    averages[i] = average;
    squares[i] = square;
    if (maxima) {
      square = Math.max(maxima[i], square);
      maxima[i] = square;
    }
    // Both averages start at 0; dividing by 1 - beta ** step undoes that.
    const direction =
      average / (1 - beta1 ** step) / (Math.sqrt(square / (1 - beta2 ** step)) + eps);
    parameters[i] = kept * parameters[i] - learningRate * direction;
  }
}

function rmspropStep(view: View, entry: RmspropEntry, options: RmspropOptions): void {
  const { learningRate, alpha, eps, momentum } = options;
  const [parameters, grads] = [view(entry.parameter), view(entry.grad)];
  const squares = view(entry.squareAvg);
  const averages = entry.gradAvg && view(entry.gradAvg);
  const velocities = entry.momentumBuffer && view(entry.momentumBuffer);
  for (let i = 0; i < parameters.length; i++) {
    const g = penalised(grads[i], parameters[i], options);
    const square = alpha * squares[i] + (1 - alpha) * g * g;
    squares[i] = square;
    let variance = square;
    if (averages) {
      const average = alpha * averages[i] + (1 - alpha) * g;
      averages[i] = average;
      // Numerics: mathematically never negative; constant gradients bring it to 0 and rounding below, where a root is NaN.
      variance = Math.max(square - average * average, 0);
    }
    let direction = g / (Math.sqrt(variance) + eps);
    if (velocities) {
      direction = momentum * velocities[i] + direction;
      velocities[i] = direction;
    }
    parameters[i] -= learningRate * direction;
  }
}

/** The gradient that is followed: its sign, and weight decay; without decay not even an infinite parameter counts. */
function penalised(
  grad: number,
  parameter: number,
  options: { readonly maximize: boolean; readonly weightDecay: number },
): number {
  const g = options.maximize ? -grad : grad;
  return options.weightDecay === 0 ? g : g + options.weightDecay * parameter;
}

import type { Backend } from "../backend.ts";
import type { View } from "./memory.ts";

/** PyTorch's update rules, element by element. State is rounded to its own dtype once a step, when it is stored. */
export function optimizerKernels(view: View): Pick<Backend, "sgdStep" | "adamStep"> {
  return {
    sgdStep(parameter, grad, momentumBuffer, options) {
      const { learningRate, momentum, dampening, weightDecay, nesterov, isFirstStep } = options;
      const [parameters, grads] = [view(parameter), view(grad)];
      const velocities = momentumBuffer && view(momentumBuffer);
      for (let i = 0; i < parameters.length; i++) {
        const g = grads[i] + weightDecay * parameters[i];
        let direction = g;
        if (velocities) {
          const velocity = isFirstStep ? g : momentum * velocities[i] + (1 - dampening) * g;
          velocities[i] = velocity;
          direction = nesterov ? g + momentum * velocity : velocity;
        }
        parameters[i] -= learningRate * direction;
      }
    },
    adamStep(parameter, grad, expAvg, expAvgSq, options) {
      const { learningRate, beta1, beta2, eps, weightDecay, step } = options;
      const [parameters, grads] = [view(parameter), view(grad)];
      const [averages, squares] = [view(expAvg), view(expAvgSq)];
      for (let i = 0; i < parameters.length; i++) {
        const g = grads[i] + weightDecay * parameters[i];
        const average = beta1 * averages[i] + (1 - beta1) * g;
        const square = beta2 * squares[i] + (1 - beta2) * g * g;
        averages[i] = average;
        squares[i] = square;
        // Both averages start at 0; dividing by 1 - beta ** step undoes that.
        const direction =
          average / (1 - beta1 ** step) / (Math.sqrt(square / (1 - beta2 ** step)) + eps);
        parameters[i] -= learningRate * direction;
      }
    },
  };
}

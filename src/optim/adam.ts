import { ArgumentError } from "../core/errors.ts";
import { backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkAtLeast, Optimizer, zerosFor } from "./optimizer.ts";

export interface AdamOptions {
  /** Learning rate. Default 1e-3. */
  readonly lr?: number;
  /** Decay of the averages of the gradient and of its square. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second average. Default 1e-8. */
  readonly eps?: number;
  /** L2 penalty, added to the gradient. Default 0. */
  readonly weightDecay?: number;
}

interface AdamState {
  readonly expAvg: Tensor;
  readonly expAvgSq: Tensor;
  step: number;
}

/**
 * Adam with bias correction: p -= lr * m / (1 - beta1 ** t) / (sqrt(v / (1 - beta2 ** t)) + eps).
 *
 * Throws: ArgumentError for negative values or betas outside [0, 1).
 * Source: PyTorch optim.Adam; Kingma and Ba 2014, arXiv:1412.6980.
 */
export class Adam extends Optimizer {
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly #states = new Map<Tensor, AdamState>();

  constructor(parameters: Iterable<Tensor>, options: AdamOptions = {}) {
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0 } = options;
    super("Adam", parameters, lr);
    checkAtLeast("Adam", "eps", eps, 0);
    checkAtLeast("Adam", "weightDecay", weightDecay, 0);
    if (betas.length !== 2 || !betas.every((beta) => beta >= 0 && beta < 1)) {
      throw new ArgumentError({
        op: "Adam",
        expected: "two betas in [0, 1)",
        actual: JSON.stringify(betas),
      });
    }
    this.betas = betas;
    this.eps = eps;
    this.weightDecay = weightDecay;
  }

  protected update(parameter: Tensor, grad: Tensor): void {
    const state = this.#stateOf(parameter);
    state.step++;
    const { eps, weightDecay } = this;
    const [beta1, beta2] = this.betas;
    backendFor(parameter).adamStep(
      operandOf(parameter),
      operandOf(grad),
      operandOf(state.expAvg),
      operandOf(state.expAvgSq),
      { learningRate: this.lr, beta1, beta2, eps, weightDecay, step: state.step },
    );
  }

  #stateOf(parameter: Tensor): AdamState {
    const known = this.#states.get(parameter);
    if (known !== undefined) return known;
    const state = { expAvg: zerosFor(parameter), expAvgSq: zerosFor(parameter), step: 0 };
    this.#states.set(parameter, state);
    return state;
  }
}

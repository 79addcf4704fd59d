import { ArgumentError } from "../core/errors.ts";
import { backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkAtLeast, Optimizer, zerosFor } from "./optimizer.ts";

export interface SGDOptions {
  /** Learning rate. Default 1e-3. */
  readonly lr?: number;
  /** Default 0. */
  readonly momentum?: number;
  /** Part of the gradient kept out of the momentum buffer. Default 0. */
  readonly dampening?: number;
  /** L2 penalty, added to the gradient. Batch norm's weights and biases are decayed too. Default 0. */
  readonly weightDecay?: number;
  /** Default false. */
  readonly nesterov?: boolean;
}

/**
 * Stochastic gradient descent: g += weightDecay * p; b = momentum * b + (1 - dampening) * g (b = g at first);
 * p -= lr * b, or with Nesterov p -= lr * (g + momentum * b).
 *
 * Throws: ArgumentError for negative values, or Nesterov without momentum or with dampening.
 * Source: PyTorch optim.SGD.
 */
export class SGD extends Optimizer {
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  readonly #buffers = new Map<Tensor, Tensor>();

  constructor(parameters: Iterable<Tensor>, options: SGDOptions = {}) {
    const { lr = 1e-3, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = options;
    super("SGD", parameters, lr);
    checkAtLeast("SGD", "momentum", momentum, 0);
    checkAtLeast("SGD", "weightDecay", weightDecay, 0);
    if (nesterov && (momentum <= 0 || dampening !== 0)) {
      throw new ArgumentError({
        op: "SGD",
        expected: "momentum above 0 and dampening 0 beside nesterov",
        actual: `momentum ${momentum}, dampening ${dampening}`,
      });
    }
    this.momentum = momentum;
    this.dampening = dampening;
    this.weightDecay = weightDecay;
    this.nesterov = nesterov;
  }

  protected update(parameter: Tensor, grad: Tensor): void {
    const { momentum, dampening, weightDecay, nesterov } = this;
    const known = this.#buffers.get(parameter);
    const buffer = momentum === 0 ? null : (known ?? zerosFor(parameter));
    if (buffer !== null) this.#buffers.set(parameter, buffer);
    backendFor(parameter).sgdStep(
      operandOf(parameter),
      operandOf(grad),
      buffer && operandOf(buffer),
      {
        ...{ learningRate: this.lr, momentum, dampening, weightDecay, nesterov },
        isFirstStep: known === undefined,
      },
    );
  }
}

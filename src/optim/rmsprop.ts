import type { Backend } from "../backend/backend.ts";
import { operandOf } from "../tensor/tensor.ts";
import { type Learning, Optimizer, type OptimizerKind } from "./optimizer.ts";
import {
  checkAtLeast,
  type GivenParameters,
  type GroupOptions,
  type ParamGroup,
} from "./param-group.ts";

/** Options of RMSprop, each for all groups or for one. */
export interface RMSpropGroupOptions extends GroupOptions {
  /** Share of the last step that is taken again. Default 0. */
  momentum: number;
  /** Decay of the average of squared gradients. Default 0.99. */
  alpha: number;
  /** Added to the root of the average. Default 1e-8. */
  eps: number;
  /** Divide by the estimated standard deviation instead: the average gradient is taken off. Default false. */
  centered: boolean;
}

/** What may be given to RMSprop: `lr` is 1e-2 by default, `weightDecay` 0. */
export type RMSpropOptions = Readonly<Partial<RMSpropGroupOptions>>;

const rmsprop: OptimizerKind<RMSpropGroupOptions> = {
  name: "RMSprop",
  defaults: {
    lr: 1e-2,
    momentum: 0,
    alpha: 0.99,
    eps: 1e-8,
    centered: false,
    weightDecay: 0,
    maximize: false,
  },
  check(op, { lr, momentum, alpha, eps, weightDecay }) {
    checkAtLeast(op, "lr", lr, 0);
    checkAtLeast(op, "eps", eps, 0);
    checkAtLeast(op, "momentum", momentum, 0);
    checkAtLeast(op, "weightDecay", weightDecay, 0);
    checkAtLeast(op, "alpha", alpha, 0);
  },
  countsSteps: true,
  required: ["squareAvg"],
  optional: ["momentumBuffer", "gradAvg"],
};

/**
 * Divides gradients by the root of a running average of their squares: v = alpha * v + (1 - alpha) * g * g;
 * p -= lr * g / (sqrt(v) + eps), through a momentum buffer if wanted. Centered, v is lessened by the squared average gradient.
 *
 * Throws: ArgumentError for negative values.
 * Numerics: centered, rounding can take v below 0 when gradients hardly change; it counts as 0.
 * Unlike PyTorch: there the root of the negative makes the parameter NaN.
 * Source: PyTorch optim.RMSprop; Graves 2013, arXiv:1308.0850.
 */
export class RMSprop extends Optimizer<RMSpropGroupOptions> {
  constructor(parameters: GivenParameters<RMSpropGroupOptions>, options: RMSpropOptions = {}) {
    super(rmsprop, parameters, options);
  }

  protected update(
    backend: Backend,
    learning: readonly Learning[],
    group: ParamGroup<RMSpropGroupOptions>,
  ): void {
    const { lr: learningRate, alpha, eps, weightDecay, momentum, centered, maximize } = group;
    const entries = learning.map(({ parameter, grad }) => {
      const state = this.stateOf(parameter);
      return {
        parameter: operandOf(parameter),
        grad: operandOf(grad),
        squareAvg: operandOf(state.tensor("squareAvg")),
        momentumBuffer: momentum > 0 ? operandOf(state.tensor("momentumBuffer")) : null,
        gradAvg: centered ? operandOf(state.tensor("gradAvg")) : null,
      };
    });
    for (const { parameter } of learning) this.stateOf(parameter).step++;
    backend.rmspropStep(entries, { learningRate, alpha, eps, weightDecay, momentum, maximize });
  }
}

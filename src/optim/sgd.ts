import type { Backend } from "../backend/backend.ts";
import { ArgumentError } from "../core/errors.ts";
import { operandOf } from "../tensor/tensor.ts";
import { groupedBy, type Learning, Optimizer, type OptimizerKind } from "./optimizer.ts";
import {
  checkAtLeast,
  type GivenParameters,
  type GroupOptions,
  type ParamGroup,
} from "./param-group.ts";

/** Options of SGD, each for all groups or for one. */
export interface SGDGroupOptions extends GroupOptions {
  /** Share of the last step that is taken again. Default 0. */
  momentum: number;
  /** Part of the gradient kept out of the momentum buffer. Default 0. */
  dampening: number;
  /** Look ahead by momentum; needs some, and no dampening. Default false. */
  nesterov: boolean;
}

/** What may be given to SGD: `lr` is 1e-3 by default, `weightDecay` 0. */
export type SGDOptions = Readonly<Partial<SGDGroupOptions>>;

const sgd: OptimizerKind<SGDGroupOptions> = {
  name: "SGD",
  defaults: {
    lr: 1e-3,
    momentum: 0,
    dampening: 0,
    weightDecay: 0,
    nesterov: false,
    maximize: false,
  },
  check(op, { lr, momentum, dampening, weightDecay, nesterov }) {
    checkAtLeast(op, "lr", lr, 0);
    checkAtLeast(op, "momentum", momentum, 0);
    checkAtLeast(op, "weightDecay", weightDecay, 0);
    if (!nesterov || (momentum > 0 && dampening === 0)) return;
    throw new ArgumentError({
      op,
      expected: "momentum above 0 and dampening 0 beside nesterov",
      actual: `momentum ${momentum}, dampening ${dampening}`,
    });
  },
  countsSteps: false,
  required: [],
  optional: ["momentumBuffer"],
};

/**
 * Stochastic gradient descent: g += weightDecay * p; b = momentum * b + (1 - dampening) * g (b = g at first);
 * p -= lr * b, or with Nesterov p -= lr * (g + momentum * b). With maximize g is -grad.
 *
 * Throws: ArgumentError for negative values, or Nesterov without momentum or with dampening.
 * Source: PyTorch optim.SGD.
 *
 * @example
 * new optim.SGD([{ params: net.body.parameters() }, { params: net.head.parameters(), lr: 0.1 }], { lr: 0.01, momentum: 0.9 });
 */
export class SGD extends Optimizer<SGDGroupOptions> {
  constructor(parameters: GivenParameters<SGDGroupOptions>, options: SGDOptions = {}) {
    super(sgd, parameters, options);
  }

  protected update(
    backend: Backend,
    learning: readonly Learning[],
    group: ParamGroup<SGDGroupOptions>,
  ): void {
    const { lr: learningRate, momentum, dampening, weightDecay, nesterov, maximize } = group;
    const options = { learningRate, momentum, dampening, weightDecay, nesterov, maximize };
    const remembers = momentum !== 0;
    const byFirstStep = groupedBy(
      learning,
      ({ parameter }) => remembers && !this.stateOf(parameter).tensors.has("momentumBuffer"),
    );
    for (const [isFirstStep, together] of byFirstStep) {
      const entries = together.map(({ parameter, grad }) => ({
        parameter: operandOf(parameter),
        grad: operandOf(grad),
        momentumBuffer: remembers
          ? operandOf(this.stateOf(parameter).tensor("momentumBuffer"))
          : null,
      }));
      backend.sgdStep(entries, { ...options, isFirstStep });
    }
  }
}

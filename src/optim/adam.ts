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
import type { StateValue } from "./state-value.ts";

/** Options of Adam, each for all groups or for one. */
export interface AdamGroupOptions extends GroupOptions {
  /** Decay of the averages of the gradient and of its square. Default [0.9, 0.999]. */
  betas: readonly [number, number];
  /** Added to the root of the second average. Default 1e-8. */
  eps: number;
  /** Divide by the greatest second average so far. Default false. */
  amsgrad: boolean;
  /** Shrink parameters by lr * weightDecay instead of adding the decay to gradients, as AdamW does. Default false. */
  decoupledWeightDecay: boolean;
}

/** What may be given to Adam: `lr` is 1e-3 by default, `weightDecay` 0. */
export type AdamOptions = Readonly<Partial<AdamGroupOptions>>;

/** What may be given to AdamW: `lr` is 1e-3 by default, `weightDecay` 1e-2. */
export type AdamWOptions = Omit<AdamOptions, "decoupledWeightDecay">;

const adam: OptimizerKind<AdamGroupOptions> = {
  name: "Adam",
  defaults: {
    lr: 1e-3,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weightDecay: 0,
    amsgrad: false,
    maximize: false,
    decoupledWeightDecay: false,
  },
  check(op, { lr, betas, eps, weightDecay }) {
    checkAtLeast(op, "lr", lr, 0);
    checkAtLeast(op, "eps", eps, 0);
    checkAtLeast(op, "weightDecay", weightDecay, 0);
    if (betas?.length === 2 && betas.every((beta) => beta >= 0 && beta < 1)) return;
    const expected = "two betas in [0, 1)";
    throw new ArgumentError({ op, expected, actual: JSON.stringify(betas) });
  },
  countsSteps: true,
  required: ["expAvg", "expAvgSq"],
  optional: ["maxExpAvgSq"],
};

const adamW: OptimizerKind<AdamGroupOptions> = {
  ...adam,
  name: "AdamW",
  defaults: { ...adam.defaults, weightDecay: 1e-2, decoupledWeightDecay: true },
};

/** Adam and AdamW differ in their defaults alone. */
abstract class AdamFamily extends Optimizer<AdamGroupOptions> {
  protected update(
    backend: Backend,
    learning: readonly Learning[],
    group: ParamGroup<AdamGroupOptions>,
  ): void {
    const { lr: learningRate, eps, weightDecay, amsgrad, maximize, decoupledWeightDecay } = group;
    const [beta1, beta2] = group.betas;
    const options = {
      learningRate,
      beta1,
      beta2,
      eps,
      weightDecay,
      decoupledWeightDecay,
      maximize,
    };
    const byStep = groupedBy(learning, ({ parameter }) => this.stateOf(parameter).step + 1);
    for (const [step, together] of byStep) {
      const entries = together.map(({ parameter, grad }) => {
        const state = this.stateOf(parameter);
        return {
          parameter: operandOf(parameter),
          grad: operandOf(grad),
          expAvg: operandOf(state.tensor("expAvg")),
          expAvgSq: operandOf(state.tensor("expAvgSq")),
          maxExpAvgSq: amsgrad ? operandOf(state.tensor("maxExpAvgSq")) : null,
        };
      });
      for (const { parameter } of together) this.stateOf(parameter).step = step;
      backend.adamStep(entries, { ...options, step });
    }
  }
}

/**
 * Adam with bias correction: p -= lr * m / (1 - beta1 ** t) / (sqrt(v / (1 - beta2 ** t)) + eps). t counts the steps of each
 * parameter; weight decay is added to the gradient; with amsgrad v is its greatest value so far.
 *
 * Throws: ArgumentError for negative values or betas outside [0, 1).
 * Source: PyTorch optim.Adam; Kingma and Ba 2014, arXiv:1412.6980; amsgrad: Reddi, Kale and Kumar 2018.
 */
export class Adam extends AdamFamily {
  constructor(parameters: GivenParameters<AdamGroupOptions>, options: AdamOptions = {}) {
    super(adam, parameters, options);
  }
}

/**
 * Adam whose weight decay is decoupled from the gradient: p -= lr * weightDecay * p, then Adam's step without decay.
 *
 * Throws: as Adam.
 * Source: PyTorch optim.AdamW; Loshchilov and Hutter 2017, arXiv:1711.05101.
 */
export class AdamW extends AdamFamily {
  constructor(parameters: GivenParameters<AdamGroupOptions>, options: AdamWOptions = {}) {
    super(adamW, parameters, { ...options, decoupledWeightDecay: true });
  }

  /** As `Optimizer.loadStateDict`; the decay stays decoupled also when the state is Adam's, as in PyTorch. */
  override loadStateDict(source: StateValue): void {
    super.loadStateDict(source);
    for (const group of this.paramGroups) group.decoupledWeightDecay = true;
  }
}

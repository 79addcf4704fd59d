/** Losses as modules. Each docstring names the function that holds the rule; weights are buffers, as in PyTorch. */
import {
  type CrossEntropyOptions,
  crossEntropy,
  type NllLossOptions,
  nllLoss,
} from "../ops/cross-entropy.ts";
import {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropyWithLogits,
  type HuberLossOptions,
  huberLoss,
  type LossOptions,
  l1Loss,
  mseLoss,
  type Reduction,
  type SmoothL1LossOptions,
  smoothL1Loss,
} from "../ops/loss.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";

abstract class Loss extends Module {
  /** What becomes of the losses of single elements. */
  reduction: Reduction;

  constructor({ reduction = "mean" }: LossOptions = {}) {
    super();
    this.reduction = reduction;
  }
}

/** (input - target) ** 2; see `nn.functional.mseLoss`. */
export class MSELoss extends Loss {
  static override readonly kind: string = "MSELoss";

  forward(input: Tensor, target: Tensor): Tensor {
    return mseLoss(input, target, this);
  }
}

/** |input - target|; see `nn.functional.l1Loss`. */
export class L1Loss extends Loss {
  static override readonly kind: string = "L1Loss";

  forward(input: Tensor, target: Tensor): Tensor {
    return l1Loss(input, target, this);
  }
}

/** Squared near 0, absolute elsewhere; see `nn.functional.smoothL1Loss`. */
export class SmoothL1Loss extends Loss {
  static override readonly kind: string = "SmoothL1Loss";
  /** Differences below it are squared. */
  beta: number;

  constructor(options: SmoothL1LossOptions = {}) {
    super(options);
    this.beta = options.beta ?? 1;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return smoothL1Loss(input, target, this);
  }
}

/** Squared near 0, absolute elsewhere; see `nn.functional.huberLoss`. */
export class HuberLoss extends Loss {
  static override readonly kind: string = "HuberLoss";
  /** Differences below it are squared. */
  delta: number;

  constructor(options: HuberLossOptions = {}) {
    super(options);
    this.delta = options.delta ?? 1;
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return huberLoss(input, target, this);
  }
}

/** Yes-or-no questions, from the logits of yes; see `nn.functional.binaryCrossEntropyWithLogits`. */
export class BCEWithLogitsLoss extends Loss {
  static override readonly kind: string = "BCEWithLogitsLoss";
  /** Factor of every loss, or null for 1; a buffer. */
  declare weight: Tensor | null;
  /** Factor of the positive part, or null for 1; a buffer. */
  declare posWeight: Tensor | null;

  constructor(options: BinaryCrossEntropyOptions = {}) {
    super(options);
    this.registerBuffer("weight", options.weight ?? null);
    this.registerBuffer("posWeight", options.posWeight ?? null);
  }

  forward(input: Tensor, target: Tensor): Tensor {
    return binaryCrossEntropyWithLogits(input, target, this);
  }
}

/** Classification, from log probabilities; see `nn.functional.nllLoss`. */
export class NLLLoss extends Loss {
  static override readonly kind: string = "NLLLoss";
  /** (C): how much labels of each class count, or null for 1 each; a buffer. */
  declare weight: Tensor | null;
  /** Labels of this value count nothing. */
  ignoreIndex: number;

  constructor(options: NllLossOptions = {}) {
    super(options);
    this.registerBuffer("weight", options.weight ?? null);
    this.ignoreIndex = options.ignoreIndex ?? -100;
  }

  forward(logProbabilities: Tensor, target: Tensor): Tensor {
    return nllLoss(logProbabilities, target, this);
  }
}

/** Classification, from logits: -log softmax(logits)[label]; see `nn.functional.crossEntropy`. */
export class CrossEntropyLoss extends Loss {
  static override readonly kind: string = "CrossEntropyLoss";
  /** (C): how much labels of each class count, or null for 1 each; a buffer. */
  declare weight: Tensor | null;
  /** Labels of this value count nothing. */
  ignoreIndex: number;
  /** Share of each target that is spread evenly over all classes. */
  labelSmoothing: number;

  constructor(options: CrossEntropyOptions = {}) {
    super(options);
    this.registerBuffer("weight", options.weight ?? null);
    this.ignoreIndex = options.ignoreIndex ?? -100;
    this.labelSmoothing = options.labelSmoothing ?? 0;
  }

  forward(logits: Tensor, target: Tensor): Tensor {
    return crossEntropy(logits, target, this);
  }
}

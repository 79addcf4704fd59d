import { crossEntropy, type Reduction } from "../ops/softmax.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";

/** -log softmax(logits)[label]; see `nn.functional.crossEntropy`. */
export class CrossEntropyLoss extends Module {
  static override readonly kind: string = "CrossEntropyLoss";
  readonly reduction: Reduction;

  constructor({ reduction = "mean" }: { readonly reduction?: Reduction } = {}) {
    super();
    this.reduction = reduction;
  }

  forward(logits: Tensor, labels: Tensor): Tensor {
    return crossEntropy(logits, labels, { reduction: this.reduction });
  }
}

import { nn } from "../src/index.ts";
import type { Reduction } from "../src/ops/loss.ts";
import { testOperations } from "./support/op-fixtures.ts";

const { crossEntropy, nllLoss, mseLoss, l1Loss, smoothL1Loss, huberLoss } = nn.functional;
const { binaryCrossEntropyWithLogits } = nn.functional;

/** Every option that some case has; a case has those of its operation. */
interface Options {
  readonly reduction: Reduction;
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;
  readonly beta: number;
  readonly delta: number;
}

testOperations<Options>("losses", {
  crossEntropy: ({ logits, labels, weight }, options) =>
    crossEntropy(logits, labels, { ...options, weight: weight?.detach() ?? null }),
  crossEntropyOfProbabilities: ({ logits, probabilities, weight }, options) =>
    crossEntropy(logits, probabilities, { ...options, weight: weight ?? null }),
  nllLoss: ({ logProbabilities, labels, weight }, options) =>
    nllLoss(logProbabilities, labels, { ...options, weight: weight?.detach() ?? null }),
  mseLoss: ({ input, target }, options) => mseLoss(input, target, options),
  l1Loss: ({ input, target }, options) => l1Loss(input, target, options),
  smoothL1Loss: ({ input, target }, options) => smoothL1Loss(input, target, options),
  huberLoss: ({ input, target }, options) => huberLoss(input, target, options),
  binaryCrossEntropyWithLogits: ({ input, target, weight, posWeight }, { reduction }) =>
    binaryCrossEntropyWithLogits(input, target, {
      reduction,
      weight: weight?.detach() ?? null,
      posWeight: posWeight?.detach() ?? null,
    }),
});

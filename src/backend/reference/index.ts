import type { Backend } from "../backend.ts";
import { withFloat16 } from "../half.ts";
import { batchNormKernels } from "./batch-norm.ts";
import { convKernels } from "./conv.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { indexingKernels } from "./indexing.ts";
import { matmulKernels } from "./matmul.ts";
import { createMemory } from "./memory.ts";
import { movementKernels } from "./movement.ts";
import { optimizerKernels } from "./optimizer.ts";
import { poolKernels } from "./pool.ts";
import { reduceKernels } from "./reduce.ts";
import { softmaxKernels } from "./softmax.ts";

/**
 * The slow, obvious backend: every kernel as plain loops over host arrays, in double precision, rounded once when stored.
 * It states what the fast backends must compute, checks them in tests, and is the only one with `float64` tensors.
 */
export function createReferenceBackend(): Backend {
  const { view, bits, methods } = createMemory();
  return withFloat16({
    device: "reference",
    dtypes: ["float32", "float64", "int32", "uint8", "bool"],
    statisticsDType: "float64",
    readsSynchronously: true,
    ...methods,
    ...movementKernels(view, bits),
    ...elementwiseKernels(view),
    ...reduceKernels(view),
    ...softmaxKernels(view),
    ...indexingKernels(view),
    ...matmulKernels(view),
    ...convKernels(view),
    ...poolKernels(view),
    ...batchNormKernels(view),
    ...optimizerKernels(view),
  });
}

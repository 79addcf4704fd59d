import type { KernelCase } from "../support/kernel-case.ts";
import { largeStatsCases } from "./batch-norm.ts";
import { largeApplyCases } from "./batch-norm-apply.ts";
import { largeGradCases } from "./batch-norm-grad.ts";
import { largeConvCases } from "./conv.ts";
import { largeElementwiseCases } from "./elementwise.ts";
import { largeIndexingCases } from "./indexing.ts";
import { largeIntegerCases } from "./integers.ts";
import { largeMatmulCases } from "./matmul.ts";
import { largeMovementCases } from "./movement.ts";
import { largeOptimizerCases } from "./optimizer.ts";
import { largePoolCases } from "./pool.ts";
import { largeReduceCases } from "./reduce.ts";
import { largeSoftmaxCases } from "./softmax.ts";

/** Calls of every kernel that are worth several threads, so that seams between chunks are crossed; made when asked for. */
export const largeCases: Readonly<Record<string, () => KernelCase[] | Promise<KernelCase[]>>> = {
  movement: largeMovementCases,
  elementwise: largeElementwiseCases,
  reduce: largeReduceCases,
  softmax: largeSoftmaxCases,
  indexing: largeIndexingCases,
  integers: largeIntegerCases,
  matmul: largeMatmulCases,
  conv: largeConvCases,
  pool: largePoolCases,
  "batch norm statistics": largeStatsCases,
  "batch norm apply": largeApplyCases,
  "batch norm gradients": largeGradCases,
  optimizer: largeOptimizerCases,
};

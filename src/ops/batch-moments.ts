import type { RunningUpdate } from "../backend/backend.ts";
import { sizeOf } from "../core/shape.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";

/** What a batch says of each channel. */
export interface Moments {
  /** (C), in the backend's `statisticsDType`. */
  readonly mean: Tensor;
  /** (C), the biased one, likewise. */
  readonly variance: Tensor;
  /** Values per channel. */
  readonly count: number;
}

/** Mean and biased variance over every axis but 1, without history. x (N, C, ...) is floating and not empty. */
export function batchMoments(x: Tensor, update: RunningUpdate | null = null): Moments {
  const backend = backendFor(x);
  const layout = { N: x.shape[0], C: x.shape[1], S: sizeOf(x.shape, 2) };
  const mean = allocate(backend, [layout.C], backend.statisticsDType);
  const variance = allocate(backend, [layout.C], backend.statisticsDType);
  backend.batchNormStats(operandOf(x), operandOf(mean), operandOf(variance), layout, update);
  return { mean, variance, count: layout.N * layout.S };
}

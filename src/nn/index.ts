export { LeakyReLU, ReLU, Sigmoid, Tanh } from "./activation.ts";
export {
  type AnyBatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormLayerOptions,
  isBatchNorm,
} from "./batch-norm.ts";
export { capture } from "./capture.ts";
export { type Layer, ModuleList, Sequential } from "./container.ts";
export { Conv2d, type Conv2dLayerOptions } from "./conv.ts";
export { Dropout } from "./dropout.ts";
export * as functional from "./functional.ts";
export type { ForwardHook, ForwardPreHook, HookHandle } from "./hooks.ts";
export { LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d } from "./lazy-batch-norm.ts";
export { Linear } from "./linear.ts";
export type { LoadOptions, LoadResult } from "./load-state.ts";
export { CrossEntropyLoss } from "./loss.ts";
export { Module } from "./module.ts";
export type { OnNonFinite, SkippedBatches } from "./non-finite.ts";
export { Parameter } from "./parameter.ts";
export { AvgPool2d, MaxPool2d } from "./pool.ts";
export { recompute } from "./recompute.ts";
export { Flatten, Identity } from "./shape.ts";
export type { HostEntry, StateDict, StateEntry, StateSource } from "./state-dict.ts";
export { type Frozen, type Summary, type SummaryInput, type SummaryRow, summary } from "./summary.ts";
export { type Batches, type UpdateBatchNormOptions, updateBatchNorm } from "./update-batch-norm.ts";

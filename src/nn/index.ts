export { LeakyReLU, ReLU, Sigmoid, Tanh } from "./activation.ts";
export {
  type AnyBatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormLayerOptions,
  isBatchNorm,
  type OnNonFinite,
  type SkippedBatches,
} from "./batch-norm.ts";
export { type Layer, ModuleList, Sequential } from "./container.ts";
export { Conv2d, type Conv2dLayerOptions } from "./conv.ts";
export { Dropout } from "./dropout.ts";
export * as functional from "./functional.ts";
export { Linear } from "./linear.ts";
export type { LoadOptions, LoadResult } from "./load-state.ts";
export { CrossEntropyLoss } from "./loss.ts";
export { type ForwardHook, type ForwardPreHook, type HookHandle, Module } from "./module.ts";
export { Parameter } from "./parameter.ts";
export { AvgPool2d, MaxPool2d } from "./pool.ts";
export { Flatten, Identity } from "./shape.ts";
export type { HostEntry, StateDict, StateEntry, StateSource } from "./state-dict.ts";
export { type Batches, updateBatchNorm } from "./update-batch-norm.ts";

export type { Sizes } from "../core/shape.ts";
export type { GeluApproximation, GeluOptions, SoftplusOptions } from "../ops/activation.ts";
export type { Pair, Single, Triple } from "../ops/conv.ts";
export type { ConvPadding } from "../ops/conv-geometry.ts";
export type { CrossEntropyOptions, NllLossOptions } from "../ops/cross-entropy.ts";
export type {
  BinaryCrossEntropyOptions,
  HuberLossOptions,
  LossOptions,
  Reduction,
  SmoothL1LossOptions,
} from "../ops/loss.ts";
export type { AvgPoolOptions, MaxPoolOptions } from "../ops/pool.ts";
export type { OutputPair, OutputSingle, OutputTriple, PoolOptions } from "../ops/pool-layout.ts";
export {
  GELU,
  LeakyReLU,
  LogSoftmax,
  ReLU,
  ReLU6,
  Sigmoid,
  SiLU,
  Softmax,
  Softplus,
  Tanh,
} from "./activation.ts";
export {
  type AnyBatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormLayerOptions,
  isBatchNorm,
} from "./batch-norm.ts";
export type { Frozen } from "./batch-norm-decision.ts";
export { type BatchNormReluOptions, batchNormRelu } from "./batch-norm-relu.ts";
export { capture } from "./capture.ts";
/** Keeping gradients small. */
export * as utils from "./clip-grad.ts";
export { type CompareOptions, compare } from "./compare.ts";
export type { Cause } from "./compare-causes.ts";
export type { CauseKind } from "./compare-facts.ts";
export type { ComparedLayer, Comparison } from "./comparison.ts";
export { type Layer, ModuleList, Sequential } from "./container.ts";
export {
  Conv1d,
  type Conv1dLayerOptions,
  Conv2d,
  type Conv2dLayerOptions,
  Conv3d,
  type Conv3dLayerOptions,
  type ConvLayerOptions,
  type ConvPaddingMode,
} from "./conv.ts";
export {
  ConvTranspose1d,
  type ConvTranspose1dLayerOptions,
  ConvTranspose2d,
  type ConvTranspose2dLayerOptions,
  ConvTranspose3d,
  type ConvTranspose3dLayerOptions,
  type ConvTransposeLayerOptions,
} from "./conv-transpose.ts";
export {
  convertBatchNormToGroupNorm,
  type GroupNormConversion,
  type GroupNormConversionOptions,
} from "./convert-batch-norm.ts";
export { Dropout, Dropout1d, Dropout2d, Dropout3d } from "./dropout.ts";
export { flushBatchNorm } from "./flush-batch-norm.ts";
export {
  type FreezeOptions,
  type FreezeReport,
  freezeBatchNorm,
  type LayerMatch,
  type SkippedLayer,
  type UnfreezeOptions,
  unfreezeBatchNorm,
} from "./freeze.ts";
export { type FreezePlan, type FreezePlanRow, freezePlan } from "./freeze-plan.ts";
export {
  convertFrozenBatchNorm,
  convertFrozenToBatchNorm,
  FrozenBatchNorm2d,
  type FrozenBatchNormOptions,
} from "./frozen-batch-norm.ts";
/** Layers as functions, without state. */
export * as functional from "./functional.ts";
export { type FoldedPair, type FuseOptions, type Fusion, fuseConvBatchNorm } from "./fuse.ts";
export type { RefusedBatchNorm } from "./fusion-pairs.ts";
export { GroupNorm, type GroupNormLayerOptions } from "./group-norm.ts";
export { networkToHalf } from "./half.ts";
export type { ForwardHook, ForwardPreHook, HookHandle } from "./hooks.ts";
/** Starting values, written into a tensor in place and drawn from the generator that `manualSeed` seeds. */
export * as init from "./init.ts";
export {
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type InstanceNormLayerOptions,
} from "./instance-norm.ts";
export { LayerNorm, type LayerNormLayerOptions } from "./layer-norm.ts";
export { LazyBatchNorm1d, LazyBatchNorm2d, LazyBatchNorm3d } from "./lazy-batch-norm.ts";
export { Linear } from "./linear.ts";
export type { LoadOptions, LoadResult } from "./load-state.ts";
export {
  BCEWithLogitsLoss,
  CrossEntropyLoss,
  HuberLoss,
  L1Loss,
  MSELoss,
  NLLLoss,
  SmoothL1Loss,
} from "./loss.ts";
export { Module } from "./module.ts";
export type { OnNonFinite, SkippedBatches } from "./non-finite.ts";
export { Parameter } from "./parameter.ts";
export {
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AdaptiveAvgPool3d,
  AdaptiveMaxPool1d,
  AdaptiveMaxPool2d,
  AdaptiveMaxPool3d,
  AvgPool1d,
  AvgPool2d,
  AvgPool3d,
  MaxPool1d,
  MaxPool2d,
  MaxPool3d,
} from "./pool.ts";
export { type PreciseBatchNormOptions, preciseBatchNorm } from "./precise-batch-norm.ts";
export type { Batches, BatchModel, UpdateBatchNormOptions } from "./recalibrate.ts";
export type { RecalibratedLayer, Recalibration } from "./recalibration.ts";
export { recompute } from "./recompute.ts";
export { Flatten, Identity } from "./shape.ts";
export type {
  LazyStateSource,
  StateDict,
  StateEntry,
  StateSource,
  StateVersion,
} from "./state-dict.ts";
export {
  type Summary,
  type SummaryInput,
  type SummaryRow,
  summary,
} from "./summary.ts";
export { updateBatchNorm } from "./update-batch-norm.ts";
export { removeWeightNorm, weightNorm } from "./weight-norm.ts";

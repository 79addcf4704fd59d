/** Evenkeel: batch normalization for TypeScript, exactly as PyTorch does it, and what is needed to use it for real. */
import "./ops/methods.ts";

export type { Device } from "./backend/backend.ts";
export { setThreads, setWinograd, type WinogradChoice } from "./backend/cpu/index.ts";
/** Reading and writing state dicts as files. */
export * as checkpoint from "./checkpoint/index.ts";
export type { DType, TypedArray } from "./core/dtype.ts";
export {
  ArgumentError,
  AutogradError,
  CheckpointError,
  DataError,
  DeviceError,
  DTypeError,
  type ErrorDetails,
  EvenkeelError,
  LifetimeError,
  OutOfMemoryError,
  ShapeError,
  StateDictError,
} from "./core/errors.ts";
export { manualSeed, type Random } from "./core/random.ts";
export { getRngState, type RngState, setRngState } from "./core/rng-state.ts";
export type { Shape } from "./core/shape.ts";
/** Datasets, transforms of their items, and the loader that makes batches of tensors of them. */
export * as data from "./data/index.ts";
/** Architectures with the names, starting values and outputs of torchvision's. */
export * as models from "./models/index.ts";
/** Layers, losses, and what builds, trains and inspects models of them. */
export * as nn from "./nn/index.ts";
export type { Bounds, Operable } from "./ops/elementwise.ts";
export { flip, gather, indexSelect } from "./ops/indexing.ts";
export { cat, chunk, split, stack } from "./ops/join.ts";
export { bmm, matmul } from "./ops/matmul.ts";
export type { Axes, Extremes, ReduceOptions, VarianceOptions } from "./ops/reduce.ts";
export { narrow, type SliceOptions, select, squeeze, unsqueeze } from "./ops/view.ts";
export { where } from "./ops/where.ts";
/** Optimizers, learning rate schedules, averaged models, and their state. */
export * as optim from "./optim/index.ts";
export type { BackwardOptions } from "./tensor/autograd.ts";
export {
  arange,
  full,
  type NestedArray,
  ones,
  rand,
  randn,
  type TensorOptions,
  tensor,
  zeros,
} from "./tensor/create.ts";
export { type DeviceMemory, type Memory, memory } from "./tensor/memory.ts";
export type { NestedValues } from "./tensor/nest.ts";
export { noGrad, scope } from "./tensor/scope.ts";
export { Tensor } from "./tensor/tensor.ts";

/** Evenkeel: batch normalization for TypeScript, exactly as PyTorch does it, and what is needed to use it for real. */
import "./ops/methods.ts";

export type { Device } from "./backend/backend.ts";
export { setThreads } from "./backend/cpu/index.ts";
export * as checkpoint from "./checkpoint/index.ts";
export type { DType, TypedArray } from "./core/dtype.ts";
export {
  ArgumentError,
  AutogradError,
  CheckpointError,
  DataError,
  DeviceError,
  DTypeError,
  EvenkeelError,
  LifetimeError,
  OutOfMemoryError,
  ShapeError,
  StateDictError,
} from "./core/errors.ts";
export { manualSeed } from "./core/random.ts";
export * as data from "./data/index.ts";
export * as nn from "./nn/index.ts";
export * as optim from "./optim/index.ts";
export { arange, full, ones, rand, randn, tensor, zeros } from "./tensor/create.ts";
export { type Memory, memory } from "./tensor/memory.ts";
export { noGrad, scope } from "./tensor/scope.ts";
export { Tensor } from "./tensor/tensor.ts";

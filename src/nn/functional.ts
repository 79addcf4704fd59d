/** Layers as functions, without state: `nn.functional`. */
export {
  gelu,
  leakyRelu,
  relu,
  relu6,
  sigmoid,
  silu,
  softplus,
  tanh,
} from "../ops/activation.ts";
export { type BatchNormOptions, batchNorm } from "../ops/batch-norm.ts";
export { conv1d, conv2d, conv3d } from "../ops/conv.ts";
export type { ConvOptions, ConvTransposeOptions } from "../ops/conv-geometry.ts";
export { convTranspose1d, convTranspose2d, convTranspose3d } from "../ops/conv-transpose.ts";
export { crossEntropy, nllLoss } from "../ops/cross-entropy.ts";
export { type DropoutOptions, dropout, dropout1d, dropout2d, dropout3d } from "../ops/dropout.ts";
export {
  binaryCrossEntropyWithLogits,
  huberLoss,
  l1Loss,
  mseLoss,
  smoothL1Loss,
} from "../ops/loss.ts";
export { linear } from "../ops/matmul.ts";
export {
  groupNorm,
  type InstanceNormOptions,
  instanceNorm,
  layerNorm,
  type NormalizationOptions,
} from "../ops/normalization.ts";
export { type PadMode, type PadOptions, pad } from "../ops/pad.ts";
export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  maxPool1d,
  maxPool2d,
  maxPool3d,
  type ReturnIndices,
} from "../ops/pool.ts";
export { logSoftmax, softmax } from "../ops/softmax.ts";

/** Layers as functions, without state: `nn.functional`. */
export { batchNorm } from "../ops/batch-norm.ts";
export { conv2d } from "../ops/conv.ts";
export { dropout } from "../ops/dropout.ts";
export { leakyRelu, relu, sigmoid, tanh } from "../ops/elementwise.ts";
export { linear } from "../ops/matmul.ts";
export { avgPool2d, maxPool2d } from "../ops/pool.ts";
export { crossEntropy, logSoftmax, softmax } from "../ops/softmax.ts";

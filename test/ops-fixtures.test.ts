import { nn } from "../src/index.ts";
import { testOperations } from "./support/op-fixtures.ts";

const { leakyRelu, linear, conv2d, maxPool2d, avgPool2d, softmax, logSoftmax, crossEntropy } =
  nn.functional;

/** Every option that some case has; a case has those of its operation. */
interface Options {
  readonly axis: number;
  readonly axes: readonly number[] | null;
  readonly keepdim: boolean;
  readonly unbiased: boolean;
  readonly order: readonly number[];
  readonly a: number;
  readonly b: number;
  readonly shape: readonly number[];
  readonly negativeSlope: number;
  readonly kernelSize: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
  readonly reduction: "mean" | "sum" | "none";
}

testOperations<Options>("ops", {
  add: ({ a, b }) => a.add(b),
  sub: ({ a, b }) => a.sub(b),
  mul: ({ a, b }) => a.mul(b),
  div: ({ a, b }) => a.div(b),
  pow: ({ a, b }) => a.pow(b),
  maximum: ({ a, b }) => a.maximum(b),
  minimum: ({ a, b }) => a.minimum(b),
  neg: ({ x }) => x.neg(),
  abs: ({ x }) => x.abs(),
  exp: ({ x }) => x.exp(),
  log: ({ x }) => x.log(),
  sqrt: ({ x }) => x.sqrt(),
  relu: ({ x }) => x.relu(),
  sigmoid: ({ x }) => x.sigmoid(),
  tanh: ({ x }) => x.tanh(),
  leakyRelu: ({ x }, { negativeSlope }) => leakyRelu(x, negativeSlope),
  sum: ({ x }, { axes, keepdim }) => x.sum(axes ?? undefined, { keepdim }),
  mean: ({ x }, { axes, keepdim }) => x.mean(axes ?? undefined, { keepdim }),
  var: ({ x }, { axes, keepdim, unbiased }) => x.var(axes ?? undefined, { keepdim, unbiased }),
  max: ({ x }, { axis }) => x.max(axis),
  argmax: ({ x }, { axis }) => x.argmax(axis),
  permute: ({ x }, { order }) => x.permute(order),
  transpose: ({ x }, { a, b }) => x.transpose(a, b),
  reshape: ({ x }, { shape }) => x.reshape(shape),
  gather: ({ x, index }, { axis }) => x.gather(axis, index),
  matmul: ({ a, b }) => a.matmul(b),
  linear: ({ x, weight, bias }) => linear(x, weight, bias),
  conv2d: ({ x, weight, bias }, { stride, padding, dilation, groups }) =>
    conv2d(x, weight, { bias, stride, padding, dilation, groups }),
  maxPool2d: ({ x }, { kernelSize, stride, padding }) =>
    maxPool2d(x, kernelSize, { stride, padding }),
  avgPool2d: ({ x }, { kernelSize, stride, padding }) =>
    avgPool2d(x, kernelSize, { stride, padding }),
  softmax: ({ x }, { axis }) => softmax(x, axis),
  logSoftmax: ({ x }, { axis }) => logSoftmax(x, axis),
  crossEntropy: ({ logits, labels }, { reduction }) => crossEntropy(logits, labels, { reduction }),
});

/**
 * TensorFlow.js as a peer, backend `wasm` or `cpu` by the first argument. Images are NHWC, the only layout that it computes in. It
 * uses one thread in Node whatever it is asked for.
 */
import { type BatchNormTask, type ConvTask, sizeOf, type Task } from "../task.ts";
import { load, randomValues, versionOf } from "./packages.ts";
import { CannotError, type Job, serve } from "./serve.ts";

interface Tensor {
  readonly shape: readonly number[];
  sub(other: Tensor): Tensor;
  mul(other: Tensor): Tensor;
  add(other: Tensor | number): Tensor;
  mean(axes: readonly number[]): Tensor;
  square(): Tensor;
  rsqrt(): Tensor;
  relu(): Tensor;
  dispose(): void;
}

interface TensorFlow {
  readonly version: { readonly tfjs: string };
  setBackend(name: string): Promise<boolean>;
  tensor(values: Float32Array, shape: readonly number[]): Tensor;
  tidy<Result>(run: () => Result): Result;
  grads(run: (...xs: Tensor[]) => Tensor): (xs: readonly Tensor[], dy: Tensor) => Tensor[];
  matMul(a: Tensor, b: Tensor): Tensor;
  conv2d(x: Tensor, weight: Tensor, stride: number, padding: number): Tensor;
}

const backend = process.argv[2] === "cpu" ? "cpu" : "wasm";
const tf = load<TensorFlow>("@tensorflow/tfjs");
if (backend === "wasm") load("@tensorflow/tfjs-backend-wasm");
await tf.setBackend(backend);

function prepare(task: Task): Job {
  switch (task.op) {
    case "batchNorm":
      return batchNorm(task);
    case "conv":
      return conv(task);
    case "matmul": {
      const [a, b] = [random([task.size, task.size]), random([task.size, task.size])];
      return () => tf.tidy(() => void tf.matMul(a, b));
    }
    default:
      throw new CannotError(`the bench has no ${task.op} for it`);
  }
}

/** Written out, because the gradient of `tf.batchNorm` takes three to four times as long. */
function batchNorm({ pass, shape, epilogue }: BatchNormTask): Job {
  const [outer = 1, channels = 1, ...inner] = shape;
  const x = random([outer, ...inner, channels]);
  const [weight, bias, mean] = [random([channels]), random([channels]), random([channels])];
  const variance = random([channels]).square();
  const residual = random(epilogue === "residual+relu" ? x.shape : [1]);
  const axes = [...x.shape.keys()].slice(0, -1);
  const forward = (x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) => {
    const centred = x.sub(pass === "eval" ? mean : x.mean(axes));
    const spread = pass === "eval" ? variance : centred.square().mean(axes);
    const y = centred.mul(spread.add(1e-5).rsqrt()).mul(weight).add(bias);
    if (epilogue === "none") return y;
    return (epilogue === "relu" ? y : y.add(residual)).relu();
  };
  const operands = [x, weight, bias, residual] as const;
  if (pass !== "backward") return () => tf.tidy(() => void forward(...operands));
  return epilogue === "residual+relu"
    ? gradientOf(forward, operands)
    : gradientOf((x, weight, bias) => forward(x, weight, bias, residual), [x, weight, bias]);
}

function conv(task: ConvTask): Job {
  const { pass, batch, channels, outChannels, size, kernel, stride, groups } = task;
  if (groups > 1) throw new CannotError("the bench has no grouped convolution for it");
  const x = random([batch, size, size, channels]);
  const weight = random([kernel, kernel, channels, outChannels]);
  const padding = (kernel - 1) >> 1;
  if (pass === "forward") return () => tf.tidy(() => void tf.conv2d(x, weight, stride, padding));
  return pass === "gradInput"
    ? gradientOf((x) => tf.conv2d(x, weight, stride, padding), [x])
    : gradientOf((weight) => tf.conv2d(x, weight, stride, padding), [weight]);
}

/** It keeps no graph to go back through again: the forward pass runs each time, and only what follows it counts. */
function gradientOf(forward: (...xs: Tensor[]) => Tensor, xs: readonly Tensor[]): Job {
  let start = 0;
  const dy = random(tf.tidy(() => forward(...xs).shape));
  const gradients = tf.grads((...leaves) => {
    const y = forward(...leaves);
    start = performance.now();
    return y;
  });
  return () => {
    try {
      tf.tidy(() => void gradients(xs, dy));
    } catch (error) {
      // wasm has no Conv2DBackpropFilter, among others.
      const isMissing = error instanceof Error && error.message.includes("not registered");
      throw isMissing ? new CannotError(error.message) : error;
    }
    return performance.now() - start;
  };
}

function random(shape: readonly number[]): Tensor {
  return tf.tensor(randomValues(sizeOf(shape)), shape);
}

await serve({ versions: { tfjs: versionOf("@tensorflow/tfjs") }, prepare });

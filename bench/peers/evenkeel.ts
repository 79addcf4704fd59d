import { readFileSync } from "node:fs";
import { models, nn, noGrad, optim, randn, scope, setThreads, type Tensor, tensor } from "evenkeel";
import {
  type BatchNormTask,
  type ConvTask,
  type InferTask,
  outSizeOf,
  type Task,
  type TrainTask,
} from "../task.ts";
import { CannotError, type Job, serve } from "./serve.ts";

function prepare(task: Task, threads: number): Job | Promise<Job> {
  setThreads(threads);
  switch (task.op) {
    case "batchNorm":
      return batchNorm(task);
    case "conv":
      return conv(task);
    case "matmul":
      return matmul(task.size);
    case "optimizer":
      return optimizer(task.kind);
    case "train":
      return train(task);
    case "infer":
      return infer(task);
    default:
      throw new CannotError(`no ${task.op} here`);
  }
}

function batchNorm({ pass, shape, epilogue }: BatchNormTask): Job {
  const channels = [shape[1] ?? 0];
  const isBackward = pass === "backward";
  const leaf = (dims: readonly number[]) => randn(dims, { requiresGrad: isBackward });
  const x = leaf(shape);
  const residual = epilogue === "residual+relu" ? leaf(shape) : null;
  const weight = leaf(channels);
  const bias = leaf(channels);
  const [mean, variance] = [randn(channels), randn(channels).abs()];
  const training = pass !== "eval";
  const relu = epilogue !== "none";
  const forward = () =>
    nn.functional.batchNorm(x, mean, variance, { weight, bias, training, residual, relu });
  if (!isBackward) return inScope(() => forward());
  return gradientOf(forward(), [x, weight, bias, ...(residual ? [residual] : [])]);
}

function conv(task: ConvTask): Job {
  const { pass, batch, channels, outChannels, size, kernel, stride, groups } = task;
  const padding = (kernel - 1) >> 1;
  const x = randn([batch, channels, size, size], { requiresGrad: pass === "gradInput" });
  const shape = [outChannels, channels / groups, kernel, kernel];
  const weight = randn(shape, { requiresGrad: pass === "gradWeight" });
  const forward = () => nn.functional.conv2d(x, weight, { stride, padding, groups });
  if (pass === "forward") return inScope(() => forward());
  const y = forward();
  if (y.shape[2] !== outSizeOf(task)) throw new Error(`an output of ${y.shape}`);
  return gradientOf(y, [pass === "gradInput" ? x : weight]);
}

function matmul(size: number): Job {
  const [a, b] = [randn([size, size]), randn([size, size])];
  return inScope(() => a.matmul(b));
}

/** Backward through one operation; gradients are new each time. */
function gradientOf(y: Tensor, leaves: readonly Tensor[]): Job {
  const dy = randn(y.shape);
  return () => {
    y.backward(dy, { retainGraph: true });
    for (const leaf of leaves) {
      leaf.grad?.dispose();
      leaf.grad = null;
    }
  };
}

function inScope(run: () => Tensor): Job {
  return () =>
    scope(() => {
      noGrad(run);
    });
}

function optimizer(kind: "sgd" | "adam"): Job {
  const parameters = [...models.resnet50().parameters()];
  for (const parameter of parameters) parameter.grad = randn(parameter.shape).keep();
  const made =
    kind === "sgd"
      ? new optim.SGD(parameters, { lr: 1e-6, momentum: 0.9, weightDecay: 1e-4 })
      : new optim.Adam(parameters, { lr: 1e-6 });
  return () => made.step();
}

function train({ model: name, batch, size }: TrainTask): Job {
  const model = models[name]();
  const made = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
  const x = randn([batch, 3, size, size]);
  const labels = tensor(
    Int32Array.from({ length: batch }, (_, i) => 7 * i),
    { dtype: "int32" },
  );
  return () =>
    scope(() => {
      made.zeroGrad();
      nn.functional.crossEntropy(model(x), labels).backward();
      made.step();
    });
}

async function infer({ model: name, batch, size, folded }: InferTask): Promise<Job> {
  const x = randn([batch, 3, size, size]);
  const made = models[name]().eval();
  const model = folded ? (await nn.fuseConvBatchNorm(made)).model : made;
  return inScope(() => model(x) as Tensor);
}

const { version } = JSON.parse(
  readFileSync(new URL(import.meta.resolve("evenkeel/package.json")), "utf8"),
);
await serve({ versions: { evenkeel: version, node: process.versions.node }, prepare });

/** jax-js as a peer, on its wasm backend. Passing an array ends it, and `.ref` keeps it for another use. */
import { type BatchNormTask, type ConvTask, sizeOf, type Task } from "../task.ts";
import { load, randomValues, versionOf } from "./packages.ts";
import { CannotError, type Job, serve } from "./serve.ts";
import { WebWorker } from "./web-worker.ts";

interface JaxArray {
  readonly shape: number[];
  readonly ref: JaxArray;
  sub(other: JaxArray): JaxArray;
  mul(other: JaxArray): JaxArray;
  add(other: JaxArray | number): JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  dispose(): void;
}

type Operation = (...xs: JaxArray[]) => JaxArray;
type Widths = readonly (readonly [number, number])[];

interface Jax {
  init(...devices: string[]): Promise<string[]>;
  defaultDevice(device: string): string;
  jit(run: Operation): Operation;
  vjp(run: Operation, xs: readonly JaxArray[]): [JaxArray, (dy: JaxArray) => JaxArray[]];
  blockUntilReady<Tree>(tree: Tree): Promise<Tree>;
  readonly nn: { relu: Operation };
  readonly lax: {
    conv(x: JaxArray, weight: JaxArray, strides: readonly number[], padding: string): JaxArray;
  };
  readonly numpy: {
    array(values: Float32Array, options: { readonly shape: readonly number[] }): JaxArray;
    mean(x: JaxArray, axes: readonly number[], options: { readonly keepdims: true }): JaxArray;
    pad(x: JaxArray, widths: Widths): JaxArray;
    square: Operation;
    sqrt: Operation;
    reciprocal: Operation;
    matmul: Operation;
  };
}

// It starts as many workers as it finds cores, and none where the place has no workers: Node has neither name.
const threads = Number(process.env.EVENKEEL_THREADS ?? 1);
const surroundings = threads > 1 ? { Worker: WebWorker } : {};
Object.assign(globalThis, surroundings);
Object.defineProperty(globalThis, "navigator", { value: { hardwareConcurrency: threads } });

const jax = load<Jax>("@jax-js/jax");
const { numpy, lax } = jax;
await jax.init("cpu", "wasm");
jax.defaultDevice("wasm");

function prepare(task: Task): Job {
  switch (task.op) {
    case "batchNorm":
      return batchNorm(task);
    case "conv":
      return conv(task);
    case "matmul": {
      const [a, b] = [random([task.size, task.size]), random([task.size, task.size])];
      return ended(() => [numpy.matmul(a.ref, b.ref)]);
    }
    default:
      throw new CannotError(`the bench has no ${task.op} for it`);
  }
}

function batchNorm({ pass, shape, epilogue }: BatchNormTask): Job {
  if (epilogue === "residual+relu") throw new CannotError("the bench has no residual for it");
  const [, channels = 1] = shape;
  const perChannel = [1, channels, ...shape.slice(2).map(() => 1)];
  const axes = [...shape.keys()].filter((axis) => axis !== 1);
  const mean = (x: JaxArray) => numpy.mean(x, axes, { keepdims: true });
  const normalise = (centred: JaxArray, variance: JaxArray, weight: JaxArray, bias: JaxArray) => {
    const invStd = numpy.reciprocal(numpy.sqrt(variance.add(1e-5)));
    const y = centred.mul(invStd).mul(weight).add(bias);
    return epilogue === "relu" ? jax.nn.relu(y) : y;
  };
  const training = jax.jit((x, weight, bias) => {
    const centred = x.ref.sub(mean(x));
    return normalise(centred.ref, mean(numpy.square(centred)), weight, bias);
  });
  const inference = jax.jit((x, weight, bias, runningMean, runningVar) =>
    normalise(x.sub(runningMean), runningVar, weight, bias),
  );
  const [x, weight, bias] = [random(shape), random(perChannel), random(perChannel)];
  if (pass === "backward") return gradientOf(training, [x, weight, bias]);
  if (pass === "forward") return ended(() => [training(x.ref, weight.ref, bias.ref)]);
  const [runningMean, runningVar] = [random(perChannel), numpy.square(random(perChannel))];
  const operands = [x, weight, bias, runningMean, runningVar];
  return ended(() => [inference(...operands.map((operand) => operand.ref))]);
}

/** Padded by a program of its own, because its convolution with padding takes several times as long. */
function conv(task: ConvTask): Job {
  const { pass, batch, channels, outChannels, size, kernel, stride, groups } = task;
  if (groups > 1) throw new CannotError("the bench has no grouped convolution for it");
  const x = random([batch, channels, size, size]);
  const weight = random([outChannels, channels, kernel, kernel]);
  const width = (kernel - 1) >> 1;
  const sides = [width, width] as const;
  const pad = jax.jit((x) => numpy.pad(x, [[0, 0], [0, 0], sides, sides]));
  const valid = jax.jit((x, weight) => lax.conv(x, weight, [stride, stride], "VALID"));
  const forward = (x: JaxArray, weight: JaxArray) => valid(width > 0 ? pad(x) : x, weight);
  if (pass === "forward") return ended(() => [forward(x.ref, weight.ref)]);
  return pass === "gradInput"
    ? gradientOf((x) => forward(x, weight.ref), [x])
    : gradientOf((weight) => forward(x.ref, weight), [weight]);
}

function gradientOf(forward: Operation, xs: readonly JaxArray[]): Job {
  const [y, backward] = jax.vjp(forward, xs);
  const dy = random(y.shape);
  y.dispose();
  return ended(() => backward(dy.ref));
}

/** Kernels may only have been queued when a call returns. */
function ended(run: () => readonly JaxArray[]): Job {
  return async () => {
    const results = await jax.blockUntilReady(run());
    for (const result of results) result.dispose();
  };
}

function random(shape: readonly number[]): JaxArray {
  return numpy.array(randomValues(sizeOf(shape)), { shape });
}

await serve({ versions: { "jax-js": versionOf("@jax-js/jax") }, prepare });

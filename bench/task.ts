/** What a peer can be asked to do. Tasks travel to the peers' processes as JSON, so they are plain data. */

export type Pass = "forward" | "gradInput" | "gradWeight";
export type Epilogue = "none" | "relu" | "residual+relu";
type ModelName = "resnet18" | "resnet50" | "mobilenetV2";

export type Task =
  /** The limit of what only moves memory: reads and writes this many float32. */
  | { readonly op: "copy"; readonly elements: number }
  /** The limit of what only computes: multiply-adds in registers. One run is `peakFlops` operations. */
  | { readonly op: "peak" }
  | BatchNormTask
  | ConvTask
  | { readonly op: "matmul"; readonly size: number }
  | { readonly op: "optimizer"; readonly kind: "sgd" | "adam" }
  | TrainTask
  | InferTask;

export interface BatchNormTask {
  readonly op: "batchNorm";
  /** `forward` and `backward` in training. */
  readonly pass: "forward" | "backward" | "eval";
  readonly shape: readonly number[];
  readonly epilogue: Epilogue;
}

/** Square kernels and images, no bias, padding that keeps the size at stride 1. */
export interface ConvTask {
  readonly op: "conv";
  readonly pass: Pass;
  readonly batch: number;
  readonly channels: number;
  readonly outChannels: number;
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly groups: number;
}

/** One step: zeroed gradients, forward, cross entropy, backward, SGD with momentum. */
export interface TrainTask {
  readonly op: "train";
  readonly model: ModelName;
  readonly batch: number;
  readonly size: number;
}

export interface InferTask {
  readonly op: "infer";
  readonly model: ModelName;
  readonly batch: number;
  readonly size: number;
  /** Batch norms folded into the convolutions before them. */
  readonly folded: boolean;
}

export const peers = [
  "evenkeel",
  "pytorch",
  "tfjs-wasm",
  "tfjs-cpu",
  "jax-js",
  "onnxruntime",
] as const;
export type PeerName = (typeof peers)[number];

/** One line of the tables: a task, and who is asked to do it. */
export interface Row {
  /** Unique; parts are divided by slashes: suite, what, size. */
  readonly id: string;
  readonly suite: string;
  readonly task: Task;
  readonly threads: number;
  /** Beside evenkeel itself. */
  readonly against: readonly PeerName[];
  /** Bytes of the tensor that the time of a copy is taken of; 0 where that says nothing. */
  readonly copyBytes: number;
  /** Multiply-adds, counted as two operations each, of the direct method; 0 where that says nothing. */
  readonly flops: number;
  /** Every peer gets a process of its own for this row, whose peak memory is then the row's. */
  readonly hasOwnProcess: boolean;
}

/** Operations of one run of the peak loop, on each thread. */
export const peakFlops = 2 * 4 * 12 * 1_000_000;

export function outSizeOf({ size, kernel, stride }: ConvTask): number {
  return Math.floor((size + 2 * ((kernel - 1) >> 1) - kernel) / stride) + 1;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

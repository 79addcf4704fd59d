import { type BatchNormTask, type Epilogue, type PeerName, type Row, sizeOf } from "../task.ts";

/** Those of ResNet-50 at batch 32, then (N, C), 1d and 3d. */
const shapes = [
  [32, 64, 112, 112],
  [32, 256, 56, 56],
  [32, 64, 56, 56],
  [32, 512, 28, 28],
  [32, 1024, 14, 14],
  [32, 2048, 7, 7],
  [256, 512],
  [8, 64, 8192],
  [4, 32, 16, 32, 32],
];
/** Where peers take seconds, one shape and no epilogue has to do. */
const slowPeers: readonly PeerName[] = ["tfjs-wasm", "tfjs-cpu", "jax-js"];
const shapeOfSlowPeers = "32x64x56x56";

export function batchNormRows(threads: number): Row[] {
  const epilogues: readonly Epilogue[] = ["none", "relu", "residual+relu"];
  const passes = ["forward", "backward", "eval"] as const;
  return epilogues.flatMap((epilogue) =>
    passes.flatMap((pass) =>
      shapes.map((shape) => rowOf({ op: "batchNorm", pass, shape, epilogue }, threads)),
    ),
  );
}

/** The cost of each pass as the batch grows. */
export function batchRows(threads: number): Row[] {
  const batches = [1, 2, 4, 8, 16, 32, 64];
  const passes = ["forward", "backward"] as const;
  return passes
    .flatMap((pass) =>
      batches.map((batch) => {
        const task = {
          op: "batchNorm",
          pass,
          shape: [batch, 64, 56, 56],
          epilogue: "none",
        } as const;
        return { ...rowOf(task, threads), suite: "batch", against: ["pytorch"] as const };
      }),
    )
    .map((row) => ({ ...row, id: row.id.replace("batch-norm", "batch") }));
}

export function rowOf(task: BatchNormTask, threads: number): Row {
  const name = task.shape.join("x");
  const isForAll = name === shapeOfSlowPeers && task.epilogue === "none";
  const epilogue = task.epilogue === "none" ? "" : `+${task.epilogue}`;
  return {
    id: `batch-norm/${task.pass}${epilogue}/${name}`,
    suite: "batch-norm",
    task,
    threads,
    against: isForAll ? ["pytorch", ...slowPeers] : ["pytorch"],
    copyBytes: 4 * sizeOf(task.shape),
    flops: 0,
    hasOwnProcess: false,
  };
}

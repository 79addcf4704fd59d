import type { InferTask, Row, TrainTask } from "../task.ts";

export function modelRows(threads: number): Row[] {
  const tasks: (TrainTask | InferTask)[] = [
    { op: "train", model: "resnet18", batch: 8, size: 224 },
    { op: "train", model: "resnet50", batch: 8, size: 224 },
    { op: "train", model: "resnet18", batch: 32, size: 64 },
    { op: "train", model: "mobilenetV2", batch: 8, size: 224 },
    ...(["resnet18", "resnet50", "mobilenetV2"] as const).flatMap((model) =>
      [false, true].map((folded) => ({ op: "infer", model, batch: 8, size: 224, folded }) as const),
    ),
  ];
  return tasks.map((task) => modelRow(task, threads));
}

export function modelRow(task: TrainTask | InferTask, threads: number): Row {
  const isFolded = task.op === "infer" && task.folded;
  return {
    id: `models/${task.model} ${task.op}${isFolded ? " folded" : ""}/${task.batch}x3x${task.size}x${task.size}`,
    suite: "resnet",
    task,
    threads,
    // The exported models are folded.
    against: isFolded ? ["pytorch", "onnxruntime"] : ["pytorch"],
    copyBytes: 0,
    flops: 0,
    hasOwnProcess: true,
  };
}

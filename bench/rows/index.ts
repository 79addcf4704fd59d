/** All rows of the bench, by suite. */
import type { Row } from "../task.ts";
import { batchNormRows, batchRows, rowOf } from "./batch-norm.ts";
import { convRows } from "./conv.ts";
import { matmulRows } from "./matmul.ts";
import { modelRow, modelRows } from "./models.ts";
import { optimizerRows } from "./optimizer.ts";

export const suites = ["batch-norm", "conv", "matmul", "optimizer", "resnet", "threads", "batch"];

/** With as many threads as there are cores, except where threads are what is varied. */
export function rowsOf(suite: string, threads: number): Row[] {
  switch (suite) {
    case "batch-norm":
      return batchNormRows(threads);
    case "conv":
      return convRows(threads);
    case "matmul":
      return matmulRows(threads);
    case "optimizer":
      return optimizerRows(threads);
    case "resnet":
      return modelRows(threads);
    case "threads":
      return threadRows(threads);
    case "batch":
      return batchRows(threads);
    default:
      throw new Error(`no suite is called ${suite}; there are ${suites.join(", ")}`);
  }
}

/** A few rows of the other suites with 1, 2, ... threads. */
function threadRows(threads: number): Row[] {
  const counts = [1, 2, 4, 8, 16].filter((count) => count <= threads);
  const shape = [32, 256, 56, 56];
  return counts.flatMap((count) =>
    [
      rowOf({ op: "batchNorm", pass: "forward", shape, epilogue: "none" }, count),
      rowOf({ op: "batchNorm", pass: "backward", shape, epilogue: "none" }, count),
      ...convRows(count).filter(({ id }) => /(3x3|1x1) \w+\/64-/.test(id)),
      ...matmulRows(count).filter(({ id }) => id === "matmul/1024"),
      modelRow({ op: "train", model: "resnet18", batch: 8, size: 224 }, count),
    ].map((row) => ({ ...row, id: `threads/${count}/${row.id}`, suite: "threads" })),
  );
}

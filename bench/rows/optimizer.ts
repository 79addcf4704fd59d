import type { Row } from "../task.ts";

/** The parameters of ResNet-50, 25.6 million in 161 tensors. */
export function optimizerRows(threads: number): Row[] {
  return (["sgd", "adam"] as const).map((kind) => ({
    id: `optimizer/${kind}/25.6 M`,
    suite: "optimizer",
    task: { op: "optimizer", kind },
    threads,
    against: ["pytorch"],
    copyBytes: 4 * 25_557_032,
    flops: 0,
    hasOwnProcess: false,
  }));
}

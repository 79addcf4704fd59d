import type { Row } from "../task.ts";

export function matmulRows(threads: number): Row[] {
  return [256, 512, 1024, 2048].map((size) => ({
    id: `matmul/${size}`,
    suite: "matmul",
    task: { op: "matmul", size },
    threads,
    against: size === 512 ? ["pytorch", "tfjs-wasm", "tfjs-cpu", "jax-js"] : ["pytorch"],
    copyBytes: 0,
    flops: 2 * size ** 3,
    hasOwnProcess: false,
  }));
}

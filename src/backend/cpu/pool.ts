import type { Backend, Operand, Pool2dLayout } from "../backend.ts";
import { groupUnits, withJob } from "./job.ts";
import { addressOf, type KernelName, type Machine } from "./machine.ts";

type PoolKernels = Pick<Backend, "maxPool2d" | "maxPool2dGrad" | "avgPool2d" | "avgPool2dGrad">;

/** Pooling, plane by plane. */
export function poolKernels(machine: Machine): PoolKernels {
  return {
    maxPool2d(x, y, indices, layout) {
      pool(machine, "maxPool", { x, y, indices }, layout);
    },
    maxPool2dGrad(dy, indices, dx, layout) {
      const kernel = isTiling(layout) ? "maxPoolGradOfPairs" : "maxPoolGrad";
      pool(machine, kernel, { x: dx, y: dy, indices }, layout);
    },
    avgPool2d(x, y, layout) {
      pool(machine, "averagePool", { x, y }, layout);
    },
    avgPool2dGrad(dy, dx, layout) {
      pool(machine, "averagePoolGrad", { x: dx, y: dy }, layout);
    },
  };
}

/** True for windows of 2 x 2 that cover x without overlap. */
function isTiling({ H, W, outH, outW, ...layout }: Pool2dLayout): boolean {
  const { kernelH, kernelW, strideH, strideW, paddingH, paddingW } = layout;
  const isPair = [kernelH, kernelW, strideH, strideW].every((size) => size === 2);
  return isPair && paddingH === 0 && paddingW === 0 && H === 2 * outH && W === 2 * outW;
}

interface PoolOperands {
  /** x, y, or their gradients. */
  readonly x: Operand;
  readonly y: Operand;
  readonly indices?: Operand;
}

function pool(
  machine: Machine,
  kernel: KernelName,
  { x, y, indices }: PoolOperands,
  layout: Pool2dLayout,
): void {
  const { planes, H, W, kernelH, kernelW, strideH, strideW, paddingH, paddingW } = layout;
  const { outH, outW } = layout;
  const work = Math.max(H * W, outH * outW * kernelH * kernelW);
  const { chunks, perChunk } = groupUnits(planes, work);
  // The words of `Pooling` in kernels/pool.ts.
  const words = [
    ...[planes, H, W, kernelH, kernelW, strideH, strideW, paddingH, paddingW, outH, outW],
    ...[perChunk, addressOf(x), addressOf(y), indices === undefined ? 0 : addressOf(indices)],
  ];
  withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
}

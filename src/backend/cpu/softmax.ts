/** Softmax and its gradient along one axis. */
import type { AxisLayout, Backend, Operand } from "../backend.ts";
import { requireFloat } from "./elementwise.ts";
import { chunkElements, groupUnits, withJob } from "./job.ts";
import { addressOf, type KernelName, type Machine } from "./machine.ts";

export function softmaxKernels(machine: Machine): Pick<Backend, "softmax" | "softmaxGrad"> {
  return {
    softmax(x, y, layout, log) {
      requireFloat("softmax", x);
      run(machine, "softmax", [x, y, y], { ...layout, log });
    },
    softmaxGrad(dy, y, dx, layout, log) {
      requireFloat("softmaxGrad", dy);
      run(machine, "softmaxGrad", [dy, y, dx], { ...layout, log });
    },
  };
}

function run(
  machine: Machine,
  kernel: Extract<KernelName, "softmax" | "softmaxGrad">,
  operands: readonly Operand[],
  { outer, length, inner, log }: AxisLayout & { readonly log: boolean },
): void {
  // Lines side by side come in whole cache lines; the exponentials are worth four plain elements.
  const lines = Math.max(1, Math.floor(chunkElements / 4 / Math.max(1, length) / 16)) * 16;
  const tile = Math.max(1, Math.min(inner, lines));
  const tiles = Math.ceil(inner / tile);
  const { chunks, perChunk } = groupUnits(outer * tiles, 4 * tile * length);
  // The words of `Softmax` in kernels/softmax.ts.
  const words = [
    ...[...operands.map(addressOf), length, inner],
    ...[tile, tiles, outer * tiles, perChunk, Number(log)],
  ];
  withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
}

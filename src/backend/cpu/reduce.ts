/** Sums, means and extremes along one axis. */
import type { AxisLayout, Backend, Operand, ReduceOp } from "../backend.ts";
import { intoWords, withWords } from "./elementwise.ts";
import { cutEvenly, groupUnits, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

/** Elements of a block, the most that are added up before there is a partial result. */
const blockElements = 65536;
/** Columns that are summed side by side: their float64 sums take 8 KiB of first-level cache. */
const mostColumns = 1024;

export function reduceKernels(machine: Machine): Pick<Backend, "reduce" | "argmax"> {
  return {
    reduce(op, x, out, layout) {
      withWords(machine, op, [x], ([input]) => {
        intoWords(machine, out, (output) => reduce(machine, op, [input, output], layout));
      });
    },
    argmax(x, out, layout) {
      withWords(machine, "argmax", [x], ([input]) => {
        const { outer, length, inner } = layout;
        const { chunks, perChunk } = groupUnits(outer * inner, length);
        const kernel = input.dtype === "float32" ? "argmaxFloat" : "argmaxInt";
        const addresses = [addressOf(input), addressOf(out)];
        machine.run(kernel, chunks, [...addresses, outer * inner, length, inner, perChunk]);
      });
    },
  };
}

/** How the work is cut, by shape alone. */
interface Plan {
  readonly blockLength: number;
  readonly blocks: number;
  readonly tile: number;
  readonly tiles: number;
}

function planOf({ length, inner }: AxisLayout): Plan {
  const tile = Math.min(Math.max(inner, 1), mostColumns);
  const blockLength = Math.max(1, Math.floor(blockElements / tile));
  const blocks = Math.max(1, Math.ceil(length / blockLength));
  return { blockLength, blocks, tile, tiles: Math.ceil(inner / tile) };
}

function reduce(
  machine: Machine,
  op: ReduceOp,
  [x, out]: readonly Operand[],
  layout: AxisLayout,
): void {
  const { outer, length, inner } = layout;
  const { blockLength, blocks, tile, tiles } = planOf(layout);
  const outputs = outer * inner;
  const units = outer * blocks * tiles;
  const { chunks, perChunk } = groupUnits(units, tile * Math.min(length, blockLength));
  const kernel = `${op === "mean" ? "sum" : op}${x.dtype === "float32" ? "Float" : "Int"}` as const;
  const scratch = machine.scratch(Math.ceil(tile / 8) * 64);

  machine.temporary(blocks > 1 ? blocks * outputs * 8 : 0, (partials) => {
    // The words of `Reduction` in kernels/reduce.ts.
    const words = [
      ...[addressOf(x), addressOf(out), partials, outputs, length, inner],
      ...[blockLength, blocks, tile, tiles, units, perChunk, Number(op === "mean"), scratch],
    ];
    withJob(machine, words, (job) => {
      machine.run(kernel, chunks, [job]);
      if (blocks === 1) return;
      const joins = cutEvenly(outputs);
      machine.run(`${kernel}Blocks`, joins.chunks, [job, joins.perChunk]);
    });
  });
}

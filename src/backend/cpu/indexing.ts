/** Picking elements by index, and adding back to where they were picked from. */
import { bytesPerElement } from "../../core/dtype.ts";
import type { Backend, GatherLayout, Operand } from "../backend.ts";
import { withWords } from "./elementwise.ts";
import { chunkElements, groupUnits, withJob } from "./job.ts";
import { addressOf, type KernelName, type Machine } from "./machine.ts";
import { castInto } from "./movement.ts";

/** Columns of a unit of the adding kernels: picks must be added in order, so only columns can be shared out. */
const columns = 64;

export function indexingKernels(
  machine: Machine,
): Pick<Backend, "gather" | "scatterAdd" | "indexSelect" | "indexAdd"> {
  return {
    gather(x, index, out, layout) {
      const { outer, picks, inner } = layout;
      const units = { units: outer * picks, unitElements: inner, tile: inner, tiles: 1 };
      run(machine, `gather${typeNameOf(x)}`, [x, index, out], { ...layout, ...units });
    },
    indexSelect(x, index, out, layout) {
      const { outer, picks, inner } = layout;
      const tile = Math.max(1, Math.min(inner, chunkElements));
      const tiles = Math.ceil(inner / tile);
      const units = { units: outer * picks * tiles, unitElements: tile, tile, tiles };
      run(machine, `indexSelect${typeNameOf(x)}`, [x, index, out], { ...layout, ...units });
    },
    scatterAdd: (x, index, sum, layout) => add(machine, "scatterAdd", [x, index, sum], layout),
    indexAdd: (x, index, sum, layout) => add(machine, "indexAdd", [x, index, sum], layout),
  };
}

function add(
  machine: Machine,
  op: "scatterAdd" | "indexAdd",
  [x, index, sum]: readonly Operand[],
  layout: GatherLayout,
): void {
  withWords(machine, op, [x, sum], ([from, total]) => {
    const { outer, picks, inner } = layout;
    const tile = Math.max(1, Math.min(inner, columns));
    const tiles = Math.ceil(inner / tile);
    const units = { units: outer * tiles, unitElements: picks * tile, tile, tiles };
    const kernel: KernelName = from.dtype === "float32" ? `${op}Float` : `${op}Int`;
    run(machine, kernel, [from, index, total], { ...layout, ...units });
    if (total !== sum) castInto(machine, total, sum);
  });
}

function typeNameOf({ dtype }: Operand) {
  if (bytesPerElement(dtype) === 1) return "Byte";
  if (dtype === "float64") return "Double";
  return dtype === "float32" ? "Float" : "Int";
}

interface Units {
  readonly units: number;
  readonly unitElements: number;
  readonly tile: number;
  readonly tiles: number;
}

function run(
  machine: Machine,
  kernel: KernelName,
  operands: readonly Operand[],
  layout: GatherLayout & Units,
): void {
  const { length, picks, inner, units, unitElements, tile, tiles } = layout;
  const { chunks, perChunk } = groupUnits(units, unitElements);
  // The words of `Picking` in kernels/indexing.ts.
  const words = [
    ...[...operands.map(addressOf), length, picks, inner],
    ...[units, perChunk, tile, tiles],
  ];
  withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
}

/**
 * What is possible: for the convolutions of a training step the time that PyTorch takes, the time that evenkeel takes, and the
 * bound, at 100 % of the machine's 128-bit multiply-add peak and with the products that Winograd's tiles of 4 x 4 outputs save.
 */
import type { RowResult } from "./harness.ts";
import { peakGigaflops } from "./ratios.ts";
import { batch, idOf } from "./rows/conv.ts";
import { type Layer, layers } from "./rows/layers.ts";

/** Times in ms, of all convolutions of a kind in all passes of one step. */
export interface SheetLine {
  readonly kind: string;
  readonly pytorch: number;
  readonly evenkeel: number;
  readonly bound: number;
}

/**
 * Products of 3 x 3 kernels for 16 outputs in place of 144: 36 at stride 1, 81 at stride 2; and those of 7 x 7 kernels for 9 outputs
 * and each channel: 36 for each of four phases in place of 441.
 */
const winogradSavings: Readonly<Record<string, number>> = {
  "3x3": 144 / 36,
  "3x3s2": 144 / 81,
  "7x7s2": 441 / 144,
};
export const networks = ["resnet18", "resnet50"] as const;
type Network = (typeof networks)[number];

const passes = ["forward", "gradInput", "gradWeight"] as const;

/** One line for each kind of kernel and one for the sum; empty where rows are missing. */
export function sheetOf(network: Network, rows: readonly RowResult[]): SheetLine[] {
  const byId = new Map(rows.map((row) => [row.id, row]));
  const lines = layers
    .filter((layer) => layer[network] > 0)
    .flatMap((layer) => lineOf(layer, layer[network], byId));
  if (lines.some((line) => line === null)) return [];
  const known = lines.filter((line) => line !== null);
  const kinds = [...new Set(known.map(({ kind }) => kind))];
  const sums = kinds.map((kind) =>
    sumOf(
      kind,
      known.filter((line) => line.kind === kind),
    ),
  );
  return [...sums, sumOf("all convolutions", known)];
}

/**
 * Batch norm with ReLU of one step, in ms, when nothing but memory takes time: forward x is read twice and y written, backward
 * x and dy are read twice and dx written, and what is written is read into the cache first; a copy moves three such streams.
 */
export function boundOfBatchNorm(network: Network, rows: readonly RowResult[]): number | null {
  const copied = rows.find(({ figures, copyBytes }) => figures.copy && copyBytes > 50e6);
  if (copied?.figures.copy === undefined) return null;
  const elements = layers.reduce((sum, layer) => {
    const outSize = Math.ceil(layer.sizes.size / layer.sizes.stride);
    return sum + layer[network] * batch * layer.sizes.outChannels * outSize * outSize;
  }, 0);
  return ((10 / 3) * 4 * elements * copied.figures.copy.ms) / copied.copyBytes;
}

function lineOf(
  layer: Layer,
  count: number,
  rows: ReadonlyMap<string, RowResult>,
): (SheetLine | null)[] {
  const used = layer.sizes.channels === 3 ? passes.filter((pass) => pass !== "gradInput") : passes;
  return used.map((pass) => {
    const row = rows.get(idOf(layer.name, pass, layer.sizes));
    const { evenkeel, pytorch } = row?.figures ?? {};
    const peak = row === undefined ? null : peakGigaflops(row);
    if (row === undefined || !evenkeel || !pytorch || peak === null) return null;
    const saving = winogradSavings[layer.name] ?? 1;
    const bound = row.flops / saving / peak / 1e6;
    return {
      kind: layer.name,
      pytorch: count * pytorch.ms,
      evenkeel: count * evenkeel.ms,
      bound: count * bound,
    };
  });
}

function sumOf(kind: string, lines: readonly SheetLine[]): SheetLine {
  const sum = (of: (line: SheetLine) => number) =>
    lines.reduce((total, line) => total + of(line), 0);
  return {
    kind,
    pytorch: sum((line) => line.pytorch),
    evenkeel: sum((line) => line.evenkeel),
    bound: sum((line) => line.bound),
  };
}

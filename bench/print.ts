/** Rows and budgets as lines of text. */
import type { Verdict } from "./budgets.ts";
import type { RowResult } from "./harness.ts";
import { gigabytesPerSecond, gigaflops, ratioTo, shareOfPeak, timesCopy } from "./ratios.ts";
import { boundOfBatchNorm, type networks, sheetOf } from "./sheet.ts";

export function lineOf(row: RowResult): string {
  const { evenkeel } = row.figures;
  const own =
    evenkeel === undefined ? `skipped: ${row.skipped.evenkeel}` : milliseconds(evenkeel.ms);
  const parts = [row.id.padEnd(52), own.padStart(10), ...limits(row)];
  for (const [name, figure] of Object.entries(row.figures)) {
    if (["evenkeel", "copy", "peak"].includes(name)) continue;
    parts.push(`${name} ${milliseconds(figure.ms)} (${ratioTo(row, name)?.toFixed(2)}x)`);
  }
  for (const [name, reason] of Object.entries(row.skipped))
    parts.push(`${name} skipped: ${reason}`);
  return parts.join("  ");
}

function limits(row: RowResult): string[] {
  const { evenkeel } = row.figures;
  const copies = timesCopy(row);
  const share = shareOfPeak(row);
  return [
    ...(evenkeel
      ? [`+-${Math.round((50 * (evenkeel.most - evenkeel.least)) / evenkeel.ms)} %`]
      : []),
    ...(copies === null
      ? []
      : [`${copies.toFixed(2)} copies, ${gigabytesPerSecond(row)?.toFixed(0)} GB/s`]),
    ...(share === null
      ? []
      : [`${gigaflops(row)?.toFixed(0)} GFLOP/s, ${Math.round(100 * share)} % of peak`]),
    ...(evenkeel?.peakBytes ? [`${Math.round(evenkeel.peakBytes / 2 ** 20)} MiB`] : []),
  ];
}

export function lineOfVerdict({ budget, worst, limit, holds, where }: Verdict): string {
  const mark = holds === null ? "not measured" : holds ? "holds" : "DOES NOT HOLD";
  return `${mark.padEnd(14)} ${budget.padEnd(62)} ${worst.padStart(8)} of ${limit.padEnd(8)} ${where}`;
}

export function milliseconds(ms: number): string {
  return `${ms < 10 ? ms.toFixed(2) : ms.toFixed(ms < 100 ? 1 : 0)} ms`;
}

/** What the convolutions of a network's training step take, and what they must. Empty where rows were not measured. */
export function sheetText(network: (typeof networks)[number], rows: readonly RowResult[]): string {
  const lines = sheetOf(network, rows);
  if (lines.length === 0) return "";
  const title = `\n${network}, one training step at batch 8, in ms`.padEnd(55);
  const bound = boundOfBatchNorm(network, rows);
  return [
    `${title}${["pytorch", "evenkeel", "bound"].map((text) => text.padStart(10)).join("")}`,
    ...lines.map(({ kind, pytorch, evenkeel, bound }) => {
      const columns = [pytorch, evenkeel, bound].map((ms) => ms.toFixed(1).padStart(10));
      return `${kind.padEnd(54)}${columns.join("")}`;
    }),
    ...(bound === null ? [] : [`${"batch norm".padEnd(74)}${bound.toFixed(1).padStart(10)}`]),
  ].join("\n");
}

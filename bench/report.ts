/** The tables of docs/performance.md, made of nothing but bench/results. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { verdicts } from "./budgets.ts";
import type { RowResult } from "./harness.ts";
import { milliseconds } from "./print.ts";
import { gigaflops, memoryTo, ratioTo, shareOfPeak, timesCopy } from "./ratios.ts";
import { readResults, type SuiteResult } from "./results.ts";
import { boundOfBatchNorm, networks, sheetOf } from "./sheet.ts";

const page = "docs/performance.md";
const [begin, end] = ["<!-- bench tables -->", "<!-- end of bench tables -->"];

/** Of the suites, in the page's order. */
const titles: Readonly<Record<string, string>> = {
  "batch-norm": "Batch norm",
  conv: "Convolutions, batch 8",
  matmul: "Matrix products",
  optimizer: "Optimizers",
  resnet: "Models",
  threads: "Threads",
  batch: "Batch norm as the batch grows",
};

export function writeReport(): void {
  const text = readFileSync(page, "utf8");
  writeFileSync(`${page}.new`, withTables(text, readResults()));
  renameSync(`${page}.new`, page);
}

/** The page with the tables of these results in place of those it has. */
export function withTables(text: string, results: readonly SuiteResult[]): string {
  const [before, rest] = text.split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error(`${page} has no ${begin}`);
  return `${before}${begin}\n${reportOf(results)}\n${end}${after}`;
}

export function reportOf(results: readonly SuiteResult[]): string {
  const rows = results.flatMap((result) => result.rows);
  const measured = Object.keys(titles).flatMap((suite) =>
    results.filter((result) => result.suite === suite),
  );
  const missing = Object.keys(titles).filter((suite) => !results.some((r) => r.suite === suite));
  return [
    ...sources(measured, missing),
    ...["### Budgets", "", ...budgetTable(rows), ""],
    ...measured.flatMap(({ suite, rows }) => [`### ${titles[suite]}`, "", ...suiteTable(rows), ""]),
    ...networks.flatMap((network) => sheetTable(network, rows)),
  ]
    .join("\n")
    .trimEnd();
}

function sources(results: readonly SuiteResult[], missing: readonly string[]): string[] {
  const versions = Object.assign({}, ...results.map((result) => result.versions));
  const machines = results.map(({ machine: { cpu, cores, memoryBytes, system } }) => {
    return `${cpu}, ${cores} cores, ${Math.round(memoryBytes / 2 ** 30)} GiB, ${system}`;
  });
  const lines = results.map(({ suite, date, commit, busyBefore, busyAfter }) => [
    ...[titles[suite] ?? suite, date.slice(0, 16).replace("T", " "), `\`${commit}\``],
    `${percent(busyBefore)}, ${percent(busyAfter)}`,
  ]);
  return [
    `Machine: ${[...new Set(machines)].join("; ")}.`,
    `Versions: ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}.`,
    ...(missing.length > 0 ? [`Not measured: ${missing.join(", ")}.`] : []),
    "",
    ...table(["measured", "date (UTC)", "commit", "cores busy before, after"], lines),
    "",
  ];
}

function budgetTable(rows: readonly RowResult[]): string[] {
  const lines = verdicts(rows).map(({ budget, limit, worst, holds, where }) => {
    const verdict = holds === null ? "not measured" : holds ? "yes" : "**no**";
    return [budget, limit, worst, verdict, where];
  });
  return table(["budget", "limit", "worst row", "holds", "which"], lines);
}

/** Of the columns only those in which any row has something to say. */
function suiteTable(rows: readonly RowResult[]): string[] {
  const known = new Set(rows.flatMap(({ figures }) => Object.keys(figures)));
  const others = [...known].filter((name) => !["evenkeel", "copy", "peak"].includes(name));
  const columns: Record<string, (row: RowResult) => string> = {
    row: ({ id }) => id.slice(id.indexOf("/") + 1),
    "evenkeel, ms": ({ figures }) => ms(figures.evenkeel?.ms),
    spread: (row) => spread(row),
    copies: (row) => fixed(timesCopy(row), 2),
    "GFLOP/s": (row) => fixed(gigaflops(row), 0),
    "of peak": (row) => percent(shareOfPeak(row)),
    "peak memory, MiB": ({ figures }) => mebibytes(figures.evenkeel?.peakBytes),
    ...Object.fromEntries(others.flatMap(columnsOf)),
  };
  const filled = Object.entries(columns).filter(([, cell]) => rows.some((row) => cell(row) !== ""));
  const lines = rows.map((row) => filled.map(([, cell]) => cell(row)));
  return [
    ...table(
      filled.map(([name]) => name),
      lines,
    ),
    ...reasons(rows),
  ];
}

function columnsOf(peer: string): [string, (row: RowResult) => string][] {
  return [
    [`${peer}, ms`, ({ figures }) => ms(figures[peer]?.ms)],
    [`to ${peer}`, (row) => fixed(ratioTo(row, peer), 2)],
    [`memory to ${peer}`, (row) => fixed(memoryTo(row, peer), 2)],
  ];
}

/** Why peers have no figure, each reason once. */
function reasons(rows: readonly RowResult[]): string[] {
  const found = rows.flatMap(({ skipped }) => Object.entries(skipped));
  const texts = [...new Set(found.map(([peer, reason]) => `${peer}: ${reason}`))].map(cellText);
  return texts.length > 0 ? ["", "Skipped:", ...texts.map((text) => `- ${text}`)] : [];
}

function sheetTable(network: (typeof networks)[number], rows: readonly RowResult[]): string[] {
  const lines = sheetOf(network, rows);
  if (lines.length === 0) return [];
  const bound = boundOfBatchNorm(network, rows);
  const cells = lines.map((line) => {
    return [line.kind, ...[line.pytorch, line.evenkeel, line.bound].map((n) => n.toFixed(1))];
  });
  const norm = bound === null ? [] : [["batch norm with ReLU", "", "", bound.toFixed(1)]];
  return [
    `### What is possible: ${network}, one training step at batch 8`,
    "",
    ...table(["ms of all layers and passes", "PyTorch", "evenkeel", "bound"], [...cells, ...norm]),
    "",
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map(cellText).join(" | ")} |`;
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)];
}

function cellText(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<=", "≤").replaceAll(">=", "≥");
}

function ms(time: number | undefined): string {
  return time === undefined ? "" : milliseconds(time).replace(" ms", "");
}

/** Half of what lies between the least and the most sample. */
function spread({ figures: { evenkeel } }: RowResult): string {
  if (evenkeel === undefined) return "";
  return `± ${percent((evenkeel.most - evenkeel.least) / evenkeel.ms / 2)}`;
}

function mebibytes(bytes: number | undefined): string {
  return bytes === undefined ? "" : `${Math.round(bytes / 2 ** 20)}`;
}

function fixed(value: number | null, digits: number): string {
  return value === null ? "" : value.toFixed(digits);
}

function percent(share: number | null): string {
  return share === null ? "" : `${Math.round(100 * share)} %`;
}

/**
 * `npm run bench`, `npm run bench -- batch-norm conv`: measures suites, writes bench/results/<suite>.json, prints each row as
 * it is done and at the end every budget. docs/performance.md says how to read it.
 *
 *   --rows=TEXT    only rows whose id contains the text; nothing is written then
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { verdicts } from "./budgets.ts";
import { measure, type RowResult, Staff } from "./harness.ts";
import { busyShare, commit, machine } from "./machine.ts";
import { lineOf, lineOfVerdict, sheetText } from "./print.ts";
import { readResults, type SuiteResult } from "./results.ts";
import { rowsOf, suites } from "./rows/index.ts";
import { networks } from "./sheet.ts";

/** Above this share of busy cores the figures say little. */
const quietShare = 0.1;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rows: { type: "string" }, threads: { type: "string" } },
});
const threads = Number(values.threads ?? availableParallelism());
const measured: RowResult[] = [];
for (const suite of positionals.length > 0 ? positionals : suites) {
  const result = await run(suite);
  measured.push(...result.rows);
  if (values.rows === undefined) write(result);
}
const rows = values.rows === undefined ? readResults().flatMap((result) => result.rows) : measured;
console.log("\nBudgets");
for (const verdict of verdicts(rows)) console.log(lineOfVerdict(verdict));
for (const network of networks) console.log(sheetText(network, rows));

async function run(suite: string): Promise<SuiteResult> {
  const wanted = rowsOf(suite, threads).filter(({ id }) => id.includes(values.rows ?? ""));
  const busy = await busyShare();
  const note = busy > quietShare ? ": not a quiet machine, its figures say little" : "";
  console.log(`\n${suite}: ${wanted.length} rows, ${percent(busy)} of the machine is busy${note}`);
  const staff = new Staff();
  const done: RowResult[] = [];
  let versions = {};
  try {
    for (const row of wanted) {
      const result = await measure(row, staff);
      versions = { ...versions, ...staff.versions };
      done.push(result);
      console.log(lineOf(result));
    }
  } finally {
    staff.dismissAll();
  }
  const facts = { suite, date: new Date().toISOString(), commit: commit(), machine: machine() };
  return { ...facts, versions, busyBefore: busy, busyAfter: await busyShare(), rows: done };
}

function write(result: SuiteResult): void {
  mkdirSync("bench/results", { recursive: true });
  const path = `bench/results/${result.suite}.json`;
  writeFileSync(`${path}.new`, `${JSON.stringify(result, rounded, 1)}\n`);
  renameSync(`${path}.new`, path);
}

/** Four digits are more than the noise leaves. */
function rounded(_key: string, value: unknown): unknown {
  const isFraction = typeof value === "number" && !Number.isInteger(value);
  return isFraction ? Number(value.toPrecision(4)) : value;
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/**
 * `npm run bench`, `npm run bench -- batch-norm conv`: measures suites, writes bench/results/<suite>.json and the tables made of
 * them, prints each row as it is done and at the end every budget. docs/performance.md says how to read it.
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { verdicts } from "./budgets.ts";
import { measure, type RowResult, Staff } from "./harness.ts";
import { busyShare, commit, machine } from "./machine.ts";
import { type Options, optionsOf, usage } from "./options.ts";
import { lineOf, lineOfVerdict, sheetText } from "./print.ts";
import { writeReport } from "./report.ts";
import { readResults, type SuiteResult } from "./results.ts";
import { rowsOf } from "./rows/index.ts";
import { networks } from "./sheet.ts";

/** Above this share of busy cores the figures say little. */
const quietShare = 0.1;

const staff = new Staff();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    staff.dismissAll();
    process.exit(signal === "SIGINT" ? 130 : 143);
  });
}

const options = readOptions();
if (options?.help) console.log(usage);
else if (options?.report) writeReport();
else if (options !== undefined) await runAll(options);

function readOptions(): Options | undefined {
  try {
    return optionsOf(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exitCode = 2;
    return undefined;
  }
}

async function runAll({ suites, threads, rows: part }: Options): Promise<void> {
  const measured: RowResult[] = [];
  for (const suite of suites) {
    const result = await run(suite, threads, part ?? "");
    measured.push(...result.rows);
    if (part === undefined) write(result);
  }
  const rows = part === undefined ? readResults().flatMap((result) => result.rows) : measured;
  if (measured.length === 0) console.log(`No row's id contains "${part}".`);
  console.log("\nBudgets");
  for (const verdict of verdicts(rows)) console.log(lineOfVerdict(verdict));
  for (const network of networks) console.log(sheetText(network, rows));
  if (part === undefined) writeReport();
}

async function run(suite: string, threads: number, part: string): Promise<SuiteResult> {
  const wanted = rowsOf(suite, threads).filter(({ id }) => id.includes(part));
  const busy = await busyShare();
  const note = busy > quietShare ? ": not a quiet machine, its figures say little" : "";
  console.log(`\n${suite}: ${wanted.length} rows, ${percent(busy)} of the machine is busy${note}`);
  const done: RowResult[] = [];
  try {
    for (const row of wanted) {
      const result = await measure(row, staff);
      done.push(result);
      console.log(lineOf(result));
    }
  } finally {
    staff.dismissAll();
  }
  const facts = { suite, date: new Date().toISOString(), commit: commit(), machine: machine() };
  return {
    ...facts,
    versions: staff.versions,
    busyBefore: busy,
    busyAfter: await busyShare(),
    rows: done,
  };
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

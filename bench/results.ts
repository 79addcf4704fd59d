import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { RowResult } from "./harness.ts";
import type { Machine } from "./machine.ts";

/** One file of bench/results. */
export interface SuiteResult {
  readonly suite: string;
  readonly date: string;
  readonly commit: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  /** Share of the machine's cores that others kept busy. */
  readonly busyBefore: number;
  readonly busyAfter: number;
  readonly rows: readonly RowResult[];
}

const folder = "bench/results";

export function readResults(): SuiteResult[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return files.sort().map((name) => JSON.parse(readFileSync(`${folder}/${name}`, "utf8")));
}

/** What the figures were taken on. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
}

export function machine(): Machine {
  return {
    cpu: os.cpus()[0]?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    system: `${os.type()} ${os.release()}`,
  };
}

/** Hash of the commit, with a mark when the tree differs from it. */
export function commit(): string {
  const git = (...args: string[]) => spawnSync("git", args, { encoding: "utf8" }).stdout?.trim();
  const hash = git("rev-parse", "--short=12", "HEAD") || "unknown";
  return git("status", "--porcelain", "--untracked-files=no") ? `${hash} with changes` : hash;
}

/** Share of all cores that were busy for half a second in which the bench itself did nothing. */
export async function busyShare(): Promise<number> {
  const before = ticks();
  await sleep(500);
  const after = ticks();
  const total = after.total - before.total;
  return total > 0 ? 1 - (after.idle - before.idle) / total : 0;
}

function ticks() {
  // A guest's stolen time counts as busy, which os.cpus() leaves out.
  if (process.platform === "linux") {
    const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n");
    const fields = line.trim().split(/\s+/).slice(1, 9).map(Number);
    const [, , , idle = 0, wait = 0] = fields;
    return { idle: idle + wait, total: fields.reduce((sum, n) => sum + n, 0) };
  }
  const times = os.cpus().map((core) => core.times);
  const idle = times.reduce((sum, t) => sum + t.idle, 0);
  const total = times.reduce((sum, t) => sum + t.idle + t.user + t.nice + t.sys + t.irq, 0);
  return { idle, total };
}

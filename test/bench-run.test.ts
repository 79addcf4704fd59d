import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";

const results = "bench/results";

/** Without PyTorch, which takes seconds to load. */
const options = {
  encoding: "utf8",
  env: { ...process.env, EVENKEEL_PYTHON: "", NO_COLOR: "1" },
} as const;

function bench(...args: string[]) {
  return spawnSync(process.execPath, ["build/bench/main.js", ...args], options);
}

/** Names, sizes and times of the results. */
function inventory(): string[] {
  return readdirSync(results).map((name) => {
    const { size, mtimeMs } = statSync(`${results}/${name}`);
    return `${name} ${size} ${mtimeMs}`;
  });
}

const childrenOf = ({ pid }: Pick<ChildProcess, "pid">) => `/proc/${pid}/task/${pid}/children`;

async function until<Value>(find: () => Value | undefined): Promise<Value> {
  for (;;) {
    const found = find();
    if (found !== undefined) return found;
    await sleep(20);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("npm run bench", () => {
  beforeAll(() => {
    const made = spawnSync(process.execPath, ["scripts/setup.mjs", "bench"], options);
    expect(made.status, made.stderr).toBe(0);
  }, 120_000);

  test("measures a row, judges it, and writes nothing when rows are picked", () => {
    const before = inventory();
    const { stdout, stderr, status } = bench("matmul", "--rows=matmul/256", "--threads=1");
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^matmul\/256 +[\d.]+ ms .* GFLOP\/s, \d+ % of peak/m);
    expect(stdout).toContain("pytorch skipped: EVENKEEL_PYTHON names no Python");
    expect(stdout).toMatch(/^(holds|DOES NOT HOLD) +matmul, share of peak/m);
    expect(stdout).toMatch(/^not measured +batch norm, times PyTorch's/m);
    expect(inventory()).toEqual(before);
  });

  test("says what it accepts, and what was wrong", () => {
    expect(bench("--help")).toMatchObject({ status: 0, stderr: "" });
    expect(bench("--help").stdout).toContain("--rows=TEXT");
    const { status, stderr, stdout } = bench("matmull");
    expect(status).toBe(2);
    expect(stderr).toMatch(/^no suite is called matmull; there are batch-norm, /);
    expect(stdout).toBe("");
  });

  // Linux tells who a process's children are.
  const isTold = existsSync(childrenOf(process));
  test.skipIf(!isTold)("leaves nobody behind when it is interrupted", async () => {
    const before = inventory();
    const child = spawn(process.execPath, ["build/bench/main.js", "matmul"], { ...options });
    const peers = await until(() => {
      const pids = readFileSync(childrenOf(child), "utf8").trim().split(" ").map(Number);
      return pids.length >= 2 ? pids : undefined;
    });
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([130, null]);
    await until(() => (peers.some(isAlive) ? undefined : true));
    expect(inventory()).toEqual(before);
  });
});

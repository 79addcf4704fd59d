/** Follows docs/adding-an-op.md to the letter in a copy of the repository, and runs what it says to run. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { follow, type Step, stepsOf } from "./support/recipe.ts";

const page = readFileSync("docs/adding-an-op.md", "utf8");
const steps = stepsOf(page);
// Inside the repository, so that the copy finds the installed packages.
const folder = resolve("build/adding-an-op");
const longestMs = 240_000;

function run(...args: string[]): string {
  const options = { cwd: folder, encoding: "utf8", timeout: longestMs } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, args, options);
  return status === 0 ? "" : `exit code ${status}\n${stdout}\n${stderr}`;
}

const installed = (name: string) => resolve("node_modules", name);

/** How many tests about softsign passed and failed. */
function runTests(...files: string[]): { readonly passed: number; readonly failed: number } {
  const report = join(folder, "report.json");
  const reporter = ["--reporter=json", `--outputFile=${report}`];
  run(installed("vitest/vitest.mjs"), "run", ...files, "-t", "softsign", ...reporter);
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8"));
  return { passed: numPassedTests, failed: numFailedTests };
}

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const copied = ["src", "test", "scripts", "package.json", "tsconfig.json", "vitest.config.ts"];
  for (const path of copied) {
    const filter = (source: string) => !source.endsWith(".safetensors");
    cpSync(path, join(folder, path), { recursive: true, filter, preserveTimestamps: true });
  }
  writeFileSync(
    join(folder, "tsconfig.recipe.json"),
    JSON.stringify({
      extends: "./tsconfig.json",
      compilerOptions: { rootDir: ".", noEmit: true, types: ["node"] },
      include: ["src", "test/softsign.test.ts", "test/contract"],
      exclude: ["src/backend/cpu/kernels"],
    }),
  );
  for (const step of steps) follow(step, folder);
});

describe("docs/adding-an-op.md, followed to the letter", () => {
  test("has a step for every code block", () => {
    expect(steps.length).toBeGreaterThan(8);
    expect(steps.length).toBe([...page.matchAll(/^```ts/gm)].length);
  });

  test("gives kernels that compile", { timeout: longestMs }, () => {
    expect(run("scripts/build-kernels.mjs")).toBe("");
  });

  test("gives sources that pass the type checker", { timeout: longestMs }, () => {
    expect(run(installed("typescript/bin/tsc"), "-p", "tsconfig.recipe.json")).toBe("");
  });

  test("gives an operation that passes its own tests", { timeout: longestMs }, () => {
    expect(runTests("test/softsign.test.ts")).toEqual({ passed: 3, failed: 0 });
  });

  test("gives kernels that keep the contract on every backend", { timeout: longestMs }, () => {
    const { passed, failed } = runTests("test/contract/contract.test.ts");
    // Three claims each on the reference and four configurations of the CPU.
    expect(passed).toBeGreaterThanOrEqual(15);
    expect(failed).toBe(0);
  });

  test("gives tests that fail when the reference is wrong", { timeout: longestMs }, () => {
    breakIn(steps.find(({ path }) => path.startsWith("src/backend/reference/")));
    expect(runTests("test/softsign.test.ts").failed).toBeGreaterThan(0);
  });
});

/** Turns the first sum of a step's code, where it was put, into a difference. */
function breakIn(step: Step | undefined): void {
  const file = join(folder, step?.path ?? "");
  const code = step?.code.trimEnd() ?? "";
  writeFileSync(file, readFileSync(file, "utf8").replace(code, code.replace(" + ", " - ")));
}

/** Follows docs/adding-an-op.md to the letter in a copy of the repository, and runs what it says to run. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { follow, type Step, stepsOf } from "./support/recipe.ts";

const page = readFileSync("docs/adding-an-op.md", "utf8");
// Inside the repository, so that the copy finds the installed packages.
const folder = resolve("build/adding-an-op");
const longestMs = 240_000;

function run(...args: string[]): string {
  const options = { cwd: folder, encoding: "utf8", timeout: longestMs } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, args, options);
  return status === 0 ? "" : `exit code ${status}\n${stdout}\n${stderr}`;
}

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const path of [
    "src",
    "test",
    "scripts",
    "package.json",
    "tsconfig.json",
    "vitest.config.ts",
  ]) {
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
});

describe("docs/adding-an-op.md, followed to the letter", () => {
  const steps = stepsOf(page);
  const installed = (name: string) => resolve("node_modules", name);

  test("has a step for every code block", () => {
    expect(steps.length).toBeGreaterThan(8);
    expect(steps.length).toBe([...page.matchAll(/^```ts/gm)].length);
  });

  test("finds every place it names", () => {
    for (const step of steps) follow(step, folder);
  });

  test("gives kernels that compile", { timeout: longestMs }, () => {
    expect(run("scripts/build-kernels.mjs")).toBe("");
  });

  test("gives sources that pass the type checker", { timeout: longestMs }, () => {
    expect(run(installed("typescript/bin/tsc"), "-p", "tsconfig.recipe.json")).toBe("");
  });

  test("gives an operation that passes its own tests and the contract on every backend", {
    timeout: longestMs,
  }, () => {
    const files = ["test/softsign.test.ts", "test/contract/contract.test.ts"];
    expect(run(installed("vitest/vitest.mjs"), "run", ...files, "-t", "softsign")).toBe("");
  });

  test("gives tests that fail when the kernel is wrong", { timeout: longestMs }, () => {
    const kernel = steps.find(({ path }) => path.startsWith("src/backend/reference/"));
    breakIn(kernel);
    expect(run(installed("vitest/vitest.mjs"), "run", "test/softsign.test.ts")).toContain(
      "exit code 1",
    );
  });
});

/** Turns the first sum of a step's code, where it was put, into a difference. */
function breakIn(step: Step | undefined): void {
  const file = join(folder, step?.path ?? "");
  const code = step?.code.trimEnd() ?? "";
  writeFileSync(file, readFileSync(file, "utf8").replace(code, code.replace(" + ", " - ")));
}

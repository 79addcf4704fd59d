import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { figureOf, measure, Staff } from "../bench/harness.ts";
import { optionsOf } from "../bench/options.ts";
import { Peer, type Program } from "../bench/peer.ts";
import { rowsOf, suites } from "../bench/rows/index.ts";
import type { Row } from "../bench/task.ts";

const row: Row = {
  ...{ id: "matmul/2", suite: "matmul", task: { op: "matmul", size: 2 }, threads: 1 },
  ...{ against: ["pytorch"], copyBytes: 0, flops: 0, hasOwnProcess: false },
};

let folder = "";
let log = "";
let staff = new Staff();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "evenkeel-bench-"));
  log = join(folder, "samples");
  writeFileSync(log, "");
});

afterEach(() => {
  staff.dismissAll();
  rmSync(folder, { recursive: true });
});

/** Real processes that do nothing: of each program, how long its runs take and how it ends. */
function hire(fakes: Partial<Record<Program, readonly [ms: number, ending?: string]>>): Staff {
  staff = new Staff((program, threads) => {
    const [ms, ending = ""] = fakes[program] ?? [1];
    const script = ["test/support/fake-peer.mjs", `${ms}`, log, program[0], ending];
    return Peer.run(program, [process.execPath, ...script], threads);
  });
  return staff;
}

describe("a figure", () => {
  test("is the median, with the least and the most", () => {
    expect(figureOf([3, 1, 9])).toEqual({ ms: 3, least: 1, most: 9, samples: 3 });
    expect(figureOf([4, 1, 9, 2])).toEqual({ ms: 3, least: 1, most: 9, samples: 4 });
  });

  test("leaves the samples in their order", () => {
    const samples = [3, 1, 2];
    figureOf(samples);
    expect(samples).toEqual([3, 1, 2]);
  });
});

describe("a row", () => {
  test("is measured by turns", async () => {
    const { figures, skipped } = await measure(row, hire({ evenkeel: [50], pytorch: [100] }));
    expect(readFileSync(log, "utf8")).toBe("ep".repeat(9));
    expect(figures.evenkeel).toEqual({ ms: 50, least: 50, most: 50, samples: 9 });
    expect(figures.pytorch.ms).toBe(100);
    expect(skipped).toEqual({});
    expect(staff.versions).toEqual({ e: "1", p: "1" });
  });

  test("takes fewer samples of who is slow, and none of who is slower still", async () => {
    const slow = { ...row, against: ["pytorch", "tfjs-cpu"] as const };
    const fakes = { evenkeel: [1], pytorch: [2000], "tfjs-cpu": [25_000] } as const;
    const { figures, skipped } = await measure(slow, hire(fakes));
    expect(readFileSync(log, "utf8")).toBe("epepepepepeeee");
    expect(Object.keys(figures)).toEqual(["evenkeel", "pytorch"]);
    expect(skipped).toEqual({ "tfjs-cpu": "given up: one run takes 25 s" });
  });

  test("skips who cannot do it, with the reason", async () => {
    const { figures, skipped } = await measure(row, hire({ pytorch: [1, "cannot"] }));
    expect(skipped).toEqual({ pytorch: "no such kernel" });
    expect(figures.evenkeel.samples).toBe(9);
  });

  test("skips who dies, with its last words, and goes on with the others", async () => {
    const { figures, skipped } = await measure(row, hire({ pytorch: [1, "in a sample"] }));
    const words = "pytorch has ended (exit code 1): RangeError: out of memory";
    expect(skipped).toEqual({ pytorch: words });
    expect(figures.evenkeel.samples).toBe(9);
  });

  test("skips who does not start", async () => {
    const { skipped } = await measure(row, hire({ pytorch: [1, "at once"] }));
    const words = "pytorch has ended (exit code 1): TypeError: no such engine";
    expect(skipped).toEqual({ pytorch: words });
  });

  test("skips a program that does not exist", async () => {
    staff = new Staff((name, threads) => Peer.run(name, [join(folder, "nothing")], threads));
    const { skipped } = await measure({ ...row, against: [] }, staff);
    expect(skipped.evenkeel).toContain("ENOENT");
  });

  test("asks a process of its own for its peak memory", async () => {
    const { figures } = await measure({ ...row, hasOwnProcess: true }, hire({}));
    expect(figures.pytorch.peakBytes).toBe(4096);
  });
});

describe("the command line", () => {
  test("means every suite unless some are named", () => {
    expect(optionsOf([]).suites).toEqual(suites);
    expect(optionsOf(["conv", "--rows=3x3", "--threads=1"])).toMatchObject({
      ...{ suites: ["conv"], rows: "3x3", threads: 1 },
    });
  });

  test.each([
    [["convolution"], "no suite is called convolution; there are batch-norm"],
    [["--threads=two"], 'expected a number from 1 to 64, got "two"'],
    [["--threads=0"], "expected a number from 1 to 64"],
    [["--row=3x3"], "Unknown option '--row'"],
  ])("refuses %j", (args, message) => {
    expect(() => optionsOf(args)).toThrow(message);
  });
});

describe("the rows", () => {
  test("have ids of their own", () => {
    const ids = suites.flatMap((suite) => rowsOf(suite, 4).map(({ id }) => id));
    expect(new Set(ids).size).toBe(ids.length);
  });
});

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { verdicts } from "../bench/budgets.ts";
import type { Figure, RowResult } from "../bench/harness.ts";
import { lineOf } from "../bench/print.ts";
import { reportOf, withTables } from "../bench/report.ts";
import { readResults } from "../bench/results.ts";
import { rowsOf, suites } from "../bench/rows/index.ts";
import { boundOfBatchNorm, networks, sheetOf } from "../bench/sheet.ts";
import type { Row } from "../bench/task.ts";

function figure(ms: number, peakBytes = 100): Figure {
  return { ms, least: 0.9 * ms, most: 1.1 * ms, samples: 9, peakBytes };
}

type Times = Readonly<Record<string, number>>;

/** Every row with these times; `evenkeel` by row where a budget is to be broken. */
function measured(times: Times, wanted: (row: Row) => boolean = () => true): RowResult[] {
  const rows = suites.flatMap((suite) => rowsOf(suite, 1)).filter(wanted);
  return rows.map((row) => {
    const entries = Object.entries(times).filter(([name]) => isAsked(row, name));
    const figures = Object.fromEntries(entries.map(([name, ms]) => [name, figure(ms)]));
    return { ...row, figures, skipped: {} };
  });
}

function isAsked({ against, copyBytes, flops }: Row, name: string): boolean {
  if (name === "copy") return copyBytes > 0;
  if (name === "peak") return flops > 0;
  return name === "evenkeel" || (against as readonly string[]).includes(name);
}

/** Times that keep every budget: the fewest operations of a row take evenkeel as long as the peak takes them. */
const quick: Times = {
  ...{ evenkeel: 1, copy: 1, pytorch: 2, "tfjs-wasm": 5, "tfjs-cpu": 5, "jax-js": 5 },
  peak: 1e9,
};

const holding = () => verdicts(measured(quick));

describe("budgets", () => {
  test("hold where every row keeps them", () => {
    expect(holding().filter(({ holds }) => holds !== true)).toEqual([]);
  });

  test("are not measured where no row is", () => {
    expect(verdicts([]).map(({ holds }) => holds)).toEqual(holding().map(() => null));
    const alone = verdicts(measured({ evenkeel: 1, copy: 1 }));
    expect(alone.find(({ budget }) => budget === "batch norm, times PyTorch's")?.holds).toBe(null);
  });

  const names = holding().map(({ budget }) => budget);
  test.each(names)("%s: broken by one row", (name) => {
    const rows = measured(quick);
    const slower = rows.map((row, i) => {
      const evenkeel = figure(1e10, 1e6);
      const changed = rows.with(i, { ...row, figures: { ...row.figures, evenkeel } });
      return verdicts(changed).find(({ budget }) => budget === name);
    });
    const broken = slower.filter((verdict) => verdict?.holds === false);
    expect(broken).not.toEqual([]);
    expect(broken.length).toBeLessThan(rows.length);
  });

  test("name their worst row and how many keep them", () => {
    const rows = measured(quick, ({ suite }) => suite === "matmul");
    const peak = figure(2);
    const [first, ...rest] = rows;
    const slow = { ...first, figures: { evenkeel: figure(1e6), peak } };
    const verdict = verdicts([slow, ...rest]).find(({ budget }) => budget.startsWith("matmul"));
    expect(verdict).toMatchObject({
      holds: false,
      where: "matmul/256 (3 of 4 rows keep it)",
      limit: ">= 0.7",
    });
  });
});

describe("the sheet", () => {
  const rows = measured({ evenkeel: 2, pytorch: 3, peak: 1, copy: 1 });

  test.each([
    ["resnet18", 20],
    ["resnet50", 53],
  ] as const)("counts every convolution of %s in three passes", (network, convolutions) => {
    const sum = sheetOf(network, rows).at(-1);
    // The first convolution has no gradient for the image.
    expect(sum).toMatchObject({
      kind: "all convolutions",
      evenkeel: 2 * (3 * convolutions - 1),
      pytorch: 3 * (3 * convolutions - 1),
    });
  });

  test("sums the kinds up", () => {
    const lines = sheetOf("resnet50", rows);
    const sum = lines.pop();
    const bounds = lines.reduce((total, { bound }) => total + bound, 0);
    expect(sum?.bound).toBeCloseTo(bounds, 9);
  });

  test("is empty where a row is missing", () => {
    const without = rows.filter(({ id }) => !id.startsWith("conv/3x3 gradWeight/512"));
    expect(networks.map((network) => sheetOf(network, without))).toEqual([[], []]);
  });

  test("has batch norm move ten thirds of its tensors' copies", () => {
    const [row] = rows.filter(({ copyBytes }) => copyBytes > 50e6);
    const copied = [{ ...row, copyBytes: 60e6, figures: { copy: figure(60) } }];
    const values = { resnet18: 8 * 2_483_712 }; // outputs of its 20 convolutions
    expect(boundOfBatchNorm("resnet18", copied)).toBeCloseTo((40 / 3) * values.resnet18 * 1e-6, 9);
  });
});

describe("the text of a row", () => {
  test("has figures, ratios and reasons", () => {
    const [row] = measured({ evenkeel: 1, pytorch: 4, copy: 0.5 });
    const text = lineOf({ ...row, skipped: { "tfjs-cpu": "given up" } });
    for (const part of ["1.00 ms", "+-10 %", "2.00 copies", "pytorch 4.00 ms (0.25x)"]) {
      expect(text).toContain(part);
    }
    expect(text).toContain("tfjs-cpu skipped: given up");
  });
});

describe("the tables", () => {
  test("of docs/performance.md are those of bench/results", () => {
    const page = readFileSync("docs/performance.md", "utf8");
    expect(withTables(page, readResults())).toBe(page); // npm run bench -- --report
  });

  const facts = {
    ...{ date: "2026-01-02T03:04:05.000Z", commit: "abc", versions: { node: "20" } },
    machine: { cpu: "A CPU", cores: 2, memoryBytes: 2 ** 34, system: "Linux" },
    ...{ busyBefore: 0, busyAfter: 0.25 },
  };

  test("show what was measured, and say what was not", () => {
    const rows = measured({ evenkeel: 1, pytorch: 4 }, ({ id }) => id === "matmul/512");
    const skipped = { "jax-js": "a | b" };
    const text = reportOf([{ ...facts, suite: "matmul", rows: [{ ...rows[0], skipped }] }]);
    expect(text).toContain("Machine: A CPU, 2 cores, 16 GiB, Linux.");
    expect(text).toContain("Not measured: batch-norm, conv, optimizer, resnet, threads, batch.");
    expect(text).toContain("| Matrix products | 2026-01-02 03:04 | `abc` | 0 %, 25 % |");
    expect(text).toContain("| row | evenkeel, ms | spread | GFLOP/s |");
    expect(text).toContain("| 512 | 1.00 | ± 10 % | 268 | 0 | 4.00 | 0.25 |");
    expect(text).toContain("- jax-js: a \\| b");
  });

  test("stand between their markers, and nothing else is changed", () => {
    const page = "before\n<!-- bench tables -->\nearlier\n<!-- end of bench tables -->\nafter\n";
    const text = withTables(page, []);
    expect(text).toMatch(/^before\n.*\nafter\n$/s);
    expect(text).not.toContain("earlier");
    expect(withTables(text, [])).toBe(text);
    expect(() => withTables("no markers", [])).toThrow("has no <!-- bench tables -->");
  });
});

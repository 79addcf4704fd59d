/** The budgets, and whether the results keep them. A budget speaks of its worst row. */
import type { RowResult } from "./harness.ts";
import { memoryTo, ratioTo, shareOfPeak, timesCopy } from "./ratios.ts";

export interface Verdict {
  readonly budget: string;
  readonly worst: string;
  readonly limit: string;
  /** Null where nothing was measured. */
  readonly holds: boolean | null;
  /** The worst row, and how many keep the budget. */
  readonly where: string;
}

interface Budget {
  readonly name: string;
  readonly limit: number;
  readonly rows: (row: RowResult) => boolean;
  /** At most `limit`, unless `atLeast`. */
  readonly value: (row: RowResult) => number | null;
  readonly atLeast?: boolean;
}

const large = 50e6;

function isPlain(pass: string, isLarge: boolean) {
  return ({ id, copyBytes }: RowResult) =>
    id.startsWith(`batch-norm/${pass}/32x`) && copyBytes >= large === isLarge;
}

function copies(pass: string, atLarge: number, atSmall: number): Budget[] {
  const name = `batch norm ${pass}, times a copy`;
  return [
    {
      name: `${name}, 50 MB and more`,
      limit: atLarge,
      rows: isPlain(pass, true),
      value: timesCopy,
    },
    { name: `${name}, below 50 MB`, limit: atSmall, rows: isPlain(pass, false), value: timesCopy },
  ];
}

function step(model: string, limit: number): Budget[] {
  const rows = ({ id }: RowResult) => id === `models/${model} train/8x3x224x224`;
  return [
    { name: `${model} training step, times PyTorch's`, limit, rows, value: toPyTorch },
    {
      name: `${model} training step, peak memory, times PyTorch's`,
      limit: 1,
      rows,
      value: memoryToPyTorch,
    },
  ];
}

const toPyTorch = (row: RowResult) => ratioTo(row, "pytorch");
const memoryToPyTorch = (row: RowResult) => memoryTo(row, "pytorch");
const scripts = ["tfjs-wasm", "tfjs-cpu", "jax-js"];

const budgets: readonly Budget[] = [
  ...copies("forward", 1.5, 2),
  ...copies("backward", 2.5, 3.5),
  ...copies("eval", 1.1, 1.5),
  {
    name: "batch norm, times PyTorch's",
    ...{ limit: 0.5, value: toPyTorch },
    rows: ({ suite }) => suite === "batch-norm",
  },
  {
    name: "1x1 convolution, share of peak",
    ...{ limit: 0.7, atLeast: true, value: shareOfPeak },
    rows: ({ id }) => id.startsWith("conv/1x1 "),
  },
  {
    name: "matmul, share of peak",
    ...{ limit: 0.7, atLeast: true, value: shareOfPeak },
    rows: ({ suite }) => suite === "matmul",
  },
  {
    name: "3x3 stride-1 convolution, times PyTorch's",
    ...{ limit: 1, value: toPyTorch },
    rows: ({ id }) => id.startsWith("conv/3x3 "),
  },
  ...step("resnet18", 1),
  ...step("resnet50", 1.2),
  ...scripts.map((peer) => ({
    name: `times ${peer}`,
    ...{ limit: 0.2, value: (row: RowResult) => ratioTo(row, peer) },
    rows: () => true,
  })),
];

export function verdicts(rows: readonly RowResult[]): Verdict[] {
  return budgets.map((budget) => judge(budget, rows));
}

function judge(
  { name, limit, atLeast = false, ...budget }: Budget,
  all: readonly RowResult[],
): Verdict {
  const found = all.filter(budget.rows).flatMap((row) => {
    const value = budget.value(row);
    return value === null ? [] : [{ id: row.id, value }];
  });
  const text = atLeast ? `>= ${limit}` : `<= ${limit}`;
  const [first] = found;
  if (first === undefined) return { budget: name, worst: "-", limit: text, holds: null, where: "" };
  const keeps = (value: number) => (atLeast ? value >= limit : value <= limit);
  const worst = found.reduce((a, b) => (a.value > b.value === atLeast ? b : a), first);
  const kept = found.filter(({ value }) => keeps(value)).length;
  return {
    ...{ budget: name, limit: text, worst: worst.value.toFixed(2), holds: kept === found.length },
    where: `${worst.id} (${kept} of ${found.length} rows keep it)`,
  };
}

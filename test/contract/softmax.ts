import type { AxisLayout } from "../../src/backend/backend.ts";
import { expectLikeReference, input, type KernelCase, output } from "../support/kernel-case.ts";
import { distinct } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { axisLayouts } from "./reduce.ts";

/** softmax and softmaxGrad, plain and logarithmic. */
export function softmaxContract(claim: Claim): void {
  for (const log of [false, true]) {
    const name = log ? "logSoftmax" : "softmax";
    claim(`${name}: contiguous and strided lines of all lengths`, (backend) =>
      expectLikeReference(
        backend,
        axisLayouts.map((layout) => softmaxCase(valuesFor(layout, 4), layout, log)),
      ),
    );

    claim(`${name}: large inputs neither overflow nor lose the small ones`, (backend) => {
      const rows = [
        [1000, 999, 998, -1000, 0],
        [-1000, -1001, -1002, -1003, -5000],
        [3e38, 3e38, -3e38, 0, 1],
        [0, -Infinity, 1, -Infinity, 2],
        [88, 89, 90, 91, 92],
      ];
      return expectLikeReference(
        backend,
        rowsAndColumns(rows, (...at) => softmaxCase(...at, log)),
      );
    });

    claim(`${name}: NaN, Infinity, or nothing but -Infinity make the whole line NaN`, (backend) => {
      const rows = [
        [1, Number.NaN, 2, 3, 4],
        [1, Infinity, 2, 3, 4],
        [-Infinity, -Infinity, -Infinity, -Infinity, -Infinity],
        [1, 2, 3, 4, 5],
      ];
      return expectLikeReference(
        backend,
        rowsAndColumns(rows, (...at) => softmaxCase(...at, log)),
      );
    });

    claim(`${name} gradient: contiguous and strided lines of all lengths`, (backend) =>
      expectLikeReference(
        backend,
        axisLayouts.map((layout) => softmaxGradCase(layout, log)),
      ),
    );
  }
}

type MakeCase = (x: ArrayLike<number>, layout: AxisLayout) => KernelCase;

function rowsAndColumns(rows: readonly number[][], make: MakeCase): KernelCase[] {
  const length = rows[0].length;
  const columns = rows[0].flatMap((_, l) => rows.map((row) => row[l]));
  return [
    make(rows.flat(), { outer: rows.length, length, inner: 1 }),
    make(columns, { outer: 1, length, inner: rows.length }),
  ];
}

function valuesFor({ outer, length, inner }: AxisLayout, high: number): Float32Array {
  return distinct(outer * length * inner, { seed: length * 10 + inner, low: -high, high });
}

export function softmaxCase(x: ArrayLike<number>, layout: AxisLayout, log: boolean): KernelCase {
  const { outer, length, inner } = layout;
  return {
    label: `softmax of (${outer}, ${length}, ${inner})`,
    given: { x: input(x), y: output(x.length) },
    run: (backend, o) => backend.softmax(o.x, o.y, layout, log),
  };
}

/** The gradient is checked for any y, not only for outputs of softmax; those of a softmax are small in long lines. */
export function softmaxGradCase(layout: AxisLayout, log: boolean): KernelCase {
  const dy = valuesFor(layout, 2);
  const low = log ? -4 : 0;
  const high = log ? 0 : 2 / Math.max(1, layout.length);
  const y = distinct(dy.length, { seed: 31, low, high });
  const { outer, length, inner } = layout;
  return {
    label: `softmax gradient of (${outer}, ${length}, ${inner})`,
    given: { dy: input(dy), y: input(y), dx: output(dy.length) },
    run: (backend, o) => backend.softmaxGrad(o.dy, o.y, o.dx, layout, log),
  };
}

const manyLines: readonly AxisLayout[] = [
  { outer: 20_011, length: 10, inner: 1 },
  { outer: 101, length: 1003, inner: 1 },
  { outer: 5, length: 21, inner: 1501 },
];

/** Operands long enough to be spread over threads. */
export function largeSoftmaxCases(): KernelCase[] {
  return manyLines.flatMap((layout) =>
    [false, true].flatMap((log) => [
      softmaxCase(valuesFor(layout, 4), layout, log),
      softmaxGradCase(layout, log),
    ]),
  );
}

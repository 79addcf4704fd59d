import type { AxisLayout, ReduceOp } from "../../src/backend/backend.ts";
import { expectLikeReference, input, type KernelCase, output } from "../support/kernel-case.ts";
import { lengths } from "../support/layouts.ts";
import { distinct, integers } from "../support/random.ts";
import type { Claim } from "./backend.ts";

const ops: readonly ReduceOp[] = ["sum", "mean", "max", "min"];
const { NaN: nan } = Number;

/** Layouts with every length below two vectors and a tail, for lines that are contiguous (inner 1) and that are not. */
export const axisLayouts: readonly AxisLayout[] = [1, 2, 3, 4, 5, 8, 9, 17].flatMap((inner) =>
  lengths.flatMap((length) => [1, 3].map((outer) => ({ outer, length, inner }))),
);

const nonEmpty = axisLayouts.filter(({ length }) => length > 0);

/** reduce and argmax. */
export function reduceContract(claim: Claim): void {
  for (const op of ops) {
    const layouts = op === "sum" || op === "mean" ? axisLayouts : nonEmpty;
    claim(`reduce ${op}: contiguous and strided lines of all lengths`, (backend) =>
      expectLikeReference(
        backend,
        layouts.map((layout) => reduceCase(op, valuesFor(layout), layout)),
      ),
    );
    claim(`reduce ${op}: NaN anywhere in a line, infinities`, (backend) =>
      expectLikeReference(
        backend,
        specialCases().map(([x, layout]) => reduceCase(op, x, layout)),
      ),
    );
  }

  claim("reduce sum and mean: a million equal numbers do not drift", (backend) => {
    const layout = { outer: 1, length: 1_000_003, inner: 1 };
    const x = new Float32Array(layout.length).fill(0.1);
    return expectLikeReference(
      backend,
      [reduceCase("sum", x, layout), reduceCase("mean", x, layout)],
      [0],
    );
  });

  claim("reduce sum: a strided million does not drift either", (backend) => {
    const layout = { outer: 1, length: 500_001, inner: 2 };
    const x = new Float32Array(layout.length * 2).fill(0.1);
    return expectLikeReference(backend, [reduceCase("sum", x, layout)], [0]);
  });

  claim("argmax: contiguous and strided lines of all lengths", (backend) =>
    expectLikeReference(
      backend,
      nonEmpty.map((layout) => argmaxCase(valuesFor(layout), layout)),
    ),
  );

  claim("argmax: the first of equals, wherever they lie", (backend) =>
    expectLikeReference(
      backend,
      nonEmpty.map((layout) =>
        argmaxCase(integers(sizeOf(layout), { seed: layout.length, high: 3 }), layout),
      ),
    ),
  );

  claim("argmax: NaN counts as the greatest, the first of several", (backend) =>
    expectLikeReference(
      backend,
      specialCases().map(([x, layout]) => argmaxCase(x, layout)),
    ),
  );

  claim("argmax: a line of -Infinity has its maximum at 0", (backend) =>
    expectLikeReference(backend, [
      argmaxCase(new Array<number>(17).fill(-Infinity), { outer: 1, length: 17, inner: 1 }),
      argmaxCase(new Array<number>(34).fill(-Infinity), { outer: 1, length: 17, inner: 2 }),
    ]),
  );
}

function sizeOf({ outer, length, inner }: AxisLayout): number {
  return outer * length * inner;
}

function valuesFor(layout: AxisLayout): Float32Array {
  return distinct(sizeOf(layout), { seed: layout.length * 10 + layout.inner });
}

/** One line of 19 for each place that a NaN or an infinity can have, as rows and as columns. */
function specialCases(): [number[], AxisLayout][] {
  const length = 19;
  const line = [...distinct(length, { seed: 8 })];
  const lines = [nan, Infinity, -Infinity].flatMap((special) =>
    line.map((_, at) => line.with(at, special)),
  );
  lines.push(line.with(3, nan).with(7, Infinity), line.with(5, nan).with(6, nan));
  const columns = line.flatMap((_, l) => lines.map((values) => values[l]));
  return [
    [lines.flat(), { outer: lines.length, length, inner: 1 }],
    [columns, { outer: 1, length, inner: lines.length }],
  ];
}

function label(what: string, { outer, length, inner }: AxisLayout): string {
  return `${what} of (${outer}, ${length}, ${inner})`;
}

export function reduceCase(op: ReduceOp, x: ArrayLike<number>, layout: AxisLayout): KernelCase {
  return {
    label: label(op, layout),
    isExact: op === "max" || op === "min",
    given: { x: input(x), out: output(layout.outer * layout.inner) },
    run: (backend, o) => backend.reduce(op, o.x, o.out, layout),
  };
}

export function argmaxCase(x: ArrayLike<number>, layout: AxisLayout): KernelCase {
  return {
    label: label("argmax", layout),
    given: { x: input(x), out: output(layout.outer * layout.inner, "int32") },
    run: (backend, o) => backend.argmax(o.x, o.out, layout),
  };
}

const longLines: readonly AxisLayout[] = [
  { outer: 1, length: 300_007, inner: 1 },
  { outer: 301, length: 601, inner: 1 },
  { outer: 1, length: 1003, inner: 301 },
  { outer: 17, length: 111, inner: 71 },
];

/** Operands long enough to be spread over threads: one long line, many lines, rows and columns. */
export function largeReduceCases(): KernelCase[] {
  return longLines.flatMap((layout) => {
    const x = valuesFor(layout);
    return [...ops.map((op) => reduceCase(op, x, layout)), argmaxCase(x, layout)];
  });
}

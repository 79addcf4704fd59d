import type { AxisLayout, BinaryOp, CompareOp, GatherLayout } from "../../src/backend/backend.ts";
import {
  expectLikeReference,
  inout,
  input,
  type KernelCase,
  output,
} from "../support/kernel-case.ts";
import { broadcast, lengths } from "../support/layouts.ts";
import { integers } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { combine } from "./movement.ts";
import { axisLayouts } from "./reduce.ts";

const binaryOps: readonly BinaryOp[] = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"];
const compareOps: readonly CompareOp[] = ["eq", "ne", "lt", "le", "gt", "ge"];

/** Kernels that the operations also call with int32, and extremes also with bytes. */
export function integerContract(claim: Claim): void {
  for (const op of binaryOps) {
    claim(`int32 binary ${op}: all lengths, scalars and channels`, (backend) =>
      expectLikeReference(
        backend,
        shapes.map(([a, b]) => binaryCase(op, a, b)),
      ),
    );
  }

  claim("int32 add, sub and mul wrap", (backend) =>
    expectLikeReference(
      backend,
      (["add", "sub", "mul"] as const).map((op) =>
        pairCase(
          op,
          [2147483647, -2147483648, 1_000_003, 2147483647, 5],
          [1, 1, 70_001, 2147483647, -7],
        ),
      ),
    ),
  );

  claim("int32 div truncates toward zero", (backend) =>
    expectLikeReference(backend, [pairCase("div", [7, -7, 7, -7, 1, -1], [2, 2, -2, -2, 3, 3])]),
  );

  for (const op of compareOps) {
    claim(`int32 compare ${op}: all lengths, scalars and channels`, (backend) =>
      expectLikeReference(
        backend,
        shapes.map(([a, b]) => compareCase(op, a, b)),
      ),
    );
  }

  claim("int32 neg, abs and addInto: all lengths", (backend) =>
    expectLikeReference(backend, [
      ...combine(["neg", "abs"] as const, lengths, unaryCase),
      ...lengths.map(addIntoCase),
    ]),
  );

  for (const dtype of ["int32", "uint8", "bool"] as const) {
    claim(`${dtype} max, min and argmax: contiguous and strided lines`, (backend) =>
      expectLikeReference(
        backend,
        axisLayouts.filter(({ length }) => length > 0).map((layout) => extremesCase(dtype, layout)),
      ),
    );
  }

  claim("int32 sum is exact", (backend) => expectLikeReference(backend, axisLayouts.map(sumCase)));

  claim("int32 scatterAdd: repeated indices add up", (backend) =>
    expectLikeReference(
      backend,
      [1, 5].map((inner) => scatterCase({ outer: 2, length: 4, inner, picks: 9 })),
    ),
  );
}

const shapes: readonly (readonly [readonly number[], readonly number[]])[] = [
  ...lengths.map((n) => [[n], [n]] as const),
  ...lengths.map((n) => [[n], [1]] as const),
  ...lengths.map((n) => [[1], [n]] as const),
  [
    [2, 3, 7],
    [3, 1],
  ],
  [
    [5, 1],
    [1, 9],
  ],
];

function binaryCase(op: BinaryOp, a: readonly number[], b: readonly number[]): KernelCase {
  const { name, layout, aLength, bLength, outLength } = broadcast(a, b);
  // Small enough for any power to be exact, and no division by 0, on which the contract is silent.
  return {
    label: `int32 ${op} ${name}`,
    given: {
      a: input(integers(aLength, { seed: 1, low: -9, high: 9 }), "int32"),
      b: input(integers(bLength, { seed: 2, low: 1, high: 9 }), "int32"),
      out: output(outLength, "int32"),
    },
    run: (backend, o) => backend.binary(op, o.a, o.b, o.out, layout),
  };
}

function pairCase(op: BinaryOp, a: readonly number[], b: readonly number[]): KernelCase {
  const { layout } = broadcast([a.length], [b.length]);
  return {
    label: `int32 ${op} of chosen pairs`,
    given: { a: input(a, "int32"), b: input(b, "int32"), out: output(a.length, "int32") },
    run: (backend, o) => backend.binary(op, o.a, o.b, o.out, layout),
  };
}

function compareCase(op: CompareOp, a: readonly number[], b: readonly number[]): KernelCase {
  const { name, layout, aLength, bLength, outLength } = broadcast(a, b);
  // Neighbours that float32 cannot tell apart.
  const range = { low: 16777214, high: 16777219 };
  return {
    label: `int32 ${op} ${name}`,
    given: {
      a: input(integers(aLength, { seed: 3, ...range }), "int32"),
      b: input(integers(bLength, { seed: 4, ...range }), "int32"),
      out: output(outLength, "bool"),
    },
    run: (backend, o) => backend.compare(op, o.a, o.b, o.out, layout),
  };
}

function unaryCase(op: "neg" | "abs", n: number): KernelCase {
  return {
    label: `int32 ${op} of ${n}`,
    given: {
      x: input(integers(n, { seed: 5, low: -1e9, high: 1e9 }), "int32"),
      out: output(n, "int32"),
    },
    run: (backend, o) => backend.unary(op, o.x, o.out, 0),
  };
}

function addIntoCase(n: number): KernelCase {
  return {
    label: `int32 add ${n} into`,
    given: {
      x: input(integers(n, { seed: 6, low: -1e8, high: 1e8 }), "int32"),
      sum: inout(integers(n, { seed: 7, low: -1e8, high: 1e8 }), "int32"),
    },
    run: (backend, o) => backend.addInto(o.x, o.sum),
  };
}

function extremesCase(dtype: "int32" | "uint8" | "bool", layout: AxisLayout): KernelCase {
  const { outer, length, inner } = layout;
  const size = outer * inner;
  const high = dtype === "bool" ? 2 : 256;
  return {
    label: `${dtype} extremes of (${outer}, ${length}, ${inner})`,
    given: {
      x: input(integers(size * length, { seed: length, high }), dtype),
      max: output(size, dtype),
      min: output(size, dtype),
      argmax: output(size, "int32"),
    },
    run: (backend, o) => {
      backend.reduce("max", o.x, o.max, layout);
      backend.reduce("min", o.x, o.min, layout);
      backend.argmax(o.x, o.argmax, layout);
    },
  };
}

function sumCase({ outer, length, inner }: AxisLayout): KernelCase {
  return {
    label: `int32 sum of (${outer}, ${length}, ${inner})`,
    given: {
      // Sums beyond float32's 24 bits, within int32.
      x: input(integers(outer * length * inner, { seed: 1, low: -9000, high: 10_000 }), "int32"),
      out: output(outer * inner, "int32"),
    },
    run: (backend, o) => backend.reduce("sum", o.x, o.out, { outer, length, inner }),
  };
}

function scatterCase(layout: GatherLayout): KernelCase {
  const { outer, length, inner, picks } = layout;
  const picked = outer * picks * inner;
  return {
    label: `int32 scatterAdd, inner ${inner}`,
    given: {
      x: input(integers(picked, { seed: 8, low: -1e5, high: 1e5 }), "int32"),
      index: input(integers(picked, { seed: 9, high: length }), "int32"),
      sum: inout(integers(outer * length * inner, { seed: 10, low: 1e8, high: 1e9 }), "int32"),
    },
    run: (backend, o) => backend.scatterAdd(o.x, o.index, o.sum, layout),
  };
}

/** Operands long enough to be spread over threads. */
export function largeIntegerCases(): KernelCase[] {
  const n = 70_001;
  const lines: readonly AxisLayout[] = [
    { outer: 1, length: 200_003, inner: 1 },
    { outer: 101, length: 601, inner: 3 },
  ];
  return [
    ...binaryOps.map((op) => binaryCase(op, [n], [n])),
    ...compareOps.map((op) => compareCase(op, [n], [n])),
    ...(["neg", "abs"] as const).map((op) => unaryCase(op, n)),
    addIntoCase(n),
    ...lines.flatMap((layout) => [sumCase(layout), extremesCase("int32", layout)]),
    scatterCase({ outer: 40, length: 50, inner: 100, picks: 70 }),
  ];
}

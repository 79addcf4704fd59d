import type { BinaryOp, CompareOp, UnaryGradOp, UnaryOp } from "../../src/backend/backend.ts";
import {
  expectLikeReference,
  inout,
  input,
  type KernelCase,
  output,
} from "../support/kernel-case.ts";
import { type Broadcast, broadcast, broadcasts, lengths, longLength } from "../support/layouts.ts";
import { distinct, integers } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { combine } from "./movement.ts";
import { selectCase, selectContract, specials } from "./select.ts";

/** Ranges on which the op is defined and its result finite. */
const unaryRanges: Readonly<Record<UnaryOp, { low: number; high: number; isExact: boolean }>> = {
  neg: { low: -2, high: 2, isExact: true },
  abs: { low: -2, high: 2, isExact: true },
  exp: { low: -20, high: 20, isExact: false },
  log: { low: 0, high: 50, isExact: false },
  sqrt: { low: 0, high: 50, isExact: true },
  relu: { low: -2, high: 2, isExact: true },
  leakyRelu: { low: -2, high: 2, isExact: false },
  sigmoid: { low: -12, high: 12, isExact: false },
  tanh: { low: -6, high: 6, isExact: false },
  relu6: { low: -4, high: 10, isExact: true },
  gelu: { low: -8, high: 8, isExact: false },
  geluTanh: { low: -8, high: 8, isExact: false },
  silu: { low: -12, high: 12, isExact: false },
  softplus: { low: -12, high: 12, isExact: false },
};

/** A slope, or for softplus a threshold low enough to be visible. */
const alphas: Readonly<Record<"softplus" | "others", number>> = { softplus: 4, others: 0.01 };

const unaryOps = Object.keys(unaryRanges) as UnaryOp[];
const savesOutput: readonly UnaryGradOp[] = ["relu", "relu6", "sigmoid", "tanh"];
const savesInput: readonly UnaryGradOp[] = ["leakyRelu", "gelu", "geluTanh", "silu", "softplus"];
const unaryGradOps = [...savesOutput, ...savesInput];
const binaryOps: readonly BinaryOp[] = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"];
const compareOps: readonly CompareOp[] = ["eq", "ne", "lt", "le", "gt", "ge"];

function alphaOf(op: UnaryOp): number {
  return alphas[op === "softplus" ? op : "others"];
}

/** unary, unaryGrad, binary, compare, select, addInto and dropout. */
export function elementwiseContract(claim: Claim): void {
  for (const op of unaryOps) {
    const { isExact, ...range } = unaryRanges[op];
    claim(`unary ${op}: all lengths`, (backend) =>
      expectLikeReference(
        backend,
        lengths.map((n) => unaryCase(op, distinct(n, { seed: n + 1, ...range }), isExact)),
      ),
    );
    claim(`unary ${op}: zeros, tiny, huge, NaN and infinities`, (backend) =>
      expectLikeReference(backend, [unaryCase(op, specials, isExact)]),
    );
  }

  for (const op of unaryGradOps) {
    claim(`unaryGrad ${op}: all lengths`, (backend) =>
      expectLikeReference(
        backend,
        lengths.map((n) =>
          unaryGradCase(
            op,
            distinct(n, { seed: n }),
            distinct(n, { seed: n + 9, low: -1, high: 1 }),
          ),
        ),
      ),
    );
  }

  for (const op of savesInput) {
    claim(`unaryGrad ${op}: far from 0`, (backend) =>
      expectLikeReference(backend, [
        unaryGradCase(
          op,
          distinct(1003, { seed: 4 }),
          distinct(1003, { seed: 5, low: -12, high: 12 }),
        ),
      ]),
    );
    claim(`unaryGrad ${op}: zeros, tiny, huge, NaN and infinities`, (backend) =>
      expectLikeReference(backend, [
        unaryGradCase(op, new Array<number>(specials.length).fill(2), specials),
      ]),
    );
  }

  claim("unaryGrad relu6: blocks dy where saved is 0, 6 or NaN, whatever dy is", (backend) =>
    expectLikeReference(backend, [
      unaryGradCase(
        "relu6",
        [1, 2, 3, 4, Number.NaN, Infinity, Number.NaN, Infinity, 5, -6],
        [0, 6, -0, Number.NaN, 0, 6, 1, 5.5, 1e-40, 5.9999995],
      ),
    ]),
  );

  claim("unaryGrad relu: blocks dy where saved is 0, negative or NaN, whatever dy is", (backend) =>
    expectLikeReference(backend, [
      unaryGradCase(
        "relu",
        [1, 2, 3, 4, Number.NaN, Infinity, Number.NaN, Infinity, 5, -6],
        [0, -0, -1, Number.NaN, 0, -1, 1, 2, Infinity, 1e-40],
      ),
    ]),
  );

  claim("unaryGrad leakyRelu: scales dy by alpha at 0", (backend) =>
    expectLikeReference(backend, [
      unaryGradCase("leakyRelu", [1, 2, 3, 4, 5], [0, -0, -1, 1, 1e-40]),
    ]),
  );

  for (const op of binaryOps) {
    claim(`binary ${op}: all broadcasts`, (backend) =>
      expectLikeReference(
        backend,
        broadcasts.map((layout) => binaryCase(op, layout)),
      ),
    );
    claim(`binary ${op}: zeros, huge, NaN and infinities on both sides`, (backend) =>
      expectLikeReference(backend, [binarySpecials(op)]),
    );
  }

  for (const op of compareOps) {
    claim(`compare ${op}: all broadcasts, with equals`, (backend) =>
      expectLikeReference(
        backend,
        broadcasts.map((layout) => compareCase(op, layout)),
      ),
    );
    claim(`compare ${op}: signed zeros, NaN and infinities`, (backend) =>
      expectLikeReference(backend, [compareSpecials(op)]),
    );
  }

  selectContract(claim);

  claim("addInto: all lengths", (backend) =>
    expectLikeReference(backend, lengths.map(addIntoCase)),
  );

  claim("dropout: the very mask of the hash, all lengths and odd seeds", (backend) =>
    expectLikeReference(
      backend,
      combine([0, 1, 12345, 2147483648, 4294967295], lengths, (seed, n) =>
        dropoutCase(n, 0.3, seed),
      ),
    ),
  );

  claim("dropout: p 0 keeps all, p 1 drops all, p on the grid of the draws", (backend) =>
    expectLikeReference(
      backend,
      [0, 1, 0.5, 0.25, 0.1, 2 ** -24, 1 - 2 ** -24].map((p) => dropoutCase(1003, p, 77)),
    ),
  );
}

export function unaryCase(op: UnaryOp, x: ArrayLike<number>, isExact: boolean): KernelCase {
  return {
    label: `${op} of ${x.length}`,
    isExact,
    given: { x: input(x), out: output(x.length) },
    run: (backend, o) => backend.unary(op, o.x, o.out, alphaOf(op)),
  };
}

export function unaryGradCase(
  op: UnaryGradOp,
  dy: ArrayLike<number>,
  saved: ArrayLike<number>,
): KernelCase {
  return {
    label: `${op} gradient of ${dy.length}`,
    given: { dy: input(dy), saved: input(saved), dx: output(dy.length) },
    run: (backend, o) => backend.unaryGrad(op, o.dy, o.saved, o.dx, alphaOf(op)),
  };
}

export function binaryCase(
  op: BinaryOp,
  { name, layout, aLength, bLength, outLength }: Broadcast,
): KernelCase {
  // A negative base has a real power only for whole exponents: the special values below have some.
  const low = op === "pow" ? 0 : -2;
  return {
    label: `${op} ${name}`,
    isExact: op !== "pow",
    given: {
      a: input(distinct(aLength, { seed: aLength + 1, low })),
      b: input(distinct(bLength, { seed: bLength + 2 })),
      out: output(outLength),
    },
    run: (backend, o) => backend.binary(op, o.a, o.b, o.out, layout),
  };
}

const pairSpecials: readonly number[] = [
  0,
  -0,
  1,
  -1,
  2,
  -2,
  3,
  0.5,
  -0.5,
  1e30,
  -1e30,
  Number.NaN,
  Infinity,
  -Infinity,
];

/** Every special value with every other, as an outer product laid flat. */
function specialPairs(): { a: number[]; b: number[] } {
  return {
    a: pairSpecials.flatMap((left) => pairSpecials.map(() => left)),
    b: pairSpecials.flatMap(() => [...pairSpecials]),
  };
}

function binarySpecials(op: BinaryOp): KernelCase {
  const { a, b } = specialPairs();
  const { layout } = broadcast([a.length], [a.length]);
  return {
    label: `${op} of special values`,
    isExact: op !== "pow",
    given: { a: input(a), b: input(b), out: output(a.length) },
    run: (backend, o) => backend.binary(op, o.a, o.b, o.out, layout),
  };
}

export function compareCase(
  op: CompareOp,
  { name, layout, aLength, bLength, outLength }: Broadcast,
): KernelCase {
  return {
    label: `${op} ${name}`,
    given: {
      a: input(integers(aLength, { seed: 3, high: 3 })),
      b: input(integers(bLength, { seed: 4, high: 3 })),
      out: output(outLength, "bool"),
    },
    run: (backend, o) => backend.compare(op, o.a, o.b, o.out, layout),
  };
}

function compareSpecials(op: CompareOp): KernelCase {
  const { a, b } = specialPairs();
  const { layout } = broadcast([a.length], [a.length]);
  return {
    label: `${op} of special values`,
    given: { a: input(a), b: input(b), out: output(a.length, "bool") },
    run: (backend, o) => backend.compare(op, o.a, o.b, o.out, layout),
  };
}

export function dropoutCase(length: number, p: number, seed: number): KernelCase {
  return {
    label: `dropout of ${length}, p ${p}, seed ${seed}`,
    // Away from 0, so that a dropped element never looks like a kept one.
    given: { x: input(distinct(length, { seed: 6, low: 1, high: 3 })), out: output(length) },
    run: (backend, o) => backend.dropout(o.x, o.out, p, seed),
  };
}

export function addIntoCase(n: number): KernelCase {
  return {
    label: `add ${n} into`,
    isExact: true,
    given: { x: input(distinct(n, { seed: n })), sum: inout(distinct(n, { seed: n + 4 })) },
    run: (backend, o) => backend.addInto(o.x, o.sum),
  };
}

/** Operands long enough to be spread over threads. */
export function largeElementwiseCases(): KernelCase[] {
  const x = distinct(longLength, { seed: 1, low: 0.1, high: 4 });
  return [
    ...unaryOps.map((op) => unaryCase(op, x, unaryRanges[op].isExact)),
    ...unaryGradOps.map((op) => unaryGradCase(op, x, distinct(longLength, { seed: 2 }))),
    binaryCase("add", broadcast([longLength], [longLength])),
    binaryCase("mul", broadcast([longLength], [1])),
    binaryCase("sub", broadcast([8, 64, 1201], [64, 1])),
    binaryCase("div", broadcast([1, 1009], [601, 1])),
    binaryCase("pow", broadcast([1009, 301], [301])),
    binaryCase("maximum", broadcast([31, 1, 37, 1], [31, 23, 1, 29])),
    binaryCase("minimum", broadcast([1], [longLength])),
    ...compareOps.map((op) => compareCase(op, broadcast([longLength], [longLength]))),
    compareCase("eq", broadcast([8, 64, 1201], [64, 1])),
    selectCase(longLength, "float32"),
    selectCase(longLength, "uint8"),
    addIntoCase(longLength),
    dropoutCase(longLength, 0.3, 99),
  ];
}

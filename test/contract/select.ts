import type { Operand } from "../../src/backend/backend.ts";
import {
  expectLikeReference,
  inout,
  input,
  type KernelCase,
  output,
} from "../support/kernel-case.ts";
import { lengths } from "../support/layouts.ts";
import { integers } from "../support/random.ts";
import type { Claim } from "./backend.ts";

/** Zeros, and what is tiny, huge, at the ends of the exponential's range or no number. */
export const specials: readonly number[] = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1e-40,
  -1e-40,
  1e-10,
  -1e-10,
  3e38,
  -3e38,
  88,
  -88,
  90,
  -90,
  104,
  -104,
  1000,
  -1000,
  Number.NaN,
  Infinity,
  -Infinity,
];

const dtypes = ["float32", "int32", "uint8", "bool"] as const;

export function selectContract(claim: Claim): void {
  for (const dtype of dtypes) {
    claim(`select ${dtype}: all lengths`, (backend) =>
      expectLikeReference(
        backend,
        [...lengths, 12, 15, 31].map((n) => selectCase(n, dtype)),
      ),
    );
  }

  claim("select: keeps NaN, infinities and -0 where chosen and only there, bit by bit", (backend) =>
    expectLikeReference(backend, [selectSpecials()]),
  );

  claim("select: any condition but 0 holds", (backend) => {
    const n = 39;
    const condition = Array.from({ length: n }, (_, i) => [0, 1, 2, 128, 255][i % 5]);
    return expectLikeReference(backend, [selectCase(n, "float32", condition)]);
  });

  claim("select: leaves what follows its last element alone", (backend) =>
    expectLikeReference(
      backend,
      [3, 12, 15, 31].flatMap((n) => [behindCase(n, "float32"), behindCase(n, "uint8")]),
    ),
  );
}

export function selectCase(
  length: number,
  dtype: (typeof dtypes)[number],
  condition: ArrayLike<number> = integers(length, { seed: 12, high: 2 }),
): KernelCase {
  const high = { float32: 1e9, int32: 2 ** 31, uint8: 256, bool: 2 }[dtype];
  return {
    label: `select ${dtype} of ${length}`,
    isExact: true,
    given: {
      condition: input(condition, "bool"),
      a: input(integers(length, { seed: 13, high }), dtype),
      b: input(integers(length, { seed: 14, high }), dtype),
      out: output(length, dtype),
    },
    run: (backend, o) => backend.select(o.condition, o.a, o.b, o.out),
  };
}

/** Special values against plain ones, chosen and not, as integers so that signs and NaN count. */
function selectSpecials(): KernelCase {
  const bits = new Int32Array(Float32Array.from([...specials, ...specials]).buffer);
  const plain = bits.map((_, i) => i + 1);
  const condition = bits.map((_, i) => Number(i < specials.length));
  return {
    label: "select of special values",
    isExact: true,
    given: {
      condition: input(condition, "bool"),
      a: input(bits, "int32"),
      b: input(plain, "int32"),
      out: output(bits.length, "int32"),
    },
    run: (backend, o) => {
      const [a, b, out] = [o.a, o.b, o.out].map((operand) => asFloat(operand));
      backend.select(o.condition, a, b, out);
    },
  };
}

function asFloat(operand: Operand): Operand {
  return { ...operand, dtype: "float32" };
}

/** The first elements of longer operands: behind them lies what the kernel might pick up and must not write. */
function behindCase(length: number, dtype: "float32" | "uint8"): KernelCase {
  const room = length + 16;
  const first = (operand: Operand): Operand => ({ ...operand, length });
  return {
    label: `select of the first ${length} ${dtype}`,
    isExact: true,
    given: {
      condition: input(integers(room, { seed: 15, high: 2 }), "bool"),
      a: input(integers(room, { seed: 16, low: 1, high: 50 }), dtype),
      b: input(integers(room, { seed: 17, low: 1, high: 50 }), dtype),
      out: inout(new Uint8Array(room), dtype),
    },
    run: (backend, o) => backend.select(first(o.condition), first(o.a), first(o.b), first(o.out)),
  };
}

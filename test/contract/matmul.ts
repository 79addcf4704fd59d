import type { MatmulLayout } from "../../src/backend/backend.ts";
import { Generator } from "../../src/core/random.ts";
import { expectLikeReference, input, type KernelCase, output } from "../support/kernel-case.ts";
import { distinct } from "../support/random.ts";
import type { Claim } from "./backend.ts";

/** matmul. */
export function matmulContract(claim: Claim): void {
  for (const [transposeA, transposeB] of [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ]) {
    const name = `matmul${transposeA ? ", a transposed" : ""}${transposeB ? ", b transposed" : ""}`;
    claim(`${name}: every size from 1 to 9`, (backend) =>
      expectLikeReference(
        backend,
        sizesTo(9).map((sizes) => matmulCase({ ...sizes, transposeA, transposeB })),
        [1],
      ),
    );
    claim(`${name}: odd sizes across blocks, vectors and rows`, (backend) =>
      expectLikeReference(
        backend,
        [...blockSizes, ...drawnSizes(12)].map((sizes) =>
          matmulCase({ ...sizes, transposeA, transposeB }),
        ),
      ),
    );
    claim(`${name}: a sum over nothing is 0`, (backend) =>
      expectLikeReference(
        backend,
        [
          { M: 3, N: 5, K: 0 },
          { M: 0, N: 5, K: 2 },
          { M: 3, N: 0, K: 2 },
        ].map((sizes) => matmulCase({ ...sizes, transposeA, transposeB })),
      ),
    );
  }
}

type Sizes = Pick<MatmulLayout, "M" | "N" | "K">;

const blockSizes: readonly Sizes[] = [
  { M: 1, N: 1, K: 1003 },
  { M: 1, N: 257, K: 33 },
  { M: 131, N: 1, K: 17 },
  { M: 16, N: 16, K: 16 },
  { M: 17, N: 31, K: 65 },
  { M: 33, N: 65, K: 129 },
  { M: 64, N: 64, K: 64 },
  { M: 67, N: 35, K: 300 },
  { M: 5, N: 130, K: 600 },
];

function sizesTo(limit: number): Sizes[] {
  const sizes = Array.from({ length: limit }, (_, i) => i + 1);
  return sizes.flatMap((M) => sizes.flatMap((N) => [1, 2, 3, 5, 8, 9].map((K) => ({ M, N, K }))));
}

function drawnSizes(count: number): Sizes[] {
  const generator = new Generator(20);
  const size = () => 1 + Math.floor(generator.uniform() * 70);
  return Array.from({ length: count }, () => ({ M: size(), N: size(), K: size() }));
}

function matmulCase(layout: MatmulLayout): KernelCase {
  const { M, N, K, transposeA, transposeB } = layout;
  return {
    label: `matmul M ${M}, N ${N}, K ${K}, transposed ${transposeA} ${transposeB}`,
    products: K,
    given: {
      a: input(distinct(M * K, { seed: 1 })),
      b: input(distinct(K * N, { seed: 2 })),
      out: output(M * N),
    },
    run: (backend, o) => backend.matmul(o.a, o.b, o.out, layout),
  };
}

/** Products large enough to be spread over threads, by rows, by columns and along the sum. */
export function largeMatmulCases(): KernelCase[] {
  return [
    { M: 131, N: 157, K: 129, transposeA: false, transposeB: false },
    { M: 131, N: 157, K: 129, transposeA: true, transposeB: true },
    { M: 7, N: 9, K: 50_021, transposeA: true, transposeB: false },
    { M: 2003, N: 10, K: 128, transposeA: false, transposeB: true },
    { M: 3, N: 10_007, K: 65, transposeA: false, transposeB: false },
  ].map(matmulCase);
}

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
        sizesTo(9).map((sizes) => matmulCase({ ...single, ...sizes, transposeA, transposeB })),
        [1],
      ),
    );
    claim(`${name}: odd sizes across blocks, vectors and rows`, (backend) =>
      expectLikeReference(
        backend,
        [...blockSizes, ...drawnSizes(12)].map((sizes) =>
          matmulCase({ ...single, ...sizes, transposeA, transposeB }),
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
          { batch: 0, M: 3, N: 5, K: 2 },
          { batch: 2, M: 3, N: 5, K: 0 },
        ].map((sizes) => matmulCase({ ...single, ...sizes, transposeA, transposeB })),
      ),
    );
    claim(`${name}: batches, repeated and spread matrices`, (backend) =>
      expectLikeReference(
        backend,
        batches.map((sizes) => matmulCase({ ...sizes, transposeA, transposeB })),
      ),
    );
  }
}

type Sizes = Pick<MatmulLayout, "M" | "N" | "K">;

const single = { batch: 1, aStep: 0, bStep: 0 };

/** Steps as wide as the matrices, 0, and wider. */
const batches = [
  { batch: 2, M: 3, N: 5, K: 4 },
  { batch: 5, M: 1, N: 1, K: 1 },
  { batch: 3, M: 9, N: 17, K: 300 },
  { batch: 2, M: 5, N: 3, K: 1100 },
  { batch: 7, M: 33, N: 70, K: 9 },
  { batch: 41, M: 4, N: 8, K: 5 },
].flatMap((sizes) => {
  const [aSize, bSize] = [sizes.M * sizes.K, sizes.K * sizes.N];
  return [
    { ...sizes, aStep: aSize, bStep: bSize },
    { ...sizes, aStep: 0, bStep: bSize },
    { ...sizes, aStep: aSize, bStep: 0 },
    { ...sizes, aStep: aSize + 3, bStep: 2 * bSize },
  ];
});

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

export function matmulCase(layout: MatmulLayout): KernelCase {
  const { batch, M, N, K, aStep, bStep, transposeA, transposeB } = layout;
  const repeats = Math.max(0, batch - 1);
  return {
    label: `${batch} matmul M ${M}, N ${N}, K ${K}, steps ${aStep} ${bStep}, transposed ${transposeA} ${transposeB}`,
    products: K,
    given: {
      a: input(distinct(repeats * aStep + M * K, { seed: 1 })),
      b: input(distinct(repeats * bStep + K * N, { seed: 2 })),
      out: output(batch * M * N),
    },
    run: (backend, o) => backend.matmul(o.a, o.b, o.out, layout),
  };
}

/** Products large enough to be spread over threads, by products, by rows, by columns and along the sum. */
export function largeMatmulCases(): KernelCase[] {
  return [
    { M: 131, N: 157, K: 129, transposeA: false, transposeB: false },
    { M: 131, N: 157, K: 129, transposeA: true, transposeB: true },
    { M: 7, N: 9, K: 50_021, transposeA: true, transposeB: false },
    { M: 2003, N: 10, K: 128, transposeA: false, transposeB: true },
    { M: 3, N: 10_007, K: 65, transposeA: false, transposeB: false },
    {
      batch: 37,
      M: 33,
      N: 41,
      K: 29,
      aStep: 957,
      bStep: 1189,
      transposeA: false,
      transposeB: true,
    },
    {
      batch: 3,
      M: 5,
      N: 7,
      K: 10_007,
      aStep: 50_035,
      bStep: 0,
      transposeA: true,
      transposeB: false,
    },
    { batch: 1009, M: 3, N: 9, K: 5, aStep: 0, bStep: 45, transposeA: false, transposeB: false },
  ].map((sizes) => matmulCase({ ...single, ...sizes }));
}

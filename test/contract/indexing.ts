import type { GatherLayout } from "../../src/backend/backend.ts";
import type { DType } from "../../src/core/dtype.ts";
import {
  expectLikeReference,
  inout,
  input,
  type KernelCase,
  output,
} from "../support/kernel-case.ts";
import { distinct, integers } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { combine, typesOf, valuesOf } from "./movement.ts";

const layouts: readonly GatherLayout[] = [1, 2, 3, 5].flatMap((outer) =>
  [1, 3, 4, 7, 16].flatMap((inner) =>
    [
      { length: 1, picks: 1 },
      { length: 5, picks: 1 },
      { length: 4, picks: 9 },
      { length: 17, picks: 6 },
      { length: 3, picks: 0 },
    ].map((sizes) => ({ outer, inner, ...sizes })),
  ),
);

/** gather, scatterAdd, indexSelect and indexAdd. */
export function indexingContract(claim: Claim): void {
  claim("gather: every type, repeated and single picks, inner 1 and more", (backend) =>
    expectLikeReference(
      backend,
      typesOf(backend).flatMap((dtype) =>
        layouts.map((layout) => gatherCase(dtype, layout, indexFor(layout, 0, layout.length))),
      ),
    ),
  );

  claim("gather: an index outside gives NaN, for integers 0", (backend) =>
    expectLikeReference(
      backend,
      typesOf(backend).flatMap((dtype) => [
        ...layouts.map((layout) =>
          gatherCase(dtype, layout, indexFor(layout, -3, layout.length + 3)),
        ),
        gatherCase(dtype, farLayout, farIndices),
      ]),
    ),
  );

  claim("scatterAdd: repeated indices add up on what is there", (backend) =>
    expectLikeReference(
      backend,
      layouts.map((layout) => scatterCase(layout, indexFor(layout, 0, layout.length))),
    ),
  );

  claim("scatterAdd: indices outside are passed over", (backend) =>
    expectLikeReference(backend, [
      ...layouts.map((layout) => scatterCase(layout, indexFor(layout, -3, layout.length + 3))),
      scatterCase(farLayout, farIndices),
    ]),
  );

  claim(
    "indexSelect: every type, long and short rows; outside gives NaN, for integers 0",
    (backend) =>
      expectLikeReference(
        backend,
        typesOf(backend).flatMap((dtype) => [
          ...layouts.map((layout) => selectCase(dtype, layout, shared(layout, 0, layout.length))),
          ...layouts.map((layout) =>
            selectCase(dtype, layout, shared(layout, -3, layout.length + 3)),
          ),
          selectCase(dtype, farLayout, farIndices),
        ]),
      ),
  );

  claim("indexAdd: repeated indices add up in order, those outside are passed over", (backend) =>
    expectLikeReference(
      backend,
      combine(["float32", "int32"] as const, layouts, (dtype, layout) => [
        addCase(dtype, layout, shared(layout, 0, layout.length)),
        addCase(dtype, layout, shared(layout, -3, layout.length + 3)),
        addCase(dtype, farLayout, farIndices),
      ]).flat(),
    ),
  );
}

const farLayout: GatherLayout = { outer: 1, length: 3, inner: 1, picks: 6 };
const farIndices = [2, -1, 3, 2147483647, -2147483648, 0];

function indexFor({ outer, picks, inner }: GatherLayout, low: number, high: number): Int32Array {
  return integers(outer * picks * inner, { seed: outer + picks, low, high });
}

/** One index for all of outer and inner. */
function shared({ outer, inner, picks }: GatherLayout, low: number, high: number): Int32Array {
  return integers(picks, { seed: outer + inner, low, high });
}

function label({ outer, length, inner, picks }: GatherLayout): string {
  return `${picks} picks of (${outer}, ${length}, ${inner})`;
}

export function gatherCase(
  dtype: DType,
  layout: GatherLayout,
  index: ArrayLike<number>,
): KernelCase {
  const { outer, length, inner } = layout;
  return {
    label: `gather ${dtype}, ${label(layout)}`,
    isExact: true,
    given: {
      x: input(valuesOf(dtype, outer * length * inner), dtype),
      index: input(index, "int32"),
      out: output(index.length, dtype),
    },
    run: (backend, o) => backend.gather(o.x, o.index, o.out, layout),
  };
}

export function scatterCase(layout: GatherLayout, index: ArrayLike<number>): KernelCase {
  const { outer, length, inner } = layout;
  return {
    label: `scatterAdd, ${label(layout)}`,
    given: {
      x: input(distinct(index.length, { seed: 2 })),
      index: input(index, "int32"),
      sum: inout(distinct(outer * length * inner, { seed: 3 })),
    },
    run: (backend, o) => backend.scatterAdd(o.x, o.index, o.sum, layout),
  };
}

export function selectCase(
  dtype: DType,
  layout: GatherLayout,
  index: ArrayLike<number>,
): KernelCase {
  const { outer, length, inner, picks } = layout;
  return {
    label: `indexSelect ${dtype}, ${label(layout)}`,
    isExact: true,
    given: {
      x: input(valuesOf(dtype, outer * length * inner), dtype),
      index: input(index, "int32"),
      out: output(outer * picks * inner, dtype),
    },
    run: (backend, o) => backend.indexSelect(o.x, o.index, o.out, layout),
  };
}

export function addCase(
  dtype: "float32" | "int32",
  layout: GatherLayout,
  index: ArrayLike<number>,
): KernelCase {
  const { outer, length, inner, picks } = layout;
  return {
    label: `indexAdd ${dtype}, ${label(layout)}`,
    given: {
      x: input(valuesOf(dtype, outer * picks * inner), dtype),
      index: input(index, "int32"),
      sum: inout(valuesOf(dtype, outer * length * inner), dtype),
    },
    run: (backend, o) => backend.indexAdd(o.x, o.index, o.sum, layout),
  };
}

/** Operands long enough to be spread over threads. */
export function largeIndexingCases(): KernelCase[] {
  const elements = [
    { outer: 40_009, length: 10, inner: 1, picks: 1 },
    { outer: 1, length: 501, inner: 64, picks: 2003 },
    { outer: 3, length: 1001, inner: 1, picks: 50_021 },
  ].flatMap((layout) => {
    const index = indexFor(layout, 0, layout.length);
    return [
      ...(["float32", "float64", "int32", "uint8"] as const).map((dtype) =>
        gatherCase(dtype, layout, index),
      ),
      scatterCase(layout, index),
    ];
  });
  const rows = [
    { outer: 2, length: 31, inner: 4001, picks: 67 },
    { outer: 1, length: 2, inner: 70_001, picks: 5 },
    { outer: 301, length: 40, inner: 1, picks: 501 },
  ].flatMap((layout) => {
    const index = shared(layout, 0, layout.length);
    return [
      ...(["float32", "float64", "int32", "uint8"] as const).map((dtype) =>
        selectCase(dtype, layout, index),
      ),
      addCase("float32", layout, index),
      addCase("int32", layout, index),
    ];
  });
  return [...elements, ...rows];
}

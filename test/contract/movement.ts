import type { Backend, StridedLayout } from "../../src/backend/backend.ts";
import { type DType, isFloating } from "../../src/core/dtype.ts";
import { type Shape, sizeOf, stridesOf } from "../../src/core/shape.ts";
import {
  expectLikeReference,
  inout,
  input,
  type KernelCase,
  output,
} from "../support/kernel-case.ts";
import { lengths, longLength } from "../support/layouts.ts";
import { distinct, integers } from "../support/random.ts";
import type { Claim } from "./backend.ts";

/** fill, copy, cast, stridedCopy and stridedWrite. */
export function movementContract(claim: Claim): void {
  claim("fill: sets every element and no other", (backend) =>
    expectLikeReference(
      backend,
      combine(typesOf(backend), lengths, (dtype, length) => fillCase(dtype, length, 1)),
    ),
  );

  claim("fill: takes fractions, infinities and NaN", (backend) =>
    expectLikeReference(
      backend,
      [0.1, -2.75, 0, Infinity, -Infinity, Number.NaN].map((value) =>
        fillCase("float32", 9, value),
      ),
    ),
  );

  claim("fill: bool is 0 or 1, integers are taken as they are", (backend) =>
    expectLikeReference(backend, [
      fillCase("bool", 9, 5),
      fillCase("bool", 9, 0),
      fillCase("uint8", 9, 200),
      fillCase("int32", 9, -2147483648),
    ]),
  );

  claim("copy: all types, all lengths", (backend) =>
    expectLikeReference(backend, combine(typesOf(backend), lengths, copyCase)),
  );

  claim("cast: every type to every type, all lengths", (backend) =>
    expectLikeReference(
      backend,
      combine(typesOf(backend), typesOf(backend), (from, to) =>
        lengths.map((length) => castCase(from, to, valuesOf(from, length))),
      ).flat(),
    ),
  );

  claim("cast: float to integer truncates towards zero", (backend) =>
    expectLikeReference(
      backend,
      floatTypesOf(backend).flatMap((from) => [
        castCase(from, "int32", [0.99, -0.99, 1.5, -1.5, 100.999, -65504, 65504]),
        castCase(from, "uint8", [0.99, -0.99, 1.5, 200.25, 255, 255.75, 0]),
      ]),
    ),
  );

  claim("cast: floats near the ends of int32", (backend) =>
    expectLikeReference(backend, [castCase("float32", "int32", [-2147483520, 2147483520])]),
  );

  claim("cast: to bool is x != 0, also for 256, tiny fractions and NaN", (backend) =>
    expectLikeReference(backend, [
      ...floatTypesOf(backend).map((from) =>
        castCase(from, "bool", [0, -0, 1e-40, 0.5, -1, 256, Number.NaN, Infinity, -Infinity]),
      ),
      castCase("int32", "bool", [0, 256, -1, 65536, -2147483648]),
      castCase("uint8", "bool", [0, 1, 2, 128, 255]),
    ]),
  );

  claim("cast: to float rounds to nearest, ties to even", (backend) =>
    expectLikeReference(backend, [
      castCase("int32", "float32", [16777217, 16777219, -16777217, 2147483647, -2147483648]),
      ...floatTypesOf(backend).map((from) =>
        castCase(from, "float32", [0.1, 1 + 2 ** -24, 1 + 3 * 2 ** -24, 1e-46, Number.NaN]),
      ),
    ]),
  );

  claim("cast: int32 to uint8 keeps the low byte", (backend) =>
    expectLikeReference(backend, [castCase("int32", "uint8", [-1, 256, 300, 2147483647, 511])]),
  );

  claim("stridedCopy: every permutation of rank 1 to 4, all types", (backend) =>
    expectLikeReference(
      backend,
      combine(typesOf(backend), permutedShapes, (dtype, shape) =>
        permutations(shape.length).map((order) => permuteCase(dtype, shape, order)),
      ).flat(),
    ),
  );

  claim("stridedCopy: transposes with every remainder of tiles", (backend) =>
    expectLikeReference(
      backend,
      combine([1, 2, 3, 4, 5, 7, 8, 9, 16, 33], [1, 3, 4, 5, 8, 17, 65], (rows, columns) =>
        permuteCase("float32", [rows, columns], [1, 0]),
      ),
    ),
  );

  claim("stridedCopy: axes of rank 5 and 6", (backend) =>
    expectLikeReference(backend, [
      permuteCase("float32", [2, 3, 2, 3, 2], [4, 2, 0, 3, 1]),
      permuteCase("float32", [2, 3, 2, 3, 2, 5], [5, 4, 3, 2, 1, 0]),
      permuteCase("int32", [2, 3, 2, 3, 2, 5], [1, 0, 3, 2, 4, 5]),
    ]),
  );

  claim("stridedCopy: stride 0 repeats", (backend) =>
    expectLikeReference(backend, [
      expandCase([7], [0], 1),
      expandCase([3, 5], [1, 0], 3),
      expandCase([3, 5], [0, 1], 5),
      expandCase([2, 3, 9], [0, 1, 0], 3),
      expandCase([2, 3, 4, 5], [5, 0, 0, 1], 10),
      expandCase([3, 0], [0, 1], 4),
    ]),
  );

  claim("stridedCopy: windows that overlap", (backend) =>
    expectLikeReference(backend, [
      expandCase([5, 3], [1, 1], 7),
      expandCase([4, 3, 9], [18, 9, 1], 81),
      expandCase([2, 11, 10], [3, 2, 1], 33),
      expandCase([9, 12], [2, 1], 28),
    ]),
  );

  claim(
    "stridedWrite: blocks, steps and transposes, all types, and nothing around them",
    (backend) =>
      expectLikeReference(
        backend,
        combine(typesOf(backend), writeLayouts, (dtype, layout) => writeCase(dtype, layout, false)),
      ),
  );

  claim("stridedWrite: accumulating adds to what is there and touches nothing else", (backend) =>
    expectLikeReference(
      backend,
      combine(["float32", "int32"] as const, writeLayouts, (dtype, layout) =>
        writeCase(dtype, layout, true),
      ),
    ),
  );

  claim("stridedWrite: undoes stridedCopy by the same strides", (backend) =>
    expectLikeReference(
      backend,
      combine(typesOf(backend), permutedShapes, (dtype, shape) =>
        permutations(shape.length).map((order) => thereAndBackCase(dtype, shape, order)),
      ).flat(),
    ),
  );
}

/** Types that values of this backend may have in memory, batch norm's statistics included. */
export function typesOf(backend: Backend): DType[] {
  return [...new Set<DType>([...backend.dtypes, backend.statisticsDType])];
}

function floatTypesOf(backend: Backend): DType[] {
  return typesOf(backend).filter(isFloating);
}

/** Values that every type can hold after truncation: fractions for floats, 0 to 100 for integers, 0 and 1 for bool. */
export function valuesOf(dtype: DType, length: number): ArrayLike<number> {
  if (isFloating(dtype)) return distinct(length, { seed: length + 1, low: 0, high: 100 });
  return integers(length, { seed: length + 2, high: dtype === "bool" ? 2 : 101 });
}

/** Every pair of an element of `as` and one of `bs`. */
export function combine<A, B, R>(as: Iterable<A>, bs: readonly B[], make: (a: A, b: B) => R): R[] {
  return [...as].flatMap((a) => bs.map((b) => make(a, b)));
}

function fillCase(dtype: DType, length: number, value: number): KernelCase {
  return {
    label: `fill ${length} of ${dtype} with ${value}`,
    isExact: true,
    given: { out: output(length, dtype) },
    run: (backend, o) => backend.fill(o.out, value),
  };
}

export function copyCase(dtype: DType, length: number): KernelCase {
  return {
    label: `copy ${length} of ${dtype}`,
    isExact: true,
    given: { x: input(valuesOf(dtype, length), dtype), out: output(length, dtype) },
    run: (backend, o) => backend.copy(o.x, o.out),
  };
}

function castCase(from: DType, to: DType, values: ArrayLike<number>): KernelCase {
  return {
    label: `cast ${values.length} of ${from} to ${to}`,
    isExact: true,
    given: { x: input(values, from), out: output(values.length, to) },
    run: (backend, o) => backend.cast(o.x, o.out),
  };
}

const permutedShapes: readonly Shape[] = [
  [6],
  [5, 7],
  [4, 8],
  [3, 4, 5],
  [2, 1, 9],
  [2, 3, 4, 5],
  [0, 3],
];

function permutations(rank: number): number[][] {
  if (rank === 0) return [[]];
  return permutations(rank - 1).flatMap((order) =>
    Array.from({ length: rank }, (_, at) => order.toSpliced(at, 0, rank - 1)),
  );
}

export function permuteCase(dtype: DType, shape: Shape, order: readonly number[]): KernelCase {
  const size = sizeOf(shape);
  const strides = stridesOf(shape);
  const layout = { shape: order.map((a) => shape[a]), strides: order.map((a) => strides[a]) };
  return {
    label: `permute [${shape}] to order [${order}], ${dtype}`,
    isExact: true,
    given: { x: input(valuesOf(dtype, size), dtype), out: output(size, dtype) },
    run: (backend, o) => backend.stridedCopy(o.x, o.out, layout),
  };
}

function expandCase(shape: Shape, strides: readonly number[], length: number): KernelCase {
  return {
    label: `expand to [${shape}] by strides [${strides}]`,
    isExact: true,
    given: { x: input(distinct(length, { seed: 5 })), out: output(sizeOf(shape)) },
    run: (backend, o) => backend.stridedCopy(o.x, o.out, { shape, strides }),
  };
}

const writeLayouts: readonly StridedLayout[] = [
  { shape: [1], strides: [0] },
  { shape: [0], strides: [1] },
  { shape: [9], strides: [1] },
  { shape: [9], strides: [3] },
  { shape: [3, 5], strides: [7, 1] },
  { shape: [3, 5], strides: [1, 4] },
  { shape: [3, 33], strides: [40, 1] },
  { shape: [2, 3, 4], strides: [40, 8, 2] },
  { shape: [9, 17], strides: [1, 10] },
  { shape: [8, 8], strides: [1, 8] },
  { shape: [2, 19, 21], strides: [500, 1, 23] },
  { shape: [19, 2, 21], strides: [1, 500, 23] },
  { shape: [3, 2, 4, 5], strides: [2, 200, 40, 7] },
  { shape: [2, 3, 2, 2, 3, 2], strides: [300, 1, 150, 30, 4, 14] },
];

/** As large as the layout needs, plus a part that nothing addresses. */
function reachOf({ shape, strides }: StridedLayout): number {
  return shape.reduce((reach, size, axis) => reach + Math.max(0, size - 1) * strides[axis], 4);
}

export function writeCase(dtype: DType, layout: StridedLayout, accumulate: boolean): KernelCase {
  const { shape, strides } = layout;
  return {
    label: `${accumulate ? "add" : "write"} [${shape}] by strides [${strides}], ${dtype}`,
    isExact: true,
    given: {
      x: input(valuesOf(dtype, sizeOf(shape)), dtype),
      out: inout(valuesOf(dtype, reachOf(layout)), dtype),
    },
    run: (backend, o) => backend.stridedWrite(o.x, o.out, layout, accumulate),
  };
}

function thereAndBackCase(dtype: DType, shape: Shape, order: readonly number[]): KernelCase {
  const size = sizeOf(shape);
  const strides = stridesOf(shape);
  const layout = { shape: order.map((a) => shape[a]), strides: order.map((a) => strides[a]) };
  const x = input(valuesOf(dtype, size), dtype);
  return {
    label: `permute [${shape}] to order [${order}] and back, ${dtype}`,
    isExact: true,
    given: { x, permuted: output(size, dtype), out: output(size, dtype) },
    run(backend, o) {
      backend.stridedCopy(o.x, o.permuted, layout);
      backend.stridedWrite(o.permuted, o.out, layout, false);
    },
  };
}

/** Operands long enough to be spread over threads, of every type: statistics move as float64 where they are float64. */
export function largeMovementCases(): KernelCase[] {
  const types: readonly DType[] = ["float32", "float16", "float64", "int32", "uint8", "bool"];
  const length = 70_001;
  return [
    ...combine(types, types, (from, to) => castCase(from, to, valuesOf(from, length))),
    ...types.flatMap((dtype) => [
      fillCase(dtype, longLength, 1),
      copyCase(dtype, longLength),
      permuteCase(dtype, [241, 503], [1, 0]),
      permuteCase(dtype, [8, 37, 21, 29], [0, 2, 3, 1]),
      writeCase(dtype, { shape: [241, 503], strides: [521, 1] }, false),
      writeCase(dtype, { shape: [241, 503], strides: [1, 243] }, false),
      writeCase(dtype, { shape: [31, 40, 101], strides: [8081, 202, 2] }, false),
    ]),
    expandCase([300, 7, 401], [0, 1, 0], 7),
    ...combine(["float32", "int32"] as const, [1, 2], (dtype, step) =>
      writeCase(dtype, { shape: [31, 40, 101], strides: [8081, 202, step] }, true),
    ),
  ];
}

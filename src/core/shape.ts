/** Shapes and the index arithmetic on them; pure. */
import { ArgumentError, ShapeError } from "./errors.ts";

/** Sizes of the axes, outermost first; row-major. */
export type Shape = readonly number[];

/** Product of the sizes from axis `from` up to, not including, axis `to`. */
export function sizeOf(shape: Shape, from = 0, to: number = shape.length): number {
  let size = 1;
  for (let axis = from; axis < to; axis++) size *= shape[axis];
  return size;
}

/** `(8, 32, 7, 7)`, `(3,)` for one axis, `()` for a scalar: as PyTorch's users read shapes. */
export function formatShape(shape: Shape): string {
  return shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/** Checks sizes given by a user. Throws ShapeError unless all are integers >= 0. */
export function checkShape(op: string, shape: Shape): void {
  if (shape.every((size) => Number.isInteger(size) && size >= 0)) return;
  throw new ShapeError({
    op,
    expected: "sizes that are integers >= 0",
    actual: formatShape(shape),
  });
}

/** Axis in [0, rank) from one that may count from the end; a scalar takes 0 and -1, as in PyTorch. Throws ShapeError when it is outside. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  const count = Math.max(rank, 1);
  const normalized = axis < 0 ? axis + count : axis;
  if (Number.isInteger(axis) && normalized >= 0 && normalized < count) return normalized;
  throw new ShapeError({
    op,
    expected: `an axis in [${-count}, ${count - 1}] of a tensor with ${rank} axes`,
    actual: String(axis),
  });
}

/** Sorted distinct axes; undefined means all, and of a scalar there are none. Throws ShapeError on repeats. */
export function normalizeAxes(
  op: string,
  axes: number | readonly number[] | undefined,
  rank: number,
): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, axis) => axis);
  const list = typeof axes === "number" ? [axes] : axes;
  const normalized = list.map((axis) => normalizeAxis(op, axis, rank)).sort((a, b) => a - b);
  if (new Set(normalized).size === normalized.length) return rank === 0 ? [] : normalized;
  throw new ShapeError({ op, expected: "distinct axes", actual: `[${list.join(", ")}]` });
}

/** Shape after reducing `axes`: dropped, or kept with size 1. */
export function reducedShape(shape: Shape, axes: readonly number[], keepdim: boolean): number[] {
  if (keepdim) return shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  return shape.filter((_, axis) => !axes.includes(axis));
}

/** NumPy's rule: align at the last axis, sizes equal or 1. Throws ShapeError. */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const sizeA = i <= a.length ? a[a.length - i] : 1;
    const sizeB = i <= b.length ? b[b.length - i] : 1;
    if (sizeA !== sizeB && sizeA !== 1 && sizeB !== 1) {
      throw new ShapeError({
        op,
        expected: "shapes equal or 1 on each axis, counted from the last",
        actual: `${formatShape(a)} and ${formatShape(b)}`,
      });
    }
    shape[rank - i] = sizeA === 1 ? sizeB : sizeA;
  }
  return shape;
}

/** Strides that read a tensor of shape `from` as if it had the broadcast shape `to`: 0 on repeated axes. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const own = stridesOf(from);
  const lead = to.length - from.length;
  return to.map((_, axis) => (axis < lead || from[axis - lead] === 1 ? 0 : own[axis - lead]));
}

/** Highest rank that broadcasting and strided kernels take, after merging. */
const maxMergedRank = 6;

/**
 * The same element walk over fewer axes: drops axes of size 1 and merges neighbours that every stride list walks as one.
 * Kernels then see long inner loops whatever the rank.
 */
export function mergeAxes(
  op: string,
  shape: Shape,
  ...strideLists: readonly (readonly number[])[]
): { shape: number[]; strides: number[][] } {
  const merged: number[] = [];
  const strides: number[][] = strideLists.map(() => []);
  shape.forEach((size, axis) => {
    if (size === 1) return;
    const last = merged.length - 1;
    const joins =
      last >= 0 && strideLists.every((list, i) => strides[i][last] === list[axis] * size);
    if (joins) merged[last] *= size;
    else merged.push(size);
    strideLists.forEach((list, i) => {
      if (joins) strides[i][last] = list[axis];
      else strides[i].push(list[axis]);
    });
  });
  if (merged.length > maxMergedRank) {
    throw new ShapeError({
      op,
      expected: `at most ${maxMergedRank} axes that do not merge`,
      actual: formatShape(shape),
    });
  }
  if (merged.length > 0) return { shape: merged, strides };
  return { shape: [1], strides: strideLists.map(() => [0]) };
}

/** Fills in the one size written -1. Throws ShapeError when the element counts cannot match. */
export function resolveReshape(op: string, from: Shape, to: Shape): number[] {
  const size = sizeOf(from);
  const unknown = to.filter((axisSize) => axisSize === -1).length;
  const known = sizeOf(to.filter((axisSize) => axisSize !== -1));
  const fits =
    unknown === 0 ? known === size : unknown === 1 && known > 0 && Number.isInteger(size / known);
  if (!fits || !to.every((axisSize) => Number.isInteger(axisSize) && axisSize >= -1)) {
    throw new ShapeError({
      op,
      expected: `a shape with ${size} elements (one size may be -1)`,
      actual: formatShape(to),
    });
  }
  return to.map((axisSize) => (axisSize === -1 ? size / known : axisSize));
}

/** One number for every axis, or one per axis, outermost first. */
export type Sizes = number | readonly number[];

/** `value` as one number per axis of `axes`; a single number stands for all. Throws ArgumentError unless integers >= `least`. */
export function sizesOf(
  op: string,
  name: string,
  value: Sizes,
  { axes, least }: { readonly axes: number; readonly least: number },
): readonly number[] {
  const sizes = typeof value === "number" ? new Array<number>(axes).fill(value) : value;
  if (sizes.length === axes && sizes.every((n) => Number.isInteger(n) && n >= least)) return sizes;
  const many = axes === 1 ? "an array of one" : `${axes} of them`;
  throw new ArgumentError({
    op,
    expected: `${name} to be an integer >= ${least}, or ${many}`,
    actual: JSON.stringify(value),
  });
}

/** Other shapes for the same values: views where the memory stays contiguous, copies elsewhere. */
import { ShapeError } from "../core/errors.ts";
import {
  broadcastShapes,
  formatShape,
  normalizeAxis,
  resolveReshape,
  type Shape,
  sameShape,
  sizeOf,
} from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { backendFor, operandOf, type Tensor, viewOf } from "../tensor/tensor.ts";
import * as raw from "./raw.ts";

/** The same values in another shape, sharing memory; one size may be -1. Throws ShapeError if the counts differ. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const { shape: from } = x;
  return record("reshape", [x], viewOf(x, resolveReshape("reshape", from, shape)), () => ({
    saved: [],
    rule: (dy) => [viewOf(dy, from)],
  }));
}

/** Merges axes `start` to `end` (both included) into one, sharing memory. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  const { shape } = x;
  if (shape.length === 0) return reshape(x, [1]);
  const first = normalizeAxis("flatten", start, shape.length);
  const last = normalizeAxis("flatten", end, shape.length);
  if (first > last) {
    throw new ShapeError({
      op: "flatten",
      expected: "start not after end",
      actual: `start ${start}, end ${end} of shape ${formatShape(shape)}`,
    });
  }
  const merged = sizeOf(shape, first, last + 1);
  return reshape(x, [...shape.slice(0, first), merged, ...shape.slice(last + 1)]);
}

/** Rows `start` up to, not including, `end` of the first axis, sharing memory; negative positions count from the end. */
export function slice(x: Tensor, start: number, end: number = x.shape[0]): Tensor {
  const { shape, dtype } = x;
  const length = shape[0] ?? 0;
  const from = start < 0 ? start + length : start;
  const to = end < 0 ? end + length : end;
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to > length || from > to) {
    throw new ShapeError({
      op: "slice",
      expected: `positions within the ${length} rows of shape ${formatShape(shape)}`,
      actual: `${start} to ${end}`,
    });
  }
  const rest = shape.slice(1);
  const offset = from * sizeOf(rest);
  return record("slice", [x], viewOf(x, [to - from, ...rest], offset), () => ({
    saved: [],
    rule: (dy) => {
      const dx = raw.zerosLike({ shape, dtype }, dy);
      const part = viewOf(dx, dy.shape, offset);
      backendFor(dy).copy(operandOf(dy), operandOf(part));
      return [dx];
    },
  }));
}

/** The axes in the order given, copied. */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  const rank = x.shape.length;
  const order = axes.map((axis) => normalizeAxis("permute", axis, rank));
  if (order.length !== rank || new Set(order).size !== rank) {
    throw new ShapeError({
      op: "permute",
      expected: `each of the ${rank} axes once`,
      actual: `[${axes.join(", ")}]`,
    });
  }
  const inverse = order.map((_, axis) => order.indexOf(axis));
  return record("permute", [x], raw.permute(x, order), () => ({
    saved: [],
    rule: (dy) => [raw.permute(dy, inverse)],
  }));
}

/** Axes `a` and `b` swapped, copied. */
export function transpose(x: Tensor, a: number, b: number): Tensor {
  const rank = x.shape.length;
  const order = Array.from({ length: rank }, (_, axis) => axis);
  const first = normalizeAxis("transpose", a, rank);
  const second = normalizeAxis("transpose", b, rank);
  order[first] = second;
  order[second] = first;
  return permute(x, order);
}

/** Repeats axes of size 1, copied. Throws ShapeError unless x broadcasts to `shape`. */
export function expand(x: Tensor, shape: Shape): Tensor {
  const { shape: from } = x;
  if (!sameShape(broadcastShapes("expand", from, shape), shape)) {
    throw new ShapeError({
      op: "expand",
      expected: `a shape that ${formatShape(from)} broadcasts to`,
      actual: formatShape(shape),
    });
  }
  return record("expand", [x], raw.expand(x, shape), () => ({
    saved: [],
    rule: (dy) => [raw.sumTo(dy, from)],
  }));
}

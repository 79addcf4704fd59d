/** Other shapes for the same values: views where the memory stays contiguous, copies elsewhere. */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import {
  broadcastShapes,
  checkShape,
  formatShape,
  normalizeAxes,
  normalizeAxis,
  resolveReshape,
  type Shape,
  sameShape,
  sizeOf,
  stridesOf,
} from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { runInScope } from "../tensor/scope.ts";
import { type Tensor, viewOf } from "../tensor/tensor.ts";
import { checkTensor } from "./check.ts";
import * as raw from "./raw.ts";

/** The same values in another shape, sharing memory; one size may be -1. Throws ShapeError if the counts differ. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor("reshape", x);
  const { shape: from } = x;
  return record("reshape", [x], viewOf(x, resolveReshape("reshape", from, shape)), () => ({
    saved: [],
    rule: (dy) => [viewOf(dy, from)],
  }));
}

/** Merges axes `start` to `end` (both included) into one, sharing memory. Throws ShapeError if start is after end. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  checkTensor("flatten", x);
  const { shape } = x;
  const first = normalizeAxis("flatten", start, shape.length);
  const last = normalizeAxis("flatten", end, shape.length);
  if (shape.length === 0) return reshape(x, [1]);
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

/** Which axis is cut, and in what steps. */
export interface SliceOptions {
  /** The axis; negative ones count from the end. Default 0. */
  readonly axis?: number;
  /** Takes every step-th position, from the first on; an integer >= 1. Default 1. */
  readonly step?: number;
}

/**
 * Positions `start` up to, not including, `end` of an axis: Python's `x[start:end:step]`. Negative positions count from the
 * end, and those beyond either end stop there. A view that shares memory where the elements are neighbours (step 1, with no axis longer than 1
 * before `axis`), a copy elsewhere.
 *
 * Throws: ArgumentError unless positions are integers and step an integer >= 1; ShapeError for a scalar.
 */
export function slice(
  x: Tensor,
  start: number,
  end?: number,
  { axis = 0, step = 1 }: SliceOptions = {},
): Tensor {
  const at = axisOf("slice", x, axis);
  const size = x.shape[at];
  if (!Number.isInteger(step) || step < 1) {
    throw new ArgumentError({
      op: "slice",
      expected: "a step that is an integer >= 1",
      actual: String(step),
      ...(step < 0 ? { hint: "flip(axis) reverses an axis" } : {}),
    });
  }
  const from = clampPosition(start, size);
  const to = clampPosition(end ?? size, size);
  return takeRange("slice", x, at, {
    from,
    length: Math.max(0, Math.ceil((to - from) / step)),
    step,
  });
}

/** The axis, which must exist: a scalar has none to cut. */
function axisOf(op: string, x: Tensor, axis: number): number {
  if (x.shape.length > 0) return normalizeAxis(op, axis, x.shape.length);
  throw new ShapeError({ op, expected: "a tensor with an axis", actual: "a scalar" });
}

function clampPosition(position: number, size: number): number {
  if (!Number.isInteger(position)) {
    throw new ArgumentError({
      op: "slice",
      expected: "positions that are integers",
      actual: String(position),
    });
  }
  return Math.min(size, Math.max(0, position < 0 ? position + size : position));
}

interface Range {
  readonly from: number;
  readonly length: number;
  readonly step: number;
}

function takeRange(op: string, x: Tensor, axis: number, { from, length, step }: Range): Tensor {
  const { shape, dtype } = x;
  const own = stridesOf(shape);
  const to = shape.with(axis, length);
  const block = { op, strides: own.with(axis, own[axis] * step), offset: from * own[axis] };
  const isRun = step === 1 && sizeOf(shape, 0, axis) === 1;
  const out = isRun ? viewOf(x, to, block.offset) : raw.readBlock(x, to, block);
  return record(op, [x], out, () => ({
    saved: [],
    rule: (dy) => {
      const dx = raw.zerosLike({ shape, dtype }, dy);
      raw.writeBlock(dy, dx, block);
      return [dx];
    },
  }));
}

/**
 * `length` positions of an axis from `start` on, shared or copied as by `slice`; a negative start counts from the end.
 *
 * Throws: ArgumentError unless all of them are on the axis; ShapeError for a scalar.
 */
export function narrow(x: Tensor, axis: number, start: number, length: number): Tensor {
  const at = axisOf("narrow", x, axis);
  const size = x.shape[at];
  const from = start < 0 ? start + size : start;
  const fits = Number.isInteger(from) && Number.isInteger(length) && from >= 0 && length >= 0;
  if (!fits || from + length > size) {
    throw new ArgumentError({
      op: "narrow",
      expected: `a start and a length within axis ${at} of shape ${formatShape(x.shape)}`,
      actual: `start ${start}, length ${length}`,
    });
  }
  return takeRange("narrow", x, at, { from, length, step: 1 });
}

/**
 * The slice at one index of an axis, without that axis; shared or copied as by `slice`. A negative index counts from the end.
 *
 * Throws: ArgumentError unless the index is on the axis; ShapeError for a scalar.
 */
export function select(x: Tensor, axis: number, index: number): Tensor {
  const at = axisOf("select", x, axis);
  const size = x.shape[at];
  if (!Number.isInteger(index) || index < -size || index >= size) {
    throw new ArgumentError({
      op: "select",
      expected: `an index in [${-size}, ${size}) on axis ${at} of shape ${formatShape(x.shape)}`,
      actual: String(index),
    });
  }
  const from = index < 0 ? index + size : index;
  return runInScope("select", () => {
    const row = takeRange("select", x, at, { from, length: 1, step: 1 });
    return reshape(row, x.shape.toSpliced(at, 1));
  });
}

/** Leaves out axes of size 1, sharing memory: all of them, or those given, which stay if they are longer. */
export function squeeze(x: Tensor, axes?: number | readonly number[]): Tensor {
  const among = normalizeAxes("squeeze", axes, x.shape.length);
  return reshape(
    x,
    x.shape.filter((size, axis) => size !== 1 || !among.includes(axis)),
  );
}

/** Inserts an axis of size 1 before `axis`, sharing memory; -1 appends it. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis("unsqueeze", axis, x.shape.length + 1);
  return reshape(x, x.shape.toSpliced(at, 0, 1));
}

/** The axes in the order given, copied. Throws ShapeError unless it names each once. */
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
  return permute(x, order.slice(0, rank));
}

/** Repeats axes of size 1, copied; -1 keeps the size that an axis has. Throws ShapeError unless x broadcasts to `sizes`. */
export function expand(x: Tensor, sizes: Shape): Tensor {
  const { shape: from } = x;
  const lead = sizes.length - from.length;
  const shape = sizes.map((size, axis) => (size === -1 ? (from[axis - lead] ?? size) : size));
  checkShape("expand", shape);
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

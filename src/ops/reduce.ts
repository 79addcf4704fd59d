/** Sums, means, variances and extremes over axes. */
import { isFloating } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import { formatShape, normalizeAxes, normalizeAxis, reducedShape, sizeOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor, viewOf } from "../tensor/tensor.ts";
import { checkFloating } from "./check.ts";
import { mul, sub } from "./elementwise.ts";
import { inFloat32 } from "./in-float32.ts";
import { gatherKnown } from "./indexing.ts";
import * as raw from "./raw.ts";
import { reshape } from "./view.ts";

/** One axis or several; negative ones count from the end. */
export type Axes = number | readonly number[];

/** What becomes of the axes that are reduced. */
export interface ReduceOptions {
  /** Leave reduced axes in place with size 1. Default false. */
  readonly keepdim?: boolean;
}

/** An empty list means all axes, as in PyTorch. */
function axesOf(op: string, axes: Axes | undefined, rank: number): number[] {
  const isEmpty = typeof axes === "object" && axes.length === 0;
  return normalizeAxes(op, isEmpty ? undefined : axes, rank);
}

function average(op: "sum" | "mean", x: Tensor, axes: Axes | undefined, keepdim: boolean): Tensor {
  const list = axesOf(op, axes, x.shape.length);
  const { shape } = x;
  const kept = reducedShape(shape, list, true);
  const factor = op === "mean" ? sizeOf(kept) / sizeOf(shape) : 1;
  return record(op, [x], raw.reduce(op, x, list, keepdim), () => ({
    saved: [],
    rule: (dy) => {
      const scaled = factor === 1 ? dy : raw.scale(dy, factor);
      return [raw.expand(viewOf(scaled, kept), shape)];
    },
  }));
}

/** Sum over `axes` (all by default); bool and uint8 are counted in int32. */
export function sum(x: Tensor, axes?: Axes, { keepdim = false }: ReduceOptions = {}): Tensor {
  const isCount = x.dtype === "bool" || x.dtype === "uint8";
  return average("sum", isCount ? raw.cast(x, "int32") : x, axes, keepdim);
}

/** Mean over `axes` (all by default); NaN over no elements. Throws DTypeError unless floating. */
export function mean(x: Tensor, axes?: Axes, { keepdim = false }: ReduceOptions = {}): Tensor {
  checkFloating("mean", x);
  return average("mean", x, axes, keepdim);
}

/** How a variance is taken. */
export interface VarianceOptions extends ReduceOptions {
  /** Divide by n - 1 instead of n. Default true, as in PyTorch. */
  readonly unbiased?: boolean;
}

/** Variance over `axes` (all by default), two passes. Throws DTypeError unless floating. */
export function variance(x: Tensor, axes?: Axes, options: VarianceOptions = {}): Tensor {
  return inFloat32("var", [x], (wide) => varianceFor("var", wide, axes, options));
}

/**
 * Standard deviation over `axes` (all by default): the square root of the variance. Its gradient is 0 where it is 0.
 * Throws DTypeError unless floating.
 */
export function std(x: Tensor, axes?: Axes, options: VarianceOptions = {}): Tensor {
  return inFloat32("std", [x], (wide) => rootOf(varianceFor("std", wide, axes, options)));
}

/** The square root, whose gradient is 0 where it is 0. */
function rootOf(squared: Tensor): Tensor {
  const y = raw.unary("sqrt", squared);
  return record("std", [squared], y, () => {
    const saved = save(y, "output");
    return {
      saved: [saved],
      rule: (dy) => {
        const deviation = saved.tensor();
        const gradient = raw.binary("div", dy, raw.scale(deviation, 2));
        return [raw.masked(gradient, raw.compare("ne", deviation, raw.scalar(0, dy)))];
      },
    };
  });
}

function varianceFor(
  op: "var" | "std",
  x: Tensor,
  axes: Axes | undefined,
  { keepdim = false, unbiased = true }: VarianceOptions,
): Tensor {
  checkFloating(op, x);
  const list = axesOf(op, axes, x.shape.length);
  const centred = sub(x, mean(x, list, { keepdim: true }));
  const n = sizeOf(x.shape) / sizeOf(reducedShape(x.shape, list, true));
  const total = sum(mul(centred, centred), list, { keepdim });
  return mul(total, 1 / (unbiased ? n - 1 : n));
}

/**
 * Position of the greatest element along `axis` as int32; the first of equals, NaN counts as the greatest. Without an axis: in the
 * flattened tensor. Throws ShapeError where there is no element.
 */
export function argmax(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return position("argmax", x, axis, options);
}

/**
 * Position of the least element along `axis` as int32; the first of equals, NaN counts as the least. Without an axis: in the
 * flattened tensor. Throws ShapeError where there is no element.
 */
export function argmin(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor {
  return position("argmin", x, axis, options);
}

type PositionOp = "argmax" | "argmin";

function position(
  op: PositionOp,
  x: Tensor,
  axis: number | undefined,
  { keepdim = false }: ReduceOptions,
): Tensor {
  if (axis === undefined) return positionAlong(op, viewOf(x, [sizeOf(x.shape)]), 0, false);
  return positionAlong(op, x, normalizeAxis(op, axis, x.shape.length), keepdim);
}

function positionAlong(op: PositionOp, x: Tensor, axis: number, keepdim: boolean): Tensor {
  const { shape } = x;
  if (shape[axis] === 0) {
    throw new ShapeError({
      op,
      expected: `at least one element on axis ${axis}`,
      actual: formatShape(shape),
    });
  }
  const ranked = op === "argmin" ? reversed(x) : x;
  const out = allocate(backendFor(x), reducedShape(shape, [axis], keepdim), "int32");
  backendFor(x).argmax(operandOf(ranked), operandOf(out), {
    outer: sizeOf(shape, 0, axis),
    length: shape[axis] ?? 1,
    inner: sizeOf(shape, axis + 1),
  });
  return out;
}

/** Values in the opposite order, equals staying equal and NaN staying NaN. The least int32 has no negative, but -1 - x for every x. */
function reversed(x: Tensor): Tensor {
  if (isFloating(x.dtype)) return raw.unary("neg", x);
  const wide = x.dtype === "int32" ? x : raw.cast(x, "int32");
  return raw.binary("sub", raw.scalar(-1, wide), wide);
}

/** The greatest or least elements, and where they are. */
export interface Extremes {
  /** The elements; NaN where there is one among them. */
  readonly values: Tensor;
  /** Their positions as int32, in the shape of values: along the axis, or for pooling in the flattened plane. */
  readonly indices: Tensor;
}

/**
 * Without an axis the greatest element of all; with one, the greatest along it and where they are. NaN wins.
 * Unlike PyTorch: without an axis the gradient goes to the first of equals instead of being shared among them.
 */
export function max(x: Tensor): Tensor;
export function max(x: Tensor, axis: number, options?: ReduceOptions): Extremes;
export function max(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor | Extremes {
  return extreme("max", x, axis, options);
}

/**
 * Without an axis the least element of all; with one, the least along it and where they are. NaN wins.
 * Unlike PyTorch: without an axis the gradient goes to the first of equals instead of being shared among them.
 */
export function min(x: Tensor): Tensor;
export function min(x: Tensor, axis: number, options?: ReduceOptions): Extremes;
export function min(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor | Extremes {
  return extreme("min", x, axis, options);
}

type ExtremeOp = "max" | "min";

function extreme(
  op: ExtremeOp,
  x: Tensor,
  axis: number | undefined,
  { keepdim = false }: ReduceOptions,
): Tensor | Extremes {
  if (axis === undefined) return extremeAlong(op, reshape(x, [sizeOf(x.shape)]), 0, false).values;
  return extremeAlong(op, x, normalizeAxis(op, axis, x.shape.length), keepdim);
}

function extremeAlong(op: ExtremeOp, x: Tensor, axis: number, keepdim: boolean): Extremes {
  const kept = positionAlong(`arg${op}`, x, axis, true);
  const values = gatherKnown(x, axis, kept);
  if (keepdim) return { values, indices: kept };
  const shape = reducedShape(x.shape, [axis], false);
  return { values: reshape(values, shape), indices: reshape(kept, shape) };
}

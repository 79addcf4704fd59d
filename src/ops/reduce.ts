/** Sums, means, variances and extremes over axes. */
import type { DType } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import { formatShape, normalizeAxes, normalizeAxis, reducedShape, sizeOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { allocate, backendFor, operandOf, type Tensor, viewOf } from "../tensor/tensor.ts";
import { checkFloating } from "./check.ts";
import { mul, sub } from "./elementwise.ts";
import { gather } from "./indexing.ts";
import * as raw from "./raw.ts";
import { reshape } from "./view.ts";

export type Axes = number | readonly number[];

export interface ReduceOptions {
  /** Leave reduced axes in place with size 1. Default false. */
  readonly keepdim?: boolean;
}

function average(op: "sum" | "mean", x: Tensor, axes: Axes | undefined, keepdim: boolean): Tensor {
  const list = normalizeAxes(op, axes, x.shape.length);
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

/**
 * Variance over `axes` (all by default), two passes.
 * `unbiased` (default true, as in PyTorch) divides by n - 1, else by n.
 */
export function variance(
  x: Tensor,
  axes?: Axes,
  { keepdim = false, unbiased = true }: ReduceOptions & { readonly unbiased?: boolean } = {},
): Tensor {
  const list = normalizeAxes("var", axes, x.shape.length);
  const centred = sub(x, mean(x, list, { keepdim: true }));
  const n = sizeOf(x.shape) / sizeOf(reducedShape(x.shape, list, true));
  const total = sum(mul(centred, centred), list, { keepdim });
  return mul(total, 1 / (unbiased ? n - 1 : n));
}

/** Position of the greatest element along `axis` as int32; the first of equals, NaN counts as the greatest. Without an axis: in the flattened tensor. */
export function argmax(x: Tensor, axis?: number, { keepdim = false }: ReduceOptions = {}): Tensor {
  if (axis === undefined) return argmaxAlong(viewOf(x, [sizeOf(x.shape)]), 0, false);
  return argmaxAlong(x, normalizeAxis("argmax", axis, x.shape.length), keepdim);
}

function argmaxAlong(x: Tensor, axis: number, keepdim: boolean): Tensor {
  const { shape } = x;
  if (shape[axis] === 0) {
    throw new ShapeError({
      op: "argmax",
      expected: `at least one element on axis ${axis}`,
      actual: formatShape(shape),
    });
  }
  const dtype: DType = "int32";
  const out = allocate(backendFor(x), reducedShape(shape, [axis], keepdim), dtype);
  backendFor(x).argmax(operandOf(x), operandOf(out), {
    outer: sizeOf(shape, 0, axis),
    length: shape[axis],
    inner: sizeOf(shape, axis + 1),
  });
  return out;
}

export interface Extremes {
  readonly values: Tensor;
  readonly indices: Tensor;
}

/**
 * Without an axis the greatest element of all; with one, the greatest along it and where they are.
 * Unlike PyTorch: without an axis the gradient goes to the first of equals instead of being shared among them.
 */
export function max(x: Tensor): Tensor;
export function max(x: Tensor, axis: number, options?: ReduceOptions): Extremes;
export function max(x: Tensor, axis?: number, options: ReduceOptions = {}): Tensor | Extremes {
  if (axis === undefined) {
    const { values } = maxAlong(reshape(x, [sizeOf(x.shape)]), 0, false);
    return values;
  }
  return maxAlong(x, normalizeAxis("max", axis, x.shape.length), options.keepdim ?? false);
}

function maxAlong(x: Tensor, axis: number, keepdim: boolean): Extremes {
  const kept = argmaxAlong(x, axis, true);
  const values = gather(x, axis, kept);
  if (keepdim) return { values, indices: kept };
  const shape = reducedShape(x.shape, [axis], false);
  return { values: reshape(values, shape), indices: reshape(kept, shape) };
}

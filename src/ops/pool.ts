/** Maxima and averages over windows of the last one, two or three axes. */
import type { AvgPoolLayout, PoolLayout } from "../backend/backend.ts";
import type { Sizes } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import type { Pair, Single, Triple } from "./conv.ts";
import {
  adaptiveLayout,
  checkDivisor,
  checkWithin,
  type OutputPair,
  type OutputSingle,
  type OutputSizes,
  type OutputTriple,
  outputShape,
  type Pool,
  type PoolOptions,
  windowLayout,
  windowsOf,
} from "./pool-layout.ts";
import type { Extremes } from "./reduce.ts";

/** Where the windows of a maximum lie; sizes are one number for all axes or one per axis. */
export interface MaxPoolOptions<S extends Sizes = Sizes> extends PoolOptions<S> {
  /** From one element of a window to the next; integers >= 1. Default 1. */
  readonly dilation?: S;
}

/** Where the windows of a mean lie, and what it divides by. */
export interface AvgPoolOptions<S extends Sizes = Sizes> extends PoolOptions<S> {
  /** Divide by the positions of the window that lie in the padded input, else by those that lie in x. Default true. */
  readonly countIncludePad?: boolean;
  /** An integer other than 0 to divide by instead; null for none. Default null. */
  readonly divisorOverride?: number | null;
}

/** Asks for the positions of the maxima as well. */
export interface ReturnIndices {
  /** True gives { values, indices } instead of the values alone. */
  readonly returnIndices: true;
}

type MaxPoolCall<S extends Sizes = Sizes> = MaxPoolOptions<S> & {
  readonly returnIndices?: boolean;
};
type AdaptiveMaxPoolCall = { readonly returnIndices?: boolean };

/**
 * As `maxPool2d`, over one axis.
 *
 * Shapes: x (N, C, L) or (C, L).
 */
export function maxPool1d(
  x: Tensor,
  kernelSize: Single,
  options: MaxPoolOptions<Single> & ReturnIndices,
): Extremes;
export function maxPool1d(x: Tensor, kernelSize: Single, options?: MaxPoolOptions<Single>): Tensor;
export function maxPool1d(x: Tensor, kernelSize: Single, options: MaxPoolCall<Single> = {}) {
  return maxOverWindows({ op: "maxPool1d", axes: 1 }, [x, kernelSize], options);
}

/**
 * The greatest element of each window. Padding never wins; the gradient goes to the first of equals, but to the last NaN.
 *
 * Shapes: x (N, C, H, W) or (C, H, W); returns (..., outH, outW) with
 * out = floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1, rounded up with `ceilMode`. With
 * `returnIndices: true` it returns { values, indices }: int32, h * W + w in the plane.
 * Unlike PyTorch: a dilated window that steps over all of x has the index -1 beside its -Infinity, not one outside the plane.
 * Throws: ShapeError if x has other axes, is empty but for N, or a window does not fit; DTypeError unless x is floating;
 * ArgumentError for sizes out of range and for a padding of more than half the kernel.
 *
 * @example
 * maxPool2d(x, 3, { stride: 2, padding: 1 })
 */
export function maxPool2d(
  x: Tensor,
  kernelSize: Pair,
  options: MaxPoolOptions<Pair> & ReturnIndices,
): Extremes;
export function maxPool2d(x: Tensor, kernelSize: Pair, options?: MaxPoolOptions<Pair>): Tensor;
export function maxPool2d(x: Tensor, kernelSize: Pair, options: MaxPoolCall<Pair> = {}) {
  return maxOverWindows({ op: "maxPool2d", axes: 2 }, [x, kernelSize], options);
}

/**
 * As `maxPool2d`, over three axes.
 *
 * Shapes: x (N, C, D, H, W) or (C, D, H, W); indices are (d * H + h) * W + w.
 */
export function maxPool3d(
  x: Tensor,
  kernelSize: Triple,
  options: MaxPoolOptions<Triple> & ReturnIndices,
): Extremes;
export function maxPool3d(x: Tensor, kernelSize: Triple, options?: MaxPoolOptions<Triple>): Tensor;
export function maxPool3d(x: Tensor, kernelSize: Triple, options: MaxPoolCall<Triple> = {}) {
  return maxOverWindows({ op: "maxPool3d", axes: 3 }, [x, kernelSize], options);
}

/**
 * As `avgPool2d`, over one axis.
 *
 * Shapes: x (N, C, L) or (C, L).
 */
export function avgPool1d(
  x: Tensor,
  kernelSize: Single,
  options: Omit<AvgPoolOptions<Single>, "divisorOverride"> = {},
): Tensor {
  return averageOverWindows({ op: "avgPool1d", axes: 1 }, [x, kernelSize], options);
}

/**
 * The mean of each window; padding counts as zeros.
 *
 * Shapes and errors as `maxPool2d`; ArgumentError also for a `divisorOverride` that is 0 or no integer.
 * Numerics: sums in double precision, rounded once.
 *
 * @example
 * avgPool2d(x, 3, { stride: 1, padding: 1, countIncludePad: false })
 */
export function avgPool2d(x: Tensor, kernelSize: Pair, options: AvgPoolOptions<Pair> = {}): Tensor {
  return averageOverWindows({ op: "avgPool2d", axes: 2 }, [x, kernelSize], options);
}

/**
 * As `avgPool2d`, over three axes.
 *
 * Shapes: x (N, C, D, H, W) or (C, D, H, W).
 * Throws: as `avgPool2d`; ShapeError also for a kernel larger than the input without its padding.
 */
export function avgPool3d(
  x: Tensor,
  kernelSize: Triple,
  options: AvgPoolOptions<Triple> = {},
): Tensor {
  return averageOverWindows({ op: "avgPool3d", axes: 3 }, [x, kernelSize], options);
}

/** As `adaptiveAvgPool2d`, over one axis. Shapes: x (N, C, L) or (C, L). */
export function adaptiveAvgPool1d(x: Tensor, outputSize: OutputSingle): Tensor {
  return adaptiveAverage({ op: "adaptiveAvgPool1d", axes: 1 }, x, outputSize);
}

/**
 * The means of as many windows as asked for, which cut each axis evenly: window i is
 * [floor(i * size / out), ceil((i + 1) * size / out)).
 *
 * Shapes: x (N, C, H, W) or (C, H, W), outputSize one number or [outH, outW], null for a size that stays; returns
 * (..., outH, outW).
 * Throws: ShapeError if x has other axes or is empty but for N and C; DTypeError unless x is floating; ArgumentError for an
 * outputSize of other numbers than integers >= 0.
 *
 * @example
 * adaptiveAvgPool2d(x, 1) // (N, C, 1, 1), whatever the plane
 */
export function adaptiveAvgPool2d(x: Tensor, outputSize: OutputPair): Tensor {
  return adaptiveAverage({ op: "adaptiveAvgPool2d", axes: 2 }, x, outputSize);
}

/** As `adaptiveAvgPool2d`, over three axes. Shapes: x (N, C, D, H, W) or (C, D, H, W), where C is not 0. */
export function adaptiveAvgPool3d(x: Tensor, outputSize: OutputTriple): Tensor {
  return adaptiveAverage({ op: "adaptiveAvgPool3d", axes: 3 }, x, outputSize);
}

/** As `adaptiveMaxPool2d`, over one axis. Shapes: x (N, C, L) or (C, L). */
export function adaptiveMaxPool1d(
  x: Tensor,
  outputSize: OutputSingle,
  options: ReturnIndices,
): Extremes;
export function adaptiveMaxPool1d(x: Tensor, outputSize: OutputSingle): Tensor;
export function adaptiveMaxPool1d(
  x: Tensor,
  outputSize: OutputSingle,
  options: AdaptiveMaxPoolCall = {},
) {
  return adaptiveMax({ op: "adaptiveMaxPool1d", axes: 1 }, [x, outputSize], options);
}

/**
 * The greatest elements of the windows of `adaptiveAvgPool2d`; which wins, and what `returnIndices` adds, is as in `maxPool2d`.
 *
 * Shapes and errors as `adaptiveAvgPool2d`, but C must not be 0.
 */
export function adaptiveMaxPool2d(
  x: Tensor,
  outputSize: OutputPair,
  options: ReturnIndices,
): Extremes;
export function adaptiveMaxPool2d(x: Tensor, outputSize: OutputPair): Tensor;
export function adaptiveMaxPool2d(
  x: Tensor,
  outputSize: OutputPair,
  options: AdaptiveMaxPoolCall = {},
) {
  return adaptiveMax({ op: "adaptiveMaxPool2d", axes: 2 }, [x, outputSize], options);
}

/** As `adaptiveMaxPool2d`, over three axes. Shapes: x (N, C, D, H, W) or (C, D, H, W). */
export function adaptiveMaxPool3d(
  x: Tensor,
  outputSize: OutputTriple,
  options: ReturnIndices,
): Extremes;
export function adaptiveMaxPool3d(x: Tensor, outputSize: OutputTriple): Tensor;
export function adaptiveMaxPool3d(
  x: Tensor,
  outputSize: OutputTriple,
  options: AdaptiveMaxPoolCall = {},
) {
  return adaptiveMax({ op: "adaptiveMaxPool3d", axes: 3 }, [x, outputSize], options);
}

function maxOverWindows(
  pool: Pool,
  [x, kernelSize]: readonly [Tensor, Sizes],
  options: MaxPoolCall,
): Tensor | Extremes {
  const { ceilMode = false, returnIndices = false } = options;
  const windows = windowsOf(pool, kernelSize, options);
  const result = maxima(pool, x, windowLayout(pool, x, { windows, ceilMode }));
  return returnIndices ? result : valuesOf(result);
}

function adaptiveMax(
  pool: Pool,
  [x, outputSize]: readonly [Tensor, OutputSizes],
  { returnIndices = false }: AdaptiveMaxPoolCall,
): Tensor | Extremes {
  const layout = adaptiveLayout(pool, x, { outputSize, needsChannels: true });
  const result = maxima(pool, x, layout);
  return returnIndices ? result : valuesOf(result);
}

function valuesOf({ values, indices }: Extremes): Tensor {
  indices.dispose();
  return values;
}

function averageOverWindows(
  pool: Pool,
  [x, kernelSize]: readonly [Tensor, Sizes],
  options: AvgPoolOptions,
): Tensor {
  const { ceilMode = false, countIncludePad = true, divisorOverride = null } = options;
  const windows = windowsOf(pool, kernelSize, options);
  checkDivisor(pool.op, divisorOverride);
  const layout = windowLayout(pool, x, { windows, ceilMode });
  // PyTorch checks this in the last of the three only.
  if (pool.axes === 3) checkWithin(pool, layout);
  const divisor = divisorOverride ?? (countIncludePad ? "padded" : "inside");
  return averages(pool, x, { ...layout, divisor });
}

function adaptiveAverage(pool: Pool, x: Tensor, outputSize: OutputSizes): Tensor {
  // PyTorch checks the channels in the last of the three only.
  const layout = adaptiveLayout(pool, x, { outputSize, needsChannels: pool.axes === 3 });
  return averages(pool, x, { ...layout, divisor: "inside" });
}

function maxima(pool: Pool, x: Tensor, layout: PoolLayout): Extremes {
  const { shape } = x;
  const backend = backendFor(x);
  const values = allocate(backend, outputShape(x, pool, layout), x.dtype);
  const indices = allocate(backend, values.shape, "int32");
  backend.maxPool(operandOf(x), operandOf(values), operandOf(indices), layout);
  record(pool.op, [x], values, () => {
    const saved = save(indices, "indices");
    return {
      saved: [saved],
      rule: (dy) => {
        const dx = allocate(backend, shape, dy.dtype);
        backend.maxPoolGrad(operandOf(dy), saved.operand(), operandOf(dx), layout);
        return [dx];
      },
    };
  });
  return { values, indices };
}

function averages(pool: Pool, x: Tensor, layout: AvgPoolLayout): Tensor {
  const { shape } = x;
  const backend = backendFor(x);
  const y = allocate(backend, outputShape(x, pool, layout), x.dtype);
  backend.avgPool(operandOf(x), operandOf(y), layout);
  return record(pool.op, [x], y, () => ({
    saved: [],
    rule: (dy) => {
      const dx = allocate(backend, shape, dy.dtype);
      backend.avgPoolGrad(operandOf(dy), operandOf(dx), layout);
      return [dx];
    },
  }));
}

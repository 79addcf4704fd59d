/** Where the windows of a pool lie, and the checks of its arguments. */
import type { PoolAxis, PoolLayout } from "../backend/backend.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape, type Shape, type Sizes, sizeOf, sizesOf } from "../core/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkFloating } from "./check.ts";

/** How the windows of a pool lie; sizes are one number for all axes or one per axis. */
export interface PoolOptions<S extends Sizes = Sizes> {
  /** From one window to the next; integers >= 1. Default: the kernel size. */
  readonly stride?: S;
  /** Places added at both ends of each axis, at most half the kernel. Default 0. */
  readonly padding?: S;
  /** Also the windows that reach beyond the padded input, if they begin before its right padding. Default false. */
  readonly ceilMode?: boolean;
}

/** One number for all axes, or one per axis; null keeps the size of its axis. */
export type OutputSizes = number | readonly (number | null)[];
/** One number or null, bare or in brackets; null keeps the size. */
export type OutputSingle = number | readonly [number | null];
/** One number for both, or [height, width]; null keeps the size of its axis. */
export type OutputPair = number | readonly [number | null, number | null];
/** One number for all three, or [depth, height, width]; null keeps the size of its axis. */
export type OutputTriple = number | readonly [number | null, number | null, number | null];

/** The public operation, and over how many axes it pools. */
export interface Pool {
  readonly op: string;
  readonly axes: 1 | 2 | 3;
}

/** Windows along one axis. */
interface Window {
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
}

/** Kernels compute positions in 32 bits. */
const longestReach = 2 ** 30;

/** One window per axis. Throws: ArgumentError for sizes out of range or a padding of more than half the kernel. */
export function windowsOf(
  { op, axes }: Pool,
  kernelSize: Sizes,
  options: PoolOptions & { readonly dilation?: Sizes },
): Window[] {
  const kernels = sizesOf(op, "kernelSize", kernelSize, { axes, least: 1 });
  const strides = sizesOf(op, "stride", options.stride ?? kernelSize, { axes, least: 1 });
  const paddings = sizesOf(op, "padding", options.padding ?? 0, { axes, least: 0 });
  const dilations = sizesOf(op, "dilation", options.dilation ?? 1, { axes, least: 1 });
  return kernels.map((kernel, axis) => {
    const [stride, padding, dilation] = [strides[axis], paddings[axis], dilations[axis]];
    if (2 * padding > kernel) {
      throw new ArgumentError({
        op,
        expected: "padding of at most half the kernel",
        actual: `padding ${padding} for a kernel of ${kernel}`,
      });
    }
    if (Math.max(reachOf({ kernel, dilation }), stride) > longestReach) {
      throw new ArgumentError({
        op,
        expected: `windows and strides of at most ${longestReach}`,
        actual: `kernel ${kernel}, stride ${stride}, dilation ${dilation}`,
      });
    }
    return { kernel, stride, padding, dilation };
  });
}

/** Throws: ArgumentError unless `divisor` is a whole number of 32 bits other than 0, or null. */
export function checkDivisor(op: string, divisor: number | null): void {
  if (divisor === null || (divisor !== 0 && (divisor | 0) === divisor)) return;
  throw new ArgumentError({
    op,
    expected: "divisorOverride to be an integer other than 0, below 2 ** 31, or null",
    actual: String(divisor),
  });
}

/** Throws: ArgumentError unless each size is an integer >= 0 or null. */
export function checkOutputSize({ op, axes }: Pool, size: OutputSizes): readonly (number | null)[] {
  const sizes = typeof size === "number" ? new Array<number>(axes).fill(size) : size;
  const fits = sizes.every((n) => n === null || (Number.isInteger(n) && n >= 0));
  if (fits && sizes.length === axes) return sizes;
  const many = axes === 1 ? "an array of one" : `${axes} of them`;
  throw new ArgumentError({
    op,
    expected: `outputSize to be an integer >= 0, or ${many}, null for a size that stays`,
    actual: JSON.stringify(size),
  });
}

/** Throws: ShapeError if x has other axes, is empty but for its batch, or a window does not fit. */
export function windowLayout(
  pool: Pool,
  x: Tensor,
  { windows, ceilMode }: { readonly windows: readonly Window[]; readonly ceilMode: boolean },
): PoolLayout {
  const { planes, sizes } = checkInput(pool, x, true);
  const axes = windows.map((window, i) => ({
    ...window,
    size: sizes[i],
    out: countWindows(sizes[i], window, ceilMode),
  }));
  if (axes.some(({ out }) => out < 1)) {
    throw new ShapeError({
      op: pool.op,
      expected: `a window that fits into the padded input ${formatShape(
        axes.map(({ size, padding }) => size + 2 * padding),
      )}`,
      actual: `a window of ${formatShape(windows.map(reachOf))}`,
    });
  }
  return { planes, axes: threeAxes(axes), isAdaptive: false };
}

/** Throws: ShapeError if a window of the layout is larger than the input without its padding. */
export function checkWithin({ op }: Pool, { axes }: PoolLayout): void {
  if (axes.every(({ kernel, size }) => kernel <= size)) return;
  throw new ShapeError({
    op,
    expected: `windows no larger than the input ${formatShape(axes.map(({ size }) => size))}`,
    actual: `a window of ${formatShape(axes.map(({ kernel }) => kernel))}`,
  });
}

/**
 * Windows that cut each axis evenly. Where sizes divide they are ordinary windows side by side, which devices have more ways for.
 *
 * Throws: ShapeError if x has other axes or is empty but for its batch, `needsChannels` or not.
 */
export function adaptiveLayout(
  pool: Pool,
  x: Tensor,
  {
    outputSize,
    needsChannels,
  }: { readonly outputSize: OutputSizes; readonly needsChannels: boolean },
): PoolLayout {
  const outputs = checkOutputSize(pool, outputSize);
  const { planes, sizes } = checkInput(pool, x, needsChannels);
  const axes = sizes.map((size, i) => {
    const out = outputs[i] ?? size;
    const length = Math.max(1, Math.floor(size / Math.max(1, out)));
    return { size, out, kernel: length, stride: length, padding: 0, dilation: 1 };
  });
  const isAdaptive = axes.some(({ size, out }) => size % out !== 0);
  return { planes, axes: threeAxes(axes), isAdaptive };
}

/** The shape of y. */
export function outputShape(x: Tensor, { axes }: Pool, layout: PoolLayout): Shape {
  const lead = x.shape.slice(0, x.shape.length - axes);
  return [...lead, ...layout.axes.slice(3 - axes).map(({ out }) => out)];
}

function reachOf({ kernel, dilation }: Pick<Window, "kernel" | "dilation">): number {
  return dilation * (kernel - 1) + 1;
}

/** The last window starts inside the input or its left padding: no window holds padding alone. */
function countWindows(size: number, window: Window, ceilMode: boolean): number {
  const { stride, padding } = window;
  const room = (size + 2 * padding - reachOf(window)) / stride;
  if (!ceilMode) return Math.floor(room) + 1;
  const count = Math.ceil(room) + 1;
  return (count - 1) * stride >= size + padding ? count - 1 : count;
}

const point: PoolAxis = { size: 1, out: 1, kernel: 1, stride: 1, padding: 0, dilation: 1 };

function threeAxes(axes: readonly PoolAxis[]): PoolLayout["axes"] {
  const [depth, height, width] = [point, point, ...axes].slice(-3);
  return [depth, height, width];
}

const axisNames = ["D", "H", "W"];

/** The sizes that are pooled over, and how many planes of them there are. */
function checkInput({ op, axes }: Pool, x: Tensor, needsChannels: boolean) {
  checkFloating(op, x);
  const names = axes === 1 ? ["L"] : axisNames.slice(3 - axes);
  const lead = x.shape.length - axes;
  const layout = ["C", ...names].join(", ");
  if (lead !== 1 && lead !== 2) {
    throw new ShapeError({
      op,
      expected: `x of shape (N, ${layout}) or (${layout})`,
      actual: formatShape(x.shape),
    });
  }
  const mayBeEmpty = needsChannels ? lead - 1 : lead;
  if (x.shape.some((size, axis) => size === 0 && axis >= mayBeEmpty)) {
    throw new ShapeError({
      op,
      expected: needsChannels ? "no empty axis but N" : "no empty axis but N and C",
      actual: formatShape(x.shape),
    });
  }
  return { planes: sizeOf(x.shape, 0, lead), sizes: x.shape.slice(lead) };
}

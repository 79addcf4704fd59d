/** What the arguments of a convolution mean along each axis; checked here, before anything is allocated. */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape, type Shape, type Sizes, sizesOf } from "../core/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkFloating, checkSameKind } from "./check.ts";

/** Which of the convolutions an operation is. */
export interface ConvForm {
  readonly op: string;
  /** Axes that the kernel moves along: 1, 2 or 3. */
  readonly spatial: number;
}

/** One axis, seen from the convolution that has x as its input: also when a transposed one runs it backwards. */
export interface ConvAxis {
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  /** Zeros before the first place. Behind the last one there are as many as `out` windows reach. */
  readonly padding: number;
  readonly dilation: number;
  readonly out: number;
}

/** x (N, C, ...size), y (N, K, ...out), weight (K, C / groups, ...kernel). */
export interface ConvGeometry {
  readonly N: number;
  readonly C: number;
  readonly K: number;
  readonly groups: number;
  readonly axes: readonly ConvAxis[];
}

/** Numbers of zeros, or PyTorch's words: "valid" is none, "same" as many as keep the size, the odd one at the end. */
export type ConvPadding<S extends Sizes = Sizes> = S | "same" | "valid";

/** Where a convolution's windows lie; sizes are one number for all axes or one per axis. */
export interface ConvOptions<S extends Sizes = Sizes> {
  /** (K), or null for 0. Default null. */
  readonly bias?: Tensor | null;
  /** From one window to the next; integers >= 1. Default 1. */
  readonly stride?: S;
  /** Zeros at both ends of each axis; "same" takes stride 1 alone. Default 0. */
  readonly padding?: ConvPadding<S>;
  /** From one element of a window to the next; integers >= 1. Default 1. */
  readonly dilation?: S;
  /** Parts that the channels fall into, each with its own kernels: divides C and K. Default 1. */
  readonly groups?: number;
}

/** Where a transposed convolution's windows lie; sizes are one number for all axes or one per axis. */
export interface ConvTransposeOptions<S extends Sizes = Sizes> {
  /** (K), or null for 0. Default null. */
  readonly bias?: Tensor | null;
  /** From one window of y to the next; integers >= 1. Default 1. */
  readonly stride?: S;
  /** Takes so much away from both ends of the output. Default 0. */
  readonly padding?: S;
  /** Adds so much at the end of the output; smaller than stride or dilation. Default 0. */
  readonly outputPadding?: S;
  /** From one element of a window to the next; integers >= 1. Default 1. */
  readonly dilation?: S;
  /** Parts that the channels fall into, each with its own kernels: divides C and K. Default 1. */
  readonly groups?: number;
}

/** The axes as they are printed in errors, by number of spatial axes. */
const axisNames = ["", "L", "H, W", "D, H, W"];

/** Throws DTypeError, DeviceError or ShapeError unless the tensors are floating, alike and of ranks that fit. */
export function checkOperands(
  { op, spatial }: ConvForm,
  x: Tensor,
  { weight, bias }: { readonly weight: Tensor; readonly bias: Tensor | null },
): void {
  checkFloating(op, x);
  checkSameKind(op, x, weight, ...(bias === null ? [] : [bias]));
  const rank = spatial + 2;
  const names = axisNames[spatial];
  if (weight.shape.length !== rank) {
    throw new ShapeError({
      op,
      expected: `a weight of ${rank} axes`,
      actual: `${weight.shape.length} axes, shape ${formatShape(weight.shape)}`,
    });
  }
  if (x.shape.length === rank || x.shape.length === rank - 1) return;
  throw new ShapeError({
    op,
    expected: `${rank} axes (N, C, ${names}) or ${rank - 1} axes (C, ${names})`,
    actual: `${x.shape.length} axes, shape ${formatShape(x.shape)}`,
  });
}

/** Throws ShapeError unless the bias has one value for each of `channels`. */
export function checkBias({ op }: ConvForm, bias: Tensor | null, channels: number): void {
  if (bias === null || (bias.shape.length === 1 && bias.shape[0] === channels)) return;
  throw new ShapeError({
    op,
    expected: `a bias of shape (${channels},)`,
    actual: formatShape(bias.shape),
  });
}

/** The shape of y: without the axis N if x came without it. */
export function outputShape(x: Tensor, channels: number, sizes: Shape): Shape {
  const isBatched = x.shape.length === sizes.length + 2;
  return isBatched ? [x.shape[0], channels, ...sizes] : [channels, ...sizes];
}

export function convGeometry(
  form: ConvForm,
  [x, weight]: readonly [Tensor, Tensor],
  options: ConvOptions,
): ConvGeometry {
  const { op, spatial } = form;
  const [K, groupC, ...kernel] = weight.shape;
  const { N, C, sizes } = batchOf(x, spatial);
  const groups = checkGroups(form, options.groups, K);
  checkChannels(form, x, groupC * groups);
  const stride = sizesOf(op, "stride", options.stride ?? 1, { axes: spatial, least: 1 });
  const dilation = sizesOf(op, "dilation", options.dilation ?? 1, { axes: spatial, least: 1 });
  const around = paddingOf(form, options.padding ?? 0, { kernel, stride, dilation });
  const axes = sizes.map((size, i) => {
    const { before, after } = around[i];
    const reach = size + before + after - dilation[i] * (kernel[i] - 1) - 1;
    const out = Math.floor(reach / stride[i]) + 1;
    return {
      size,
      kernel: kernel[i],
      stride: stride[i],
      padding: before,
      dilation: dilation[i],
      out,
    };
  });
  if (axes.some((axis) => axis.out < 1 || axis.kernel < 1)) {
    const padded = sizes.map((size, i) => size + around[i].before + around[i].after);
    throw new ShapeError({
      op,
      expected: `a kernel that fits into the padded input ${formatShape(padded)}`,
      actual: `kernel ${formatShape(kernel)} with dilation ${formatShape(dilation)}`,
    });
  }
  return { N, C, K, groups, axes };
}

/** The geometry of the convolution whose input has the shape of a transposed one's output, and whose output that of its x. */
export function convTransposeGeometry(
  form: ConvForm,
  [x, weight]: readonly [Tensor, Tensor],
  options: ConvTransposeOptions,
): ConvGeometry {
  const { op, spatial } = form;
  const [K, groupC, ...kernel] = weight.shape;
  const { N, sizes } = batchOf(x, spatial);
  const groups = checkGroups(form, options.groups, K);
  checkChannels(form, x, K);
  const read = (name: "stride" | "padding" | "dilation" | "outputPadding", least: 0 | 1) =>
    sizesOf(op, name, options[name] ?? least, { axes: spatial, least });
  const [stride, dilation] = [read("stride", 1), read("dilation", 1)];
  const [padding, outputPadding] = [read("padding", 0), read("outputPadding", 0)];
  checkOutputPadding(op, outputPadding, { stride, dilation });
  const axes = sizes.map((out, i) => {
    const span = dilation[i] * (kernel[i] - 1) + 1;
    const size = (out - 1) * stride[i] - 2 * padding[i] + span + outputPadding[i];
    return {
      ...{ size, kernel: kernel[i], stride: stride[i] },
      ...{ padding: padding[i], dilation: dilation[i], out },
    };
  });
  if (axes.some((axis) => axis.size < 1 || axis.kernel < 1 || axis.out < 1)) {
    throw new ShapeError({
      op,
      expected: "an output of at least one place along each axis",
      actual: `${formatShape(axes.map(({ size }) => size))} from ${formatShape(sizes)} with kernel ${formatShape(kernel)}`,
    });
  }
  return { N, C: groupC * groups, K, groups, axes };
}

/** Throws ArgumentError unless output padding is smaller than stride or dilation: larger ones would be zeros alone. */
function checkOutputPadding(
  op: string,
  outputPadding: readonly number[],
  {
    stride,
    dilation,
  }: { readonly stride: readonly number[]; readonly dilation: readonly number[] },
): void {
  if (outputPadding.every((n, i) => n < Math.max(stride[i], dilation[i]))) return;
  throw new ArgumentError({
    op,
    expected: "outputPadding smaller than stride or dilation along each axis",
    actual: `outputPadding ${formatShape(outputPadding)}, stride ${formatShape(stride)}, dilation ${formatShape(dilation)}`,
  });
}

interface Around {
  readonly before: number;
  readonly after: number;
}

interface Windows {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
}

/** Zeros at both ends of each axis. Throws ArgumentError for numbers below 0, other words, and "same" with strides. */
export function paddingOf(form: ConvForm, padding: ConvPadding, windows: Windows): Around[] {
  const { op, spatial: axes } = form;
  const { kernel, stride, dilation } = windows;
  if (padding === "valid") return kernel.map(() => ({ before: 0, after: 0 }));
  if (typeof padding !== "string") {
    return sizesOf(op, "padding", padding, { axes, least: 0 }).map((n) => ({
      before: n,
      after: n,
    }));
  }
  if (padding === "same" && stride.every((n) => n === 1)) {
    return kernel.map((size, i) => {
      const total = dilation[i] * (size - 1);
      const before = Math.floor(total / 2);
      return { before, after: total - before };
    });
  }
  const isSame = padding === "same";
  throw new ArgumentError({
    op,
    expected: isSame ? 'stride 1 with padding "same"' : 'padding to be numbers, "same" or "valid"',
    actual: isSame ? `stride ${formatShape(stride)}` : JSON.stringify(padding),
  });
}

function batchOf(x: Tensor, spatial: number) {
  const [N, C, ...sizes] = x.shape.length === spatial + 2 ? x.shape : [1, ...x.shape];
  return { N, C, sizes };
}

function checkGroups({ op }: ConvForm, groups: number | undefined, K: number): number {
  const count = groups ?? 1;
  if (Number.isInteger(count) && count >= 1 && K % count === 0) return count;
  throw new ArgumentError({
    op,
    expected: `groups to be an integer >= 1 that divides the ${K} channels on axis 0 of weight`,
    actual: String(groups),
  });
}

function checkChannels({ op, spatial }: ConvForm, x: Tensor, wanted: number): void {
  const axis = x.shape.length - spatial - 1;
  if (x.shape[axis] === wanted) return;
  throw new ShapeError({
    op,
    expected: `x with C = ${wanted} channels on axis ${axis}`,
    actual: formatShape(x.shape),
    ...(x.shape[x.shape.length - 1] === wanted ? { hint: "did you pass NHWC?" } : {}),
  });
}

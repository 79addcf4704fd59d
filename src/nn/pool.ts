/** Pooling layers. */
import type { Sizes } from "../core/shape.ts";
import type { Pair, Single, Triple } from "../ops/conv.ts";
import * as ops from "../ops/pool.ts";
import {
  checkDivisor,
  checkOutputSize,
  type OutputPair,
  type OutputSingle,
  type OutputSizes,
  type OutputTriple,
  type PoolOptions,
  windowsOf,
} from "../ops/pool-layout.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Module } from "./module.ts";
import { formatPython, type PythonValue } from "./repr.ts";

/** Over how many axes a layer pools. */
type Axes = 1 | 2 | 3;

/** What all pools with a kernel share. */
abstract class WindowPool<S extends Sizes> extends Module {
  /** One number for all axes, or one per axis, as in all sizes below. */
  readonly kernelSize: S;
  /** From one window to the next. */
  readonly stride: S;
  /** Places added at both ends of each axis. */
  readonly padding: S | 0;
  /** Whether windows may reach beyond the padded input. */
  readonly ceilMode: boolean;

  constructor(axes: Axes, kernelSize: S, options: PoolOptions<S> & { readonly dilation?: Sizes }) {
    super();
    windowsOf({ op: this.kind, axes }, kernelSize, options);
    const { stride = kernelSize, padding = 0, ceilMode = false } = options;
    this.kernelSize = kernelSize;
    this.stride = stride;
    this.padding = padding;
    this.ceilMode = ceilMode;
  }
}

abstract class MaxPool<S extends Sizes> extends WindowPool<S> {
  /** From one element of a window to the next. */
  readonly dilation: S | 1;

  constructor(axes: Axes, kernelSize: S, options: ops.MaxPoolOptions<S>) {
    super(axes, kernelSize, options);
    this.dilation = options.dilation ?? 1;
  }

  override extraRepr(): string {
    const { kernelSize, stride, padding, dilation, ceilMode } = this;
    const named = { kernel_size: kernelSize, stride, padding, dilation, ceil_mode: ceilMode };
    return formatPython([], named);
  }
}

/** As MaxPool2d, over one axis; see `nn.functional.maxPool1d`. */
export class MaxPool1d extends MaxPool<Single> {
  static override readonly kind: string = "MaxPool1d";

  constructor(kernelSize: Single, options: ops.MaxPoolOptions<Single> = {}) {
    super(1, kernelSize, options);
  }

  forward(x: Tensor): Tensor {
    return ops.maxPool1d(x, this.kernelSize, this);
  }
}

/**
 * The greatest element of each window; see `nn.functional.maxPool2d`.
 *
 * Unlike PyTorch: no `returnIndices`; the function has it.
 * Throws: ArgumentError for sizes out of range, here and in the layers below also when they are made.
 */
export class MaxPool2d extends MaxPool<Pair> {
  static override readonly kind: string = "MaxPool2d";

  constructor(kernelSize: Pair, options: ops.MaxPoolOptions<Pair> = {}) {
    super(2, kernelSize, options);
  }

  forward(x: Tensor): Tensor {
    return ops.maxPool2d(x, this.kernelSize, this);
  }
}

/** As MaxPool2d, over three axes; see `nn.functional.maxPool3d`. */
export class MaxPool3d extends MaxPool<Triple> {
  static override readonly kind: string = "MaxPool3d";

  constructor(kernelSize: Triple, options: ops.MaxPoolOptions<Triple> = {}) {
    super(3, kernelSize, options);
  }

  forward(x: Tensor): Tensor {
    return ops.maxPool3d(x, this.kernelSize, this);
  }
}

abstract class AvgPool<S extends Sizes> extends WindowPool<S> {
  /** Whether positions in the padding count in the mean. */
  readonly countIncludePad: boolean;

  constructor(axes: Axes, kernelSize: S, options: ops.AvgPoolOptions<S>) {
    const { stride = kernelSize, padding, ceilMode = false } = options;
    super(axes, kernelSize, { stride, ceilMode, ...(padding === undefined ? {} : { padding }) });
    this.countIncludePad = options.countIncludePad ?? true;
  }

  override extraRepr(): string {
    const { kernelSize, stride, padding } = this;
    return formatPython([], { kernel_size: kernelSize, stride, padding });
  }
}

/** As AvgPool2d, over one axis; see `nn.functional.avgPool1d`. */
export class AvgPool1d extends AvgPool<Single> {
  static override readonly kind: string = "AvgPool1d";

  constructor(
    kernelSize: Single,
    options: Omit<ops.AvgPoolOptions<Single>, "divisorOverride"> = {},
  ) {
    super(1, kernelSize, options);
  }

  forward(x: Tensor): Tensor {
    return ops.avgPool1d(x, this.kernelSize, this);
  }

  /** As every layer's; PyTorch prints tuples here. */
  override extraRepr(): string {
    const { kernelSize, stride, padding } = this;
    const tuple = (size: Single) => (typeof size === "number" ? [size] : size);
    const named = {
      kernel_size: tuple(kernelSize),
      stride: tuple(stride),
      padding: tuple(padding),
    };
    return formatPython([], named);
  }
}

/** The mean of each window; see `nn.functional.avgPool2d`. */
export class AvgPool2d extends AvgPool<Pair> {
  static override readonly kind: string = "AvgPool2d";
  /** What sums are divided by instead of the number of positions; null for none. */
  readonly divisorOverride: number | null;

  constructor(kernelSize: Pair, options: ops.AvgPoolOptions<Pair> = {}) {
    super(2, kernelSize, options);
    const { divisorOverride = null } = options;
    checkDivisor(this.kind, divisorOverride);
    this.divisorOverride = divisorOverride;
  }

  forward(x: Tensor): Tensor {
    return ops.avgPool2d(x, this.kernelSize, this);
  }
}

/** As AvgPool2d, over three axes; see `nn.functional.avgPool3d`. */
export class AvgPool3d extends AvgPool<Triple> {
  static override readonly kind: string = "AvgPool3d";
  /** What sums are divided by instead of the number of positions; null for none. */
  readonly divisorOverride: number | null;

  constructor(kernelSize: Triple, options: ops.AvgPoolOptions<Triple> = {}) {
    super(3, kernelSize, options);
    const { divisorOverride = null } = options;
    checkDivisor(this.kind, divisorOverride);
    this.divisorOverride = divisorOverride;
  }

  forward(x: Tensor): Tensor {
    return ops.avgPool3d(x, this.kernelSize, this);
  }
}

abstract class AdaptivePool<S extends OutputSizes> extends Module {
  /** Windows along each axis; null keeps its size. */
  readonly outputSize: S;

  constructor(axes: Axes, outputSize: S) {
    super();
    checkOutputSize({ op: this.kind, axes }, outputSize);
    this.outputSize = outputSize;
  }

  override extraRepr(): string {
    const named: Record<string, PythonValue> = { output_size: this.outputSize };
    return formatPython([], named);
  }
}

/** As AdaptiveAvgPool2d, over one axis; see `nn.functional.adaptiveAvgPool1d`. */
export class AdaptiveAvgPool1d extends AdaptivePool<OutputSingle> {
  static override readonly kind: string = "AdaptiveAvgPool1d";

  constructor(outputSize: OutputSingle) {
    super(1, outputSize);
  }

  forward(x: Tensor): Tensor {
    return ops.adaptiveAvgPool1d(x, this.outputSize);
  }
}

/** The means of as many windows as asked for; see `nn.functional.adaptiveAvgPool2d`. */
export class AdaptiveAvgPool2d extends AdaptivePool<OutputPair> {
  static override readonly kind: string = "AdaptiveAvgPool2d";

  constructor(outputSize: OutputPair) {
    super(2, outputSize);
  }

  forward(x: Tensor): Tensor {
    return ops.adaptiveAvgPool2d(x, this.outputSize);
  }
}

/** As AdaptiveAvgPool2d, over three axes; see `nn.functional.adaptiveAvgPool3d`. */
export class AdaptiveAvgPool3d extends AdaptivePool<OutputTriple> {
  static override readonly kind: string = "AdaptiveAvgPool3d";

  constructor(outputSize: OutputTriple) {
    super(3, outputSize);
  }

  forward(x: Tensor): Tensor {
    return ops.adaptiveAvgPool3d(x, this.outputSize);
  }
}

/** As AdaptiveMaxPool2d, over one axis; see `nn.functional.adaptiveMaxPool1d`. */
export class AdaptiveMaxPool1d extends AdaptivePool<OutputSingle> {
  static override readonly kind: string = "AdaptiveMaxPool1d";

  constructor(outputSize: OutputSingle) {
    super(1, outputSize);
  }

  forward(x: Tensor): Tensor {
    return ops.adaptiveMaxPool1d(x, this.outputSize);
  }
}

/**
 * The greatest elements of as many windows as asked for; see `nn.functional.adaptiveMaxPool2d`.
 *
 * Unlike PyTorch: no `returnIndices`; the function has it.
 */
export class AdaptiveMaxPool2d extends AdaptivePool<OutputPair> {
  static override readonly kind: string = "AdaptiveMaxPool2d";

  constructor(outputSize: OutputPair) {
    super(2, outputSize);
  }

  forward(x: Tensor): Tensor {
    return ops.adaptiveMaxPool2d(x, this.outputSize);
  }
}

/** As AdaptiveMaxPool2d, over three axes; see `nn.functional.adaptiveMaxPool3d`. */
export class AdaptiveMaxPool3d extends AdaptivePool<OutputTriple> {
  static override readonly kind: string = "AdaptiveMaxPool3d";

  constructor(outputSize: OutputTriple) {
    super(3, outputSize);
  }

  forward(x: Tensor): Tensor {
    return ops.adaptiveMaxPool3d(x, this.outputSize);
  }
}

import { ArgumentError } from "../core/errors.ts";
import { pairOf } from "../core/shape.ts";
import { conv2d, type Pair } from "../ops/conv.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { fanInOf, fanInUniform } from "./init.ts";
import { Module } from "./module.ts";
import type { Parameter } from "./parameter.ts";
import { formatPython, type PythonValue } from "./repr.ts";

export interface Conv2dLayerOptions {
  readonly stride?: Pair;
  readonly padding?: Pair;
  readonly dilation?: Pair;
  readonly groups?: number;
  /** Before a batch norm it has no effect and no gradient: pass false there. Default true. */
  readonly bias?: boolean;
}

/** Two-dimensional convolution. Shapes: x (N, inChannels, H, W); see `nn.functional.conv2d`. */
export class Conv2d extends Module {
  static override readonly kind: string = "Conv2d";
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
  declare weight: Parameter; // (outChannels, inChannels / groups, kernelH, kernelW)
  declare bias: Parameter | null; // (outChannels)

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    options: Conv2dLayerOptions = {},
  ) {
    super();
    const { groups = 1, bias = true } = options;
    checkChannels(inChannels, outChannels, groups);
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = pairOf("Conv2d", "kernelSize", kernelSize, 1);
    this.stride = pairOf("Conv2d", "stride", options.stride ?? 1, 1);
    this.padding = pairOf("Conv2d", "padding", options.padding ?? 0, 0);
    this.dilation = pairOf("Conv2d", "dilation", options.dilation ?? 1, 1);
    this.groups = groups;
    const shape = [outChannels, inChannels / groups, ...this.kernelSize];
    const fanIn = fanInOf(shape);
    this.registerParameter("weight", fanInUniform(shape, fanIn));
    this.registerParameter("bias", bias ? fanInUniform([outChannels], fanIn) : null);
  }

  forward(x: Tensor): Tensor {
    const { bias, stride, padding, dilation, groups } = this;
    return conv2d(x, this.weight, { bias, stride, padding, dilation, groups });
  }

  override extraRepr(): string {
    const { inChannels, outChannels, kernelSize, stride, padding, dilation, groups } = this;
    const named: Record<string, PythonValue> = { kernel_size: kernelSize, stride };
    if (padding.some((n) => n !== 0)) named.padding = padding;
    if (dilation.some((n) => n !== 1)) named.dilation = dilation;
    if (groups !== 1) named.groups = groups;
    if (this.bias === null) named.bias = false;
    return formatPython([inChannels, outChannels], named);
  }
}

function checkChannels(inChannels: number, outChannels: number, groups: number): void {
  const counts = [inChannels, outChannels, groups];
  const fits = counts.every((n) => Number.isInteger(n) && n >= 1);
  if (fits && inChannels % groups === 0 && outChannels % groups === 0) return;
  throw new ArgumentError({
    op: "Conv2d",
    expected: "channels and groups to be integers >= 1, with groups dividing both channel counts",
    actual: `inChannels ${inChannels}, outChannels ${outChannels}, groups ${groups}`,
  });
}

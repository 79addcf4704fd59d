/** What all convolution layers share: arguments, weights and the printed form. */
import { ArgumentError } from "../core/errors.ts";
import { type Shape, type Sizes, sizesOf } from "../core/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { fanInOf, fanInUniform } from "./fan-in.ts";
import { Module } from "./module.ts";
import type { Parameter } from "./parameter.ts";
import { formatPython, type PythonValue } from "./repr.ts";

/** What a layer is told, one number for all its axes or one for each. */
interface ConvLayerArguments {
  readonly spatial: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: Sizes;
  readonly stride?: Sizes | undefined;
  readonly dilation?: Sizes | undefined;
  readonly groups?: number | undefined;
}

export abstract class ConvLayer extends Module {
  /** Channels of x. */
  readonly inChannels: number;
  /** Channels of the result. */
  readonly outChannels: number;
  /** One number per axis, as in all lists below. */
  readonly kernelSize: readonly number[];
  /** From one window to the next. */
  readonly stride: readonly number[];
  /** From one element of a window to the next. */
  readonly dilation: readonly number[];
  /** Parts that the channels fall into, each with its own kernels. */
  readonly groups: number;
  /** The kernels; the class says in what shape. */
  declare weight: Parameter;
  /** (outChannels), or null for 0. */
  declare bias: Parameter | null;

  constructor(options: ConvLayerArguments) {
    super();
    const { spatial: axes, inChannels, outChannels, kernelSize, groups = 1 } = options;
    const op = this.kind;
    checkChannels(op, { inChannels, outChannels, groups });
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = sizesOf(op, "kernelSize", kernelSize, { axes, least: 1 });
    this.stride = sizesOf(op, "stride", options.stride ?? 1, { axes, least: 1 });
    this.dilation = sizesOf(op, "dilation", options.dilation ?? 1, { axes, least: 1 });
    this.groups = groups;
  }

  abstract override forward(x: Tensor, ...rest: never[]): Tensor;

  /** Draws weight and bias as PyTorch does: uniform, bounded by the number of weights behind axis 0. */
  protected createWeights(shape: Shape, hasBias: boolean): void {
    const fanIn = fanInOf(shape);
    this.registerParameter("weight", fanInUniform(shape, fanIn));
    this.registerParameter("bias", hasBias ? fanInUniform([this.outChannels], fanIn) : null);
  }

  /** The printed form, given the arguments that only one kind of convolution has. */
  protected print(padding: readonly number[] | string, own: ConvLayerText): string {
    const { inChannels, outChannels, kernelSize, stride, dilation, groups } = this;
    const named: Record<string, PythonValue> = { kernel_size: kernelSize, stride };
    if (typeof padding === "string" || padding.some((n) => n !== 0)) named.padding = padding;
    if (dilation.some((n) => n !== 1)) named.dilation = dilation;
    if (own.outputPadding?.some((n) => n !== 0)) named.output_padding = own.outputPadding;
    if (groups !== 1) named.groups = groups;
    if (this.bias === null) named.bias = false;
    if (own.paddingMode && own.paddingMode !== "zeros") named.padding_mode = own.paddingMode;
    return formatPython([inChannels, outChannels], named);
  }
}

interface ConvLayerText {
  readonly outputPadding?: readonly number[];
  readonly paddingMode?: string;
}

interface Channels {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
}

function checkChannels(op: string, { inChannels, outChannels, groups }: Channels): void {
  const counts = [inChannels, outChannels, groups];
  const fits = counts.every((n) => Number.isInteger(n) && n >= 1);
  if (fits && inChannels % groups === 0 && outChannels % groups === 0) return;
  throw new ArgumentError({
    op,
    expected: "channels and groups to be integers >= 1, with groups dividing both channel counts",
    actual: `inChannels ${inChannels}, outChannels ${outChannels}, groups ${groups}`,
  });
}

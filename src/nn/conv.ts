import { ArgumentError } from "../core/errors.ts";
import type { Sizes } from "../core/shape.ts";
import { convolution, type Pair, type Single, type Triple } from "../ops/conv.ts";
import { type ConvPadding, paddingOf } from "../ops/conv-geometry.ts";
import { pad } from "../ops/pad.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { ConvLayer } from "./conv-layer.ts";

/** What stands beyond the edges of x: zeros, or what `nn.functional.pad` puts there in the mode of that name. */
export type ConvPaddingMode = "zeros" | "reflect" | "replicate" | "circular";

/** Where a convolution layer's windows lie; sizes are one number for all axes or one per axis. */
export interface ConvLayerOptions<S extends Sizes> {
  /** From one window to the next; integers >= 1. Default 1. */
  readonly stride?: S;
  /** "valid" is 0; "same" keeps the size, with stride 1 alone, the odd one at the end. Default 0. */
  readonly padding?: ConvPadding<S>;
  /** What the padding holds. Default "zeros". */
  readonly paddingMode?: ConvPaddingMode;
  /** From one element of a window to the next; integers >= 1. Default 1. */
  readonly dilation?: S;
  /** Parts that the channels fall into, each with its own kernels: divides both channel counts. Default 1. */
  readonly groups?: number;
  /** Before a batch norm it has no effect and no gradient: pass false there. Default true. */
  readonly bias?: boolean;
}

/** Options of Conv1d: sizes are one number, bare or in brackets. */
export type Conv1dLayerOptions = ConvLayerOptions<Single>;
/** Options of Conv2d: sizes are one number or [height, width]. */
export type Conv2dLayerOptions = ConvLayerOptions<Pair>;
/** Options of Conv3d: sizes are one number or [depth, height, width]. */
export type Conv3dLayerOptions = ConvLayerOptions<Triple>;

const paddingModes: readonly ConvPaddingMode[] = ["zeros", "reflect", "replicate", "circular"];

interface ConvArguments extends ConvLayerOptions<Sizes> {
  readonly spatial: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: Sizes;
}

abstract class Conv extends ConvLayer {
  /** Places added at both ends of each axis, or the word that was given. */
  readonly padding: readonly number[] | "same" | "valid";
  /** What the padding holds. */
  readonly paddingMode: ConvPaddingMode;

  constructor(options: ConvArguments) {
    super(options);
    const { padding = 0, paddingMode = "zeros", bias = true } = options;
    const around = this.around(padding);
    if (!paddingModes.includes(paddingMode)) {
      throw new ArgumentError({
        op: this.kind,
        expected: `paddingMode to be one of ${paddingModes.join(", ")}`,
        actual: JSON.stringify(paddingMode),
      });
    }
    this.padding = typeof padding === "string" ? padding : around.map(({ before }) => before);
    this.paddingMode = paddingMode;
    this.createWeights([this.outChannels, this.inChannels / this.groups, ...this.kernelSize], bias);
  }

  /** The convolution of x with weight and bias. Throws as the function that the class names. */
  forward(x: Tensor): Tensor {
    const { kernelSize, bias, stride, padding, paddingMode, dilation, groups } = this;
    const spatial = kernelSize.length;
    const form = { op: `conv${spatial}d`, spatial };
    const options = { bias, stride, padding, dilation, groups };
    if (paddingMode === "zeros") return convolution(form, [x, this.weight], options);
    // `pad` takes the last axis first.
    const around = this.around(padding).reverse();
    const padded = pad(
      x,
      around.flatMap(({ before, after }) => [before, after]),
      { mode: paddingMode },
    );
    return convolution(form, [padded, this.weight], { ...options, padding: 0 });
  }

  override extraRepr(): string {
    return this.print(this.padding, { paddingMode: this.paddingMode });
  }

  private around(padding: ConvPadding) {
    const { kind: op, kernelSize: kernel, stride, dilation } = this;
    return paddingOf({ op, spatial: kernel.length }, padding, { kernel, stride, dilation });
  }
}

/**
 * Convolution along one axis. Shapes: x (N, inChannels, L) or (inChannels, L), weight (outChannels, inChannels / groups, kernel);
 * see `nn.functional.conv1d`. Throws: ArgumentError for arguments out of range.
 */
export class Conv1d extends Conv {
  static override readonly kind: string = "Conv1d";

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Single,
    options: Conv1dLayerOptions = {},
  ) {
    super({ ...options, spatial: 1, inChannels, outChannels, kernelSize });
  }
}

/**
 * Two-dimensional convolution. Shapes: x (N, inChannels, H, W) or (inChannels, H, W), weight (outChannels, inChannels / groups,
 * kernelH, kernelW); see `nn.functional.conv2d`. Throws: ArgumentError for arguments out of range.
 */
export class Conv2d extends Conv {
  static override readonly kind: string = "Conv2d";

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    options: Conv2dLayerOptions = {},
  ) {
    super({ ...options, spatial: 2, inChannels, outChannels, kernelSize });
  }
}

/**
 * Convolution along depth, height and width. Shapes: x (N, inChannels, D, H, W) or (inChannels, D, H, W), weight (outChannels,
 * inChannels / groups, kernelD, kernelH, kernelW); see `nn.functional.conv3d`. Throws: ArgumentError for arguments out of range.
 */
export class Conv3d extends Conv {
  static override readonly kind: string = "Conv3d";

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Triple,
    options: Conv3dLayerOptions = {},
  ) {
    super({ ...options, spatial: 3, inChannels, outChannels, kernelSize });
  }
}

import { ShapeError } from "../core/errors.ts";
import { formatShape, type Shape, type Sizes, sizesOf } from "../core/shape.ts";
import { checkTensor } from "../ops/check.ts";
import type { Pair, Single, Triple } from "../ops/conv.ts";
import { convolutionTransposed } from "../ops/conv-transpose.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { ConvLayer } from "./conv-layer.ts";

/** Where a transposed convolution's windows lie in its result; sizes are one number for all axes or one per axis. */
export interface ConvTransposeLayerOptions<S extends Sizes> {
  /** From one window of the result to the next; integers >= 1. Default 1. */
  readonly stride?: S;
  /** Takes so much away from both ends of the output. Default 0. */
  readonly padding?: S;
  /** Adds so much at the end of the output; smaller than stride or dilation. Default 0. */
  readonly outputPadding?: S;
  /** Parts that the channels fall into, each with its own kernels: divides both channel counts. Default 1. */
  readonly groups?: number;
  /** Before a batch norm it has no effect and no gradient: pass false there. Default true. */
  readonly bias?: boolean;
  /** From one element of a window to the next; integers >= 1. Default 1. */
  readonly dilation?: S;
}

/** Options of ConvTranspose1d: sizes are one number, bare or in brackets. */
export type ConvTranspose1dLayerOptions = ConvTransposeLayerOptions<Single>;
/** Options of ConvTranspose2d: sizes are one number or [height, width]. */
export type ConvTranspose2dLayerOptions = ConvTransposeLayerOptions<Pair>;
/** Options of ConvTranspose3d: sizes are one number or [depth, height, width]. */
export type ConvTranspose3dLayerOptions = ConvTransposeLayerOptions<Triple>;

interface ConvTransposeArguments extends ConvTransposeLayerOptions<Sizes> {
  readonly spatial: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: Sizes;
}

export abstract class ConvTranspose extends ConvLayer {
  /** Places taken away from both ends of the output. */
  readonly padding: readonly number[];
  /** Places added at the end of the output. */
  readonly outputPadding: readonly number[];

  constructor(options: ConvTransposeArguments) {
    super(options);
    const { spatial: axes, padding = 0, outputPadding = 0, bias = true } = options;
    this.padding = sizesOf(this.kind, "padding", padding, { axes, least: 0 });
    this.outputPadding = sizesOf(this.kind, "outputPadding", outputPadding, { axes, least: 0 });
    this.createWeights([this.inChannels, this.outChannels / this.groups, ...this.kernelSize], bias);
  }

  /**
   * The transposed convolution of x with weight and bias. A stride maps several sizes of the result to one of x: `outputSize` names the
   * one that is meant, instead of `outputPadding`. It has a number for each axis of the kernel, or for each of x, the first of which
   * are not looked at.
   *
   * Throws: ShapeError for an outputSize that x cannot give; otherwise as the function that the class names.
   */
  forward(x: Tensor, outputSize?: Shape): Tensor {
    checkTensor(this.kind, x);
    const { kernelSize, weight, bias, stride, padding, dilation, groups } = this;
    const spatial = kernelSize.length;
    const outputPadding =
      outputSize === undefined ? this.outputPadding : this.paddingTo(x.shape, outputSize);
    const form = { op: `convTranspose${spatial}d`, spatial };
    const options = { bias, stride, padding, outputPadding, dilation, groups };
    return convolutionTransposed(form, [x, weight], options);
  }

  override extraRepr(): string {
    return this.print(this.padding, { outputPadding: this.outputPadding });
  }

  /** The output padding that gives y the sizes asked for. */
  private paddingTo(shape: Shape, outputSize: Shape): number[] {
    const { kernelSize, stride, padding, dilation } = this;
    const spatial = kernelSize.length;
    const sizes = shape.slice(-spatial);
    const least = sizes.map(
      (size, i) => (size - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernelSize[i] - 1) + 1,
    );
    const wanted = outputSize.slice(-spatial);
    const added = least.map((size, i) => wanted[i] - size);
    const hasRank = outputSize.length === spatial || outputSize.length === shape.length;
    if (hasRank && added.every((n, i) => Number.isInteger(n) && n >= 0 && n < stride[i])) {
      return added;
    }
    const most = least.map((size, i) => size + stride[i] - 1);
    throw new ShapeError({
      op: this.kind,
      expected: `an outputSize of ${spatial} or ${shape.length} numbers, the last ${spatial} from ${formatShape(least)} to ${formatShape(most)}`,
      actual: formatShape(outputSize),
    });
  }
}

/**
 * Transposed convolution along one axis. Shapes: x (N, inChannels, L) or (inChannels, L), weight (inChannels, outChannels / groups,
 * kernel); see `nn.functional.convTranspose1d`. Throws: ArgumentError for arguments out of range.
 */
export class ConvTranspose1d extends ConvTranspose {
  static override readonly kind: string = "ConvTranspose1d";

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Single,
    options: ConvTranspose1dLayerOptions = {},
  ) {
    super({ ...options, spatial: 1, inChannels, outChannels, kernelSize });
  }
}

/**
 * Two-dimensional transposed convolution. Shapes: x (N, inChannels, H, W) or (inChannels, H, W), weight (inChannels, outChannels /
 * groups, kernelH, kernelW); see `nn.functional.convTranspose2d`. Throws: ArgumentError for arguments out of range.
 */
export class ConvTranspose2d extends ConvTranspose {
  static override readonly kind: string = "ConvTranspose2d";

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    options: ConvTranspose2dLayerOptions = {},
  ) {
    super({ ...options, spatial: 2, inChannels, outChannels, kernelSize });
  }
}

/**
 * Transposed convolution along depth, height and width. Shapes: x (N, inChannels, D, H, W) or (inChannels, D, H, W), weight
 * (inChannels, outChannels / groups, kernelD, kernelH, kernelW); see `nn.functional.convTranspose3d`.
 * Throws: ArgumentError for arguments out of range.
 */
export class ConvTranspose3d extends ConvTranspose {
  static override readonly kind: string = "ConvTranspose3d";

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Triple,
    options: ConvTranspose3dLayerOptions = {},
  ) {
    super({ ...options, spatial: 3, inChannels, outChannels, kernelSize });
  }
}

/** Convolution along one, two or three axes (cross-correlation, as everywhere in deep learning). */
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, type Tensor, viewOf } from "../tensor/tensor.ts";
import {
  type ConvForm,
  type ConvOptions,
  checkBias,
  checkOperands,
  convGeometry,
  outputShape,
} from "./conv-geometry.ts";
import { convForward, convGradInput, convGradWeight } from "./conv-kernels.ts";
import * as raw from "./raw.ts";

/** One number, bare or in brackets. */
export type Single = number | readonly [number];
/** One number for both, or [height, width]. */
export type Pair = number | readonly [number, number];
/** One number for all three, or [depth, height, width]. */
export type Triple = number | readonly [number, number, number];

/**
 * y[n, k, i] = bias[k] + sum over c, l of x[n, c, i * stride + l * dilation - padding] * weight[k, c, l].
 *
 * Shapes: x (N, C, L) or (C, L), weight (K, C / groups, kernel), bias (K) or null; returns (N, K, outL) or (K, outL) with
 * outL = floor((L + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1, or L if padding is "same".
 * Throws: as `conv2d`.
 *
 * @example
 * nn.functional.conv1d(x, weight, { padding: "same" })
 */
export function conv1d(x: Tensor, weight: Tensor, options: ConvOptions<Single> = {}): Tensor {
  return convolution({ op: "conv1d", spatial: 1 }, [x, weight], options);
}

/**
 * y[n, k, i, j] = bias[k] + sum over c, h, w of x[n, c, i * stride + h * dilation - padding, ...] * weight[k, c, h, w].
 *
 * Shapes: x (N, C, H, W) or (C, H, W), weight (K, C / groups, kernelH, kernelW), bias (K) or null; returns (N, K, outH, outW) or
 * (K, outH, outW) with outH = floor((H + 2 * padding - dilation * (kernelH - 1) - 1) / stride) + 1, or H if padding is "same".
 * Numerics: on the CPU 3 x 3 kernels of stride 1 with many channels compute 2 x 2 or 4 x 4 outputs together (Winograd), with up to 3 or 5
 * times the rounding error of the direct way; `setWinograd` chooses.
 * Unlike PyTorch: NaN and infinities in x or dy may reach the outputs that are computed together with those that read them, and all taps of
 * their channel in the weight's gradient, unless `setWinograd("off")`.
 * Throws: ShapeError if channels, groups or sizes do not fit; ArgumentError for strides, paddings, dilations out of range, and for
 * padding "same" with another stride than 1.
 */
export function conv2d(x: Tensor, weight: Tensor, options: ConvOptions<Pair> = {}): Tensor {
  return convolution({ op: "conv2d", spatial: 2 }, [x, weight], options);
}

/**
 * As `conv2d`, along depth, height and width.
 *
 * Cost: beside x and y it takes kernelD copies of x, of up to 64 MiB or one image at a time; none where the kernel's depth and
 * height, or height and width, are 1 without stride and padding.
 * Shapes: x (N, C, D, H, W) or (C, D, H, W), weight (K, C / groups, kernelD, kernelH, kernelW), bias (K) or null; returns
 * (N, K, outD, outH, outW) or (K, outD, outH, outW), sizes as in `conv2d`.
 * Unlike PyTorch: as `conv2d`.
 * Throws: as `conv2d`.
 */
export function conv3d(x: Tensor, weight: Tensor, options: ConvOptions<Triple> = {}): Tensor {
  return convolution({ op: "conv3d", spatial: 3 }, [x, weight], options);
}

/** conv1d, conv2d or conv3d, for layers that are all of them. Shapes and errors as those. */
export function convolution(
  form: ConvForm,
  [x, weight]: readonly [Tensor, Tensor],
  options: ConvOptions,
): Tensor {
  const bias = options.bias ?? null;
  checkOperands(form, x, { weight, bias });
  const geometry = convGeometry(form, [x, weight], options);
  const { N, K, axes } = geometry;
  checkBias(form, bias, K);
  const sizes = axes.map(({ out }) => out);
  const y = allocate(backendFor(x), outputShape(x, K, sizes), x.dtype);
  convForward(geometry, { x, weight, bias, y });
  return record(form.op, [x, weight, bias], y, () => {
    const [savedX, savedWeight] = [save(x, "input"), save(weight, "weight")];
    return {
      saved: [savedX, savedWeight],
      rule: (dy, [wantsX, wantsWeight, wantsBias]) => {
        const like = (saved: { readonly shape: readonly number[] }) =>
          allocate(backendFor(dy), saved.shape, dy.dtype);
        const dx = wantsX ? like(savedX) : null;
        const dWeight = wantsWeight ? like(savedWeight) : null;
        if (dx) convGradInput(geometry, { dy, weight: savedWeight.tensor(), dx });
        if (dWeight) convGradWeight(geometry, { dy, x: savedX.tensor(), dWeight });
        return [dx, dWeight, wantsBias ? biasGradient(dy, [N, K]) : null];
      },
    };
  });
}

/** The sum of dy over everything but its channels. */
export function biasGradient(dy: Tensor, [N, K]: readonly [number, number]): Tensor {
  return raw.reduce("sum", viewOf(dy, [N, K, dy.size / Math.max(1, N * K)]), [0, 2], false);
}

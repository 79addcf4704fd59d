/** Transposed convolution: the gradient of a convolution with respect to its input, as an operation of its own. */
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, type Tensor, viewOf } from "../tensor/tensor.ts";
import { biasGradient, type Pair, type Single, type Triple } from "./conv.ts";
import {
  type ConvForm,
  type ConvGeometry,
  type ConvTransposeOptions,
  checkBias,
  checkOperands,
  convTransposeGeometry,
  outputShape,
} from "./conv-geometry.ts";
import { convForward, convGradInput, convGradWeight } from "./conv-kernels.ts";
import * as raw from "./raw.ts";

/**
 * As `convTranspose2d`, along one axis.
 *
 * Shapes: x (N, C, L) or (C, L), weight (C, K / groups, kernel), bias (K) or null; returns (N, K, outL) or (K, outL).
 * Throws: as `convTranspose2d`.
 */
export function convTranspose1d(
  x: Tensor,
  weight: Tensor,
  options: ConvTransposeOptions<Single> = {},
): Tensor {
  return convolutionTransposed({ op: "convTranspose1d", spatial: 1 }, [x, weight], options);
}

/**
 * Every element of x adds its multiple of the kernel to y: y[n, k, i * stride + h * dilation - padding, ...] += x[n, c, i, j] *
 * weight[c, k, h, w], on top of bias[k]. With the same options it undoes the shapes of `conv2d`.
 *
 * Shapes: x (N, C, H, W) or (C, H, W), weight (C, K / groups, kernelH, kernelW), bias (K) or null; returns (N, K, outH, outW) or
 * (K, outH, outW) with outH = (H - 1) * stride - 2 * padding + dilation * (kernelH - 1) + outputPadding + 1.
 * Unlike PyTorch: as `conv2d`.
 * Throws: ShapeError if channels, groups or sizes do not fit or y would be empty; ArgumentError for options out of range, and unless
 * outputPadding is smaller than stride or dilation.
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  options: ConvTransposeOptions<Pair> = {},
): Tensor {
  return convolutionTransposed({ op: "convTranspose2d", spatial: 2 }, [x, weight], options);
}

/**
 * As `convTranspose2d`, along depth, height and width. Costs what `conv3d` does.
 *
 * Shapes: x (N, C, D, H, W) or (C, D, H, W), weight (C, K / groups, kernelD, kernelH, kernelW), bias (K) or null; returns
 * (N, K, outD, outH, outW) or (K, outD, outH, outW).
 * Throws: as `convTranspose2d`.
 */
export function convTranspose3d(
  x: Tensor,
  weight: Tensor,
  options: ConvTransposeOptions<Triple> = {},
): Tensor {
  return convolutionTransposed({ op: "convTranspose3d", spatial: 3 }, [x, weight], options);
}

/** convTranspose1d, 2d or 3d, for layers that are all of them. The geometry is that of the convolution run backwards: its input is our y, its output our x. */
export function convolutionTransposed(
  form: ConvForm,
  [x, weight]: readonly [Tensor, Tensor],
  options: ConvTransposeOptions,
): Tensor {
  const bias = options.bias ?? null;
  checkOperands(form, x, { weight, bias });
  const geometry = convTransposeGeometry(form, [x, weight], options);
  const { N, C } = geometry;
  checkBias(form, bias, C);
  const y = runInScope(form.op, () => forward(geometry, [x, weight], bias));
  return record(form.op, [x, weight, bias], y, () => {
    const [savedX, savedWeight] = [save(x, "input"), save(weight, "weight")];
    return {
      saved: [savedX, savedWeight],
      rule: (dy, [wantsX, wantsWeight, wantsBias]) => {
        const like = (saved: { readonly shape: readonly number[] }) =>
          allocate(backendFor(dy), saved.shape, dy.dtype);
        const dx = wantsX ? like(savedX) : null;
        const dWeight = wantsWeight ? like(savedWeight) : null;
        if (dx) {
          convForward(geometry, { x: dy, weight: savedWeight.tensor(), bias: null, y: dx });
        }
        if (dWeight) convGradWeight(geometry, { dy: savedX.tensor(), x: dy, dWeight });
        return [dx, dWeight, wantsBias ? biasGradient(dy, [N, C]) : null];
      },
    };
  });
}

function forward(
  geometry: ConvGeometry,
  [x, weight]: readonly [Tensor, Tensor],
  bias: Tensor | null,
): Tensor {
  const { N, C, axes } = geometry;
  const sizes = axes.map(({ size }) => size);
  const shape = outputShape(x, C, sizes);
  // With a bias to come, float16 is not rounded yet.
  const dtype = bias !== null && x.dtype === "float16" ? "float32" : x.dtype;
  const y = allocate(backendFor(x), shape, dtype);
  convGradInput(geometry, { dy: x, weight, dx: y });
  if (bias === null) return y;
  const planes = viewOf(y, [N, C, y.size / Math.max(1, N * C)]);
  return viewOf(raw.binary("add", planes, viewOf(bias, [C, 1])), shape);
}

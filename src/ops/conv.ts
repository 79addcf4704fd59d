/** Two-dimensional convolution (cross-correlation, as everywhere in deep learning). */
import type { Conv2dLayout } from "../backend/backend.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape, pairOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkFloating, checkRank, checkSameKind } from "./check.ts";
import * as raw from "./raw.ts";

/** One number for both, or [height, width]. */
export type Pair = number | readonly [number, number];

export interface Conv2dOptions {
  readonly bias?: Tensor | null;
  readonly stride?: Pair;
  readonly padding?: Pair;
  readonly dilation?: Pair;
  readonly groups?: number;
}

/**
 * y[n, k, i, j] = bias[k] + sum over c, h, w of x[n, c, i * stride + h * dilation - padding, ...] * weight[k, c, h, w].
 *
 * Shapes: x (N, C, H, W), weight (K, C / groups, kernelH, kernelW), bias (K) or null; returns (N, K, outH, outW) with
 * outH = floor((H + 2 * padding - dilation * (kernelH - 1) - 1) / stride) + 1.
 * Unlike PyTorch: NaN and infinities in x or dy may reach neighbouring outputs, and neighbouring taps of the weight's gradient, on the
 * CPU: 3 x 3 kernels with many channels compute 2 x 2 outputs together (Winograd).
 * Throws: ShapeError if channels, groups or sizes do not fit; ArgumentError for strides, paddings, dilations out of range.
 */
export function conv2d(x: Tensor, weight: Tensor, options: Conv2dOptions = {}): Tensor {
  const bias = options.bias ?? null;
  checkFloating("conv2d", x);
  checkSameKind("conv2d", x, weight, ...(bias === null ? [] : [bias]));
  const layout = layoutOf(x, weight, options);
  const { N, K, outH, outW } = layout;
  if (bias !== null && (bias.shape.length !== 1 || bias.shape[0] !== K)) {
    throw new ShapeError({
      op: "conv2d",
      expected: `a bias of shape (${K},)`,
      actual: formatShape(bias.shape),
    });
  }
  const backend = backendFor(x);
  const y = allocate(backend, [N, K, outH, outW], x.dtype);
  backend.conv2d(
    operandOf(x),
    operandOf(weight),
    bias === null ? null : operandOf(bias),
    operandOf(y),
    layout,
  );
  return record("conv2d", [x, weight, bias], y, () => {
    const savedX = save(x, "input");
    const savedWeight = save(weight, "weight");
    return {
      saved: [savedX, savedWeight],
      rule: (dy, [wantsX, wantsWeight, wantsBias]) => {
        const dx = wantsX ? allocate(backend, savedX.shape, dy.dtype) : null;
        const dWeight = wantsWeight ? allocate(backend, savedWeight.shape, dy.dtype) : null;
        const dyOperand = operandOf(dy);
        if (dx) backend.conv2dGradInput(dyOperand, savedWeight.operand(), operandOf(dx), layout);
        if (dWeight) {
          backend.conv2dGradWeight(dyOperand, savedX.operand(), operandOf(dWeight), layout);
        }
        return [dx, dWeight, wantsBias ? raw.reduce("sum", dy, [0, 2, 3], false) : null];
      },
    };
  });
}

function layoutOf(x: Tensor, weight: Tensor, options: Conv2dOptions): Conv2dLayout {
  checkRank("conv2d", x, 4, "(N, C, H, W)");
  checkRank("conv2d", weight, 4, "(K, C / groups, kernelH, kernelW)");
  const { groups = 1 } = options;
  const [strideH, strideW] = pairOf("conv2d", "stride", options.stride ?? 1, 1);
  const [paddingH, paddingW] = pairOf("conv2d", "padding", options.padding ?? 0, 0);
  const [dilationH, dilationW] = pairOf("conv2d", "dilation", options.dilation ?? 1, 1);
  const [N, C, H, W] = x.shape;
  const [K, groupC, kernelH, kernelW] = weight.shape;
  if (!Number.isInteger(groups) || groups < 1 || K % groups !== 0) {
    throw new ArgumentError({
      op: "conv2d",
      expected: `groups to be an integer >= 1 that divides the ${K} output channels`,
      actual: String(groups),
    });
  }
  if (C !== groupC * groups) {
    throw new ShapeError({
      op: "conv2d",
      expected: `x with C = ${groupC * groups} channels on axis 1`,
      actual: formatShape(x.shape),
      ...(x.shape[3] === groupC * groups ? { hint: "did you pass NHWC?" } : {}),
    });
  }
  const reachH = H + 2 * paddingH - dilationH * (kernelH - 1) - 1;
  const reachW = W + 2 * paddingW - dilationW * (kernelW - 1) - 1;
  if (reachH < 0 || reachW < 0 || kernelH === 0 || kernelW === 0) {
    throw new ShapeError({
      op: "conv2d",
      expected: `a kernel that fits into the padded input (${H + 2 * paddingH}, ${W + 2 * paddingW})`,
      actual: `kernel (${kernelH}, ${kernelW}) with dilation (${dilationH}, ${dilationW})`,
    });
  }
  return {
    ...{ N, C, H, W, K, kernelH, kernelW, strideH, strideW, paddingH, paddingW },
    ...{ dilationH, dilationW, groups },
    outH: Math.floor(reachH / strideH) + 1,
    outW: Math.floor(reachW / strideW) + 1,
  };
}

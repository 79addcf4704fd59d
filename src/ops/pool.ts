/** Maximum and average over windows of the plane. */
import type { Pool2dLayout } from "../backend/backend.ts";
import { ShapeError } from "../core/errors.ts";
import { formatShape, pairOf, type Shape } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkFloating, checkRank } from "./check.ts";
import type { Pair } from "./conv.ts";

export interface Pool2dOptions {
  /** Default: the kernel size. */
  readonly stride?: Pair;
  /** At most half the kernel. Default 0. */
  readonly padding?: Pair;
}

/**
 * The greatest element of each window; padding never wins, the gradient goes to the first of equals.
 *
 * Shapes: x (N, C, H, W); returns (N, C, outH, outW), outH = floor((H + 2 * padding - kernel) / stride) + 1.
 * Throws: ShapeError if x has other axes or a window does not fit; ArgumentError for sizes out of range.
 */
export function maxPool2d(x: Tensor, kernelSize: Pair, options: Pool2dOptions = {}): Tensor {
  const layout = layoutOf("maxPool2d", x, kernelSize, options);
  const backend = backendFor(x);
  const y = allocate(backend, outputShape(x, layout), x.dtype);
  const indices = allocate(backend, y.shape, "int32");
  backend.maxPool2d(operandOf(x), operandOf(y), operandOf(indices), layout);
  const { shape } = x;
  const result = record("maxPool2d", [x], y, () => {
    const saved = save(indices, "indices");
    return {
      saved: [saved],
      rule: (dy) => {
        const dx = allocate(backend, shape, dy.dtype);
        backend.maxPool2dGrad(operandOf(dy), saved.operand(), operandOf(dx), layout);
        return [dx];
      },
    };
  });
  indices.dispose();
  return result;
}

/** The mean of each window, padding counted as zeros. Shapes and errors as `maxPool2d`. */
export function avgPool2d(x: Tensor, kernelSize: Pair, options: Pool2dOptions = {}): Tensor {
  const layout = layoutOf("avgPool2d", x, kernelSize, options);
  const backend = backendFor(x);
  const y = allocate(backend, outputShape(x, layout), x.dtype);
  backend.avgPool2d(operandOf(x), operandOf(y), layout);
  const { shape } = x;
  return record("avgPool2d", [x], y, () => ({
    saved: [],
    rule: (dy) => {
      const dx = allocate(backend, shape, dy.dtype);
      backend.avgPool2dGrad(operandOf(dy), operandOf(dx), layout);
      return [dx];
    },
  }));
}

function outputShape(x: Tensor, { outH, outW }: Pool2dLayout): Shape {
  return [x.shape[0], x.shape[1], outH, outW];
}

function layoutOf(op: string, x: Tensor, kernelSize: Pair, options: Pool2dOptions): Pool2dLayout {
  checkFloating(op, x);
  checkRank(op, x, 4, "(N, C, H, W)");
  const [kernelH, kernelW] = pairOf(op, "kernelSize", kernelSize, 1);
  const [strideH, strideW] = pairOf(op, "stride", options.stride ?? kernelSize, 1);
  const [paddingH, paddingW] = pairOf(op, "padding", options.padding ?? 0, 0);
  const [N, C, H, W] = x.shape;
  const reachH = H + 2 * paddingH - kernelH;
  const reachW = W + 2 * paddingW - kernelW;
  if (reachH < 0 || reachW < 0 || 2 * paddingH > kernelH || 2 * paddingW > kernelW) {
    throw new ShapeError({
      op,
      expected: "a window that fits into the padded input, and padding at most half of it",
      actual: `window (${kernelH}, ${kernelW}), padding (${paddingH}, ${paddingW}) on ${formatShape(x.shape)}`,
    });
  }
  return {
    planes: N * C,
    ...{ H, W, kernelH, kernelW, strideH, strideW, paddingH, paddingW },
    outH: Math.floor(reachH / strideH) + 1,
    outW: Math.floor(reachW / strideW) + 1,
  };
}

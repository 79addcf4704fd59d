/** Matrix products. */
import type { MatmulLayout } from "../backend/backend.ts";
import { ShapeError } from "../core/errors.ts";
import { formatShape, sizeOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkFloating, checkRank, checkSameKind } from "./check.ts";
import { add } from "./elementwise.ts";
import { reshape } from "./view.ts";

/**
 * Matrix product.
 *
 * Shapes: a (M, K), b (K, N); returns (M, N).
 * Throws: ShapeError unless both have two axes and K agrees; DTypeError unless floating and equal.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkFloating("matmul", a);
  checkSameKind("matmul", a, b);
  checkRank("matmul", a, 2, "(M, K)");
  checkRank("matmul", b, 2, "(K, N)");
  if (a.shape[1] !== b.shape[0]) rejectInner("matmul", a, b);
  return product("matmul", a, b, false);
}

/** a (M, K) times b (K, N), or times the transpose of b (N, K). */
function product(op: string, a: Tensor, b: Tensor, transposeB: boolean): Tensor {
  const [M, K] = a.shape;
  const N = b.shape[transposeB ? 0 : 1];
  const out = multiply(a, b, { M, N, K, transposeA: false, transposeB });
  return record(op, [a, b], out, () => {
    const savedA = save(a, "first input");
    const savedB = save(b, transposeB ? "weight" : "second input");
    return {
      saved: [savedA, savedB],
      rule: (dy, [wantsA, wantsB]) => [
        // da = dy b^T
        wantsA
          ? multiply(dy, savedB.tensor(), {
              M,
              N: K,
              K: N,
              transposeA: false,
              transposeB: !transposeB,
            })
          : null,
        // db = a^T dy, or its transpose dy^T a
        wantsB ? gradB(dy, savedA.tensor(), { M, N, K }, transposeB) : null,
      ],
    };
  });
}

function gradB(
  dy: Tensor,
  a: Tensor,
  { M, N, K }: { readonly M: number; readonly N: number; readonly K: number },
  transposeB: boolean,
): Tensor {
  return transposeB
    ? multiply(dy, a, { M: N, N: K, K: M, transposeA: true, transposeB: false })
    : multiply(a, dy, { M: K, N, K: M, transposeA: true, transposeB: false });
}

function multiply(a: Tensor, b: Tensor, layout: MatmulLayout): Tensor {
  const out = allocate(backendFor(a), [layout.M, layout.N], a.dtype);
  backendFor(a).matmul(operandOf(a), operandOf(b), operandOf(out), layout);
  return out;
}

function rejectInner(op: string, a: Tensor, b: Tensor): never {
  throw new ShapeError({
    op,
    expected: "the last axis of the first to equal the first axis of the second",
    actual: `${formatShape(a.shape)} and ${formatShape(b.shape)}`,
  });
}

/**
 * y = x weight^T + bias, on the last axis.
 *
 * Shapes: x (..., inFeatures), weight (outFeatures, inFeatures), bias (outFeatures) or null; returns (..., outFeatures).
 * Throws: ShapeError, DTypeError as `matmul`.
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  checkFloating("linear", x);
  checkSameKind("linear", x, weight, ...(bias === null ? [] : [bias]));
  checkRank("linear", weight, 2, "(outFeatures, inFeatures)");
  const [outFeatures, inFeatures] = weight.shape;
  const { shape } = x;
  if (shape.length === 0 || shape[shape.length - 1] !== inFeatures) {
    throw new ShapeError({
      op: "linear",
      expected: `x with ${inFeatures} features on its last axis`,
      actual: formatShape(shape),
      hint: "flatten(1) turns (N, C, H, W) into (N, C * H * W)",
    });
  }
  if (bias !== null && (bias.shape.length !== 1 || bias.shape[0] !== outFeatures)) {
    throw new ShapeError({
      op: "linear",
      expected: `a bias of shape (${outFeatures},)`,
      actual: formatShape(bias.shape),
    });
  }
  const lead = shape.slice(0, -1);
  const rows = shape.length === 2 ? x : reshape(x, [sizeOf(lead), inFeatures]);
  const out = product("linear", rows, weight, true);
  const y = bias === null ? out : add(out, bias);
  return shape.length === 2 ? y : reshape(y, [...lead, outFeatures]);
}

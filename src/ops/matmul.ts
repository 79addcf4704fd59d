/** Matrix products. */
import type { MatmulLayout } from "../backend/backend.ts";
import type { DType } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  mergeAxes,
  type Shape,
  sizeOf,
} from "../core/shape.ts";
import { type Recording, record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, type Tensor } from "../tensor/tensor.ts";
import { checkFloating, checkRank, checkSameKind } from "./check.ts";
import * as raw from "./raw.ts";
import { reshape } from "./view.ts";

/**
 * Matrix product of the last two axes, for every index of those before, which broadcast.
 *
 * Shapes: a (..., M, K), b (..., K, N); returns (..., M, N). A vector a (K) counts as (1, K), a vector b (K) as (K, 1), and the
 * axis so added is left out of the result; two vectors give a scalar.
 * Numerics: float32 sums over blocks of K, added up in float32 (float64 between parts of a long K); float64 inside on the
 * reference device.
 * Throws: ShapeError unless both have an axis, K agrees and the axes before broadcast; DTypeError unless floating and equal.
 *
 * @example
 * randn([8, 12, 64]).matmul(randn([64, 32])).shape // [8, 12, 32]
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkFloating("matmul", a);
  checkSameKind("matmul", a, b);
  if (a.shape.length === 0 || b.shape.length === 0) {
    throw new ShapeError({
      op: "matmul",
      expected: "tensors with at least one axis",
      actual: `${formatShape(a.shape)} and ${formatShape(b.shape)}`,
    });
  }
  const isRow = a.shape.length === 1;
  const isColumn = b.shape.length === 1;
  const aShape = isRow ? [1, ...a.shape] : a.shape;
  const bShape = isColumn ? [...b.shape, 1] : b.shape;
  const [M, K, N] = [...aShape.slice(-2), bShape[bShape.length - 1]];
  if (K !== bShape[bShape.length - 2]) rejectInner("matmul", a, b);
  const batch = broadcastShapes("matmul", aShape.slice(0, -2), bShape.slice(0, -2));
  const outShape = [...batch, ...(isRow ? [] : [M]), ...(isColumn ? [] : [N])];
  // One b for all of a: its rows are multiplied as those of one matrix.
  const isOne = sizeOf(bShape, 0, bShape.length - 2) === 1;
  const [rows, columns] = isOne ? [[sizeOf(batch) * M, K], bShape.slice(-2)] : [aShape, bShape];
  return runInScope("matmul", () =>
    reshaped(product("matmul", [reshaped(a, rows), reshaped(b, columns)]), outShape),
  );
}

/**
 * Matrix products of two batches of matrices; `matmul` without its broadcasting.
 *
 * Shapes: a (B, M, K), b (B, K, N); returns (B, M, N).
 * Throws: ShapeError unless these fit; DTypeError unless floating and equal.
 */
export function bmm(a: Tensor, b: Tensor): Tensor {
  checkFloating("bmm", a);
  checkSameKind("bmm", a, b);
  checkRank("bmm", a, 3, "(B, M, K)");
  checkRank("bmm", b, 3, "(B, K, N)");
  if (a.shape[2] !== b.shape[1]) rejectInner("bmm", a, b);
  if (a.shape[0] !== b.shape[0]) {
    throw new ShapeError({
      op: "bmm",
      expected: "as many matrices in the first as in the second",
      actual: `${formatShape(a.shape)} and ${formatShape(b.shape)}`,
      hint: "matmul repeats a batch of 1",
    });
  }
  return product("bmm", [a, b]);
}

function reshaped(x: Tensor, shape: Shape): Tensor {
  const isSame = shape.length === x.shape.length && shape.every((size, i) => size === x.shape[i]);
  return isSame ? x : reshape(x, shape);
}

/** a (..., M, K) times b (..., K, N), or times the transpose of b (..., N, K), recorded. */
function product(
  op: string,
  [a, b]: readonly [Tensor, Tensor],
  { transposeB = false, dtype = a.dtype }: ProductOptions = {},
): Tensor {
  const out = multiply(op, { a, b, transposeB, dtype });
  return record(op, [a, b], out, () => productRule(op, a, b, { transposeB }));
}

interface ProductOptions {
  readonly transposeB?: boolean;
  /** Of the product: float32 for one of float16 that is not to be rounded yet. */
  readonly dtype?: DType;
}

/** A function of its own, so that the rule's closure holds what is saved and neither handle. */
function productRule(
  op: string,
  a: Tensor,
  b: Tensor,
  { transposeB }: { readonly transposeB: boolean },
): Recording {
  const savedA = save(a, "first input");
  const savedB = save(b, transposeB ? "weight" : "second input");
  return {
    saved: [savedA, savedB],
    rule: (dy, [wantsA, wantsB]) => [
      wantsA ? gradA(op, dy, savedB.tensor(), { shape: savedA.shape, transposeB }) : null,
      wantsB ? gradB(op, dy, savedA.tensor(), { shape: savedB.shape, transposeB }) : null,
    ],
  };
}

interface GradTarget {
  /** Of the gradient; what broadcasting repeated is summed up. */
  readonly shape: Shape;
  readonly transposeB: boolean;
}

/** dy b^T. */
function gradA(op: string, dy: Tensor, b: Tensor, { shape, transposeB }: GradTarget): Tensor {
  return raw.sumTo(multiply(op, { a: dy, b, transposeB: !transposeB }), shape);
}

/** a^T dy, or its transpose dy^T a. */
function gradB(op: string, dy: Tensor, a: Tensor, { shape, transposeB }: GradTarget): Tensor {
  const factors = transposeB ? { a: dy, b: a } : { a, b: dy };
  return raw.sumTo(multiply(op, { ...factors, transposeA: true }), shape);
}

interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly dtype?: DType;
}

/** Without history; the axes before the last two broadcast. */
function multiply(op: string, factors: Factors): Tensor {
  const { a, b, transposeA = false, transposeB = false, dtype = a.dtype } = factors;
  const [aRows, aColumns] = a.shape.slice(-2);
  const [M, K] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const N = b.shape[b.shape.length - (transposeB ? 2 : 1)];
  const [aBatch, bBatch] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = broadcastShapes(op, aBatch, bBatch);
  const out = allocate(backendFor(a), [...batch, M, N], dtype);
  const { shape, strides } = mergeAxes(
    op,
    batch,
    broadcastStrides(aBatch, batch),
    broadcastStrides(bBatch, batch),
  );
  const [aStrides, bStrides] = strides;
  const inner = shape.length - 1;
  const layout = {
    ...{ M, N, K, transposeA, transposeB, batch: shape[inner] },
    ...{ aStep: aStrides[inner] * M * K, bStep: bStrides[inner] * K * N },
  };
  // The kernel takes one axis of products; others, which did not merge with it, are walked here.
  for (let outer = 0; outer < sizeOf(shape, 0, inner); outer++) {
    const at = offsetsAt(outer, shape.slice(0, inner), [aStrides, bStrides]);
    multiplyInto({ a, b, out }, layout, [
      at[0] * M * K,
      at[1] * K * N,
      outer * shape[inner] * M * N,
    ]);
  }
  return out;
}

/** Where the matrices of flat index `outer` begin, counted in matrices, by each list of strides. */
function offsetsAt(
  outer: number,
  shape: Shape,
  strideLists: readonly (readonly number[])[],
): number[] {
  const offsets = strideLists.map(() => 0);
  let rest = outer;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const index = rest % shape[axis];
    strideLists.forEach((strides, i) => {
      offsets[i] += index * strides[axis];
    });
    rest = Math.floor(rest / shape[axis]);
  }
  return offsets;
}

function multiplyInto(
  { a, b, out }: { readonly a: Tensor; readonly b: Tensor; readonly out: Tensor },
  layout: MatmulLayout,
  offsets: readonly number[],
): void {
  const operands = [a, b, out].map((t, i) => raw.operandFrom(t, offsets[i]));
  backendFor(a).matmul(operands[0], operands[1], operands[2], layout);
}

function rejectInner(op: string, a: Tensor, b: Tensor): never {
  throw new ShapeError({
    op,
    expected: "the last axis of the first to equal the last but one of the second",
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
  return runInScope("linear", () => {
    const rows = reshaped(x, [sizeOf(lead), inFeatures]);
    const dtype = bias !== null && x.dtype === "float16" ? "float32" : x.dtype;
    const out = product("linear", [rows, weight], { transposeB: true, dtype });
    return reshaped(bias === null ? out : plus(out, bias), [...lead, outFeatures]);
  });
}

/** Their sum in the bias's dtype. Not `add`, which wants one dtype: a product of float16 is still float32. */
function plus(out: Tensor, bias: Tensor): Tensor {
  const { shape } = bias;
  return record("linear", [out, bias], raw.binary("add", out, bias), () => ({
    saved: [],
    rule: (dy, [wantsOut, wantsBias]) => [
      wantsOut ? dy : null,
      wantsBias ? raw.sumTo(dy, shape) : null,
    ],
  }));
}

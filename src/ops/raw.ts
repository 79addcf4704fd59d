/**
 * Operations without history: allocate the output, call the kernel. Public operations record on top of them, and backward rules
 * are written in them.
 */
import type {
  BinaryOp,
  CompareOp,
  Operand,
  ReduceOp,
  StridedLayout,
  UnaryGradOp,
  UnaryOp,
} from "../backend/backend.ts";
import type { DType } from "../core/dtype.ts";
import {
  broadcastShapes,
  broadcastStrides,
  mergeAxes,
  reducedShape,
  type Shape,
  sameShape,
  sizeOf,
  stridesOf,
} from "../core/shape.ts";
import { allocate, backendFor, operandOf, type Tensor, viewOf } from "../tensor/tensor.ts";

export function unary(op: UnaryOp, x: Tensor, alpha = 0): Tensor {
  const y = allocate(backendFor(x), x.shape, x.dtype);
  backendFor(x).unary(op, operandOf(x), operandOf(y), alpha);
  return y;
}

export function unaryGrad(op: UnaryGradOp, dy: Tensor, saved: Tensor, alpha = 0): Tensor {
  const dx = allocate(backendFor(dy), dy.shape, dy.dtype);
  backendFor(dy).unaryGrad(op, operandOf(dy), operandOf(saved), operandOf(dx), alpha);
  return dx;
}

export function binary(op: BinaryOp, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes(op, a.shape, b.shape);
  const layout = broadcastLayout(op, a, b, shape);
  // Beside float16 a float32 operand is a number: see `scalar`.
  const out = allocate(backendFor(a), shape, b.dtype === "float16" ? b.dtype : a.dtype);
  backendFor(a).binary(op, operandOf(a), operandOf(b), operandOf(out), layout);
  return out;
}

export function compare(op: CompareOp, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes(op, a.shape, b.shape);
  const layout = broadcastLayout(op, a, b, shape);
  const out = allocate(backendFor(a), shape, "bool");
  backendFor(a).compare(op, operandOf(a), operandOf(b), operandOf(out), layout);
  return out;
}

/** condition ? a : b, all of one shape. */
export function select(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const out = allocate(backendFor(a), a.shape, a.dtype);
  backendFor(a).select(operandOf(condition), operandOf(a), operandOf(b), operandOf(out));
  return out;
}

/** x where `mask` holds, else 0: also where x is not finite, which a product with the mask would let through. */
export function masked(x: Tensor, mask: Tensor): Tensor {
  const full = sameShape(mask.shape, x.shape) ? mask : expand(mask, x.shape);
  return select(full, x, zerosLike(x, x));
}

function broadcastLayout(op: string, a: Tensor, b: Tensor, to: Shape) {
  const merged = mergeAxes(op, to, broadcastStrides(a.shape, to), broadcastStrides(b.shape, to));
  const [aStrides, bStrides] = merged.strides;
  return { shape: merged.shape, aStrides, bStrides };
}

/**
 * A one-element tensor of the kind of `like`: broadcasting makes it an operand anywhere. Beside float16 it is float32, which is what
 * `binary` and `compare` compute in, so that factors like 1e-8 do not vanish.
 */
export function scalar(value: number, like: Tensor): Tensor {
  const dtype = like.dtype === "float16" ? "float32" : like.dtype;
  const t = allocate(backendFor(like), [], dtype);
  backendFor(like).fill(operandOf(t), value);
  return t;
}

export function scale(x: Tensor, factor: number): Tensor {
  return binary("mul", x, scalar(factor, x));
}

export function zerosLike(
  like: { readonly shape: Shape; readonly dtype: DType },
  on: Tensor,
): Tensor {
  const t = allocate(backendFor(on), like.shape, like.dtype);
  backendFor(on).fill(operandOf(t), 0);
  return t;
}

export function cast(x: Tensor, dtype: DType): Tensor {
  const out = allocate(backendFor(x), x.shape, dtype);
  backendFor(x).cast(operandOf(x), operandOf(out));
  return out;
}

export function expand(x: Tensor, shape: Shape): Tensor {
  return readBlock(x, shape, { op: "expand", strides: broadcastStrides(x.shape, shape) });
}

export function permute(x: Tensor, axes: readonly number[]): Tensor {
  const own = stridesOf(x.shape);
  const shape = axes.map((axis) => x.shape[axis]);
  return readBlock(x, shape, { op: "permute", strides: axes.map((axis) => own[axis]) });
}

/** Reduces sorted, distinct `axes`, one run of neighbours per kernel call, last run first. */
export function reduce(op: ReduceOp, x: Tensor, axes: readonly number[], keepdim: boolean): Tensor {
  if (x.dtype === "float16") {
    // Cost: none beside what the kernel would copy itself. Sums in between are neither rounded nor overflow.
    const wide = cast(x, "float32");
    const result = cast(reduce(op, wide, axes, keepdim), x.dtype);
    wide.dispose();
    return result;
  }
  let current = x;
  let shape = x.shape;
  for (let end = axes.length; end > 0; ) {
    let start = end - 1;
    while (start > 0 && axes[start - 1] === axes[start] - 1) start--;
    current = reduceRun(op, current, shape, [axes[start], axes[end - 1]]);
    const run = axes.slice(start, end);
    shape = shape.map((size, axis) => (run.includes(axis) ? 1 : size));
    end = start;
  }
  return viewOf(current, reducedShape(x.shape, axes, keepdim));
}

function reduceRun(
  op: ReduceOp,
  x: Tensor,
  shape: Shape,
  [first, last]: readonly [number, number],
): Tensor {
  const outer = sizeOf(shape, 0, first);
  const length = sizeOf(shape, first, last + 1);
  const inner = sizeOf(shape, last + 1);
  const out = allocate(backendFor(x), [outer, inner], x.dtype);
  backendFor(x).reduce(op, operandOf(x), operandOf(out), { outer, length, inner });
  return out;
}

/** Adds up what broadcasting repeated: the gradient of an operand of shape `shape`. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.shape.length - shape.length;
  const repeated = x.shape.flatMap((size, axis) =>
    axis < lead || (shape[axis - lead] === 1 && size !== 1) ? [axis] : [],
  );
  return viewOf(reduce("sum", x, repeated, false), shape);
}

/** A block of a tensor's memory: element [i...] is at `offset` + the sum of i * stride, counted from the tensor's first. */
export interface Block {
  /** The public operation, for the error when more than six axes do not merge. */
  readonly op: string;
  /** Elements, one stride per axis of the dense side; >= 0. */
  readonly strides: readonly number[];
  /** Elements (default 0). */
  readonly offset?: number;
}

/**
 * Dense copy of a block of x: out[i...] = x[offset + sum of i * stride].
 *
 * Blocks may repeat elements (stride 0) and overlap: windows of size k that begin every s elements are an axis of stride s and
 * one of stride 1. All of the block must lie within x.
 *
 * @example
 * // x (N, C, H, W): rows 2 and on of every plane
 * readBlock(x, [N, C, H - 2, W], { op, strides: stridesOf(x.shape), offset: 2 * W })
 */
export function readBlock(x: Tensor, shape: Shape, { op, strides, offset = 0 }: Block): Tensor {
  const out = allocate(backendFor(x), shape, x.dtype);
  if (sizeOf(shape) === 0) return out;
  const layout = stridedLayout(op, shape, strides);
  backendFor(x).stridedCopy(operandFrom(x, offset), operandOf(out), layout);
  return out;
}

/**
 * The reverse: out[offset + sum of i * stride] = x[i...], or += with `accumulate` (float and int32 only). The rest of out
 * stays as it is. The block must lie within out and address no element twice: overlapping windows are added one at a time.
 *
 * Writes behind autograd's back: out is a tensor that was just made, and that no graph has saved.
 */
export function writeBlock(
  x: Tensor,
  out: Tensor,
  { op, strides, offset = 0, accumulate = false }: Block & { readonly accumulate?: boolean },
): void {
  if (sizeOf(x.shape) === 0) return;
  const layout = stridedLayout(op, x.shape, strides);
  backendFor(x).stridedWrite(operandOf(x), operandFrom(out, offset), layout, accumulate);
}

function stridedLayout(op: string, shape: Shape, strides: readonly number[]): StridedLayout {
  const merged = mergeAxes(op, shape, strides);
  return { shape: merged.shape, strides: merged.strides[0] };
}

/** A tensor's memory from element `first` on. */
export function operandFrom(t: Tensor, first: number): Operand {
  const operand = operandOf(t);
  return { ...operand, offset: operand.offset + first, length: operand.length - first };
}

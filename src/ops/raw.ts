/**
 * Operations without history: allocate the output, call the kernel. Public operations record on top of them, and backward rules
 * are written in them.
 */
import type { BinaryOp, CompareOp, ReduceOp, UnaryGradOp, UnaryOp } from "../backend/backend.ts";
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
  const out = allocate(backendFor(a), shape, a.dtype);
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

function broadcastLayout(op: string, a: Tensor, b: Tensor, to: Shape) {
  const merged = mergeAxes(op, to, broadcastStrides(a.shape, to), broadcastStrides(b.shape, to));
  const [aStrides, bStrides] = merged.strides;
  return { shape: merged.shape, aStrides, bStrides };
}

/** A one-element tensor of the kind of `like`: broadcasting makes it an operand anywhere. */
export function scalar(value: number, like: Tensor): Tensor {
  const t = allocate(backendFor(like), [], like.dtype);
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

/** out[i...] = x[sum of i * stride], of shape `shape`. */
function strided(op: string, x: Tensor, shape: Shape, strides: readonly number[]): Tensor {
  const merged = mergeAxes(op, shape, strides);
  const out = allocate(backendFor(x), shape, x.dtype);
  backendFor(x).stridedCopy(operandOf(x), operandOf(out), {
    shape: merged.shape,
    strides: merged.strides[0],
  });
  return out;
}

export function expand(x: Tensor, shape: Shape): Tensor {
  return strided("expand", x, shape, broadcastStrides(x.shape, shape));
}

export function permute(x: Tensor, axes: readonly number[]): Tensor {
  const own = stridesOf(x.shape);
  return strided(
    "permute",
    x,
    axes.map((axis) => x.shape[axis]),
    axes.map((axis) => own[axis]),
  );
}

/** Reduces sorted, distinct `axes`, one run of neighbours per kernel call, last run first. */
export function reduce(op: ReduceOp, x: Tensor, axes: readonly number[], keepdim: boolean): Tensor {
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

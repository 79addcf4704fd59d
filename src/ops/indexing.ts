/** Picking elements by index. */
import type { GatherLayout } from "../backend/backend.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import {
  formatShape,
  normalizeAxes,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
  stridesOf,
} from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { tensor } from "../tensor/create.ts";
import { save } from "../tensor/saved.ts";
import { runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkDType, checkSameDevice, checkTensor } from "./check.ts";
import * as raw from "./raw.ts";
import { reshape } from "./view.ts";

/**
 * out[i][j][k] = x[i][index[i][j][k]][k] for axis 1, and so on.
 *
 * Shapes: index with as many axes as x, of any size on `axis` and none longer than x's elsewhere; returns the shape of index.
 * Throws: ShapeError if they do not fit; DTypeError unless index is int32; ArgumentError for an index outside [0, size), on devices that
 * read synchronously (on others it gives NaN, and 0 for integers).
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = checkIndexed("gather", x, axis, index);
  checkGatherShape(x.shape, at, index.shape);
  checkInside("gather", index, x.shape[at] ?? 1);
  return gatherKnown(x, at, index);
}

/** `gather` for arguments that are right by construction: axis in [0, rank), every index in [0, size). */
export function gatherKnown(x: Tensor, axis: number, index: Tensor): Tensor {
  const { shape, dtype } = x;
  // What the index does not reach on the other axes is cut off first, and is zero in the gradient.
  const reached = shape.map((size, i) => (i === axis ? size : index.shape[i]));
  const block = { op: "gather", strides: stridesOf(shape) };
  const isPart = !sameShape(reached, shape);
  const from = isPart ? raw.readBlock(x, reached, block) : x;
  const layout = layoutOf(reached, axis, index.shape[axis] ?? 1);
  const backend = backendFor(x);
  const out = allocate(backend, index.shape, dtype);
  backend.gather(operandOf(from), operandOf(index), operandOf(out), layout);
  if (isPart) from.dispose();
  return record("gather", [x], out, () => {
    const saved = save(index, "index");
    return {
      saved: [saved],
      rule: (dy) => {
        const part = raw.zerosLike({ shape: reached, dtype }, dy);
        backend.scatterAdd(operandOf(dy), saved.operand(), operandOf(part), layout);
        if (!isPart) return [part];
        const dx = raw.zerosLike({ shape, dtype }, dy);
        raw.writeBlock(part, dx, block);
        return [dx];
      },
    };
  });
}

/**
 * The slices of an axis that `index` names, in its order, copied; any of them may repeat.
 *
 * Shapes: index (picks) or a scalar; returns x's shape with `picks` on `axis`.
 * Numerics: the gradient of a repeated slice is summed in the order of the index, on any number of threads.
 * Throws: ShapeError for an index of more axes, or of several picks from a scalar; DTypeError unless index is int32; ArgumentError
 * for an index outside [0, size), on devices that read synchronously (on others it gives NaN, and 0 for integers).
 */
export function indexSelect(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = checkIndexed("indexSelect", x, axis, index);
  if (index.shape.length > 1 || (x.shape.length === 0 && index.size !== 1)) {
    throw new ShapeError({
      op: "indexSelect",
      expected: `an index with one axis${x.shape.length === 0 ? " and one element" : ""}`,
      actual: formatShape(index.shape),
    });
  }
  checkInside("indexSelect", index, x.shape[at] ?? 1);
  return pick("indexSelect", x, at, index);
}

/** The slices at `positions` of an axis, recorded as `op`; positions are within it. */
export function pickPositions(
  x: Tensor,
  axis: number,
  { op, positions }: { readonly op: string; readonly positions: ArrayLike<number> },
): Tensor {
  return pick(op, x, axis, tensor(Int32Array.from(positions), { device: x.device }));
}

function pick(op: string, x: Tensor, axis: number, index: Tensor): Tensor {
  const { shape, dtype } = x;
  const layout = layoutOf(shape, axis, index.size);
  const backend = backendFor(x);
  const outShape = shape.map((size, i) => (i === axis ? layout.picks : size));
  const out = allocate(backend, outShape, dtype);
  backend.indexSelect(operandOf(x), operandOf(index), operandOf(out), layout);
  return record(op, [x], out, () => {
    const saved = save(index, "index");
    return {
      saved: [saved],
      rule: (dy) => {
        const dx = raw.zerosLike({ shape, dtype }, dy);
        backend.indexAdd(operandOf(dy), saved.operand(), operandOf(dx), layout);
        return [dx];
      },
    };
  });
}

/** The order along the axes given, reversed; copied. Throws ShapeError on repeated axes. */
export function flip(x: Tensor, axes: number | readonly number[]): Tensor {
  checkTensor("flip", x);
  const list = normalizeAxes("flip", axes, x.shape.length);
  const flipOne = (flipped: Tensor, axis: number) => {
    const size = x.shape[axis];
    const positions = Array.from({ length: size }, (_, i) => size - 1 - i);
    return pickPositions(flipped, axis, { op: "flip", positions });
  };
  return runInScope("flip", () => list.reduce(flipOne, reshape(x, x.shape)));
}

function layoutOf(shape: Shape, axis: number, picks: number): GatherLayout {
  return {
    outer: sizeOf(shape, 0, axis),
    length: shape[axis] ?? 1,
    inner: sizeOf(shape, axis + 1),
    picks,
  };
}

function checkIndexed(op: string, x: Tensor, axis: number, index: Tensor): number {
  checkTensor(op, x);
  checkSameDevice(op, x, index);
  checkDType(op, index, "int32", "an index");
  return normalizeAxis(op, axis, x.shape.length);
}

function checkGatherShape(x: Shape, axis: number, index: Shape): void {
  const fits = x.length === index.length && x.every((size, at) => at === axis || index[at] <= size);
  if (fits) return;
  throw new ShapeError({
    op: "gather",
    expected: `an index no longer than x ${formatShape(x)}, except on axis ${axis}`,
    actual: formatShape(index),
  });
}

/** Negative indices are not counted from the end: PyTorch rejects them too. */
function checkInside(op: string, index: Tensor, size: number): void {
  if (!backendFor(index).readsSynchronously) return;
  const values = index.dataSync();
  const wrong = values.findIndex((value) => value < 0 || value >= size);
  if (wrong < 0) return;
  throw new ArgumentError({
    op,
    expected: `indices in [0, ${size})`,
    actual: `${values[wrong]} at position ${wrong}`,
  });
}

/** Tensors put together and taken apart along an axis. */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape, normalizeAxis, type Shape, sameShape, stridesOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, type Tensor } from "../tensor/tensor.ts";
import { checkSameKind, checkTensor } from "./check.ts";
import * as raw from "./raw.ts";
import { narrow, unsqueeze } from "./view.ts";

/**
 * The tensors one behind the other along an axis, copied.
 *
 * Shapes: equal but on `axis`, where the result has the sum; tensors of shape (0,) fit anywhere and add nothing, as in PyTorch.
 * Unlike PyTorch: dtypes must be equal; nothing is promoted.
 * Throws: ArgumentError for an empty list; ShapeError for scalars and shapes that do not fit; DTypeError, DeviceError for a mix.
 *
 * @example
 * cat([zeros([2, 3]), ones([2, 5])], 1).shape // [2, 8]
 */
export function cat(tensors: readonly Tensor[], axis = 0): Tensor {
  const first = checkList("cat", tensors);
  const shapes = tensors.map(({ shape }) => shape);
  const lead = shapes.find((shape) => !isNothing(shape)) ?? shapes[0];
  const at = normalizeAxis("cat", axis, lead.length);
  checkFit(shapes, lead, at);
  const lengths = shapes.map((shape) => shape[isNothing(shape) ? 0 : at]);
  const outShape = lead.with(at, sumOf(lengths));
  const strides = stridesOf(outShape);
  const blocks = placesOf(lengths).map((place) => ({
    ...{ op: "cat", strides, offset: place * strides[at] },
  }));
  const out = allocate(backendFor(first), outShape, first.dtype);
  for (const [i, x] of tensors.entries()) raw.writeBlock(x, out, blocks[i]);
  return record("cat", tensors, out, () => ({
    saved: [],
    rule: (dy, wants) =>
      shapes.map((shape, i) => (wants[i] ? raw.readBlock(dy, shape, blocks[i]) : null)),
  }));
}

function checkFit(shapes: readonly Shape[], lead: Shape, axis: number): void {
  const isScalar = lead.length === 0;
  const wrong = isScalar ? 0 : shapes.findIndex((shape) => !fitsBeside(lead, shape, axis));
  if (wrong < 0) return;
  throw new ShapeError({
    op: "cat",
    expected: isScalar
      ? "tensors with an axis"
      : `shapes like ${formatShape(lead)}, except on axis ${axis}`,
    actual: `${formatShape(shapes[wrong])} at position ${wrong}`,
    ...(isScalar ? { hint: "stack joins scalars" } : {}),
  });
}

function sumOf(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}

function checkList(op: string, tensors: readonly Tensor[]): Tensor {
  if (!Array.isArray(tensors) || tensors.length === 0) {
    throw new ArgumentError({
      op,
      expected: "an array of at least one tensor",
      actual: Array.isArray(tensors) ? "none" : typeof tensors,
    });
  }
  const [first, ...others]: readonly Tensor[] = tensors;
  checkTensor(op, first);
  checkSameKind(op, first, ...others);
  return first;
}

/** PyTorch lets its old way of writing an empty tensor pass beside any shape. */
function isNothing(shape: Shape): boolean {
  return shape.length === 1 && shape[0] === 0;
}

function fitsBeside(lead: Shape, shape: Shape, axis: number): boolean {
  if (isNothing(shape)) return true;
  return lead.length === shape.length && sameShape(shape.with(axis, 0), lead.with(axis, 0));
}

/** Where each part begins. */
function placesOf(lengths: readonly number[]): number[] {
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return end - length;
  });
}

/**
 * The tensors one behind the other along a new axis, copied.
 *
 * Shapes: all equal; `axis` counts those of the result.
 * Throws: ArgumentError for an empty list; ShapeError unless the shapes are equal; DTypeError, DeviceError for a mix.
 *
 * @example
 * stack([zeros([3]), ones([3])]).shape // [2, 3]
 */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  const first = checkList("stack", tensors);
  const at = normalizeAxis("stack", axis, first.shape.length + 1);
  const wrong = tensors.findIndex(({ shape }) => !sameShape(shape, first.shape));
  if (wrong >= 0) {
    throw new ShapeError({
      op: "stack",
      expected: `tensors of one shape, that of the first ${formatShape(first.shape)}`,
      actual: `${formatShape(tensors[wrong].shape)} at position ${wrong}`,
    });
  }
  const parts = () => tensors.map((x) => unsqueeze(x, at));
  return runInScope("stack", () => cat(parts(), at));
}

/**
 * Parts of an axis, shared or copied as by `slice`: of `sizeOrSizes` each, the last one with what is left, or of the sizes listed.
 *
 * Throws: ArgumentError unless sizes are integers >= 0, a single size is 0 only where the axis is, and listed sizes add up to the
 * axis; ShapeError for a scalar.
 */
export function split(x: Tensor, sizeOrSizes: number | readonly number[], axis = 0): Tensor[] {
  const [at, length] = cutAxis("split", x, axis);
  const sizes = typeof sizeOrSizes === "number" ? partsOf(length, sizeOrSizes) : sizeOrSizes;
  const isWhole = sizes.every((size) => Number.isInteger(size) && size >= 0);
  if (!isWhole || sumOf(sizes) !== length) {
    throw new ArgumentError({
      op: "split",
      expected: `sizes >= 0 that add up to the ${length} of axis ${at}, or one size >= ${Math.min(1, length)}`,
      actual: JSON.stringify(sizeOrSizes),
    });
  }
  return placesOf(sizes).map((place, i) => narrow(x, at, place, sizes[i]));
}

/** Equal parts of at most `size`, the last one with the rest; for an impossible size an impossible part, which the caller rejects. */
function partsOf(length: number, size: number): readonly number[] {
  if (length === 0 && Number.isInteger(size) && size >= 0) return [0];
  if (!Number.isInteger(size) || size < 1) return [-1];
  return Array.from({ length: Math.ceil(length / size) }, (_, i) =>
    Math.min(size, length - i * size),
  );
}

/**
 * At most `chunks` parts of an axis, of equal sizes but the last, shared or copied as by `slice`. As in PyTorch there are
 * fewer where rounding the size up leaves nothing for the last ones: 5 in 4 chunks gives 2, 2, 1.
 *
 * Throws: ArgumentError unless chunks is an integer >= 1; ShapeError for a scalar.
 */
export function chunk(x: Tensor, chunks: number, axis = 0): Tensor[] {
  const [at, length] = cutAxis("chunk", x, axis);
  if (!Number.isInteger(chunks) || chunks < 1) {
    throw new ArgumentError({
      op: "chunk",
      expected: "a number of chunks that is an integer >= 1",
      actual: String(chunks),
    });
  }
  if (length === 0) return split(x, new Array<number>(chunks).fill(0), at);
  return split(x, Math.ceil(length / chunks), at);
}

function cutAxis(op: string, x: Tensor, axis: number): readonly [number, number] {
  checkTensor(op, x);
  const { shape } = x;
  if (shape.length === 0) {
    throw new ShapeError({ op, expected: "a tensor with an axis", actual: "a scalar" });
  }
  const at = normalizeAxis(op, axis, shape.length);
  return [at, shape[at]];
}

/** Tensors widened, or cropped, at the ends of their last axes. */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape, type Shape, stridesOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkTensor } from "./check.ts";
import { pickPositions } from "./indexing.ts";
import * as raw from "./raw.ts";
import { reshape } from "./view.ts";

/**
 * What the new elements are: a constant; the elements seen from the edge as in a mirror, the edge itself not repeated; the edge; or
 * those from the other end.
 */
export type PadMode = "constant" | "reflect" | "replicate" | "circular";

/** What the new elements are. */
export interface PadOptions {
  /** Where they come from. Default "constant". */
  readonly mode?: PadMode;
  /** The constant; of no other mode. Default 0. */
  readonly value?: number;
}

/** One axis: its size, and what is added before and after it; negative numbers crop. */
interface Ends {
  readonly axis: number;
  readonly size: number;
  readonly before: number;
  readonly after: number;
}

/**
 * Adds elements before and after the last axes, copied; negative numbers take elements away.
 *
 * Shapes: padding is [before, after] of the last axis, then of the one before it, and so on, as in PyTorch; modes other than "constant"
 * take the last one, two or three axes of an x with one or two axes before them.
 * Unlike PyTorch: "circular" crops first and is an error where the rest is too short to wrap round once (PyTorch then reads memory that
 * nothing has written); modes other than "constant" take "bool" too.
 * Throws: ArgumentError for a padding that is not pairs of integers, for a value beside another mode and for an unknown mode; ShapeError
 * for more pairs than axes, for cropping more than there is, and for padding that x is too small for: "reflect" takes less than
 * the size, "circular" at most the size.
 *
 * @example
 * pad(images, [1, 1, 2, 2], { mode: "reflect" }).shape // (N, C, H + 4, W + 2)
 */
export function pad(
  x: Tensor,
  padding: readonly number[],
  { mode = "constant", value }: PadOptions = {},
): Tensor {
  checkTensor("pad", x);
  const ends = endsOf(x.shape, padding);
  if (mode === "constant") {
    ends.forEach(checkCrop);
    return padConstant(x, ends, value ?? 0);
  }
  const padded = positionsOf(mode);
  if (value !== undefined && value !== 0) {
    throw new ArgumentError({
      op: "pad",
      expected: `no value beside mode "${mode}"`,
      actual: String(value),
    });
  }
  checkModeShape(x.shape, mode, ends.length);
  for (const end of ends) checkEnds(mode, end);
  const padOne = (wider: Tensor, end: Ends) =>
    pickPositions(wider, end.axis, { op: "pad", positions: padded(end) });
  return runInScope("pad", () =>
    ends
      .filter(({ before, after }) => before !== 0 || after !== 0)
      .reduce(padOne, reshape(x, x.shape)),
  );
}

function endsOf(shape: Shape, padding: readonly number[]): Ends[] {
  if (padding.length % 2 !== 0 || !padding.every((n) => Number.isInteger(n))) {
    throw new ArgumentError({
      op: "pad",
      expected: "a padding of [before, after] integers for each axis, the last one first",
      actual: JSON.stringify(padding),
    });
  }
  const pairs = padding.length / 2;
  if (pairs > shape.length) {
    throw new ShapeError({
      op: "pad",
      expected: `at most ${shape.length} pairs for shape ${formatShape(shape)}`,
      actual: `${pairs} pairs`,
    });
  }
  return Array.from({ length: pairs }, (_, pair) => {
    const axis = shape.length - 1 - pair;
    return { axis, size: shape[axis], before: padding[2 * pair], after: padding[2 * pair + 1] };
  });
}

// ---- constant ---------------------------------------------------------------------------------------------------------

/** How much is cropped, counted as positive. */
function cropOf({ before, after }: Ends): readonly [number, number] {
  return [Math.max(0, -before), Math.max(0, -after)];
}

function checkCrop(ends: Ends): void {
  const [first, last] = cropOf(ends);
  if (first + last <= ends.size) return;
  rejectEnds(`to crop at most the ${ends.size} elements of axis ${ends.axis}`, ends);
}

function rejectEnds(expected: string, { before, after }: Ends): never {
  throw new ShapeError({ op: "pad", expected, actual: `${before} before and ${after} after` });
}

function padConstant(x: Tensor, ends: readonly Ends[], value: number): Tensor {
  const { shape, dtype } = x;
  const [kept, outShape] = [[...shape], [...shape]];
  const strides = stridesOf(shape);
  let from = 0;
  for (const end of ends) {
    const [first, last] = cropOf(end);
    kept[end.axis] -= first + last;
    outShape[end.axis] += end.before + end.after;
    from += first * strides[end.axis];
  }
  const outStrides = stridesOf(outShape);
  const to = ends.reduce((at, { axis, before }) => at + Math.max(0, before) * outStrides[axis], 0);
  const source = { op: "pad", strides, offset: from };
  const target = { op: "pad", strides: outStrides, offset: to };

  const out = allocate(backendFor(x), outShape, dtype);
  backendFor(x).fill(operandOf(out), value);
  const part = raw.readBlock(x, kept, source);
  raw.writeBlock(part, out, target);
  part.dispose();
  return record("pad", [x], out, () => ({
    saved: [],
    rule: (dy) => {
      const dx = raw.zerosLike({ shape, dtype }, dy);
      raw.writeBlock(raw.readBlock(dy, kept, target), dx, source);
      return [dx];
    },
  }));
}

// ---- the modes that repeat elements -----------------------------------------------------------------------------------

/** Where along the axis each element of the padded one comes from. */
function positionsOf(mode: PadMode): (ends: Ends) => number[] {
  switch (mode) {
    case "reflect":
      return (ends) =>
        walk(ends, (at) => (at < 0 ? -at : at < ends.size ? at : 2 * (ends.size - 1) - at));
    case "replicate":
      return (ends) => walk(ends, (at) => Math.min(ends.size - 1, Math.max(0, at)));
    case "circular":
      return wrap;
    default:
      throw new ArgumentError({
        op: "pad",
        expected: 'mode "constant", "reflect", "replicate" or "circular"',
        actual: JSON.stringify(mode),
      });
  }
}

function walk({ size, before, after }: Ends, positionAt: (at: number) => number): number[] {
  return Array.from({ length: before + size + after }, (_, i) => positionAt(i - before));
}

/** What cropping leaves, repeated on either side. */
function wrap(ends: Ends): number[] {
  const [first, last] = cropOf(ends);
  const left = ends.size - first - last;
  const before = Math.max(0, ends.before);
  const length = before + left + Math.max(0, ends.after);
  return Array.from({ length }, (_, i) => first + ((i - before + left) % left));
}

function checkModeShape(shape: Shape, mode: PadMode, pairs: number): void {
  const lead = shape.length - pairs;
  if (pairs < 1 || pairs > 3 || lead < 1 || lead > 2) {
    throw new ShapeError({
      op: "pad",
      expected: `1 to 3 pairs, and one or two axes before those they are for, in mode "${mode}"`,
      actual: `${pairs} pairs for shape ${formatShape(shape)}`,
    });
  }
  const isBatch = (axis: number) => axis === 0 && lead === 2;
  if (mode === "circular" || shape.every((size, axis) => size > 0 || isBatch(axis))) return;
  throw new ShapeError({
    op: "pad",
    expected: `no empty axis besides the batch in mode "${mode}"`,
    actual: formatShape(shape),
  });
}

function checkEnds(mode: PadMode, ends: Ends): void {
  const { size, before, after, axis } = ends;
  const most = Math.max(before, after);
  if (mode === "reflect" && most >= size) {
    rejectEnds(`to reflect less than the ${size} elements of axis ${axis}`, ends);
  }
  if (mode !== "circular") {
    if (before + size + after < 1) {
      rejectEnds(`to leave at least one of the ${size} elements of axis ${axis}`, ends);
    }
    return;
  }
  checkCrop(ends);
  const [first, last] = cropOf(ends);
  if (most > size - first - last) {
    rejectEnds(
      `to wrap round at most the ${size - first - last} elements left on axis ${axis}`,
      ends,
    );
  }
}

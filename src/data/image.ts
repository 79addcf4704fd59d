/** Images (C, H, W) in ordinary memory: what the transforms have in common. */
import { dtypeOf, hostArray } from "../core/dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import type { HostTensor } from "./dataset.ts";

/** Height and width, or one number for both. */
export type Size = number | readonly [height: number, width: number];

/** A part of an image; what lies outside of it is zero. */
export interface Part {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/** The part as an image of its own. */
export function cut(image: HostTensor, { top, left, height, width }: Part): HostTensor {
  const [channels, rows, columns] = image.shape;
  const data = hostArray(image.dtype ?? dtypeOf(image.data), channels * height * width);
  const firstColumn = Math.max(0, left);
  const endColumn = Math.min(columns, left + width);
  for (let c = 0; c < channels; c++) {
    for (let y = Math.max(0, -top); y < height && y + top < rows && firstColumn < endColumn; y++) {
      const row = (c * rows + y + top) * columns;
      const to = (c * height + y) * width + firstColumn - left;
      data.set(image.data.subarray(row + firstColumn, row + endColumn), to);
    }
  }
  return { ...image, data, shape: [channels, height, width] };
}

/** Python's `round`. */
export function roundHalfEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Throws ShapeError for anything but (C, H, W). */
export function shapeOf(op: string, { shape }: HostTensor): readonly [number, number, number] {
  const [channels, rows, columns] = shape;
  if (shape.length === 3) return [channels, rows, columns];
  throw new ShapeError({
    op,
    expected: "an image (C, H, W)",
    actual: formatShape(shape),
    hint: "transforms take single items: use them in data.map",
  });
}

/** Throws DTypeError for whole numbers. */
export function checkFloats(op: string, { data, dtype = dtypeOf(data) }: HostTensor): void {
  if (data instanceof Float32Array || data instanceof Float64Array) return;
  throw new DTypeError({
    op,
    expected: "an image of fractions",
    actual: dtype,
    hint: "divide bytes by 255 first",
  });
}

/** Throws ArgumentError for a size that is none. */
export function readSize(op: string, size: Size): readonly [height: number, width: number] {
  const [height, width] = typeof size === "number" ? [size, size] : size;
  const isSize = [height, width].every((side) => Number.isSafeInteger(side) && side > 0);
  if (isSize && (typeof size === "number" || size.length === 2)) return [height, width];
  throw new ArgumentError({
    op,
    expected: "a size above 0, or [height, width], in pixels",
    actual: JSON.stringify(size),
  });
}

/** Throws ArgumentError unless 0 < least <= most. */
export function checkRange(
  op: string,
  name: string,
  [least, most]: readonly [number, number],
): void {
  if (least > 0 && least <= most && Number.isFinite(most)) return;
  throw new ArgumentError({
    op,
    expected: `${name} as [least, most] above 0`,
    actual: JSON.stringify([least, most]),
  });
}

import { DataError } from "../core/errors.ts";
import { firstBytes } from "./files.ts";

/** An IDX file of unsigned bytes: its axes and its values, row-major. */
export interface IdxArray {
  readonly shape: readonly number[];
  /** Values as they lie in the file; shares the file's memory. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/**
 * Reads an IDX file of unsigned bytes with the number of axes asked for.
 *
 * The format: two zero bytes, the type (8 = unsigned byte), the number of axes, one big-endian uint32 per axis, the values.
 * Throws: DataError naming the file if the header is another, or if the length does not fit it.
 * Source: the description on the MNIST pages of LeCun, Cortes and Burges.
 */
export function parseIdx(
  bytes: Uint8Array<ArrayBuffer>,
  options: { readonly op: string; readonly path: string; readonly axes: number },
): IdxArray {
  const { op, path, axes } = options;
  const magic = 0x800 + axes;
  const headerBytes = 4 + 4 * axes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || view.getUint32(0) !== magic) {
    throw new DataError({
      op,
      expected: `magic number ${magic} (00 00 08 0${axes}: unsigned bytes, ${axes} axes) at the start of ${path}`,
      actual: firstBytes(bytes),
      hint: "the file is another one under this name, or damaged: fetch it again",
    });
  }
  if (bytes.length < headerBytes) throw wrongLength(op, path, [headerBytes, bytes.length]);
  const shape = Array.from({ length: axes }, (_, axis) => view.getUint32(4 + 4 * axis));
  const length = shape.reduce((product, size) => product * size, 1);
  if (length === 0) {
    throw new DataError({
      op,
      expected: `sizes of at least 1 in ${path}`,
      actual: `(${shape.join(", ")})`,
    });
  }
  if (bytes.length !== headerBytes + length) {
    throw wrongLength(op, path, [headerBytes + length, bytes.length]);
  }
  return { shape, data: bytes.subarray(headerBytes) };
}

function wrongLength(op: string, path: string, [expected, actual]: readonly [number, number]) {
  return new DataError({
    op,
    expected: `${expected} bytes in ${path}`,
    actual: `${actual}`,
    hint: `the file ${actual < expected ? "was cut short" : "has something after its end"}: fetch it again`,
  });
}

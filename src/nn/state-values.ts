/** Values of a state dict as the numbers of a dtype: PyTorch's `copy_` from one type to another. */
import { type DType, hostArray, type TypedArray } from "../core/dtype.ts";
import type { Entry, EntryArray } from "../core/entry.ts";
import { StateDictError } from "../core/errors.ts";
import { fromBfloat16, widenFloat16 } from "../core/half.ts";
import { formatShape, sizeOf } from "../core/shape.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { StateEntry } from "./state-dict.ts";

/** Whether this is a value from a file. */
export function isFileEntry(value: unknown): value is Entry {
  return (
    typeof value === "object" &&
    value !== null &&
    !(value instanceof Tensor) &&
    "data" in value &&
    typeof value.data === "function"
  );
}

/** An entry's values as numbers, whatever it is made of; 64-bit integers beyond 2^53 rounded to the nearest. */
export function hostNumbers(entry: StateEntry): ArrayLike<number> {
  if (typeof entry === "number") return [entry];
  if (entry instanceof Tensor) return entry.dataSync();
  const values = valuesOf(entry);
  return isBig(values) ? Array.from(values, Number) : widened(entry, values);
}

/**
 * An entry's values in the host's array for a dtype. Floats are rounded once, to the nearest; integers keep their low bits; a fraction is
 * cut off; whatever is not 0 is true.
 */
export function valuesAs(dtype: DType, entry: StateEntry): TypedArray {
  if (typeof entry !== "number" && !(entry instanceof Tensor)) {
    const values = valuesOf(entry);
    if (isBig(values)) return fromBig(dtype, values);
    return converted(dtype, widened(entry, values));
  }
  return converted(dtype, hostNumbers(entry));
}

/** The values, which are as many as the shape says. */
function valuesOf(entry: Entry): EntryArray {
  const values = entry.data();
  checkLength(entry, values);
  return values;
}

/** Throws StateDictError unless there are as many values as the entry's shape says. */
export function checkLength({ shape }: Entry, values: EntryArray): void {
  if (values.length === sizeOf(shape)) return;
  throw new StateDictError({
    op: "loadStateDict",
    expected: `${sizeOf(shape)} values in an entry of shape ${formatShape(shape)}`,
    actual: String(values.length),
  });
}

type BigArray = BigInt64Array | BigUint64Array;

function isBig(values: EntryArray): values is BigArray {
  return values instanceof BigInt64Array || values instanceof BigUint64Array;
}

/** Half floats, which come as their bits, as what they stand for. */
function widened({ dtype }: Entry, values: Exclude<EntryArray, BigArray>): ArrayLike<number> {
  if (dtype === "float16") return widenFloat16(values);
  if (dtype === "bfloat16") return Float32Array.from(values, fromBfloat16);
  return values;
}

function converted(dtype: DType, values: ArrayLike<number>): TypedArray {
  const out = hostArray(dtype, values.length);
  if (dtype !== "bool") out.set(values);
  else for (let i = 0; i < out.length; i++) out[i] = values[i] === 0 ? 0 : 1;
  return out;
}

function fromBig(dtype: DType, values: BigArray): TypedArray {
  const out = hostArray(dtype, values.length);
  for (let i = 0; i < out.length; i++) out[i] = bigAs(dtype, values[i]);
  return out;
}

function bigAs(dtype: DType, value: bigint): number {
  if (dtype === "bool") return value === 0n ? 0 : 1;
  if (dtype === "int32") return Number(BigInt.asIntN(32, value));
  if (dtype === "uint8") return Number(BigInt.asUintN(8, value));
  if (dtype === "float64" || BigInt.asIntN(53, value) === value) return Number(value);
  // Rounding to double precision first could end on a tie that was none: a low bit that stands for the rest prevents it.
  const rest = (value & 0xfffn) === 0n ? 0n : 1n;
  return Number((value >> 12n) | rest) * 4096;
}

/** Values from files, in ordinary memory. */
import { ArgumentError } from "./errors.ts";

/** Element types of files: those of tensors and those that files hold beside them. */
export type EntryDType =
  | "float64"
  | "float32"
  | "float16"
  | "bfloat16"
  | "int64"
  | "int32"
  | "int16"
  | "int8"
  | "uint64"
  | "uint32"
  | "uint16"
  | "uint8"
  | "bool";

/** The arrays that hold an entry's values; float16 and bfloat16 are a Uint16Array, bool a Uint8Array. */
export type EntryArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** What a file says of a value before it is read. */
export interface EntryInfo {
  /** Type of its elements. */
  readonly dtype: EntryDType;
  /** Sizes of its axes; [] for a single value. */
  readonly shape: readonly number[];
}

/** One value of a file in ordinary memory, in the file's own type, bit for bit. */
export interface Entry extends EntryInfo {
  /**
   * A copy of the values, row-major. float16 and bfloat16 come as their bits in a Uint16Array, 64-bit integers as
   * bigints, bool as bytes 0 and 1.
   */
  data(): EntryArray;
}

/** Bytes of one element. */
export const bytesOf: Readonly<Record<EntryDType, number>> = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint64: 8,
  uint32: 4,
  uint16: 2,
  uint8: 1,
  bool: 1,
};

/** The bytes as a typed array of this type; takes over the memory. */
export function entryArray(dtype: EntryDType, memory: ArrayBuffer): EntryArray {
  switch (dtype) {
    case "float64":
      return new Float64Array(memory);
    case "float32":
      return new Float32Array(memory);
    case "float16":
    case "bfloat16":
    case "uint16":
      return new Uint16Array(memory);
    case "int64":
      return new BigInt64Array(memory);
    case "uint64":
      return new BigUint64Array(memory);
    case "int32":
      return new Int32Array(memory);
    case "uint32":
      return new Uint32Array(memory);
    case "int16":
      return new Int16Array(memory);
    case "int8":
      return new Int8Array(memory);
    case "uint8":
    case "bool":
      return new Uint8Array(memory);
  }
}

/** A number as files store it: an int64 scalar. Throws ArgumentError for a fraction. */
export function scalarEntry(key: string, value: number): Entry {
  if (!Number.isSafeInteger(value)) {
    throw new ArgumentError({
      op: "checkpoint.write",
      expected: `a whole number for "${key}" (numbers are stored as int64)`,
      actual: String(value),
      hint: "store a fraction as a tensor",
    });
  }
  return { dtype: "int64", shape: [], data: () => BigInt64Array.of(BigInt(value)) };
}

/** Entries whose `data()` is known to give what their shape says: asking for it only to count would copy it. */
const soundEntries = new WeakSet<Entry>();

/** Marks an entry as sound. */
export function soundEntry(entry: Entry): Entry {
  soundEntries.add(entry);
  return entry;
}

/** Whether an entry is marked as sound; those that users make are not. */
export function isSound(entry: Entry): boolean {
  return soundEntries.has(entry);
}

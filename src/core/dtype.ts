import { DTypeError } from "./errors.ts";

/**
 * Element types. `float32` is the default everywhere; `float16` takes half the memory and is computed in float32; `float64` lives on
 * the reference backend.
 */
export type DType = "float32" | "float16" | "float64" | "int32" | "uint8" | "bool";

/**
 * Values of tensors in ordinary memory: Uint8Array for "uint8" and "bool", Float32Array for "float16", whose values it holds exactly, and
 * the array named like the dtype for others.
 */
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array;

const bytesByDType: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  float64: 8,
  int32: 4,
  uint8: 1,
  bool: 1,
};

/** Bytes one element occupies. */
export function bytesPerElement(dtype: DType): number {
  return bytesByDType[dtype];
}

/** True for the types that batch norm, gradients and averages are defined on. */
export function isFloating(dtype: DType): boolean {
  return dtype === "float32" || dtype === "float16" || dtype === "float64";
}

/** A zero-filled host array for values of this type (`bool` is stored as bytes 0 and 1, `float16` as numbers). */
export function hostArray(dtype: DType, length: number): TypedArray {
  switch (dtype) {
    case "float32":
    case "float16":
      return new Float32Array(length);
    case "float64":
      return new Float64Array(length);
    case "int32":
      return new Int32Array(length);
    case "uint8":
    case "bool":
      return new Uint8Array(length);
  }
}

/**
 * A host array of this type over memory that is already there.
 *
 * Throws: DTypeError for float16, which has no array of numbers: backends meet it in casts alone (backend/half.ts).
 */
export function hostView(
  dtype: DType,
  memory: ArrayBufferLike,
  byteOffset: number,
  length: number,
): TypedArray {
  switch (dtype) {
    case "float32":
      return new Float32Array(memory, byteOffset, length);
    case "float16":
      throw new DTypeError({
        op: "kernel",
        expected: "float16 to have been widened",
        actual: dtype,
        hint: "this is a defect of the library: backend/half.ts passes the kernel by",
      });
    case "float64":
      return new Float64Array(memory, byteOffset, length);
    case "int32":
      return new Int32Array(memory, byteOffset, length);
    case "uint8":
    case "bool":
      return new Uint8Array(memory, byteOffset, length);
  }
}

/** The element type a typed array naturally has (a `Uint8Array` is `uint8`, never `bool`). */
export function dtypeOf(array: TypedArray): DType {
  if (array instanceof Float32Array) return "float32";
  if (array instanceof Float64Array) return "float64";
  if (array instanceof Int32Array) return "int32";
  return "uint8";
}

/** Tensors from host values, constants and random draws. */
import type { Device } from "../backend/backend.ts";
import { backendOf } from "../backend/select.ts";
import { type DType, dtypeOf, hostArray, isFloating, type TypedArray } from "../core/dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.ts";
import { roundToFloat16 } from "../core/half.ts";
import { defaultGenerator } from "../core/random.ts";
import { checkShape, formatShape, type Shape, sizeOf } from "../core/shape.ts";
import { allocate, checkSupported, operandOf, type Tensor } from "./tensor.ts";

/** Numbers or booleans, nested as deep as the tensor has axes. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** What a new tensor is besides its values. */
export interface TensorOptions {
  /** Default "float32"; for `tensor` it follows from the values. */
  readonly dtype?: DType;
  /** Where the elements are. Default "cpu". */
  readonly device?: Device;
  /** Whether backward is to reach the tensor, as a leaf; takes a floating dtype. Default false. */
  readonly requiresGrad?: boolean;
}

/**
 * A tensor holding a copy of `values`.
 *
 * Shapes: that of the nesting; a typed array has one axis unless `shape` says otherwise.
 * dtype: booleans give "bool", a typed array its own type, numbers "float32"; a Float64Array gives "float64" where the device has it
 * and "float32" elsewhere, since numbers computed in JavaScript arrive that way. "float16" takes numbers too, and rounds each once.
 * Throws: ShapeError if the nesting is ragged or `shape` has another number of elements; TypeError for values of other kinds.
 *
 * @example
 * tensor([[1, 2], [3, 4], [5, 9]], { requiresGrad: true })
 */
export function tensor(
  values: NestedArray | TypedArray,
  options: TensorOptions & { readonly shape?: Shape } = {},
): Tensor {
  const { device = "cpu", requiresGrad = false } = options;
  const flat = ArrayBuffer.isView(values) ? checkTyped(values) : flatten(values);
  const length = flat.values.length;
  const shape = options.shape ?? flat.shape;
  checkShape("tensor", shape);
  if (sizeOf(shape) !== length) {
    throw new ShapeError({
      op: "tensor",
      expected: `a shape with ${length} elements`,
      actual: formatShape(shape),
    });
  }
  const backend = backendOf(device);
  const natural =
    flat.dtype === "float64" && !backend.dtypes.includes("float64") ? "float32" : flat.dtype;
  const dtype = options.dtype ?? natural;
  checkSupported("tensor", backend, dtype);
  const t = allocate(backend, shape, dtype);
  backend.write(operandOf(t), hostCopy(flat.values, dtype));
  if (requiresGrad) t.requiresGrad = true;
  return t;
}

interface FlatValues {
  readonly values: ArrayLike<number>;
  readonly shape: Shape;
  readonly dtype: DType;
}

function checkTyped(values: ArrayBufferView): FlatValues {
  if (
    values instanceof Float32Array ||
    values instanceof Float64Array ||
    values instanceof Int32Array ||
    values instanceof Uint8Array
  ) {
    return { values, shape: [values.length], dtype: dtypeOf(values) };
  }
  if (values instanceof Uint8ClampedArray) {
    return { values, shape: [values.length], dtype: "uint8" };
  }
  throw new TypeError(
    `tensor: expected a Float32Array, Float64Array, Int32Array or Uint8Array, got ${values.constructor.name}; convert it first: Int32Array.from(values, Number)`,
  );
}

function flatten(nested: NestedArray): FlatValues {
  const shape: number[] = [];
  for (let level: NestedArray = nested; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const values: number[] = [];
  const seen = { boolean: false, number: false };
  const walk = (item: NestedArray, depth: number): void => {
    if (Array.isArray(item)) {
      if (depth >= shape.length || item.length !== shape[depth]) rejectRagged(shape, depth);
      for (const inner of item) walk(inner, depth + 1);
      return;
    }
    if (typeof item !== "number" && typeof item !== "boolean") {
      throw new TypeError(`tensor: expected numbers or booleans, got ${typeof item}`);
    }
    if (depth !== shape.length) rejectRagged(shape, depth);
    seen[typeof item === "boolean" ? "boolean" : "number"] = true;
    values.push(Number(item));
  };
  walk(nested, 0);
  return { values, shape, dtype: seen.boolean && !seen.number ? "bool" : "float32" };
}

function rejectRagged(shape: Shape, depth: number): never {
  throw new ShapeError({
    op: "tensor",
    expected: `arrays nested evenly, as the first entries are: ${formatShape(shape)}`,
    actual: `another length or depth at level ${depth}`,
  });
}

/** The values in the host array type of `dtype`; `bool` becomes 0 and 1. */
function hostCopy(values: ArrayLike<number>, dtype: DType): TypedArray {
  if (dtype === "float16") return Float32Array.from(values, roundToFloat16);
  const host = hostArray(dtype, values.length);
  if (dtype === "bool") for (let i = 0; i < host.length; i++) host[i] = values[i] === 0 ? 0 : 1;
  else host.set(values);
  return host;
}

/**
 * A tensor filled with `value`.
 *
 * Throws: ShapeError unless sizes are integers >= 0; DTypeError for a dtype that the device does not have, and for a gradient of integers;
 * DeviceError for a device that is not there.
 */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  const { dtype = "float32", device = "cpu", requiresGrad = false } = options;
  checkShape("full", shape);
  const backend = backendOf(device);
  checkSupported("full", backend, dtype);
  const t = allocate(backend, shape, dtype);
  backend.fill(operandOf(t), value);
  if (requiresGrad) t.requiresGrad = true;
  return t;
}

/** A tensor of zeros. Throws as `full`. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options);
}

/** A tensor of ones. Throws as `full`. */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

/** Independent standard normal draws from the generator that `manualSeed` seeds. Throws as `full`, and DTypeError for integers. */
export function randn(shape: Shape, options: TensorOptions = {}): Tensor {
  return drawn("randn", shape, options, () => defaultGenerator.normal());
}

/** Independent uniform draws from [0, 1), of the generator that `manualSeed` seeds. Throws as `full`, and DTypeError for integers. */
export function rand(shape: Shape, options: TensorOptions = {}): Tensor {
  return drawn("rand", shape, options, () => defaultGenerator.uniform());
}

function drawn(op: string, shape: Shape, options: TensorOptions, draw: () => number): Tensor {
  const { dtype = "float32" } = options;
  if (!isFloating(dtype)) {
    throw new DTypeError({
      op,
      expected: "a floating dtype",
      actual: dtype,
      hint: 'draw floats and convert them: rand([3]).mul(10).to("int32")',
    });
  }
  checkShape(op, shape);
  const values = Float64Array.from({ length: sizeOf(shape) }, draw);
  return tensor(values, { dtype: "float32", ...options, shape });
}

/**
 * Evenly spaced numbers: `arange(end)`, `arange(start, end)`, `arange(start, end, step)`; `end` is not included.
 * Unlike PyTorch: "float32" unless given, also for whole numbers; there is no int64 here.
 * Throws: ArgumentError if step is 0 or leads away from `end`.
 */
export function arange(
  startOrEnd: number,
  end?: number,
  step = 1,
  options: TensorOptions = {},
): Tensor {
  const [start, stop] = end === undefined ? [0, startOrEnd] : [startOrEnd, end];
  const steps = (stop - start) / step;
  if (!Number.isFinite(steps) || steps < 0) {
    throw new ArgumentError({
      op: "arange",
      expected: "finite bounds and a step that leads from start to end",
      actual: `start ${start}, end ${stop}, step ${step}`,
    });
  }
  const values = Float64Array.from({ length: Math.ceil(steps) }, (_, i) => start + i * step);
  return tensor(values, { dtype: "float32", ...options });
}

/** Tensors of PyTorch files: views of storages by offset, size and stride. */
import {
  bytesOf,
  type Entry,
  type EntryArray,
  type EntryDType,
  entryArray,
} from "../core/entry.ts";
import { sizeOf } from "../core/shape.ts";
import type { Cursor } from "./cursor.ts";
import { describeValue, PickleGlobal, PickleObject, type PickleValue } from "./pickle-values.ts";

/** Element types by the names of PyTorch's storages. */
const dtypeByStorage: ReadonlyMap<string, EntryDType> = new Map([
  ["torch.DoubleStorage", "float64"],
  ["torch.FloatStorage", "float32"],
  ["torch.HalfStorage", "float16"],
  ["torch.BFloat16Storage", "bfloat16"],
  ["torch.LongStorage", "int64"],
  ["torch.IntStorage", "int32"],
  ["torch.ShortStorage", "int16"],
  ["torch.CharStorage", "int8"],
  ["torch.ByteStorage", "uint8"],
  ["torch.BoolStorage", "bool"],
  // Bytes whose type is that of the tensor.
  ["torch.storage.UntypedStorage", "uint8"],
]);

/** Sizes past which nobody's tensor goes; PyTorch itself stops at 64 axes. */
const mostAxes = 64;

/** What a file of `length` bytes may grow to: deflated zeros and expanded tensors do, but not without bound. */
export function expandedLimit(length: number): number {
  return 64 * length + (1 << 24);
}

/** Whether a name is that of a type of storage or of elements: a value, not a call. */
export function isTypeName(name: string): boolean {
  return dtypeByStorage.has(name) || dtypeNamed(name) !== null || name === "torch.bool";
}

function dtypeNamed(name: string): EntryDType | null {
  const dtype = name.startsWith("torch.") ? name.slice(6) : "";
  return Object.hasOwn(bytesOf, dtype) ? (dtype as EntryDType) : null;
}

/** The type of a storage's elements, or null for another name. */
export function storageDType(name: string): EntryDType | null {
  return dtypeByStorage.get(name) ?? null;
}

/** The memory under one or more tensors. */
export class Storage extends PickleObject {
  readonly kind = "a storage";
  readonly dtype: EntryDType;
  readonly byteLength: number;
  /** Throws while the place in the file is not known. */
  readonly bytes: () => Uint8Array<ArrayBuffer>;
  /** Bytes a tensor may take once its strides are resolved: an expanded one takes more than its storage. */
  readonly byteLimit: number;

  constructor(fields: Pick<Storage, "dtype" | "byteLength" | "bytes" | "byteLimit">) {
    super();
    this.dtype = fields.dtype;
    this.byteLength = fields.byteLength;
    this.bytes = fields.bytes;
    this.byteLimit = fields.byteLimit;
  }
}

/** A tensor as a leaf of a pickle. */
export class TorchTensor extends PickleObject {
  readonly kind = "a tensor";
  readonly entry: Entry;

  constructor(entry: Entry) {
    super();
    this.entry = entry;
  }
}

interface Layout {
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** `_rebuild_tensor(storage, storage_offset, size, stride)`; more arguments are for gradients, but for v3's element type. */
export function rebuildTensor(
  args: readonly PickleValue[],
  cursor: Cursor,
  typeArgument: PickleValue = null,
): TorchTensor {
  const [storage, offset, shape, strides] = args;
  if (!(storage instanceof Storage)) {
    throw cursor.fault("a tensor's storage", describeValue(storage ?? null));
  }
  const dtype = typeArgument === null ? storage.dtype : requireDType(typeArgument, cursor);
  const isLayout = isCount(offset) && isCounts(shape) && isCounts(strides);
  if (!isLayout || shape.length !== strides.length || shape.length > mostAxes) {
    throw cursor.fault(
      "a tensor's offset, sizes and strides as whole numbers",
      describeValue([offset ?? null, shape ?? null, strides ?? null]),
    );
  }
  const layout = { offset, shape, strides };
  checkReach(layout, { dtype, storage, cursor });
  return new TorchTensor({ dtype, shape, data: () => gather(dtype, storage.bytes(), layout) });
}

function requireDType(value: PickleValue, cursor: Cursor): EntryDType {
  const dtype = value instanceof PickleGlobal ? dtypeNamed(value.name) : null;
  if (dtype !== null) return dtype;
  throw cursor.fault(`a tensor of ${Object.keys(bytesOf).join(", ")}`, describeValue(value));
}

export function isCount(value: PickleValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isCounts(value: PickleValue | undefined): value is number[] {
  return Array.isArray(value) && value.every(isCount);
}

function checkReach(
  { offset, shape, strides }: Layout,
  within: { readonly dtype: EntryDType; readonly storage: Storage; readonly cursor: Cursor },
): void {
  const { dtype, storage, cursor } = within;
  const bytes = sizeOf(shape) * bytesOf[dtype];
  // An empty tensor reaches nothing, but its other sizes may still overflow a product.
  if (shape.includes(0)) return;
  const reach = shape.reduce((last, size, i) => last + (size - 1) * strides[i], offset) + 1;
  if (!(reach * bytesOf[dtype] <= storage.byteLength)) {
    throw cursor.fault(
      `a tensor within its storage of ${storage.byteLength} bytes`,
      `one that reaches to ${reach * bytesOf[dtype]}`,
    );
  }
  if (!(bytes <= storage.byteLimit)) {
    throw cursor.fault(
      `a tensor of at most ${storage.byteLimit} bytes in a file of this size`,
      `${bytes}, repeated by strides`,
    );
  }
}

/** The elements row-major, as a copy. */
function gather(dtype: EntryDType, source: Uint8Array<ArrayBuffer>, layout: Layout): EntryArray {
  const { shape, strides, offset } = layout;
  const width = bytesOf[dtype];
  const count = shape.includes(0) ? 0 : sizeOf(shape);
  const out = new Uint8Array(count * width);
  if (isContiguous(layout) || count === 0) {
    out.set(source.subarray(offset * width, (offset + count) * width));
    return entryArray(dtype, out.buffer);
  }
  const index = shape.map(() => 0);
  let from = offset;
  for (let to = 0; to < count; to++) {
    for (let byte = 0; byte < width; byte++) out[to * width + byte] = source[from * width + byte];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]++;
      from += strides[axis];
      if (index[axis] < shape[axis]) break;
      from -= index[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return entryArray(dtype, out.buffer);
}

/** Axes of one element have no say. */
function isContiguous({ shape, strides }: Layout): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis];
  }
  return true;
}

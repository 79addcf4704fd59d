/** Tensors of PyTorch files: views of storages by offset, size and stride. */
import {
  bytesOf,
  type Entry,
  type EntryArray,
  type EntryDType,
  entryArray,
  soundEntry,
} from "../core/entry.ts";
import { sizeOf } from "../core/shape.ts";
import type { Cursor } from "./cursor.ts";
import type { FileOptions } from "./files.ts";
import { describeValue, PickleGlobal, PickleObject, type PickleValue } from "./pickle-values.ts";
import type { ByteSource } from "./source.ts";

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
  /** Its bytes. What the file says of their place may be known only once the pickle is read. */
  readonly bytes: ByteSource;
  /** Bytes a tensor may take once its strides are resolved: an expanded one takes more than its storage. */
  readonly byteLimit: number;

  constructor(fields: Pick<Storage, "dtype" | "bytes" | "byteLimit">) {
    super();
    this.dtype = fields.dtype;
    this.bytes = fields.bytes;
    this.byteLimit = fields.byteLimit;
  }
}

/** A tensor as a leaf of a pickle: what it is, and where its values lie. */
export class TorchTensor extends PickleObject {
  readonly kind = "a tensor";
  readonly dtype: EntryDType;
  readonly shape: readonly number[];
  readonly #storage: Storage;
  readonly #layout: Layout;

  constructor(dtype: EntryDType, storage: Storage, layout: Layout) {
    super();
    this.dtype = dtype;
    this.shape = layout.shape;
    this.#storage = storage;
    this.#layout = layout;
  }

  /** Reads its part of the storage; `data()` of the entry copies from that. */
  async load(options?: FileOptions): Promise<Entry> {
    const { dtype, shape } = this;
    const width = bytesOf[dtype];
    const start = shape.includes(0) ? 0 : this.#layout.offset;
    const bytes = await this.#storage.bytes.read(
      start * width,
      reachOf(this.#layout) * width,
      options,
    );
    const layout = { ...this.#layout, offset: 0 };
    return soundEntry({ dtype, shape, data: () => gather(dtype, bytes, layout) });
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
  return new TorchTensor(dtype, storage, layout);
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

/** The element behind the last that the tensor touches; 0 for an empty one, whose other sizes may overflow a product. */
function reachOf({ offset, shape, strides }: Layout): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((last, size, i) => last + (size - 1) * strides[i], offset) + 1;
}

function checkReach(
  layout: Layout,
  within: { readonly dtype: EntryDType; readonly storage: Storage; readonly cursor: Cursor },
): void {
  const { dtype, storage, cursor } = within;
  const reach = reachOf(layout) * bytesOf[dtype];
  if (!(reach <= storage.bytes.size)) {
    throw cursor.fault(
      `a tensor within its storage of ${storage.bytes.size} bytes`,
      `one that reaches to ${reach}`,
    );
  }
  const bytes = layout.shape.includes(0) ? 0 : sizeOf(layout.shape) * bytesOf[dtype];
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

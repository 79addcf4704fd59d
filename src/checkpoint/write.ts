import { bytesOf, type Entry, scalarEntry } from "../core/entry.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { narrowToFloat16 } from "../core/half.ts";
import { formatShape, sizeOf } from "../core/shape.ts";
import { backendFor, Tensor } from "../tensor/tensor.ts";
import { type FileOptions, writeFileAtomic } from "./files.ts";
import { formatSafetensors } from "./safetensors.ts";
import { pickleTorch, torchParts } from "./torch-write.ts";
import { zipPieces } from "./zip-write.ts";

/** What a state dict holds: tensors, whole numbers, and entries of another file. */
export type Writable = Tensor | number | Entry;

/** What a PyTorch file holds: tensors, state dicts as Maps, and plain data with them as leaves. */
export type WritableData =
  | Writable
  | string
  | boolean
  | bigint
  | null
  | ReadonlyMap<string, Writable>
  | readonly WritableData[]
  | { readonly [key: string]: WritableData };

/**
 * Writes a checkpoint. The ending of `path` decides the format: `.safetensors` for state dicts, `.pth` or `.pt` for files that
 * `torch.load` opens, with `mmap=True` too, and without running code; these also hold a whole training state.
 *
 * A state dict is a Map or a plain object of tensors and entries. Whole numbers in a Map are counters: int64 scalars; in safetensors
 * those in an object as well. In PyTorch files a Map is an OrderedDict and keeps its `metadata` (the versions of the modules'
 * layouts), objects are dicts, arrays lists, numbers int where they are whole and else float, bigints int, null None. The keys of
 * `state` beside `param_groups` are numbers, as PyTorch's optimizers want them. A tensor or entry that stands in two places is
 * written once and shared by them. The `rest` of a dict that was read is not written with it: `{ ...dict.rest, model: dict }`.
 *
 * A reader sees the old file or the whole new one: it is written beside its place and renamed. All tensors have the values of the
 * time of the call, also where training goes on before the promise resolves.
 * Cost: a copy of all tensors while it writes; entries one at a time.
 * Throws: ArgumentError, before anything is written, for another ending, for a value that cannot be stored, naming its place
 * ("optimizer.state.0.exp_avg"), and for nested data in safetensors; ShapeError for an entry whose values do not fill its shape;
 * CheckpointError if the disk refuses; the signal's reason, and then the old file stays as it was and no other is left.
 *
 * @example
 * await checkpoint.write("net.safetensors", model.stateDict());
 *
 * @example
 * await checkpoint.write("training.pth", { model: model.stateDict(), optimizer: opt.stateDict(), epoch: 3 });
 */
export async function write(
  path: string,
  value: WritableData,
  options: FileOptions = {},
): Promise<void> {
  options.signal?.throwIfAborted();
  if (path.endsWith(".safetensors")) return writeSafetensors(path, value, options);
  if (path.endsWith(".pth") || path.endsWith(".pt")) return writeTorch(path, value, options);
  throw new ArgumentError({
    op: "checkpoint.write",
    expected: "a path ending in .safetensors, .pth or .pt",
    actual: path,
  });
}

async function writeTorch(path: string, value: WritableData, options: FileOptions): Promise<void> {
  const { pickle, leaves } = pickleTorch(value);
  // All values are taken before the first await: a training step meanwhile must not leave a file of two ages.
  const entries = await Promise.all(leaves.map((leaf, i) => entryOf(`value ${i}`, leaf)));
  await writeFileAtomic(path, () => zipPieces(torchParts(pickle, entries)), options);
}

async function writeSafetensors(
  path: string,
  value: WritableData,
  options: FileOptions,
): Promise<void> {
  const pairs = [...pairsOf(value)].map(([key, member]) => [key, flat(key, member)] as const);
  // Before the first await, as above.
  const entries = await Promise.all(
    pairs.map(async ([key, member]) => [key, await entryOf(key, member)] as const),
  );
  await writeFileAtomic(path, () => formatSafetensors(new Map(entries)), options);
}

function pairsOf(value: WritableData): Iterable<[string, WritableData]> {
  if (value instanceof Map) return value;
  const isObject = typeof value === "object" && value !== null;
  if (isObject && !Array.isArray(value) && !(value instanceof Tensor)) return Object.entries(value);
  throw new ArgumentError({
    op: "checkpoint.write",
    expected: "a Map or an object of tensors for a .safetensors file",
    actual: Array.isArray(value) ? "a list" : value === null ? "null" : typeof value,
    hint: "a path ending in .pth holds other values too",
  });
}

function flat(key: string, value: WritableData): Writable {
  if (key === "__metadata__") {
    throw new ArgumentError({
      op: "checkpoint.write",
      expected: "another name than __metadata__, which the format keeps for itself",
      actual: "an entry of that name",
    });
  }
  if (typeof value === "number" || value instanceof Tensor || isEntry(value)) return value;
  throw new ArgumentError({
    op: "checkpoint.write",
    expected: `a tensor, a whole number or an entry for "${key}"`,
    actual: value === null ? "null" : typeof value,
    hint: "a .safetensors file is flat; a path ending in .pth holds nested data too",
  });
}

function isEntry(value: WritableData): value is Entry {
  if (typeof value !== "object" || value === null) return false;
  if (!("data" in value && "dtype" in value && typeof value.data === "function")) return false;
  return typeof value.dtype === "string" && Object.hasOwn(bytesOf, value.dtype);
}

async function entryOf(key: string, value: Writable): Promise<Entry> {
  if (!(value instanceof Tensor)) return hostEntry(key, value);
  const { dtype, shape } = value;
  const values = backendFor(value).readsSynchronously ? value.dataSync() : await value.data();
  // Exact: device memory held 16 bits of each.
  const data =
    values instanceof Float32Array && dtype === "float16" ? narrowToFloat16(values) : values;
  return { dtype, shape, data: () => data };
}

function hostEntry(key: string, value: number | Entry): Entry {
  if (typeof value === "number") return scalarEntry(key, value);
  const expected = sizeOf(value.shape) * bytesOf[value.dtype];
  const actual = value.data().byteLength;
  if (actual === expected) return value;
  throw new ShapeError({
    op: "checkpoint.write",
    expected: `${expected} bytes of ${value.dtype} for "${key}" of shape ${formatShape(value.shape)}`,
    actual: `${actual}`,
  });
}

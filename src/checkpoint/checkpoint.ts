import { bytesOf, type Entry, scalarEntry } from "../core/entry.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { narrowToFloat16 } from "../core/half.ts";
import { formatShape, sizeOf } from "../core/shape.ts";
import { backendFor, Tensor } from "../tensor/tensor.ts";
import { type FileOptions, readFile, writeFileAtomic } from "./files.ts";
import { formatOf } from "./foreign.ts";
import { formatSafetensors, parseSafetensors } from "./safetensors.ts";
import { StateDict } from "./state-dict.ts";
import { parseTorchLegacy } from "./torch-legacy.ts";
import { parseTorchZip } from "./torch-zip.ts";

/** What can be written: tensors, whole numbers, and entries of another file. */
export type Writable = Tensor | number | Entry;

/**
 * Reads a checkpoint: its entries by name, in the file's own types, bit for bit. The content decides what it is, not its name:
 * safetensors, or what `torch.save` writes, as a zip archive since PyTorch 1.6 or as pickles before. `model.loadStateDict` takes the
 * result as it is.
 *
 * Of a PyTorch file the state dict is found so: where the outermost dict has a dict with tensors under "state_dict",
 * "model_state_dict", "model", "module", "net" or "network" (the first of these), that is it; otherwise the outermost dict's own
 * tensors are. Everything else is in `rest`: other values by their names, and what is no tensor in the state dict itself. A list
 * counts as a dict by position, a tensor alone is the entry "".
 *
 * No code of a PyTorch file is ever run: it may hold tensors and plain data, and any other name in it is an error that gives the
 * name, the byte and the call that Python would make. Views are made contiguous.
 * Unlike PyTorch: whole pickled models, files of over 4 GiB, and complex, quantized and sparse tensors are not read.
 * Throws: CheckpointError with the byte offset where the file is damaged or lies, for big-endian values, or naming the format it has
 * instead; the signal's reason.
 *
 * @example
 * model.loadStateDict(await checkpoint.read("net.safetensors"));
 *
 * @example
 * const saved = await checkpoint.read("training.pth");
 * model.loadStateDict(saved);
 * opt.loadStateDict(saved.rest.optimizer);
 */
export async function read(
  source: string | Uint8Array | ArrayBuffer | Blob,
  options: FileOptions = {},
): Promise<StateDict> {
  options.signal?.throwIfAborted();
  if (typeof source === "string") return parse(await readFile(source, options));
  if (source instanceof Blob) return parse(await readBlob(source, options));
  if (source instanceof ArrayBuffer) return parse(new Uint8Array(source));
  if (source instanceof Uint8Array) return parse(unshared(source));
  throw new ArgumentError({
    op: "checkpoint.read",
    expected: "a path, a Uint8Array, an ArrayBuffer or a Blob",
    actual: typeof source,
  });
}

/**
 * Writes a state dict as a safetensors file that PyTorch's tools read; whole numbers become int64 scalars.
 * A reader sees the old file or the whole new one: it is written beside its place and renamed.
 *
 * Throws: ArgumentError, before anything is written, for another ending than .safetensors or a value that cannot be stored;
 * CheckpointError if the disk refuses; the signal's reason, and then the old file stays as it was and no other is left.
 *
 * @example
 * await checkpoint.write("net.safetensors", model.stateDict());
 */
export async function write(
  path: string,
  stateDict: ReadonlyMap<string, Writable> | Readonly<Record<string, Writable>>,
  options: FileOptions = {},
): Promise<void> {
  options.signal?.throwIfAborted();
  if (!path.endsWith(".safetensors")) {
    throw new ArgumentError({
      op: "checkpoint.write",
      expected: "a path ending in .safetensors, the one format that is written so far",
      actual: path,
    });
  }
  const pairs = stateDict instanceof Map ? [...stateDict] : Object.entries(stateDict);
  // All values are taken before the first await: a training step meanwhile must not leave a file of two ages.
  const entries = await Promise.all(pairs.map(([key, value]) => namedEntry(key, value)));
  await writeFileAtomic(path, () => formatSafetensors(new Map(entries)), options);
}

async function parse(bytes: Uint8Array<ArrayBuffer>): Promise<StateDict> {
  const format = formatOf(bytes);
  if (format === "zip") return parseTorchZip(bytes);
  if (format === "pickle") return parseTorchLegacy(bytes);
  return new StateDict(parseSafetensors(bytes));
}

async function readBlob(blob: Blob, { signal }: FileOptions): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  signal?.throwIfAborted();
  return bytes;
}

async function namedEntry(key: string, value: Writable): Promise<[string, Entry]> {
  if (key === "__metadata__") {
    throw new ArgumentError({
      op: "checkpoint.write",
      expected: "another name than __metadata__, which the format keeps for itself",
      actual: "an entry of that name",
    });
  }
  if (!(value instanceof Tensor)) return [key, hostEntry(key, value)];
  const { dtype, shape } = value;
  const data = backendFor(value).readsSynchronously ? value.dataSync() : await value.data();
  // Exact: device memory held 16 bits of each.
  const isHalf = dtype === "float16" && data instanceof Float32Array;
  const values = isHalf ? narrowToFloat16(data) : data;
  return [key, { dtype, shape, data: () => values }];
}

function hostEntry(key: string, value: number | Entry): Entry {
  if (typeof value === "number") return scalarEntry(key, value);
  if (typeof value?.data !== "function" || !Object.hasOwn(bytesOf, value.dtype)) {
    throw new ArgumentError({
      op: "checkpoint.write",
      expected: `a tensor, a whole number or an entry for "${key}"`,
      actual: value === null ? "null" : typeof value,
    });
  }
  const expected = sizeOf(value.shape) * bytesOf[value.dtype];
  if (value.data().byteLength !== expected) {
    throw new ShapeError({
      op: "checkpoint.write",
      expected: `${expected} bytes of ${value.dtype} for "${key}" of shape ${formatShape(value.shape)}`,
      actual: `${value.data().byteLength}`,
    });
  }
  return value;
}

function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer, byteOffset, byteLength)
    : new Uint8Array(bytes);
}

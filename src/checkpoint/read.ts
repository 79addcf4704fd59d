import { ArgumentError, CheckpointError } from "../core/errors.ts";
import { formatOf } from "./file-format.ts";
import { type FileOptions, filePath, fileSource, readFile } from "./files.ts";
import type { LazyStateDict } from "./lazy-state-dict.ts";
import { openSafetensors } from "./safetensors.ts";
import { type ByteSource, blobSource, memorySource } from "./source.ts";
import { StateDict } from "./state-dict.ts";
import { openTorchLegacy } from "./torch-legacy.ts";
import { openTorchZip } from "./torch-zip.ts";

/** What can be read: a path, a URL, or the bytes themselves. */
export type CheckpointSource = string | URL | Uint8Array | ArrayBuffer | Blob;

/**
 * Reads a checkpoint: its entries by name, in the file's own types, bit for bit. The content decides what it is, not its name:
 * safetensors, or what `torch.save` writes, as a zip archive since PyTorch 1.6 or as pickles before. `model.loadStateDict` takes the
 * result as it is.
 *
 * The source is a path, a URL (`file:` in Node, `http:` and `https:`, as text too), a Blob or bytes, which must not be changed meanwhile.
 *
 * Of a PyTorch file the state dict is found so: where the outermost dict has a dict with tensors under "state_dict",
 * "model_state_dict", "model", "module", "net" or "network" (the first of these), that is it; otherwise the outermost dict's own
 * tensors are. Everything else is in `rest`: other values by their names, and what is no tensor in the state dict itself. A list
 * counts as a dict by position, a tensor alone is the entry "".
 *
 * No code of a PyTorch file is ever run: it may hold tensors and plain data, and any other name in it is an error that gives the
 * name, the byte and the call that Python would make. Views are made contiguous.
 * Unlike PyTorch: whole pickled models and complex, quantized and sparse tensors are not read. As there, checksums of
 * values in a zip archive are not compared.
 * Throws: CheckpointError with the byte offset where the file is damaged or lies, for big-endian values, or naming the format it has
 * instead, or a server's refusal; ArgumentError for a path in a page; the signal's reason.
 * Cost: all of the file in memory, and a copy of an entry at each `data()`. `checkpoint.open` reads entries one at a time.
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
  source: CheckpointSource,
  options: FileOptions = {},
): Promise<StateDict> {
  options.signal?.throwIfAborted();
  const lazy = await parse(memorySource(await bytesOf(source, options)));
  const dict = new StateDict([], { metadata: lazy.metadata, rest: await lazy.rest(options) });
  for (const key of lazy.keys()) dict.set(key, await lazy.get(key, options));
  return dict;
}

/**
 * Opens a checkpoint without reading its values: only the directory of the file, and of PyTorch files the pickle, whatever the size
 * of the tensors. Everything that `checkpoint.read` would find wrong with these is found here. A path's file is not held open; nothing
 * has to be closed.
 *
 * The source is what `checkpoint.read` takes. What an `http:` URL gives is fetched whole, into a Blob.
 * Throws: as `checkpoint.read`; a file that changes later is an error of `get`.
 *
 * @example
 * const file = await checkpoint.open("resnet50.pth");
 * console.log(file.info("fc.weight").shape);
 * await model.loadStateDict(file);
 */
export async function open(
  source: CheckpointSource,
  options: FileOptions = {},
): Promise<LazyStateDict> {
  options.signal?.throwIfAborted();
  return parse(await sourceOf(source, options));
}

async function parse(source: ByteSource): Promise<LazyStateDict> {
  const format = await formatOf(source);
  if (format === "zip") return openTorchZip(source);
  if (format === "pickle") return openTorchLegacy(source);
  return openSafetensors(source);
}

async function bytesOf(
  source: CheckpointSource,
  options: FileOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const url = urlOf(source);
  if (url?.protocol === "file:") return readFile(filePath(url), options);
  if (url !== null) return wholeBlob(await download(url, options), options);
  if (typeof source === "string") return readFile(source, options);
  if (source instanceof Blob) return wholeBlob(source, options);
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (source instanceof Uint8Array) return unshared(source);
  throw new ArgumentError({
    op: "checkpoint.read",
    expected: "a path, a URL, a Uint8Array, an ArrayBuffer or a Blob",
    actual: source === null ? "null" : typeof source,
  });
}

async function sourceOf(source: CheckpointSource, options: FileOptions): Promise<ByteSource> {
  const url = urlOf(source);
  if (url?.protocol === "file:") return fileSource(filePath(url), options);
  if (url !== null) return blobSource(await download(url, options));
  if (typeof source === "string") return fileSource(source, options);
  if (source instanceof Blob) return blobSource(source);
  return memorySource(await bytesOf(source, options));
}

/** Text is a URL where it names one of the schemes that are read, else a path. */
function urlOf(source: CheckpointSource): URL | null {
  if (typeof source === "string")
    return /^(file|https?):\/\//i.test(source) ? new URL(source) : null;
  if (!(source instanceof URL)) return null;
  if (["file:", "http:", "https:"].includes(source.protocol)) return source;
  throw new ArgumentError({
    op: "checkpoint.read",
    expected: "a URL of file:, http: or https:",
    actual: source.protocol,
  });
}

async function download(url: URL, { signal }: FileOptions): Promise<Blob> {
  const failure = (actual: string, cause?: unknown) =>
    new CheckpointError({
      op: "checkpoint.read",
      expected: `to fetch ${url.href}`,
      actual,
      offset: 0,
      cause,
    });
  try {
    const response = await fetch(url, signal === undefined ? {} : { signal });
    if (!response.ok) throw failure(`status ${response.status} ${response.statusText}`.trim());
    return await response.blob();
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof CheckpointError) throw cause;
    throw failure(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

async function wholeBlob(blob: Blob, options: FileOptions): Promise<Uint8Array<ArrayBuffer>> {
  return blobSource(blob).read(0, blob.size, options);
}

function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer, byteOffset, byteLength)
    : new Uint8Array(bytes);
}

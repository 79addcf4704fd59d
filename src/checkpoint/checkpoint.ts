import { ArgumentError } from "../core/errors.ts";
import { type FileOptions, readFile } from "./files.ts";
import { formatOf } from "./foreign.ts";
import { parseSafetensors } from "./safetensors.ts";
import { StateDict } from "./state-dict.ts";
import { parseTorchLegacy } from "./torch-legacy.ts";
import { parseTorchZip } from "./torch-zip.ts";

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

function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer, byteOffset, byteLength)
    : new Uint8Array(bytes);
}

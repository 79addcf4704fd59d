/** Which format a file has, by its first bytes. */
import { CheckpointError } from "../core/errors.ts";
import type { ByteSource } from "./source.ts";

interface Signature {
  readonly name: string;
  readonly bytes: readonly number[];
}

/** First bytes of formats that are often given in place of those that are read. */
const signatures: readonly Signature[] = [
  { name: "a gzipped file", bytes: [0x1f, 0x8b, 0x08] },
  {
    name: "an HDF5 file, as Keras writes",
    bytes: [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a],
  },
  { name: "a NumPy array", bytes: [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] },
];

/** First bytes that decide. */
const decisive = 16;

/**
 * Which reader takes the file: the content decides, not its name.
 * Throws: CheckpointError that names the format when the bytes are those of another one.
 */
export async function formatOf(source: ByteSource): Promise<"safetensors" | "zip" | "pickle"> {
  const bytes = await source.read(0, Math.min(decisive, source.size));
  if (couldBeSafetensors(bytes, source.size)) return "safetensors";
  const [first, second, third, fourth] = bytes;
  // The second pair starts an archive without any file.
  const isZip = first === 0x50 && second === 0x4b;
  if (isZip && ((third === 3 && fourth === 4) || (third === 5 && fourth === 6))) return "zip";
  if (first === 0x80 && second >= 2 && second <= 5) return "pickle";
  const found = signatures.find(({ bytes: start }) => start.every((byte, i) => bytes[i] === byte));
  if (found === undefined) return "safetensors";
  throw new CheckpointError({
    op: "checkpoint.read",
    expected: "a file of torch.save or safetensors",
    actual: found.name,
    hint: "in Python, safetensors.torch.save_file(state_dict, path) writes one",
    offset: 0,
  });
}

/** A pickle's first bytes are also a small length, so a fitting header decides. */
function couldBeSafetensors(bytes: Uint8Array<ArrayBuffer>, size: number): boolean {
  if (bytes.length < 9 || bytes[8] !== 0x7b) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getBigUint64(0, true) <= size - 8;
}

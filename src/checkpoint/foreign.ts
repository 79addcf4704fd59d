import { CheckpointError } from "../core/errors.ts";

interface Signature {
  readonly name: string;
  readonly bytes: readonly number[];
}

/** First bytes of formats that are often given in place of safetensors. */
const signatures: readonly Signature[] = [
  { name: "a zip archive, as torch.save writes (.pt, .pth)", bytes: [0x50, 0x4b, 0x03, 0x04] },
  // Protocol 2, then the ten-byte number that PyTorch's format before 1.6 starts with.
  {
    name: "PyTorch's format before 1.6 (a pickle)",
    bytes: [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46],
  },
  { name: "a gzipped file", bytes: [0x1f, 0x8b, 0x08] },
  {
    name: "an HDF5 file, as Keras writes",
    bytes: [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a],
  },
  { name: "a NumPy array", bytes: [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] },
  { name: "a pickle", bytes: [0x80, 0x02] },
  { name: "a pickle", bytes: [0x80, 0x03] },
  { name: "a pickle", bytes: [0x80, 0x04] },
  { name: "a pickle", bytes: [0x80, 0x05] },
];

/** An error that names the format when the bytes are those of another one and cannot be safetensors; else null. */
export function foreignFormat(bytes: Uint8Array<ArrayBuffer>): CheckpointError | null {
  if (couldBeSafetensors(bytes)) return null;
  const found = signatures.find(({ bytes: start }) => start.every((byte, i) => bytes[i] === byte));
  if (found === undefined) return null;
  return new CheckpointError({
    op: "checkpoint.read",
    expected: "a safetensors file, the one format that is read so far",
    actual: found.name,
    hint: "in Python, safetensors.torch.save_file(state_dict, path) writes one",
    offset: 0,
  });
}

/** A pickle's first bytes are also a small length, so a fitting header decides. */
function couldBeSafetensors(bytes: Uint8Array<ArrayBuffer>): boolean {
  if (bytes.length < 9 || bytes[8] !== 0x7b) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getBigUint64(0, true) <= bytes.length - 8;
}

/** Pickles and the files around them, written by hand, as torch.save would not. */
import { readFileSync } from "node:fs";
import { fixtureFolder } from "./fixtures.ts";
import { makeZip, type ZipChanges } from "./zip-writer.ts";

/** A zip as torch.save makes it, around this pickle. */
export function archive(pickle: readonly number[] | string, changes: ZipChanges = {}) {
  const data = typeof pickle === "string" ? Buffer.from(pickle, "latin1") : Uint8Array.from(pickle);
  return makeZip({ "archive/data.pkl": data, "archive/data/0": new Uint8Array(8) }, changes);
}

/** `_rebuild_tensor_v2(storage 0 of two floats, offset, (size,), (stride,), ...)`, in a dict. */
export function tensorPickle({ offset = 0, size = 2, stride = 1, count = 2, view = "" }): string {
  const small = (value: number) =>
    value < 0 ? "J\xff\xff\xff\x1f" : `K${String.fromCharCode(value)}`;
  const id = `(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu${small(count)}${view}tQ`;
  const call = `ctorch._utils\n_rebuild_tensor_v2\n(${id}${small(offset)}`;
  return `\x80\x02}X\x01\0\0\0w${call}${small(size)}\x85${small(stride)}\x85\x89NtRs.`;
}

/** A dict with one tensor under three keys. */
export function twice(...[first, second, third]: readonly string[]): string {
  const named = tensorPickle({}).replace("\0w", `\0${first}`).slice(0, -2);
  return `${named}q\x00s${second}h\x00s${third}h\x00s.`;
}

/** Calls that would nest as deep as the file is long. */
export function nestedBuilders(depth: number): string {
  const level = "(h\x00Nh\x01Ntq\x010";
  return `\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x000)q\x010${level.repeat(depth)}h\x00h\x01R.`;
}

/** A file of before 1.6 with this value and one storage of the floats 5 and 6. */
export function legacy(pickle: string, { count = 2, after = "" } = {}): Uint8Array<ArrayBuffer> {
  const sound = readFileSync(new URL("torch/tensor-legacy.pth", fixtureFolder));
  // Three pickles: what marks the format, its version, the machine.
  const header = sound.subarray(0, sound.indexOf("\x80\x02c", 0, "latin1"));
  const keys = Buffer.from("\x80\x02]X\x01\0\0\x000a.", "latin1");
  const storage = [BigInt64Array.of(BigInt(count)), Float32Array.of(5, 6)].map(
    ({ buffer }) => new Uint8Array(buffer),
  );
  const parts = [header, Buffer.from(pickle, "latin1"), keys, ...storage, Buffer.from(after)];
  return Uint8Array.from(Buffer.concat(parts));
}

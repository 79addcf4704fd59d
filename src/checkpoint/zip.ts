/**
 * The directory of a zip archive and the bytes of its files, trusted no further than the archive bears out.
 * Source: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3.7, 4.3.12 and 4.3.16.
 */
import type { CheckpointError } from "../core/errors.ts";
import { Cursor, type Region } from "./cursor.ts";

/** A file of the archive. */
export interface ZipEntry {
  readonly name: string;
  readonly isDeflated: boolean;
  /** Bytes once inflated. */
  readonly size: number;
  /** Where its own header starts in the archive. */
  readonly header: number;
  /** Where its bytes, compressed or not, lie there. */
  readonly start: number;
  readonly end: number;
}

const signatures = { local: 0x04034b50, central: 0x02014b50, end: 0x06054b50 };
const endLength = 22;
const longestComment = 0xffff;
/** Bits of the flags: encrypted, patch data, strongly encrypted, masked headers. */
const refusedFlags = 0x0001 | 0x0020 | 0x0040 | 0x2000;

/** The archive's files by name. Throws: CheckpointError for whatever contradicts itself, is encrypted, or needs zip64. */
export function zipEntries(bytes: Uint8Array<ArrayBuffer>): Map<string, ZipEntry> {
  const region = { bytes, fileOffset: 0 };
  const { count, start, end } = findDirectory(region);
  const cursor = new Cursor(region, start);
  const entries = new Map<string, ZipEntry>();
  for (let i = 0; i < count; i++) {
    const at = cursor.at;
    const entry = readEntry(cursor, start);
    if (entries.has(entry.name)) {
      throw cursor.fault("names that differ", JSON.stringify(entry.name), at);
    }
    entries.set(entry.name, entry);
  }
  if (cursor.at !== end) throw cursor.fault("the end of the archive's directory", "more bytes");
  checkOverlap([...entries.values()], cursor);
  return entries;
}

/** Inflates one file. Throws: CheckpointError if it does not give the bytes that the directory says. */
export async function inflate(
  bytes: Uint8Array<ArrayBuffer>,
  entry: ZipEntry,
): Promise<Uint8Array<ArrayBuffer>> {
  const { inflateSync } = await import("fflate");
  // One byte more than there should be: what is longer shows there, and no more memory is taken.
  const out = new Uint8Array(entry.size + 1);
  const cursor = new Cursor({ bytes, fileOffset: 0 }, entry.start);
  try {
    const inflated = inflateSync(bytes.subarray(entry.start, entry.end), { out });
    if (inflated.length === entry.size) return out.subarray(0, entry.size);
  } catch (cause) {
    throw cursor.fault(`"${entry.name}" to inflate`, String(cause));
  }
  throw cursor.fault(`"${entry.name}" to inflate to ${entry.size} bytes`, "another number");
}

interface Directory {
  readonly count: number;
  readonly start: number;
  readonly end: number;
}

/** The record at the archive's end, behind which only a comment may follow. */
function findDirectory(region: Region): Directory {
  const { length } = region.bytes;
  const view = new DataView(region.bytes.buffer, region.bytes.byteOffset, length);
  const first = Math.max(0, length - endLength - longestComment);
  for (let at = length - endLength; at >= first; at--) {
    if (view.getUint32(at, true) !== signatures.end) continue;
    if (view.getUint16(at + 20, true) !== length - endLength - at) continue;
    return readDirectory(new Cursor(region, at + 4), at);
  }
  throw new Cursor(region, length).fault(
    "the directory of a zip archive",
    "none: the file was cut short, or is damaged",
  );
}

function readDirectory(cursor: Cursor, recordAt: number): Directory {
  const [disk, directoryDisk, countHere, count] = times(4, () => cursor.uint16());
  const [size, start] = times(2, () => cursor.uint32());
  if (count === 0xffff || size === 0xffffffff || start === 0xffffffff) {
    throw zip64Fault(cursor, recordAt);
  }
  if (disk !== 0 || directoryDisk !== 0 || countHere !== count) {
    throw cursor.fault("an archive in one part", "a part of one", recordAt);
  }
  // PyTorch puts zip64's records between the directory and this one, also where nothing needs them.
  if (start + size > recordAt) {
    throw cursor.fault("a directory before this record", `${start} + ${size}`, recordAt);
  }
  return { count, start, end: start + size };
}

function readEntry(cursor: Cursor, directoryStart: number): ZipEntry {
  const at = cursor.at;
  requireSignature(cursor, signatures.central, "an entry of the directory");
  cursor.take(4);
  const [flags, method] = times(2, () => cursor.uint16());
  cursor.take(8);
  const [packed, size] = times(2, () => cursor.uint32());
  const [nameLength, extraLength, commentLength] = times(3, () => cursor.uint16());
  cursor.take(8);
  const header = cursor.uint32();
  const name = cursor.text(nameLength);
  cursor.take(extraLength + commentLength);
  if (packed === 0xffffffff || size === 0xffffffff || header === 0xffffffff) {
    throw zip64Fault(cursor, at);
  }
  if ((flags & refusedFlags) !== 0) {
    throw cursor.fault("a plain archive", `encrypted or patch data in ${quoted(name)}`, at);
  }
  if (method !== 0 && method !== 8) {
    throw cursor.fault("files stored or deflated", `method ${method} for ${quoted(name)}`, at);
  }
  if (method === 0 && packed !== size) {
    throw cursor.fault(`one size for ${quoted(name)}, which is stored`, `${packed}, ${size}`, at);
  }
  requirePlainPath(name, cursor, at);
  const start = dataStart(cursor, { name, header });
  if (start + packed > directoryStart) {
    throw cursor.fault(
      `${quoted(name)} to end before the directory at ${directoryStart}`,
      `${start} + ${packed}`,
      at,
    );
  }
  return { name, isDeflated: method === 8, size, header, start, end: start + packed };
}

/** Where the bytes behind the local header start; that must be of the same name. */
function dataStart(
  cursor: Cursor,
  entry: { readonly name: string; readonly header: number },
): number {
  const back = cursor.at;
  cursor.at = entry.header;
  requireSignature(cursor, signatures.local, `the header of ${quoted(entry.name)}`);
  cursor.take(22);
  const [nameLength, extraLength] = times(2, () => cursor.uint16());
  const name = cursor.text(nameLength);
  if (name !== entry.name) {
    throw cursor.fault(
      `the header of ${quoted(entry.name)}`,
      `that of ${quoted(name)}`,
      entry.header,
    );
  }
  cursor.take(extraLength);
  const start = cursor.at;
  cursor.at = back;
  return start;
}

function requireSignature(cursor: Cursor, signature: number, what: string): void {
  const at = cursor.at;
  const found = cursor.uint32();
  if (found !== signature) throw cursor.fault(what, `0x${found.toString(16)}`, at);
}

/** Nothing is written by these names; but an archive that has such is none of PyTorch's. */
function requirePlainPath(name: string, cursor: Cursor, at: number): void {
  const parts = name.split("/");
  const isPlain = !/[\\\0]/.test(name) && parts[0] !== "" && !parts.includes("..");
  if (!isPlain) throw cursor.fault("names within the archive's folder", quoted(name), at);
}

/** Files that share bytes are how small archives claim to hold large ones. */
function checkOverlap(entries: readonly ZipEntry[], cursor: Cursor): void {
  let end = 0;
  for (const entry of [...entries].sort((a, b) => a.header - b.header)) {
    if (entry.header < end) {
      throw cursor.fault("files that do not overlap", quoted(entry.name), entry.header);
    }
    end = entry.end;
  }
}

function zip64Fault(cursor: Cursor, at: number): CheckpointError {
  return cursor.fault("an archive of less than 4 GiB and 65,535 files", "zip64", at);
}

function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name);
}

function times(count: number, read: () => number): number[] {
  return Array.from({ length: count }, read);
}

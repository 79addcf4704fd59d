/** The files of a zip archive, read with zip.js and trusted no further than the archive bears out. */
import { CheckpointError } from "../core/errors.ts";
import type { FileOptions } from "./files.ts";
import type { ByteSource } from "./source.ts";

/** A file of the archive. As a source it gives its content, inflated as a whole where it is deflated. */
export interface ZipFile extends ByteSource {
  readonly name: string;
  readonly isDeflated: boolean;
  /** Where its own header starts in the archive. */
  readonly header: number;
  /** Where its content starts in the archive, compressed or not. */
  locate(): Promise<number>;
}

/** What zip.js says of a file, as far as it is used here. */
interface Listing {
  readonly filename: string;
  readonly rawFilename: Uint8Array;
  readonly offset: number;
  readonly compressedSize: number;
  readonly uncompressedSize: number;
  readonly compressionMethod: number;
  readonly encrypted: boolean;
  readonly directory: boolean;
  getData?(out: WritableStream, options: { readonly checkCrc32: boolean }): Promise<unknown>;
}

const localHeaderLength = 30;
const localSignature = 0x04034b50;

/** What zip.js warns of in sound archives: PyTorch's have records for large files even where those are small. */
const harmless = new Set(["trailing central directory data", "unsorted central directory"]);

/** What an archive may inflate to: deflated zeros shrink a thousandfold, but nobody's checkpoint does. */
export function expandedLimit(length: number): number {
  return 64 * length + (1 << 24);
}

/**
 * The archive's files by name; only its directory is read.
 * Throws: CheckpointError for whatever contradicts itself, is encrypted, in parts, or compressed otherwise than by deflate.
 */
export async function openZip(source: ByteSource): Promise<Map<string, ZipFile>> {
  const { listings, directoryStart } = await list(source);
  const byPlace = listings
    .filter(({ directory }) => !directory)
    .sort((a, b) => a.offset - b.offset);
  const limits = new Map(
    byPlace.map((entry, i) => [entry, byPlace[i + 1]?.offset ?? directoryStart]),
  );
  const files = new Map<string, ZipFile>();
  // In the directory's order, so that an error names the first that is wrong.
  for (const entry of listings) {
    const limit = limits.get(entry);
    if (limit === undefined) continue;
    checkListing(entry, limit);
    if (files.has(entry.filename)) {
      throw fault("names that differ", `${quoted(entry.filename)} twice`, entry.offset);
    }
    files.set(entry.filename, fileOf(source, entry, limit));
  }
  const inflated = listings.reduce(
    (sum, entry) => sum + (isDeflated(entry) ? entry.uncompressedSize : 0),
    0,
  );
  if (inflated > expandedLimit(source.size)) {
    throw fault(
      `files that inflate to at most ${expandedLimit(source.size)} bytes`,
      `${inflated}`,
      directoryStart,
    );
  }
  return files;
}

/** The archive's directory as zip.js reads it, 64-bit sizes included. */
async function list(source: ByteSource) {
  const { Reader, ZipReader } = await import("@zip.js/zip.js/lib/zip-core.js");
  class SourceReader extends Reader<ByteSource> {
    override readUint8Array(index: number, length: number): Promise<Uint8Array> {
      const end = Math.min(index + length, source.size);
      return source.read(Math.min(index, end), end);
    }
  }
  const reader = new SourceReader(source);
  reader.size = source.size;
  const zip = new ZipReader(reader, { useWebWorkers: false, filenameValidation: "strict" });
  try {
    const listings: readonly Listing[] = await zip.getEntries();
    // It makes sense of damaged archives, where one that is wrong in one place may be in others.
    const repaired = zip.warnings?.find(({ reason }) => !harmless.has(reason));
    if (repaired !== undefined) throw new Error(repaired.reason);
    return { listings, directoryStart: zip.directoryOffset ?? source.size };
  } catch (cause) {
    if (!isPlainError(cause)) throw cause;
    throw new CheckpointError({
      op: "checkpoint.read",
      expected: `the directory of a zip archive before byte ${source.size}`,
      actual: cause.message,
      ...(/not found/.test(cause.message)
        ? { hint: "the file may have been cut short: fetch it again" }
        : {}),
      offset: source.size,
      cause,
    });
  }
}

function checkListing(entry: Listing, limit: number): void {
  const { filename, rawFilename, offset, compressedSize, uncompressedSize } = entry;
  const name = quoted(filename);
  const at = Math.min(offset, limit);
  if (entry.encrypted) throw fault("a plain archive", `${name} encrypted`, at);
  if (entry.compressionMethod !== 0 && !isDeflated(entry)) {
    throw fault("files stored or deflated", `method ${entry.compressionMethod} for ${name}`, at);
  }
  if (!isDeflated(entry) && compressedSize !== uncompressedSize) {
    throw fault(
      `one size for ${name}, which is stored`,
      `${compressedSize}, ${uncompressedSize}`,
      at,
    );
  }
  // Files that share bytes are how small archives claim to hold large ones.
  const end = offset + localHeaderLength + rawFilename.length + compressedSize;
  if (!(end <= limit)) {
    throw fault(`${name} to end before what follows it at ${limit}`, `${end}`, at);
  }
}

function fileOf(source: ByteSource, entry: Listing, limit: number): ZipFile {
  const size = entry.uncompressedSize;
  const locate = async () => {
    const start = await contentStart(source, entry);
    if (start + entry.compressedSize <= limit) return start;
    throw fault(
      `${quoted(entry.filename)} to end before what follows it at ${limit}`,
      `${start + entry.compressedSize}`,
      entry.offset,
    );
  };
  // Weak: who reads many parts finds it again as long as one of them is in use.
  let inflated: WeakRef<ArrayBuffer> | null = null;
  return {
    name: entry.filename,
    isDeflated: isDeflated(entry),
    header: entry.offset,
    size,
    locate,
    async read(start: number, end: number, options: FileOptions = {}) {
      const at = await locate();
      if (!isDeflated(entry)) return source.read(at + start, at + end, options);
      options.signal?.throwIfAborted();
      const content = inflated?.deref() ?? (await inflate(entry, at));
      inflated = new WeakRef(content);
      return new Uint8Array(content, start, end - start);
    },
  };
}

/** Behind the local header, which repeats the name and may be longer than the directory's entry. */
async function contentStart(source: ByteSource, entry: Listing): Promise<number> {
  const { filename, rawFilename, offset } = entry;
  const nameStart = localHeaderLength;
  const header = await source.read(offset, offset + nameStart + rawFilename.length);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const isHeader =
    view.getUint32(0, true) === localSignature &&
    view.getUint16(26, true) === rawFilename.length &&
    rawFilename.every((byte, i) => header[nameStart + i] === byte);
  if (!isHeader) throw fault(`the header of ${quoted(filename)}`, "other bytes", offset);
  return offset + nameStart + rawFilename.length + view.getUint16(28, true);
}

/** The whole content. More bytes than the directory says end the work at once: no more memory is taken. */
async function inflate(entry: Listing, at: number): Promise<ArrayBuffer> {
  const size = entry.uncompressedSize;
  const out = new Uint8Array(size);
  let length = 0;
  const sink = new WritableStream<Uint8Array>({
    write(piece) {
      if (length + piece.length > size) throw new Error("more bytes than that");
      out.set(piece, length);
      length += piece.length;
    },
  });
  try {
    await entry.getData?.(sink, { checkCrc32: true });
    if (length !== size) throw new Error(`${length}`);
  } catch (cause) {
    if (!isPlainError(cause)) throw cause;
    throw fault(`${quoted(entry.filename)} to inflate to ${size} bytes`, cause.message, at);
  }
  return out.buffer;
}

function isDeflated({ compressionMethod }: Listing): boolean {
  return compressionMethod === 8;
}

/** Not one of ours, which say more already. */
function isPlainError(cause: unknown): cause is Error {
  return (
    cause instanceof Error && !(cause instanceof CheckpointError) && cause.name !== "AbortError"
  );
}

function fault(expected: string, actual: string, offset: number): CheckpointError {
  return new CheckpointError({
    op: "checkpoint.read",
    expected: `${expected} at byte ${offset}`,
    actual,
    offset,
  });
}

function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name);
}

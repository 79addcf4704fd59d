/** The only file of this folder that touches the platform, so that importing the package in a page pulls in nothing of Node. */
import { DataError } from "../core/errors.ts";
import { nodeFiles } from "../core/node-files.ts";
import { type AbortOptions, untilAborted } from "./abort.ts";

const gzipMagic = [0x1f, 0x8b] as const;

/** How to read a file of a data set, and what to say where it is not. */
export interface FileSearch extends AbortOptions {
  /** Names that the file may have, each also with `.gz` behind it. */
  readonly names: readonly string[];
  /** What to do if none is there, given what is. */
  readonly hint: (present: readonly string[]) => string;
}

/**
 * Reads the first of `names` that exists in `folder`, unpacked if it is gzipped (the content decides, not the ending).
 * Throws: DataError if none exists, if the folder cannot be read, or if a `.gz` file is not or not wholly gzip; ArgumentError in a page;
 * the signal's reason.
 */
export async function readFirst(
  op: string,
  folder: string,
  search: FileSearch,
): Promise<{ readonly path: string; readonly bytes: Uint8Array<ArrayBuffer> }> {
  const { names, hint, signal } = search;
  const { path: paths } = node(op);
  signal?.throwIfAborted();
  const present = await listFolder(op, folder);
  const candidates = [...names, ...names.map((name) => `${name}.gz`)];
  const name = candidates.find((candidate) => present.includes(candidate));
  if (name === undefined) throw missingFile(op, { folder, name: names[0], present, hint });
  const path = paths.join(folder, name);
  const packed = await readWhole(op, path, signal);
  const bytes = await untilAborted(signal, unpack(op, path, packed));
  return { path, bytes };
}

async function readWhole(
  op: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await node(op).fs.readFile(path, signal ? { signal } : {}));
  } catch (cause) {
    // Node's own error would hide the reason that the caller gave.
    signal?.throwIfAborted();
    throw new DataError({ op, expected: `to read ${path}`, actual: describe(cause), cause });
  }
}

/** The names in a folder, as the system gives them. Throws DataError if it cannot be read, ArgumentError in a page. */
export async function listFolder(op: string, folder: string): Promise<readonly string[]> {
  const { fs } = node(op);
  try {
    return await fs.readdir(folder);
  } catch (cause) {
    throw new DataError({
      op,
      expected: `a folder of data files at ${folder}`,
      actual: describe(cause),
      hint: "give the folder that holds the files, not one of them",
      cause,
    });
  }
}

async function unpack(
  op: string,
  path: string,
  packed: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const isGzip = packed[0] === gzipMagic[0] && packed[1] === gzipMagic[1];
  if (!isGzip && path.endsWith(".gz")) {
    throw new DataError({
      op,
      expected: `gzip data (first bytes 1f 8b) in ${path}`,
      actual: firstBytes(packed),
      hint: "if something has unpacked it already, take .gz off its name; else fetch the file again",
    });
  }
  if (!isGzip) return packed;
  try {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (cause) {
    throw new DataError({
      op,
      expected: `whole gzip data in ${path}`,
      actual: `${packed.length} bytes that do not unpack (${describe(cause)})`,
      hint: "the file is damaged or was cut short: fetch it again",
      cause,
    });
  }
}

/** The first bytes of a file in hexadecimal, for messages. */
export function firstBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return "an empty file";
  const shown = Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0"));
  // A failed download often leaves the server's error page under the file's name.
  return `${shown.join(" ")}${bytes[0] === 0x3c ? " (text, perhaps a web page)" : ""}`;
}

function missingFile(
  op: string,
  search: Pick<FileSearch, "hint"> & {
    readonly folder: string;
    readonly name: string;
    readonly present: readonly string[];
  },
): DataError {
  const { folder, name, present, hint } = search;
  const shown = present.slice(0, 8).join(", ");
  return new DataError({
    op,
    expected: `the file ${name}, gzipped or not, in ${folder}`,
    actual: present.length === 0 ? "an empty folder" : `a folder with ${shown}`,
    hint: hint(present),
  });
}

export function node(op: string) {
  return nodeFiles(op, "fetch the bytes and give them to a TensorDataset");
}

/** Why the system refused, in words. */
export function describe(cause: unknown): string {
  if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return "nothing there";
  return cause instanceof Error ? cause.message : String(cause);
}

/** The only file of this folder that touches the platform, so that importing the package in a page pulls in nothing of Node. */
import { ArgumentError, CheckpointError } from "../core/errors.ts";
import { nodeFiles } from "../core/node-files.ts";
import type { ByteSource } from "./source.ts";

/** One system call reads at most this much: a signal is looked at in between, and files beyond 2 GiB need several anyway. */
const pieceBytes = 1 << 24;

/** How reading or writing may be ended early. */
export interface FileOptions {
  /** Ends the work; what was awaited then throws the signal's reason. Default: none. */
  readonly signal?: AbortSignal;
}

/** The path that a `file:` URL names on this system. Throws: ArgumentError in a page or for a URL that names none. */
export function filePath(url: URL): string {
  const op = "checkpoint.read";
  node(op);
  try {
    return process.getBuiltinModule("node:url").fileURLToPath(url);
  } catch (cause) {
    throw new ArgumentError({
      op,
      expected: "a URL that names a file here",
      actual: url.href,
      cause,
    });
  }
}

/**
 * A file that is read part by part. It is not held open in between; each reading first makes sure that it is still the same file.
 * Throws: CheckpointError if it cannot be read or has changed, ArgumentError in a page.
 */
export async function fileSource(path: string, options: FileOptions = {}): Promise<ByteSource> {
  const opened = await withFile(path, options, async (_, stat) => stat);
  return {
    size: opened.size,
    read: (start, end, options = {}) =>
      withFile(path, options, async (file, stat) => {
        if (!isSame(stat, opened)) {
          throw new CheckpointError({
            op: "checkpoint.read",
            expected: `${path} as it was when it was opened`,
            actual: "a changed file",
            hint: "open it again",
            offset: 0,
          });
        }
        return readPart(file, { start, end, ...options });
      }),
  };
}

/** The whole file. Throws CheckpointError if it cannot be read, ArgumentError in a page, the signal's reason. */
export function readFile(
  path: string,
  options: FileOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return withFile(path, options, (file, { size }) =>
    readPart(file, { start: 0, end: size, ...options }),
  );
}

/** What tells one file from another, and from what it was before. */
interface Stats {
  readonly size: number;
  readonly ino: number;
  readonly dev: number;
  readonly mtimeMs: number;
}

async function withFile<Result>(
  path: string,
  { signal }: FileOptions,
  use: (file: FileHandle, stat: Stats) => Promise<Result>,
): Promise<Result> {
  const op = "checkpoint.read";
  const { fs } = node(op);
  try {
    const file = await fs.open(path, "r");
    try {
      return await use(file, await file.stat({ bigint: false }));
    } finally {
      await file.close();
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw unreachable(op, `to read ${path}`, cause);
  }
}

async function readPart(
  file: FileHandle,
  { start, end, signal }: FileOptions & { readonly start: number; readonly end: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(end - start);
  let at = 0;
  while (at < bytes.length) {
    signal?.throwIfAborted();
    const length = Math.min(pieceBytes, bytes.length - at);
    const { bytesRead } = await file.read(bytes, at, length, start + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

/** Whether it is the file of then: not another of its name, and not written to since. */
function isSame(now: Stats, then: Stats): boolean {
  return (
    now.ino === then.ino &&
    now.dev === then.dev &&
    now.size === then.size &&
    now.mtimeMs === then.mtimeMs
  );
}

/**
 * Writes the pieces to `path` so that a reader sees the old file or the whole new one, whatever happens meanwhile.
 * Throws: CheckpointError if the disk refuses, or the signal's reason; what was written is removed then. ArgumentError in a page.
 */
export async function writeFileAtomic(
  path: string,
  pieces: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { signal }: FileOptions = {},
): Promise<void> {
  const op = "checkpoint.write";
  const { fs, path: paths } = node(op);
  const folder = paths.dirname(path);
  // In the same folder, because only within one file system is a rename atomic.
  const temporary = paths.join(folder, `.${paths.basename(path)}.${crypto.randomUUID()}.tmp`);
  try {
    const file = await fs.open(temporary, "wx");
    try {
      for await (const piece of pieces()) await writeAll(file, piece, signal);
      // Before the rename, or a power cut could leave the new name on an empty file.
      await file.sync();
    } finally {
      await file.close();
    }
    // The last look: once the name is given, the work is done.
    signal?.throwIfAborted();
    await fs.rename(temporary, path);
  } catch (cause) {
    await fs.rm(temporary, { force: true });
    signal?.throwIfAborted();
    throw unreachable(op, `to write ${path}`, cause);
  }
  await syncFolder(folder);
}

type FileHandle = Awaited<ReturnType<ReturnType<typeof node>["fs"]["open"]>>;

async function writeAll(
  file: FileHandle,
  piece: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  let at = 0;
  while (at < piece.length) {
    signal?.throwIfAborted();
    const { bytesWritten } = await file.write(piece, at, Math.min(pieceBytes, piece.length - at));
    at += bytesWritten;
  }
}

/** Makes the rename itself last; systems that cannot open a folder (Windows) do without. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await node("checkpoint.write")
    .fs.open(folder, "r")
    .catch(() => null);
  if (handle === null) return;
  await handle.sync().catch(() => {});
  await handle.close();
}

function unreachable(op: string, expected: string, cause: unknown): unknown {
  if (!(cause instanceof Error && "code" in cause)) return cause;
  const isMissing = cause.code === "ENOENT";
  return new CheckpointError({
    op,
    expected,
    actual: isMissing ? "no such file or folder" : cause.message,
    ...(isMissing ? { hint: "check the path; folders are not made" } : {}),
    offset: 0,
    cause,
  });
}

function node(op: string) {
  return nodeFiles(op, "read() also takes bytes: a Uint8Array, an ArrayBuffer or a Blob");
}

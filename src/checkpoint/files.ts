/** The only file of this folder that touches the platform, so that importing the package in a page pulls in nothing of Node. */
import { CheckpointError } from "../core/errors.ts";
import { nodeFiles } from "../core/node-files.ts";

/** One system call reads at most this much: a signal is looked at in between, and files beyond 2 GiB need several anyway. */
const pieceBytes = 1 << 24;

/** How reading or writing may be ended early. */
export interface FileOptions {
  /** Ends the work; what was awaited then throws the signal's reason. Default: none. */
  readonly signal?: AbortSignal;
}

/** The whole file. Throws CheckpointError if it cannot be read, ArgumentError in a page, the signal's reason. */
export async function readFile(
  path: string,
  { signal }: FileOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const op = "checkpoint.read";
  const { fs } = node(op);
  try {
    const file = await fs.open(path, "r");
    try {
      const bytes = new Uint8Array((await file.stat()).size);
      let at = 0;
      while (at < bytes.length) {
        signal?.throwIfAborted();
        const length = Math.min(pieceBytes, bytes.length - at);
        const { bytesRead } = await file.read(bytes, at, length, at);
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return bytes.subarray(0, at);
    } finally {
      await file.close();
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw unreachable(op, `to read ${path}`, cause);
  }
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

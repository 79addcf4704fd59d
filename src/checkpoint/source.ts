/** Where a checkpoint's bytes come from: memory, a Blob, or a file that is read part by part. */
import type { FileOptions } from "./files.ts";

/** Bytes that are read when asked for. */
export interface ByteSource {
  /** How many there are. */
  readonly size: number;
  /** Bytes [start, end) that lie within; not to be written to. Throws: CheckpointError, the signal's reason. */
  read(start: number, end: number, options?: FileOptions): Promise<Uint8Array<ArrayBuffer>>;
}

/** Bytes at hand, which are not copied. */
export function memorySource(bytes: Uint8Array<ArrayBuffer>): ByteSource {
  return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end) };
}

/** A Blob, of which a browser may keep the bytes on disk. */
export function blobSource(blob: Blob): ByteSource {
  return {
    size: blob.size,
    async read(start, end, { signal } = {}) {
      signal?.throwIfAborted();
      const bytes = new Uint8Array(await blob.slice(start, end).arrayBuffer());
      signal?.throwIfAborted();
      return bytes;
    },
  };
}

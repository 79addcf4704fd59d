/** Zip archives as PyTorch maps them: members stored as they are, in order, each at a multiple of 64 bytes. */

/** One member of an archive; `pieces` gives its bytes when its turn comes. */
export interface ZipPart {
  readonly name: string;
  readonly byteLength: number;
  pieces(): Iterable<Uint8Array<ArrayBuffer>>;
}

/** What torch.save aligns values to, for readers that map the file. */
const alignment = 64;
/** PyTorch's own field for the bytes in between: "FB". */
const paddingField = 0x4246;
/** Of a member's local header: before the name, and the head of an extra field. */
const headerBytes = 30;
const fieldHeadBytes = 4;
/** A member of 4 GiB or more has its two sizes in one more field. */
const zip64FieldBytes = fieldHeadBytes + 16;

/** The archive as pieces to be written one after the other. Memory: one member at a time. */
export async function* zipPieces(parts: Iterable<ZipPart>): AsyncGenerator<Uint8Array> {
  let written = 0;
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({
    transform(piece, controller) {
      written += piece.length;
      controller.enqueue(piece);
    },
  });
  const reader = readable.getReader();
  const packing = pack(parts, { writable, offset: () => written });
  // A failure is thrown by the reader; without this the promise would count as unheard until it is awaited.
  packing.catch(() => {});
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield value;
    }
    await packing;
  } finally {
    // Whoever takes the pieces may leave early; what still packs must not wait for ever.
    await reader.cancel().catch(() => {});
  }
}

interface Target {
  readonly writable: WritableStream<Uint8Array>;
  /** Bytes that went into it so far. */
  offset(): number;
}

async function pack(parts: Iterable<ZipPart>, { writable, offset }: Target): Promise<void> {
  // Imported here, because pages and programs that write no such file should not load it.
  const { ZipWriter } = await import("@zip.js/zip.js/lib/zip-core-writer.js");
  const zip = new ZipWriter(writable, {
    level: 0,
    useWebWorkers: false,
    extendedTimestamp: false,
    // The same values make the same file, whenever they are written.
    lastModDate: new Date(1980, 0, 1),
  });
  try {
    for (const part of parts) {
      const size = part.byteLength;
      await zip.add(
        part.name,
        { readable: streamOf(part), size },
        {
          uncompressedSize: size,
          localExtraField: new Map([[paddingField, padding(offset(), part)]]),
        },
      );
    }
    await zip.close();
  } catch (reason) {
    await writable.abort(reason).catch(() => {});
    throw reason;
  }
}

/** Bytes for an extra field so that the member's values begin at a multiple of the alignment. */
function padding(offset: number, { name, byteLength }: ZipPart): Uint8Array {
  const sizes = byteLength >= 0xffffffff ? zip64FieldBytes : 0;
  const head = headerBytes + new TextEncoder().encode(name).length + sizes + fieldHeadBytes;
  return new Uint8Array((alignment - ((offset + head) % alignment)) % alignment);
}

function streamOf(part: ZipPart): ReadableStream<Uint8Array<ArrayBuffer>> {
  let pieces: Iterator<Uint8Array<ArrayBuffer>> | null = null;
  return new ReadableStream(
    {
      pull(controller) {
        pieces ??= part.pieces()[Symbol.iterator]();
        const { done, value } = pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel() {
        pieces?.return?.();
      },
    },
    // Nothing is asked for before it is needed.
    { highWaterMark: 0 },
  );
}

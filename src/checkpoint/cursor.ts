import { CheckpointError } from "../core/errors.ts";

/** Names of classes and functions are far shorter; a file without a line's end must not be searched to its own. */
const longestLine = 1024;

/** Bytes of a file, or of a part of it that was inflated, and how to say where in the file they lie. */
export interface Region {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where the region starts in the file, or the compressed form of it. */
  readonly fileOffset: number;
  /** Set for what was inflated: the file has no offset for its single bytes. */
  readonly inflatedName?: string;
  /** Set where the file goes on behind the region: who reaches its end then needs more of it. */
  readonly isOpenEnded?: boolean;
}

/** Thrown at the end of a region that is open-ended. */
export class NeedsMore extends Error {}

/** Reads a region from front to back; everything that would reach beyond its end is a CheckpointError. */
export class Cursor {
  at: number;
  readonly #region: Region;
  readonly #view: DataView;

  constructor(region: Region, at = 0) {
    this.#region = region;
    this.#view = new DataView(
      region.bytes.buffer,
      region.bytes.byteOffset,
      region.bytes.byteLength,
    );
    this.at = at;
  }

  get length(): number {
    return this.#region.bytes.length;
  }

  /** An error that names the byte: `at`, or where the cursor stands. */
  fault(expected: string, actual: string, at = this.at): CheckpointError {
    const { fileOffset, inflatedName } = this.#region;
    const offset = inflatedName === undefined ? fileOffset + at : fileOffset;
    const place = inflatedName === undefined ? `${offset}` : `${at} of ${inflatedName}, inflated,`;
    return new CheckpointError({
      op: "checkpoint.read",
      expected: `${expected} at byte ${place}`,
      actual,
      offset,
    });
  }

  /** The next `count` bytes, not copied. */
  take(count: number): Uint8Array<ArrayBuffer> {
    const start = this.#advance(count);
    return this.#region.bytes.subarray(start, start + count);
  }

  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  uint16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  /** A count of 64 bits; beyond what a file can hold it is Infinity or imprecise, and refused where it is used. */
  uint64(): number {
    return Number(this.#view.getBigUint64(this.#advance(8), true));
  }

  /** Big-endian, as pickles have it. */
  float64(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** Text of `count` bytes. */
  text(count: number): string {
    const start = this.at;
    return this.#decode(this.take(count), start);
  }

  /** Text up to the next line feed, which is skipped. */
  line(): string {
    const start = this.at;
    const window = this.#region.bytes.subarray(start, start + longestLine);
    const length = window.indexOf(0x0a);
    if (length < 0 && window.length < longestLine) this.#requireClosed();
    if (length < 0) throw this.fault(`a line of at most ${longestLine} bytes`, "no end of it");
    this.at = start + length + 1;
    return this.#decode(window.subarray(0, length), start);
  }

  #decode(bytes: Uint8Array<ArrayBuffer>, start: number): string {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.fault("text in UTF-8", "other bytes", start);
    }
  }

  #requireClosed(): void {
    if (this.#region.isOpenEnded === true) throw new NeedsMore();
  }

  #advance(count: number): number {
    const start = this.at;
    const left = this.length - start;
    if (!(count <= left)) this.#requireClosed();
    if (!(count <= left)) throw this.fault(`${count} more bytes`, `${left}, then the end`);
    this.at = start + count;
    return start;
  }
}

/** How host files cut work into chunks and hand a kernel more than a few numbers. */
import type { DType } from "../../core/dtype.ts";
import type { Operand } from "../backend.ts";
import type { Machine } from "./machine.ts";

/** Elements that one chunk of an elementwise kernel takes: some 20 us of work, several times what waking a thread costs. */
export const chunkElements = 32768;

/** How `count` elements are cut; a function of the count alone, so that no result depends on the threads. */
export interface Cut {
  readonly chunks: number;
  /** A multiple of 64, so that chunks do not share cache lines. */
  readonly perChunk: number;
}

/** Cuts evenly, into chunks of at most `elements` each. */
export function cutEvenly(count: number, elements = chunkElements): Cut {
  const fewest = Math.ceil(count / elements);
  const perChunk = fewest === 0 ? 64 : Math.ceil(count / fewest / 64) * 64;
  return { chunks: Math.ceil(count / perChunk), perChunk };
}

/** Groups units of `unitElements` each so that a chunk has about `chunkElements`. */
export function groupUnits(units: number, unitElements: number): Cut {
  const perChunk = Math.max(1, Math.floor(chunkElements / Math.max(1, unitElements)));
  return { chunks: Math.ceil(units / perChunk), perChunk };
}

/** The least multiple of `multiple` that is not below `value`. */
export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/** The size of equal parts of `total`, at most `most` if that is at least 1. */
export function evenly(total: number, most: number): number {
  return Math.ceil(total / Math.ceil(total / Math.max(1, most)));
}

/** Writes the 32-bit words of a kernel's job into device memory for the length of the call. */
export function withJob(
  machine: Machine,
  words: readonly number[],
  use: (job: number) => void,
): void {
  machine.temporary(words.length * 4, (job) => {
    // Addresses above 2^31 wrap to the same bits.
    machine.memory.i32.set(words, job / 4);
    use(job);
  });
}

const float = new Float32Array(1);
const word = new Int32Array(float.buffer);

/** The word that a float32 field of a job takes. */
export function floatBits(value: number): number {
  float[0] = value;
  return word[0];
}

/** A device vector of this type for the length of the call. */
export function withTemporary(
  machine: Machine,
  vector: { readonly dtype: DType; readonly length: number },
  use: (operand: Operand) => void,
): void {
  // 8 bytes an element is room for any type.
  machine.temporary(vector.length * 8, (handle) => use({ ...vector, handle, offset: 0 }));
}

/** The same of float32, in no more memory than they take. */
export function withFloats(
  machine: Machine,
  length: number,
  use: (operand: Operand) => void,
): void {
  machine.temporary(4 * length, (handle) => {
    use({ dtype: "float32", length, handle, offset: 0 });
  });
}

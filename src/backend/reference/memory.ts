import { bytesPerElement, hostView, type TypedArray } from "../../core/dtype.ts";
import { DeviceError, OutOfMemoryError } from "../../core/errors.ts";
import type { Backend, Operand } from "../backend.ts";

/** The elements an operand stands for: a window on its allocation, not a copy. Kernels name it in the plural: `x`, `xs`. */
export type View = (operand: Operand) => TypedArray;

/** As `View`, for float16. */
export type Bits = (operand: Operand) => Uint16Array;

type MemoryMethods = Pick<Backend, "alloc" | "free" | "write" | "read" | "readSync" | "memory">;

const notes = [
  "The reference backend: plain loops in double precision, made to be read and to check others, not for speed.",
];

/** Allocations as ordinary buffers in a map; a handle counts up from 1 and is never given out again. */
export function createMemory(): {
  readonly view: View;
  readonly bits: Bits;
  readonly methods: MemoryMethods;
} {
  const allocations = new Map<number, ArrayBuffer>();
  let lastHandle = 0;
  let liveBytes = 0;
  let peakBytes = 0;

  function allocation(op: string, handle: number): ArrayBuffer {
    const buffer = allocations.get(handle);
    if (buffer !== undefined) return buffer;
    throw new DeviceError({
      op,
      expected: "a handle from alloc that is not freed yet",
      actual: `handle ${handle}`,
    });
  }

  function view({ handle, offset, length, dtype }: Operand): TypedArray {
    const buffer = allocation("view", handle);
    return hostView(dtype, buffer, offset * bytesPerElement(dtype), length);
  }

  function bits({ handle, offset, length }: Operand): Uint16Array {
    return new Uint16Array(allocation("view", handle), offset * 2, length);
  }

  const methods: MemoryMethods = {
    alloc(bytes) {
      lastHandle += 1;
      allocations.set(lastHandle, newBuffer(bytes));
      liveBytes += bytes;
      peakBytes = Math.max(peakBytes, liveBytes);
      return lastHandle;
    },
    free(handle) {
      liveBytes -= allocation("free", handle).byteLength;
      allocations.delete(handle);
    },
    write(out, source) {
      view(out).set(source);
    },
    read: async (x) => view(x).slice(),
    readSync: (x) => view(x).slice(),
    memory: () => ({ liveBytes, peakBytes, threads: 1, notes }),
  };
  return { view, bits, methods };
}

function newBuffer(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch (cause) {
    throw new OutOfMemoryError({
      op: "alloc",
      expected: "room for the allocation",
      actual: `${bytes} bytes asked for`,
      bytes,
      cause,
    });
  }
}

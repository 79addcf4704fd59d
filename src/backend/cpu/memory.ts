/**
 * One WebAssembly memory and the allocator over it. All bookkeeping is outside the memory, so a kernel that writes past
 * its end can spoil numbers but never the allocator.
 *
 *   0        64                                              size
 *   | unused | block | block |  free  | block |     free     |      every edge a multiple of 64 bytes
 */
import { LifetimeError, OutOfMemoryError } from "../../core/errors.ts";

/** Cache line, and more than any SIMD load needs: no two allocations share a line. */
const alignment = 64;
const pageBytes = 65536;
/** One page short of 4 GiB, so that the end of every block is below 2^32 and kernels can compare addresses. */
const mostPages = 65535;

/** Typed views over all of a memory; they move when it grows, so take them afresh for each use. */
interface Views {
  readonly f32: Float32Array;
  readonly f64: Float64Array;
  readonly i32: Int32Array;
  readonly u8: Uint8Array;
}

/**
 * A memory of at most 4 GiB that shared memory's limits allow, or an unshared one where there is no sharing.
 * Lower limits are tried where the address space itself is limited.
 */
export function createMemory(initialPages: number, isShared: boolean): WebAssembly.Memory {
  for (let maximum = mostPages; ; maximum = Math.floor(maximum / 2)) {
    try {
      return new WebAssembly.Memory({ initial: initialPages, maximum, shared: isShared });
    } catch (error) {
      if (maximum < 2 * initialPages) throw error;
    }
  }
}

/** Address-ordered best fit with coalescing: freed blocks are warm in the page tables, fresh ones are not. */
export class DeviceMemory {
  readonly wasm: WebAssembly.Memory;
  #views: Views;
  #size: number;
  /** Free blocks by address: starts and sizes. */
  #starts: number[];
  #sizes: number[];
  #live = new Map<number, number>();
  #liveBytes = 0;
  #peakBytes = 0;

  constructor(wasm: WebAssembly.Memory) {
    this.wasm = wasm;
    this.#views = viewsOf(wasm);
    this.#size = wasm.buffer.byteLength;
    this.#starts = [alignment];
    this.#sizes = [this.#size - alignment];
  }

  get f32(): Float32Array {
    return this.#views.f32;
  }

  get f64(): Float64Array {
    return this.#views.f64;
  }

  get i32(): Int32Array {
    return this.#views.i32;
  }

  get u8(): Uint8Array {
    return this.#views.u8;
  }

  get buffer(): ArrayBufferLike {
    return this.#views.u8.buffer;
  }

  /** Bytes of all live blocks, each rounded up to a multiple of 64. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Bytes of all free blocks. */
  get freeBytes(): number {
    return this.#sizes.reduce((sum, size) => sum + size, 0);
  }

  get freeBlocks(): number {
    return this.#starts.length;
  }

  /**
   * Address of a block of at least this many bytes, a multiple of 64 and never 0. Contents are undefined.
   *
   * Throws: OutOfMemoryError when neither a free block nor growth can serve it.
   */
  alloc(bytes: number): number {
    const size = Math.max(alignment, Math.ceil(bytes / alignment) * alignment);
    let index = this.#bestFit(size);
    if (index < 0) {
      if (!this.#grow(size)) throw this.#outOfMemory(bytes);
      index = this.#starts.length - 1;
    }
    const address = this.#starts[index];
    this.#take(index, size);
    this.#live.set(address, size);
    this.#liveBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return address;
  }

  /** Throws: LifetimeError if `address` is not that of a live block. */
  free(address: number): void {
    const size = this.#live.get(address);
    if (size === undefined) {
      throw new LifetimeError({
        op: "free",
        expected: "the address of a live allocation",
        actual: `${address}, which was freed before or never given out`,
      });
    }
    this.#live.delete(address);
    this.#liveBytes -= size;
    this.#putBack(address, size);
  }

  #bestFit(size: number): number {
    let best = -1;
    for (let i = 0; i < this.#sizes.length; i++) {
      const candidate = this.#sizes[i];
      if (candidate === size) return i;
      if (candidate > size && (best < 0 || candidate < this.#sizes[best])) best = i;
    }
    return best;
  }

  #take(index: number, size: number): void {
    if (this.#sizes[index] === size) {
      this.#starts.splice(index, 1);
      this.#sizes.splice(index, 1);
      return;
    }
    this.#starts[index] += size;
    this.#sizes[index] -= size;
  }

  #putBack(address: number, size: number): void {
    const index = this.#firstAbove(address);
    const joinsBefore = index > 0 && this.#starts[index - 1] + this.#sizes[index - 1] === address;
    const joinsAfter = this.#starts[index] === address + size;
    if (joinsBefore) {
      this.#sizes[index - 1] += size;
      if (!joinsAfter) return;
      this.#sizes[index - 1] += this.#sizes[index];
      this.#starts.splice(index, 1);
      this.#sizes.splice(index, 1);
      return;
    }
    if (joinsAfter) {
      this.#starts[index] = address;
      this.#sizes[index] += size;
      return;
    }
    this.#starts.splice(index, 0, address);
    this.#sizes.splice(index, 0, size);
  }

  /** Index of the first free block above an address. */
  #firstAbove(address: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle] < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Makes the last free block at least `size` long. Pages cost nothing until touched, so growth is by half or more. */
  #grow(size: number): boolean {
    const last = this.#starts.length - 1;
    const endsFree = last >= 0 && this.#starts[last] + this.#sizes[last] === this.#size;
    const needed = Math.ceil((size - (endsFree ? this.#sizes[last] : 0)) / pageBytes);
    const room = mostPages - this.#size / pageBytes;
    if (needed > room) return false;
    const generous = Math.min(room, Math.max(needed, Math.floor(this.#size / pageBytes / 2)));
    if (!this.#growBy(generous) && !this.#growBy(needed)) return false;
    this.#views = viewsOf(this.wasm);
    const before = this.#size;
    this.#size = this.#views.u8.byteLength;
    this.#putBack(before, this.#size - before);
    return true;
  }

  #growBy(pages: number): boolean {
    try {
      this.wasm.grow(pages);
      return true;
    } catch {
      return false;
    }
  }

  #outOfMemory(bytes: number): OutOfMemoryError {
    const largest = this.#sizes.reduce((most, size) => Math.max(most, size), 0);
    return new OutOfMemoryError({
      op: "alloc",
      bytes,
      expected: `${bytes} bytes of CPU memory (at most ${mostPages * pageBytes} in all)`,
      actual: `${this.#liveBytes} bytes live, the largest free block ${largest} bytes`,
      hint: "wrap the step in scope(), evaluate under noGrad(), or take a smaller batch",
    });
  }
}

function viewsOf(wasm: WebAssembly.Memory): Views {
  const { buffer } = wasm;
  return {
    f32: new Float32Array(buffer),
    f64: new Float64Array(buffer),
    i32: new Int32Array(buffer),
    u8: new Uint8Array(buffer),
  };
}

/** One allocation on a device, shared by views and by what autograd saved; freed when the last of them lets go. */
import type { Backend } from "../backend/backend.ts";

/** Bytes of all storages now alive, over all devices. */
export const liveBytes = { total: 0 };

let nextOrder = 0;

/** The `order` that the next storage will have: older ones were made before now. */
export function storageOrder(): number {
  return nextOrder;
}

export class Storage {
  /** Storages are numbered as they are made. */
  readonly order = nextOrder++;
  readonly backend: Backend;
  readonly handle: number;
  readonly bytes: number;
  /** Counts writes after the first fill, so that `backward` can tell that a saved tensor was overwritten. */
  version = 0;
  /** Who wrote last; named in the error. */
  writer = "";
  #references = 1;

  constructor(backend: Backend, bytes: number) {
    this.backend = backend;
    this.bytes = bytes;
    this.handle = backend.alloc(bytes);
    liveBytes.total += bytes;
  }

  get isShared(): boolean {
    return this.#references > 1;
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references > 0) return;
    this.backend.free(this.handle);
    liveBytes.total -= this.bytes;
  }

  /** To be called by whatever changes contents in place. */
  markWritten(writer: string): void {
    this.version++;
    this.writer = writer;
  }
}

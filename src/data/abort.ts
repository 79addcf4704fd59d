import { nextMacrotask } from "../tensor/lifetime.ts";

/** How work that is awaited may be ended early. */
export interface AbortOptions {
  /** Ends the work; what was awaited then throws the signal's reason. Default: none. */
  readonly signal?: AbortSignal;
}

/**
 * Throws the signal's reason if it is aborted. Lets other macrotasks run first: an abort comes from a timer, a key or a click, which
 * a loop of resolved promises would never let in.
 */
export async function throwIfAborted(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return;
  signal.throwIfAborted();
  await nextMacrotask();
  signal.throwIfAborted();
}

/** The promise, or the signal's reason as soon as it is aborted; the work itself goes on unheard. */
export async function untilAborted<T>(
  signal: AbortSignal | undefined,
  work: Promise<T>,
): Promise<T> {
  if (signal === undefined) return work;
  let stopListening = () => {};
  const aborted = new Promise<never>((_, reject) => {
    const listener = () => reject(signal.reason);
    signal.addEventListener("abort", listener, { once: true });
    stopListening = () => signal.removeEventListener("abort", listener);
    if (signal.aborted) listener();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    stopListening();
  }
}

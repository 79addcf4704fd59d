/** The block of shared memory over which the threads of a pool agree; threads.ts explains the protocol. */

/** The most threads a pool has, the calling one included. */
export const maxThreads = 256;
/** The most arguments a kernel has, chunk and thread not counted. */
export const maxArgs = 64;

/** Offsets in the control block, in 32-bit words; what different threads write lies on different cache lines. */
export const layout = {
  generation: 0, // counts jobs; workers sleep on it
  sleepers: 1, // workers that sleep, or are about to
  open: 16, // 1 while chunks may be claimed
  next: 32, // the next chunk nobody has claimed
  waiting: 48, // 1 while the main thread sleeps on a busy word
  failed: 64, // 1 when a worker's kernel has failed
  messageLength: 65,
  kernel: 80,
  chunks: 81,
  argCount: 82,
  args: 96, // float64
  message: 96 + 2 * maxArgs, // UTF-16 code units, one a word
  messageWords: 256,
  seats: 512, // one per thread: [state, busy, present]
  seatWords: 16,
  words: 512 + 16 * maxThreads,
  // States of a seat.
  vacant: 0,
  hired: 1,
  released: 2,
} as const;

/** Word of a seat's state. */
export function stateAt(seat: number): number {
  return layout.seats + seat * layout.seatWords;
}

/** Word that is 1 while the worker in a seat is looking for work or doing it. */
export function busyAt(seat: number): number {
  return stateAt(seat) + 1;
}

/** Word that is 1 from when the worker in a seat runs. */
export function presentAt(seat: number): number {
  return stateAt(seat) + 2;
}

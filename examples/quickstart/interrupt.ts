import { setImmediate as nextTurn } from "node:timers/promises";

/** Thrown at the next safe point after Ctrl-C. */
export class Interrupted extends Error {
  override name = "Interrupted";
}

/** One Ctrl-C may arrive twice, from the terminal and from npm. */
const sameKeyMs = 300;

/** Exit code of a program ended by Ctrl-C: 128 + the signal's number. */
export const interruptedCode = 130;

let raisedAt: number | null = null;

/** From now on the first Ctrl-C ends the run at its next safe point, and a second one at once. */
export function listenForInterrupt(): void {
  process.on("SIGINT", () => {
    if (raisedAt !== null && performance.now() - raisedAt > sameKeyMs)
      process.exit(interruptedCode);
    raisedAt ??= performance.now();
  });
}

/**
 * A point where the run may end. Steps compute synchronously and their awaits never leave the microtask queue,
 * so without this turn of the event loop no signal would ever be seen.
 */
export async function safePoint(): Promise<void> {
  await nextTurn();
  if (raisedAt !== null) throw new Interrupted("stopped by Ctrl-C");
}

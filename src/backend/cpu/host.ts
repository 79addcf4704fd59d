import type { layout } from "./control-block.ts";

/** The platform, behind what the pool needs of it. */
export interface Host {
  /** Cores this process may use. */
  cores(): number;
  /** False where a worker only starts while the program awaits: a page's, whose start takes turns of the event loop. */
  readonly startsAtOnce: boolean;
  /** An environment variable; undefined where there are none. */
  environment(name: string): string | undefined;
  /** Tries to switch relaxed SIMD on in the engine; returns why that may not be tried, or null. */
  enableRelaxedSimd(): string | null;
  /**
   * Starts a worker that keeps no process alive. `onEnd` hears of an error (its text) or of the end (null).
   * Throws where workers are forbidden.
   */
  spawn(source: string, data: Hiring, onEnd: (error: string | null) => void): HostWorker;
}

export interface HostWorker {
  terminate(): void;
}

/** What a worker is told when it is started. */
export interface Hiring {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly names: readonly string[];
  /** Address of the control block. */
  readonly block: number;
  readonly layout: typeof layout;
  readonly seat: number;
  readonly spinMs: number;
}

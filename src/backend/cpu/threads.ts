/**
 * A pool of workers that run chunks of a kernel, over a control block in the shared memory.
 *
 * The main thread writes the job, opens it and wakes the workers; then it claims chunks like everybody else. When none are
 * left it closes the job and waits for the workers that are busy. A worker that has not woken by then finds the job closed,
 * so nobody ever waits for a worker that has not checked in.
 */
import { ArgumentError, DeviceError } from "../../core/errors.ts";
import { Arrivals } from "./arrivals.ts";
import { busyAt, layout, maxThreads, presentAt, stateAt } from "./control-block.ts";
import type { Hiring, Host, HostWorker } from "./host.ts";
import { type Kernel, kernelFailed, runAlone } from "./kernel.ts";
import type { DeviceMemory } from "./memory.ts";

export interface PoolOptions {
  readonly host: Host;
  readonly memory: DeviceMemory;
  readonly module: WebAssembly.Module;
  readonly names: readonly string[];
  readonly workerSource: string;
  /** Time without an answer after which a busy worker counts as lost, in ms. */
  readonly patienceMs?: number;
}

/** Waking a sleeping worker costs 50 us and more, so both sides first spin about as long as the pause between two ops. */
const workerSpinMs = 0.1;
const mainSpinMs = 0.05;
/** The main thread's clock advances by at most two slices per look: a suspended process has not waited. */
const sliceMs = 50;

/** Throws: ArgumentError unless `threads` is an integer from 1 to 256. */
export function checkThreads(op: string, threads: number): number {
  if (Number.isInteger(threads) && threads >= 1 && threads <= maxThreads) return threads;
  throw new ArgumentError({
    op,
    expected: `an integer from 1 to ${maxThreads}`,
    actual: String(threads),
  });
}

export class ThreadPool {
  readonly #options: PoolOptions;
  readonly #canSleep = canSleep();
  /** Of kernels, by name. */
  readonly #indices: ReadonlyMap<string, number>;
  #block = 0;
  #ownBytes = 0;
  #words: Int32Array = new Int32Array(0);
  #doubles: Float64Array = new Float64Array(0);
  /** Workers by seat, those released included until their end is heard of; seat 0 is the main thread's. */
  #workers = new Map<number, HostWorker>();
  #hired = new Set<number>();
  readonly #arrivals = new Arrivals();
  #wanted = 1;
  /** False until workers have been hired for the present `#wanted`. */
  #isStaffed = true;
  #trouble: string | null = null;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#indices = new Map(options.names.map((name, index) => [name, index]));
  }

  /** Threads that the next job is spread over, the calling one included. */
  get size(): number {
    return this.#isStaffed ? this.#hired.size + 1 : this.#wanted;
  }

  /** One more than the highest thread number that a kernel may see. */
  get seats(): number {
    return this.#wanted;
  }

  /** Bytes of memory that control blocks take, those left to lost workers included. */
  get ownBytes(): number {
    return this.#ownBytes;
  }

  /** Why there are fewer threads than were asked for, or null. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Workers that were hired and have not started. */
  get missing(): number {
    return this.#arrivals.size;
  }

  /** Resolves when the workers hired are there or known not to come, after a second at most; at once in Node. */
  settle(): Promise<void> {
    return this.#arrivals.settle((seat) => Atomics.load(this.#words, presentAt(seat)) === 1);
  }

  /** Surplus workers are released at once; missing ones are hired by the next job. Forgets past trouble. */
  resize(threads: number): void {
    this.#wanted = threads;
    this.#isStaffed = false;
    this.#trouble = null;
    this.#releaseSurplus();
  }

  /**
   * Runs all chunks; returns when they are done.
   *
   * Throws: DeviceError when a kernel fails or a worker stops answering; outputs are then undefined.
   */
  run(name: string, kernel: Kernel, chunks: number, args: readonly number[]): void {
    if (!this.#isStaffed) this.#staff();
    if (this.#hired.size === 0) {
      runAlone(name, kernel, chunks, args);
      return;
    }
    this.#open(name, chunks, args);
    const error = this.#takePart(kernel, args);
    Atomics.store(this.#words, layout.open, 0);
    this.#join(name);
    if (error !== null) throw kernelFailed(name, error);
    if (this.#words[layout.failed] === 1) throw kernelFailed(name, this.#message());
  }

  #open(name: string, chunks: number, args: readonly number[]): void {
    const words = this.#words;
    words[layout.kernel] = this.#indices.get(name) ?? -1;
    words[layout.chunks] = chunks;
    words[layout.argCount] = args.length;
    words[layout.failed] = 0;
    this.#doubles.set(args, layout.args / 2);
    Atomics.store(words, layout.next, 0);
    Atomics.store(words, layout.open, 1);
    this.#wake();
  }

  /** Claims chunks until none are left; returns the error that ended it early, if any. */
  #takePart(kernel: Kernel, args: readonly number[]): unknown {
    const words = this.#words;
    const chunks = words[layout.chunks];
    const all = args.concat(0, 0);
    try {
      for (;;) {
        const chunk = Atomics.add(words, layout.next, 1);
        if (chunk >= chunks) return null;
        all[args.length] = chunk;
        kernel(...all);
      }
    } catch (error) {
      Atomics.store(words, layout.next, chunks);
      return error;
    }
  }

  #join(name: string): void {
    for (const seat of this.#hired) {
      if (this.#isIdle(seat) || this.#spinUntilIdle(seat, mainSpinMs)) continue;
      if (this.#waitUntilIdle(seat)) continue;
      this.#abandon();
      throw new DeviceError({
        op: name,
        expected: `every worker to finish its chunk within ${this.#patienceMs} ms`,
        actual: `no answer from worker ${seat}`,
        hint: "it was terminated or has crashed; the result is undefined, later operations run without it",
      });
    }
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? 20_000;
  }

  #isIdle(seat: number): boolean {
    return Atomics.load(this.#words, busyAt(seat)) === 0;
  }

  #spinUntilIdle(seat: number, ms: number): boolean {
    const end = performance.now() + ms;
    do {
      for (let i = 0; i < 1000; i++) if (this.#isIdle(seat)) return true;
    } while (performance.now() < end);
    return false;
  }

  #waitUntilIdle(seat: number): boolean {
    let waitedMs = 0;
    let last = performance.now();
    Atomics.store(this.#words, layout.waiting, 1);
    while (!this.#isIdle(seat) && waitedMs < this.#patienceMs) {
      if (this.#canSleep) Atomics.wait(this.#words, busyAt(seat), 1, sliceMs);
      else this.#spinUntilIdle(seat, sliceMs);
      const now = performance.now();
      waitedMs += Math.min(now - last, 2 * sliceMs);
      last = now;
    }
    Atomics.store(this.#words, layout.waiting, 0);
    return this.#isIdle(seat);
  }

  #message(): string {
    const start = layout.message;
    const codes = this.#words.slice(start, start + this.#words[layout.messageLength]);
    return String.fromCharCode(...codes);
  }

  #staff(): void {
    this.#isStaffed = true;
    if (this.#block === 0 && this.#wanted > 1) this.#createBlock();
    for (let seat = 1; seat < this.#wanted; seat++) {
      if (!this.#hired.has(seat) && !this.#hire(seat)) return;
    }
  }

  #releaseSurplus(): void {
    const surplus = [...this.#hired].filter((seat) => seat >= this.#wanted);
    if (surplus.length === 0) return;
    for (const seat of surplus) {
      this.#hired.delete(seat);
      this.#arrivals.drop(seat);
      Atomics.store(this.#words, stateAt(seat), layout.released);
    }
    this.#wake();
  }

  #wake(): void {
    Atomics.add(this.#words, layout.generation, 1);
    // A worker that counts itself later finds the new generation before it sleeps; a call of the system takes longer than many a job.
    if (Atomics.load(this.#words, layout.sleepers) > 0) {
      Atomics.notify(this.#words, layout.generation);
    }
  }

  /** A lost worker may still wake up one day, so nothing that it can touch is used again: the block is left to it. */
  #abandon(): void {
    const answering = [...this.#hired].filter((seat) => this.#isIdle(seat));
    for (const worker of this.#workers.values()) worker.terminate();
    this.#workers.clear();
    this.#hired.clear();
    this.#arrivals.clear();
    this.#block = 0;
    this.resize(answering.length + 1);
    this.#trouble = "a worker stopped answering in the middle of an operation";
  }

  #ended(seat: number, worker: HostWorker, error: string | null): void {
    // A seat may have been given to a new worker before the end of the old one is heard of.
    if (this.#workers.get(seat) !== worker) return;
    this.#workers.delete(seat);
    if (!this.#hired.delete(seat)) return;
    Atomics.store(this.#words, stateAt(seat), layout.vacant);
    Atomics.store(this.#words, busyAt(seat), 0);
    const event = this.#arrivals.drop(seat) ? "did not start" : "ended by itself";
    this.#trouble = `a worker ${event} (${error ?? "terminated"})`;
  }

  #createBlock(): void {
    const { memory } = this.#options;
    this.#block = memory.alloc(layout.words * 4);
    this.#ownBytes += layout.words * 4;
    this.#words = new Int32Array(memory.buffer, this.#block, layout.words).fill(0);
    this.#doubles = new Float64Array(memory.buffer, this.#block, layout.words / 2);
  }

  #hire(seat: number): boolean {
    // A worker that was released but has not noticed yet just stays.
    const { released, hired } = layout;
    if (Atomics.compareExchange(this.#words, stateAt(seat), released, hired) === released) {
      this.#hired.add(seat);
      return true;
    }
    const { host, workerSource } = this.#options;
    Atomics.store(this.#words, presentAt(seat), 0);
    Atomics.store(this.#words, stateAt(seat), hired);
    try {
      const onEnd = (error: string | null): void => this.#ended(seat, worker, error);
      const worker = host.spawn(workerSource, this.#hiring(seat), onEnd);
      this.#workers.set(seat, worker);
      this.#hired.add(seat);
      if (!host.startsAtOnce) this.#arrivals.expect(seat);
      return true;
    } catch (error) {
      this.#trouble = `workers can't be started here (${String(error)})`;
      return false;
    }
  }

  #hiring(seat: number): Hiring {
    const { module, names, memory } = this.#options;
    const orders = { module, memory: memory.wasm, names, block: this.#block };
    return { ...orders, layout, seat, spinMs: workerSpinMs };
  }
}

function canSleep(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch {
    return false;
  }
}

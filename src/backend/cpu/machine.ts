/** The kernels' module, its memory and its threads: everything a host file of this folder needs to run a kernel. */
import { bytesPerElement } from "../../core/dtype.ts";
import { DeviceError } from "../../core/errors.ts";
import type { Operand } from "../backend.ts";
import { compileKernels } from "./compile.ts";
import { maxArgs, maxThreads } from "./control-block.ts";
import { kernelNames, memoryPages, workerSource } from "./embedded.js";
import type { Host } from "./host.ts";
import { nodeHost } from "./host-node.ts";
import { webHost } from "./host-web.ts";
import { roundUp } from "./job.ts";
import { type Kernel, runAlone } from "./kernel.ts";
import { createMemory, DeviceMemory } from "./memory.ts";
import { checkThreads, ThreadPool } from "./threads.ts";
import { type WinogradChoice, winogradChoice } from "./winograd-choice.ts";

export type KernelName = (typeof kernelNames)[number];

export interface Machine {
  readonly memory: DeviceMemory;
  /** Threads that kernels are spread over, the calling one included. */
  readonly threads: number;
  /** The largest of Winograd's tiles that convolutions may use. */
  readonly winograd: WinogradChoice;
  /** Which build runs and why, how many threads and why, which of Winograd's tiles and why; one sentence each. */
  readonly notes: readonly string[];
  /** Bytes of memory that the machine itself occupies: what `scratch` holds on to, room for small temporaries, and the threads' control block. */
  readonly ownBytes: number;
  /**
   * Runs `kernel(...args, chunk, thread)` for every chunk and returns when all are done; more than one chunk is spread over
   * the threads. `args` are in the kernel's order; addresses are plain numbers.
   *
   * Throws: DeviceError when a chunk fails or a worker is lost.
   */
  run(kernel: KernelName, chunks: number, args: readonly number[]): void;
  /**
   * Memory that a kernel's threads use for themselves, thread t from base + t * bytesPerThread; valid until the next call.
   * Take multiples of 64 bytes, or neighbours share a cache line.
   */
  scratch(bytesPerThread: number): number;
  /** Device memory for the length of the call. */
  temporary<T>(bytes: number, use: (address: number) => T): T;
  /** Resolves when the threads that the last operations asked for are there or known not to come; at once in Node. */
  settle(): Promise<void>;
  /** Ends the workers. The next operation of several chunks runs alone. */
  close(): void;
}

/** Room for the jobs of a call: allocating each takes longer than many a kernel. */
const stackBytes = 16384;

export interface MachineOptions {
  /** Threads, the calling one included; default is what `setThreads` or EVENKEEL_THREADS say, else the cores available. */
  readonly threads?: number;
  /** False takes the plain build; true takes the relaxed one where the engine has it (default). */
  readonly relaxed?: boolean;
  /** Default is what `setWinograd` or EVENKEEL_WINOGRAD say, else "4x4". */
  readonly winograd?: WinogradChoice;
  /** Time after which a busy worker counts as lost, in ms (default 20,000). */
  readonly patienceMs?: number;
}

/** Byte address of an operand's first element. */
export function addressOf(operand: Operand): number {
  return operand.handle + operand.offset * bytesPerElement(operand.dtype);
}

let chosenThreads: number | null = null;
const followers: WeakRef<WasmMachine>[] = [];

/**
 * Sets the number of threads, the calling one included, of every CPU backend made without a number of its own, now and later.
 *
 * Throws: ArgumentError unless `threads` is an integer from 1 to 256.
 */
export function setThreads(threads: number): void {
  chosenThreads = checkThreads("setThreads", threads);
  for (const follower of followers) follower.deref()?.setThreads(chosenNumber(threads));
}

/** Compiles the kernels and reserves address space; starts no thread before the first operation of several chunks. */
export function createMachine(options: MachineOptions = {}): Machine {
  return new WasmMachine(options);
}

class WasmMachine implements Machine {
  readonly memory: DeviceMemory;
  readonly #kernels: ReadonlyMap<string, Kernel>;
  readonly #pool: ThreadPool;
  readonly #buildNote: string;
  readonly #winograd: () => ReturnType<typeof winogradChoice>;
  #threadsNote = "";
  #scratch = { address: 0, bytes: 0 };
  /** Small temporaries lie one behind the other: they end in the reverse order of their beginning. */
  readonly #stack: number;
  #stackUsed = 0;

  constructor(options: MachineOptions) {
    const host = nodeHost() ?? webHost();
    const isShared = typeof SharedArrayBuffer !== "undefined";
    const { module, note } = compileKernels(host, { relaxed: options.relaxed ?? true, isShared });
    this.#buildNote = note;
    const variable = host.environment("EVENKEEL_WINOGRAD");
    this.#winograd = () => winogradChoice(options.winograd, variable);
    this.#winograd();
    this.memory = new DeviceMemory(createMemory(memoryPages.initial, isShared));
    this.#stack = this.memory.alloc(stackBytes);
    this.#kernels = kernelsOf(module, this.memory);
    this.#pool = new ThreadPool({
      ...{ host, memory: this.memory, module, names: kernelNames, workerSource },
      patienceMs: options.patienceMs ?? 20_000,
    });
    this.setThreads(isShared ? numberOfThreads(host, options.threads) : oneThread);
    if (isShared && options.threads === undefined) followers.push(new WeakRef(this));
  }

  get threads(): number {
    return this.#pool.size;
  }

  get winograd(): WinogradChoice {
    return this.#winograd().choice;
  }

  get notes(): readonly string[] {
    const { trouble, size, missing } = this.#pool;
    const threads = trouble === null ? this.#threadsNote : `threads: ${size}, because ${trouble}`;
    const late = `, of which ${missing} will start when the program awaits a result`;
    return [this.#buildNote, missing === 0 ? threads : threads + late, this.#winograd().note];
  }

  get ownBytes(): number {
    return stackBytes + this.#scratch.bytes + this.#pool.ownBytes;
  }

  run(name: KernelName, chunks: number, args: readonly number[]): void {
    const kernel = this.#kernels.get(name);
    if (kernel === undefined || kernel.length !== args.length + 2 || args.length > maxArgs) {
      throw new DeviceError({
        op: name,
        expected: `a kernel of ${args.length} arguments, chunk and thread`,
        actual: kernel === undefined ? "no kernel of this name" : `${kernel.length} in all`,
      });
    }
    if (chunks === 1) runAlone(name, kernel, 1, args);
    else if (chunks > 1) this.#pool.run(name, kernel, chunks, args);
  }

  scratch(bytesPerThread: number): number {
    const bytes = Math.max(64, Math.ceil((bytesPerThread * this.#pool.seats) / 64) * 64);
    if (bytes > this.#scratch.bytes) {
      if (this.#scratch.address !== 0) this.memory.free(this.#scratch.address);
      this.#scratch = { address: 0, bytes: 0 };
      this.#scratch = { address: this.memory.alloc(bytes), bytes };
    }
    return this.#scratch.address;
  }

  temporary<T>(bytes: number, use: (address: number) => T): T {
    const size = roundUp(bytes, 64);
    if (this.#stackUsed + size > stackBytes) return this.#allocated(bytes, use);
    const address = this.#stack + this.#stackUsed;
    this.#stackUsed += size;
    try {
      return use(address);
    } finally {
      this.#stackUsed -= size;
    }
  }

  #allocated<T>(bytes: number, use: (address: number) => T): T {
    const address = this.memory.alloc(bytes);
    try {
      return use(address);
    } finally {
      this.memory.free(address);
    }
  }

  setThreads({ threads, note }: NumberOfThreads): void {
    this.#threadsNote = note;
    this.#pool.resize(threads);
  }

  settle(): Promise<void> {
    return this.#pool.settle();
  }

  close(): void {
    this.#pool.resize(1);
  }
}

function kernelsOf(module: WebAssembly.Module, memory: DeviceMemory): Map<string, Kernel> {
  const { exports } = new WebAssembly.Instance(module, { env: { memory: memory.wasm } });
  const kernels = new Map<string, Kernel>();
  for (const [name, value] of Object.entries(exports)) {
    if (isKernel(value)) kernels.set(name, value);
  }
  return kernels;
}

function isKernel(value: WebAssembly.ExportValue): value is Kernel {
  return typeof value === "function";
}

interface NumberOfThreads {
  readonly threads: number;
  /** Why so many, in one sentence. */
  readonly note: string;
}

const oneThread: NumberOfThreads = {
  threads: 1,
  note: "threads: 1, because this page or process can't share memory",
};

function chosenNumber(threads: number): NumberOfThreads {
  return { threads, note: `threads: ${threads}, as set by setThreads` };
}

function numberOfThreads(host: Host, asked: number | undefined): NumberOfThreads {
  if (asked !== undefined) {
    const threads = checkThreads("createCpuBackend", asked);
    return { threads, note: `threads: ${threads}, as asked for` };
  }
  if (chosenThreads !== null) return chosenNumber(chosenThreads);
  const variable = host.environment("EVENKEEL_THREADS");
  if (variable) {
    const threads = checkThreads("EVENKEEL_THREADS", Number(variable));
    return { threads, note: `threads: ${threads}, as set by EVENKEEL_THREADS` };
  }
  const threads = Math.min(host.cores(), maxThreads);
  return { threads, note: `threads: ${threads}, one for each core available` };
}

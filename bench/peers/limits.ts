/** What the machine can do at most, by threads that do nothing else: the time of a copy, and of multiply-adds in registers. */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import asc from "assemblyscript/asc";
import { peakFlops, type Task } from "../task.ts";
import { CannotError, type Job, serve } from "./serve.ts";

interface Kernels {
  copy(from: number, to: number, bytes: number): void;
  peak(steps: number, seed: number): number;
}

/** A thread's part: copy `bytes` from one address to another, or `steps` of the peak loop. */
interface Part {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
  readonly steps: number;
}

interface Orders {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** [number of the present job, workers still busy with it]. */
  readonly words: Int32Array;
  /** Set before each job's number goes up. */
  readonly part: Part;
}

/** Longer than the pauses between two runs of a sample, shorter than the others' samples. */
const spinMs = 2;

const hired: Worker[] = [];

setFlagsFromString("--experimental-wasm-relaxed-simd");
async function prepare(task: Task, threads: number): Promise<Job> {
  const { pages, part } = partsOf(task, threads);
  await Promise.all(hired.splice(0).map((worker) => worker.terminate()));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  // Memory never written is one page of zeros in the system's eyes, and reading that costs nothing.
  new Uint8Array(memory.buffer).fill(1);
  const words = new Int32Array(new SharedArrayBuffer(8));
  const orders = { module: await compile(pages), memory, words };
  for (let t = 1; t < threads; t++) {
    hired.push(new Worker(new URL(import.meta.url), { workerData: { ...orders, part: part(t) } }));
  }
  const run = kernelOf(orders, part(0));
  return () => {
    Atomics.store(words, 1, threads - 1);
    Atomics.add(words, 0, 1);
    Atomics.notify(words, 0);
    run();
    while (Atomics.load(words, 1) > 0);
  };
}

function partsOf(task: Task, threads: number): { pages: number; part: (thread: number) => Part } {
  const nothing = { from: 0, to: 0, bytes: 0, steps: 0 };
  if (task.op === "peak") return { pages: 1, part: () => ({ ...nothing, steps: peakFlops / 96 }) };
  if (task.op !== "copy") throw new CannotError(`no ${task.op} here`);
  const bytes = Math.ceil((4 * task.elements) / threads / 64) * 64;
  const to = bytes * threads;
  const part = (t: number) => ({ ...nothing, from: t * bytes, to: to + t * bytes, bytes });
  return { pages: Math.ceil((2 * to) / 65536), part };
}

function work(orders: Orders): void {
  const run = kernelOf(orders, orders.part);
  const { words } = orders;
  for (let job = 1; ; job++) {
    const end = performance.now() + spinMs;
    while (Atomics.load(words, 0) < job) {
      if (performance.now() > end) Atomics.wait(words, 0, job - 1);
    }
    run();
    Atomics.sub(words, 1, 1);
  }
}

function kernelOf({ module, memory }: Omit<Orders, "part">, part: Part): () => void {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const { copy, peak } = exports as unknown as Kernels;
  if (part.steps > 0) return () => void peak(part.steps, 1e-3);
  return () => copy(part.from, part.to, part.bytes);
}

async function compile(pages: number): Promise<WebAssembly.Module> {
  // The source lies beside this file's own, not beside what it was compiled to.
  const source = readFileSync("bench/peers/limits.as", "utf8");
  const memory = {
    importMemory: true,
    sharedMemory: true,
    maximumMemory: pages,
    initialMemory: pages,
  };
  const { binary, stderr } = await asc.compileString(source, {
    ...{ optimizeLevel: 3, runtime: "stub", noExportMemory: true, ...memory },
    enable: ["simd", "relaxed-simd", "threads"],
  });
  if (binary === null) throw new Error(`limits.as: ${stderr}`);
  return new WebAssembly.Module(binary as BufferSource);
}

if (isMainThread) await serve({ versions: {}, prepare });
else work(workerData as Orders);

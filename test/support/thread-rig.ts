/** A thread pool with kernels that count, wait and misbehave, for the tests of src/backend/cpu/threads.ts. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { workerSource } from "../../src/backend/cpu/embedded.js";
import type { Host, HostWorker } from "../../src/backend/cpu/host.ts";
import { nodeHost } from "../../src/backend/cpu/host-node.ts";
import { createMemory, DeviceMemory } from "../../src/backend/cpu/memory.ts";
import { ThreadPool } from "../../src/backend/cpu/threads.ts";

/** Kernels that misbehave. Each waits until a worker has a chunk, so that it is the worker that misbehaves. */
const source = `
function meet(flag: usize, thread: i32): void {
  if (thread !== 0) atomic.store<i32>(flag, 1);
  for (let turn: i64 = 0; turn < 20000000000; turn++) {
    if (atomic.load<i32>(flag) !== 0) return;
  }
}
export function trapInWorker(flag: usize, chunk: i32, thread: i32): void {
  meet(flag, thread);
  if (thread !== 0) unreachable();
}
export function hangInWorker(flag: usize, chunk: i32, thread: i32): void {
  meet(flag, thread);
  while (thread !== 0 && atomic.load<i32>(flag) !== 2) {}
}
export function countChunk(counts: usize, chunk: i32, thread: i32): void {
  atomic.add<i32>(counts + (chunk << 2), 1);
}
export function countThread(counts: usize, chunk: i32, thread: i32): void {
  atomic.add<i32>(counts + (thread << 2), 1);
}
export function countVisitors(counts: usize, chunk: i32, thread: i32): void {
  // Word 0 counts meetings of two threads of the same number; then a word for each number.
  const inside = counts + 4 + (thread << 2);
  if (atomic.add<i32>(inside, 1) !== 0) atomic.add<i32>(counts, 1);
  for (let turn = 0; turn < 20000; turn++) atomic.load<i32>(counts);
  atomic.sub<i32>(inside, 1);
}
export function meetWorker(flag: usize, chunk: i32, thread: i32): void {
  meet(flag, thread);
}
`;

/** Compiles the kernels above; takes a second. */
function compile(): WebAssembly.Module {
  const folder = mkdtempSync(join(tmpdir(), "kernels-"));
  const [file, out] = ["kernels.ts", "kernels.wasm"].map((name) => join(folder, name));
  writeFileSync(file, source);
  const asc = join(
    dirname(createRequire(import.meta.url).resolve("assemblyscript/package.json")),
    "bin/asc.js",
  );
  const options = ["-O3", "--noAssert", "--runtime", "stub", "--importMemory", "--sharedMemory"];
  const memory = ["--initialMemory", "16", "--maximumMemory", "65536", "--enable", "threads"];
  const { status, stderr } = spawnSync(
    process.execPath,
    [asc, file, "-o", out, ...options, ...memory],
    {
      encoding: "utf8",
    },
  );
  if (status !== 0) throw new Error(stderr);
  const bytes = readFileSync(out);
  rmSync(folder, { recursive: true });
  return new WebAssembly.Module(bytes);
}

let compiled: WebAssembly.Module | undefined;

/** A thread pool over the kernels above. */
export interface Rig {
  readonly memory: DeviceMemory;
  readonly pool: ThreadPool;
  /** Workers in the order in which they were started. */
  readonly workers: HostWorker[];
  /** Runs one of the kernels above; its argument is an address. */
  run(name: string, chunks: number, address: number): void;
  /** Numbers in memory, zeroed. */
  words(count: number): { readonly address: number; readonly values: () => number[] };
}

export function rig(threads: number, host: Partial<Host> = {}): Rig {
  const node = nodeHost();
  if (node === null) throw new Error("these tests run in Node");
  const workers: HostWorker[] = [];
  const recording: Host = {
    ...node,
    spawn(...args) {
      const worker = node.spawn(...args);
      workers.push(worker);
      return worker;
    },
    ...host,
  };
  compiled ??= compile();
  const module = compiled;
  const memory = new DeviceMemory(createMemory(16, true));
  const instance = new WebAssembly.Instance(module, { env: { memory: memory.wasm } });
  const names = Object.keys(instance.exports);
  const pool = new ThreadPool({
    ...{ host: recording, memory, module, names, workerSource },
    patienceMs: 300,
  });
  pool.resize(threads);
  return {
    memory,
    pool,
    workers,
    run(name, chunks, address) {
      const kernel = instance.exports[name];
      if (typeof kernel !== "function") throw new Error(`no kernel ${name}`);
      pool.run(name, (...args) => void kernel(...args), chunks, [address]);
    },
    words(count) {
      const address = memory.alloc(count * 4);
      memory.i32.fill(0, address / 4, address / 4 + count);
      return { address, values: () => [...memory.i32.slice(address / 4, address / 4 + count)] };
    },
  };
}

/** Returns when a worker has taken part in a job. */
export function meetWorker({ run, words }: Rig): void {
  run("meetWorker", 2, words(1).address);
}

import { Worker } from "node:worker_threads";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { webHost } from "../src/backend/cpu/host-web.ts";
import { createCpuBackend, setThreads } from "../src/backend/cpu/index.ts";
import { createMachine } from "../src/backend/cpu/machine.ts";
import { ArgumentError, DeviceError } from "../src/core/errors.ts";
import { expectSameBytes } from "./support/close.ts";
import { meetWorker, type Rig, rig } from "./support/thread-rig.ts";

// Compiles the kernels before any test has its time taken.
beforeAll(() => void rig(1));

/** Keeps this thread busy, so that other threads get on but the event loop does not. */
function waitMs(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Chunks that each thread took of a job of 100. */
function useThreads({ run, words }: Rig): number[] {
  const counts = words(4);
  run("countThread", 100, counts.address);
  return counts.values();
}

describe("a job", () => {
  test("runs every chunk exactly once, job after job", () => {
    const busy = rig(2);
    meetWorker(busy);
    const counts = busy.words(1000);
    for (let job = 0; job < 2000; job++) busy.run("countChunk", 1000, counts.address);
    busy.pool.resize(1);
    expect(counts.values()).toEqual(new Array(1000).fill(2000));
  });

  test("is shared with workers, whose numbers stay below the number of threads", () => {
    const shared = rig(3);
    meetWorker(shared);
    const counts = shared.words(8);
    for (let job = 0; job < 300; job++) shared.run("countThread", 100, counts.address);
    shared.pool.resize(1);
    expect(counts.values().reduce((sum, count) => sum + count)).toBe(30_000);
    expect(counts.values().slice(3)).toEqual([0, 0, 0, 0, 0]);
  });

  test("that traps in a worker is an error that names the kernel, and the next one runs", () => {
    const trapping = rig(2);
    const trap = () => trapping.run("trapInWorker", 2, trapping.words(1).address);
    expect(trap).toThrow(DeviceError);
    expect(trap).toThrow(/trapInWorker.*unreachable/);
    meetWorker(trapping);
    expect(trapping.pool.size).toBe(2);
    trapping.pool.resize(1);
  });

  test("that traps on the calling thread is an error too", () => {
    const machine = createMachine({ threads: 2 });
    const outside = 2 ** 32 - 65536;
    expect(() => machine.run("fillWords", 1, [outside, 9, 9, 0])).toThrow(DeviceError);
    expect(() => machine.run("fillWords", 50, [outside, 500, 9, 0])).toThrow(/memory access/);
    machine.close();
  });

  test("with arguments that the kernel does not take is refused", () => {
    const machine = createMachine({ threads: 1 });
    expect(() => machine.run("fillWords", 1, [64])).toThrow(/fillWords.*1 arguments/);
  });
});

describe("a worker", () => {
  test("that stops answering is an error in bounded time, and later jobs run without it", () => {
    const hanging = rig(2);
    const start = performance.now();
    const { address } = hanging.words(1);
    expect(() => hanging.run("hangInWorker", 2, address)).toThrow(DeviceError);
    expect(performance.now() - start).toBeLessThan(5000);
    expect(hanging.pool.size).toBe(1);
    expect(hanging.pool.trouble).toMatch(/stopped answering/);

    const counts = hanging.words(50);
    hanging.run("countChunk", 50, counts.address);
    expect(counts.values()).toEqual(new Array(50).fill(1));
  });

  test("that was lost is replaced when the number of threads is set again", () => {
    const hanging = rig(2);
    expect(() => hanging.run("hangInWorker", 2, hanging.words(1).address)).toThrow(DeviceError);
    hanging.pool.resize(2);
    meetWorker(hanging);
    expect(hanging.pool.trouble).toBeNull();
    expect(hanging.workers.length).toBe(2);
    hanging.pool.resize(1);
  });

  test("that is terminated between two jobs is not waited for, and then reported", async () => {
    const losing = rig(2);
    meetWorker(losing);
    losing.workers[0].terminate();
    const counts = losing.words(50);
    losing.run("countChunk", 50, counts.address);
    expect(counts.values()).toEqual(new Array(50).fill(1));
    await expect.poll(() => losing.pool.size).toBe(1);
    expect(losing.pool.trouble).toMatch(/ended by itself/);
    losing.run("countChunk", 50, counts.address);
    expect(counts.values()).toEqual(new Array(50).fill(2));
  });

  test("that may not be started leaves the calling thread to do the work, and says why", () => {
    const forbidden = () => {
      throw new Error("blocked by policy");
    };
    const alone = rig(4, { spawn: forbidden });
    const counts = alone.words(50);
    alone.run("countChunk", 50, counts.address);
    expect(counts.values()).toEqual(new Array(50).fill(1));
    expect(alone.pool.size).toBe(1);
    expect(alone.pool.trouble).toMatch(/blocked by policy/);
  });
});

describe("elsewhere than in Node", () => {
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });

  test("a worker without Node's modules gets its orders by message", () => {
    // What a browser's worker has, and nothing of Node.
    const scope = `
      const { parentPort } = require("node:worker_threads");
      globalThis.addEventListener = (type, listener) => parentPort.on(type, (data) => listener({ data }));
      globalThis.close = () => parentPort.close();
      globalThis.process = undefined;`;
    const web = rig(2, {
      spawn(source, data) {
        const worker = new Worker(`${scope}\n${source}`, { eval: true, execArgv: [], env: {} });
        worker.unref();
        worker.postMessage(data);
        return { terminate: () => void worker.terminate() };
      },
    });
    meetWorker(web);
    expect(web.pool.trouble).toBeNull();
    web.pool.resize(1);
  });

  test("a calling thread that may not sleep, as in a page, spins", () => {
    const wait = vi.spyOn(Atomics, "wait").mockImplementation(() => {
      throw new TypeError("Atomics.wait cannot be called in this context");
    });
    const page = rig(2);
    expect(wait).toHaveBeenCalledTimes(1);
    meetWorker(page);
    const counts = page.words(300);
    for (let job = 0; job < 100; job++) page.run("countChunk", 300, counts.address);
    expect(() => page.run("hangInWorker", 2, page.words(1).address)).toThrow(DeviceError);
    expect(counts.values()).toEqual(new Array(300).fill(100));
    expect(wait).toHaveBeenCalledTimes(1);
  });

  test("workers that start in turns of the event loop get them when a result is awaited", async () => {
    const node = rig(2);
    meetWorker(node);
    expect(node.pool.missing).toBe(0);
    node.pool.resize(1);

    const late = rig(2, { startsAtOnce: false });
    late.run("countChunk", 2, late.words(2).address);
    expect(late.pool.missing).toBe(1);
    await late.pool.settle();
    expect(late.pool.missing).toBe(0);
    meetWorker(late);
    late.pool.resize(1);
  });

  test("a worker that is refused after it was asked for is reported, and not waited for", async () => {
    const refused = rig(2, {
      startsAtOnce: false,
      spawn(_source, _data, onEnd) {
        setTimeout(onEnd, 5, "refused by policy");
        return { terminate() {} };
      },
    });
    refused.run("countChunk", 2, refused.words(2).address);
    const before = performance.now();
    await refused.pool.settle();
    expect(performance.now() - before).toBeLessThan(900);
    expect(refused.pool.size).toBe(1);
    expect(refused.pool.trouble).toMatch(/did not start \(refused by policy\)/);
  });

  test("an error of a page's worker is told to the pool and not to the page as well", () => {
    class PageWorker extends EventTarget {
      postMessage() {}
      terminate() {}
    }
    const started: EventTarget[] = [];
    vi.stubGlobal("Worker", function start() {
      started.push(new PageWorker());
      return started[0];
    });
    const page = rig(2, { spawn: webHost().spawn });
    page.run("countChunk", 2, page.words(2).address);
    const refusal = new Event("error", { cancelable: true });
    started[0].dispatchEvent(refusal);
    expect(refusal.defaultPrevented).toBe(true);
    expect(page.pool.trouble).toMatch(/worker-src blob:/);
    expect(page.pool.size).toBe(1);
  });

  test("a worker that never comes holds up one result for a second and no other", async () => {
    const lost = rig(2, { startsAtOnce: false, spawn: () => ({ terminate() {} }) });
    lost.run("countChunk", 2, lost.words(2).address);
    await lost.pool.settle();
    expect(lost.pool.missing).toBe(0);
  });

  test("where memory can't be shared one thread does the work, and the notes say why", () => {
    const xs = Float32Array.from({ length: 200_000 }, (_, i) => i);
    vi.stubGlobal("SharedArrayBuffer", undefined);
    const backend = createCpuBackend({ threads: 4 });
    const handle = backend.alloc(xs.byteLength);
    const x = { handle, offset: 0, length: xs.length, dtype: "float32" } as const;
    backend.write(x, xs);
    backend.addInto(x, x);
    expectSameBytes(
      backend.readSync(x),
      xs.map((value) => 2 * value),
    );
    expect(backend.memory().threads).toBe(1);
    expect(backend.memory().notes.join()).toMatch(/can't share memory/);
  });
});

describe("the number of threads", () => {
  test("can shrink and grow while workers come and go, no two with one number", () => {
    const { run, words, pool } = rig(4);
    const [counts, visitors] = [words(200), words(8)];
    for (let job = 0; job < 40; job++) {
      pool.resize(1 + ((job * 7) % 4));
      run("countChunk", 200, counts.address);
    }
    pool.resize(4);
    run("countChunk", 200, counts.address);
    waitMs(300);
    for (let job = 0; job < 5; job++) run("countVisitors", 2000, visitors.address);
    pool.resize(1);
    expect(counts.values()).toEqual(new Array(200).fill(41));
    expect(visitors.values()).toEqual(new Array(8).fill(0));
  });

  test("when lowered is obeyed by the next job", () => {
    const shrinking = rig(3);
    meetWorker(shrinking);
    for (let round = 0; round < 100; round++) {
      shrinking.pool.resize(3);
      useThreads(shrinking);
      shrinking.pool.resize(1);
      expect(useThreads(shrinking)).toEqual([100, 0, 0, 0]);
      shrinking.pool.resize(2);
      const [first, second, ...others] = useThreads(shrinking);
      expect([first + second, ...others]).toEqual([100, 0, 0]);
    }
    shrinking.pool.resize(1);
  });

  test("is not changed by hearing late of the end of a worker that was replaced", async () => {
    const replacing = rig(2);
    meetWorker(replacing);
    replacing.pool.resize(1);
    // Long enough for the worker to leave, in one turn of the event loop, so that its end is not heard of yet.
    waitMs(300);
    replacing.pool.resize(2);
    meetWorker(replacing);
    expect(replacing.workers.length).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(replacing.pool.size).toBe(2);
    expect(replacing.pool.trouble).toBeNull();
    replacing.pool.resize(1);
  });

  test("is reported at once, before any job", () => {
    const backend = createCpuBackend();
    setThreads(3);
    expect(backend.memory().threads).toBe(3);
    expect(createCpuBackend().memory().threads).toBe(3);
    setThreads(1);
    expect(backend.memory().threads).toBe(1);
    expect(backend.memory().notes.join()).toMatch(/setThreads/);
  });

  test("of a backend with a number of its own is left alone by setThreads", () => {
    const backend = createCpuBackend({ threads: 2 });
    setThreads(1);
    expect(backend.memory().threads).toBe(2);
    expect(backend.memory().notes.join()).toMatch(/as asked for/);
  });

  test.each([0, -1, 1.5, Number.NaN, 257])("can't be %d", (threads) => {
    expect(() => setThreads(threads)).toThrow(ArgumentError);
    expect(() => createCpuBackend({ threads })).toThrow(/from 1 to 256/);
  });
});

describe("results", () => {
  const length = 300_007;
  const xs = Float32Array.from({ length }, (_, i) => Math.sin(i) * 10 ** (i % 7));

  /** Sums, with partial results, and a softmax, on this many threads. */
  function compute(threads: number, relaxed: boolean): Float32Array[] {
    const backend = createCpuBackend({ threads, relaxed });
    const [x, y] = [0, 1].map(() => ({
      ...{ handle: backend.alloc(length * 4), offset: 0, length },
      dtype: "float32" as const,
    }));
    backend.write(x, xs);
    const layouts = [
      { outer: 1, length, inner: 1 },
      { outer: 1, length: 42_858, inner: 7 },
      { outer: 7, length: 14_286, inner: 3 },
    ];
    const results = layouts.flatMap((layout) => {
      const out = { ...y, length: layout.outer * layout.inner };
      backend.reduce(
        "sum",
        { ...x, length: layout.outer * layout.length * layout.inner },
        out,
        layout,
      );
      const sums = backend.readSync(out);
      backend.softmax(x, y, layout, false);
      return [sums, backend.readSync(y)];
    });
    return results.filter((values) => values instanceof Float32Array);
  }

  test.each([false, true])("are the same bits on 1, 2 and 4 threads (relaxed: %s)", (relaxed) => {
    const alone = compute(1, relaxed);
    expect(alone.length).toBe(6);
    for (const threads of [2, 4, 4]) {
      const shared = compute(threads, relaxed);
      for (const [i, values] of shared.entries())
        expectSameBytes(values, alone[i], `${threads}: ${i}`);
    }
  });
});

/**
 * A worker of the thread pool in threads.ts, which explains the protocol. It is embedded as text and started from there:
 * in Node as an eval worker, in a page as a blob worker. So it is plain JavaScript, imports nothing and awaits nothing.
 *
 * @typedef {import("./host.ts").Hiring} Hiring
 */

/**
 * Takes part in every job until released.
 *
 * @param {Hiring} hiring
 */
function serve({ module, memory, names, block, layout, seat, spinMs }) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const words = new Int32Array(memory.buffer, block, layout.words);
  const doubles = new Float64Array(memory.buffer, block, layout.words / 2);
  const state = layout.seats + seat * layout.seatWords;
  const busy = state + 1;
  const present = state + 2;
  let seen = 0;

  /** Spins, then sleeps, until there is a job newer than the last one seen. */
  function awaitJob() {
    const end = performance.now() + spinMs;
    do {
      for (let i = 0; i < 1000; i++) {
        if (Atomics.load(words, layout.generation) !== seen) return;
      }
    } while (performance.now() < end);
    Atomics.add(words, layout.sleepers, 1);
    while (Atomics.load(words, layout.generation) === seen) {
      Atomics.wait(words, layout.generation, seen);
    }
    Atomics.sub(words, layout.sleepers, 1);
  }

  /** Claims chunks until none are left. */
  function work() {
    const name = names[words[layout.kernel]];
    const kernel = exports[name];
    if (typeof kernel !== "function") throw new TypeError(`no kernel ${name}`);
    const chunks = words[layout.chunks];
    const first = layout.args / 2;
    const args = [...doubles.subarray(first, first + words[layout.argCount]), 0, seat];
    const chunkAt = args.length - 2;
    for (;;) {
      const chunk = Atomics.add(words, layout.next, 1);
      if (chunk >= chunks) return;
      args[chunkAt] = chunk;
      kernel(...args);
    }
  }

  /**
   * Leaves the text of the first error for the main thread and ends the job early.
   *
   * @param {unknown} error
   */
  function report(error) {
    Atomics.store(words, layout.next, words[layout.chunks]);
    if (Atomics.compareExchange(words, layout.failed, 0, 1) !== 0) return;
    const text = String(error).slice(0, layout.messageWords);
    for (let i = 0; i < text.length; i++) words[layout.message + i] = text.charCodeAt(i);
    words[layout.messageLength] = text.length;
  }

  Atomics.store(words, present, 1);
  for (;;) {
    awaitJob();
    seen = Atomics.load(words, layout.generation);
    Atomics.store(words, busy, 1);
    // Busy first, then look: the main thread closes the job first and then looks who is busy, so one sees the other.
    const isOpen = Atomics.load(words, layout.open) === 1;
    if (isOpen && Atomics.load(words, state) === layout.hired) {
      try {
        work();
      } catch (error) {
        report(error);
      }
    }
    Atomics.store(words, busy, 0);
    if (Atomics.load(words, layout.waiting) === 1) Atomics.notify(words, busy);
    if (Atomics.compareExchange(words, state, layout.released, layout.vacant) === layout.released) {
      return;
    }
  }
}

const threads = globalThis.process?.getBuiltinModule?.("node:worker_threads");
if (threads && !threads.isMainThread) {
  serve(threads.workerData);
} else {
  addEventListener("message", ({ data }) => {
    serve(data);
    close();
  });
}

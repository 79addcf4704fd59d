/** Runs the program in the page, or with `?worker` in a module worker; leaves what the test asks for in globals. */
import { train } from "./program.ts";

let trainer: Worker | undefined;
/** How often the calling thread saw a worker at work, which is how it waits for one. */
let seenAtWork = 0;
const { load } = Atomics;
Object.assign(Atomics, {
  load(words: Int32Array, index: number) {
    const value = load(words, index);
    if (value === 1) seenAtWork++;
    return value;
  },
});

function trainInWorker(): Promise<unknown> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  trainer = worker;
  return new Promise((resolve, reject) => {
    worker.addEventListener("message", ({ data }) => resolve(data));
    worker.addEventListener("error", ({ message }) => reject(new Error(message)));
  });
}

Object.assign(globalThis, {
  outcome: location.search === "?worker" ? trainInWorker() : train(),
  seenAtWork: () => seenAtWork,
  endWorker: () => trainer?.terminate(),
});

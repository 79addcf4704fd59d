/** As much of a browser's Worker as a script without imports needs, on a thread of Node. */
import { resolveObjectURL } from "node:buffer";
import { Worker } from "node:worker_threads";

/** Runs the script that is its data among a browser's names. */
const surroundings = `
const { parentPort, workerData } = require("node:worker_threads");
globalThis.self = globalThis;
globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, transfer);
parentPort.on("message", (data) => globalThis.onmessage?.({ data }));
(0, eval)(workerData);
`;

export class WebWorker {
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onerror: ((error: Error) => void) | null = null;
  readonly #worker: Promise<Worker>;

  constructor(url: string) {
    this.#worker = this.#start(url);
  }

  postMessage(message: unknown): void {
    void this.#worker.then((worker) => worker.postMessage(message));
  }

  terminate(): void {
    void this.#worker.then((worker) => worker.terminate());
  }

  async #start(url: string): Promise<Worker> {
    const workerData = await resolveObjectURL(url)?.text();
    const worker = new Worker(surroundings, { eval: true, workerData });
    worker.on("message", (data) => this.onmessage?.({ data }));
    worker.on("error", (error) => this.onerror?.(error));
    return worker;
  }
}

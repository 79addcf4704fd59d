import type { Host } from "./host.ts";

/** A refusal by policy comes without a text. */
const refusal = "does the Content-Security-Policy lack `worker-src blob:`?";

/** What the pool needs from a browser, page or worker alike. */
export function webHost(): Host {
  // One address for all workers, never revoked: some browsers read it only after the constructor has returned.
  let address: string | undefined;
  return {
    cores: () => globalThis.navigator?.hardwareConcurrency ?? 1,
    startsAtOnce: false,
    environment: () => undefined,
    enableRelaxedSimd: () => "the browser does not have relaxed SIMD",
    spawn(source, data, onEnd) {
      address ??= URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      // Under a Content-Security-Policy without blob workers this throws in some browsers and fires `error` in others.
      const worker = new Worker(address, { name: "evenkeel" });
      worker.addEventListener("error", (event) => {
        // Told by memory() and, where it matters, by an error: not a second time by the page's own handler.
        event.preventDefault();
        onEnd(event.message || refusal);
      });
      worker.postMessage(data);
      return { terminate: () => worker.terminate() };
    },
  };
}

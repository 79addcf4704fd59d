import type { Host } from "./host.ts";

/** What the pool needs from Node, or null elsewhere. Built-in modules are asked for, not imported: bundlers see nothing. */
export function nodeHost(): Host | null {
  const builtin = globalThis.process?.getBuiltinModule;
  const workers = builtin?.("node:worker_threads");
  const os = builtin?.("node:os");
  if (!workers || !os) return null;
  return {
    cores: () => Math.max(1, Math.min(os.availableParallelism(), Math.ceil(grantedCores()))),
    startsAtOnce: true,
    environment: (name) => process.env[name],
    enableRelaxedSimd,
    spawn(source, data, onEnd) {
      // No flags, no environment: a loader or debugger of the program has no business in a worker of ours.
      const options = { eval: true, execArgv: [], env: {}, workerData: data };
      const worker = new workers.Worker(source, options);
      worker.unref();
      worker.on("error", (error) => onEnd(String(error)));
      worker.on("exit", () => onEnd(null));
      return { terminate: () => void worker.terminate() };
    },
  };
}

/** Cores' worth of time that the control group grants: a container may see 64 cores and be allowed two. */
function grantedCores(): number {
  try {
    const file = process.getBuiltinModule("node:fs").readFileSync("/sys/fs/cgroup/cpu.max", "utf8");
    const [granted, period] = file.split(" ").map(Number);
    return granted > 0 ? granted / period : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** Only V8 before Node 22 needs the flag; changing any flag where they are frozen ends the process. */
function enableRelaxedSimd(): string | null {
  const { versions, execArgv, env } = process;
  const flags = [...execArgv, env.NODE_OPTIONS ?? ""].join(" ");
  if (versions.electron || /freeze[-_]flags/.test(flags)) return "V8's flags are frozen";
  if (Number.parseInt(versions.node, 10) >= 22) return "relaxed SIMD has been switched off in V8";
  process.getBuiltinModule("node:v8").setFlagsFromString("--experimental-wasm-relaxed-simd");
  return null;
}

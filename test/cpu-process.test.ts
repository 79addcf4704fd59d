/** What the CPU backend does to the process it runs in. Runs the built package, as a program would. */
import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";

describe("a process", () => {
  const built = pathToFileURL("build/modules/backend/cpu/index.js").href;
  /** Counts the workers that are started. */
  const prelude = `
    import threads from "node:worker_threads";
    import { syncBuiltinESMExports } from "node:module";
    let started = 0;
    const { Worker } = threads;
    threads.Worker = class extends Worker { constructor(...args) { super(...args); started++; } };
    syncBuiltinESMExports();
    const { createCpuBackend } = await import(${JSON.stringify(built)});
    const backend = createCpuBackend();
    function fill(length) {
      const out = { handle: backend.alloc(length * 4), offset: 0, length, dtype: "float32" };
      backend.fill(out, 1);
    }`;

  interface Surroundings {
    readonly env?: Record<string, string>;
    readonly flags?: readonly string[];
  }

  function runProgram(body: string, { env = {}, flags = [] }: Surroundings = {}): string {
    const program = ["--input-type=module", "--eval", `${prelude}\n${body}`];
    const { status, stdout, stderr, signal } = spawnSync(process.execPath, [...flags, ...program], {
      encoding: "utf8",
      timeout: 20_000,
      env: { ...process.env, ...env },
    });
    if (status !== 0) throw new Error(`${signal ?? status}: ${stderr}`);
    return stdout;
  }

  const printNotes = "process.stdout.write(backend.memory().notes.join());";

  test("ends by itself after using threads, and starts none before the first large operation", () => {
    const body = `
      fill(1000); fill(20000);
      const before = started;
      fill(10_000_000);
      process.stdout.write(JSON.stringify([before, started]));`;
    expect(runProgram(body, { env: { EVENKEEL_THREADS: "3" } })).toBe("[0,2]");
  });

  test("takes its number of threads from EVENKEEL_THREADS", () => {
    const notesWith = (threads: string) =>
      runProgram(printNotes, { env: { EVENKEEL_THREADS: threads } });
    expect(notesWith("3")).toMatch(/threads: 3, .*EVENKEEL_THREADS/);
    expect(() => notesWith("many")).toThrow(/EVENKEEL_THREADS.*NaN/);
  });

  test("takes Winograd's tiles from EVENKEEL_WINOGRAD", () => {
    const notesWith = (tiles: string) =>
      runProgram(printNotes, { env: { EVENKEEL_WINOGRAD: tiles } });
    expect(notesWith("off")).toContain("winograd: off, as set by EVENKEEL_WINOGRAD");
    expect(() => notesWith("6x6")).toThrow(/EVENKEEL_WINOGRAD.*"4x4", "2x2" or "off".*6x6/);
  });

  test("runs plain SIMD when EVENKEEL_RELAXED_SIMD is 0", () => {
    const notes = runProgram(printNotes, { env: { EVENKEEL_RELAXED_SIMD: "0" } });
    expect(notes).toMatch(/plain SIMD, because EVENKEEL_RELAXED_SIMD/);
  });

  test("survives frozen flags: relaxed SIMD runs only where the engine has it on", () => {
    const notes = runProgram(printNotes, { flags: ["--freeze-flags-after-init"] });
    expect(notes).toMatch(/plain SIMD, because V8's flags are frozen|relaxed SIMD \(fused/);
  });
});

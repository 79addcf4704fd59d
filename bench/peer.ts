/** A peer's process, seen from the bench: lines of JSON to it, answers in the same order. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import type { Task } from "./task.ts";

/** Every answer has what its request asks for, or `skipped` with the reason. */
export interface Answer {
  readonly ms?: number;
  readonly peakBytes?: number;
  readonly versions?: Readonly<Record<string, string>>;
  readonly skipped?: string;
  readonly isError?: boolean;
}

export type Program =
  | "limits"
  | "evenkeel"
  | "pytorch"
  | "tfjs-wasm"
  | "tfjs-cpu"
  | "jax-js"
  | "onnxruntime";

/** How a peer's process is started, or why it cannot be. */
function commandOf(program: Program): readonly string[] | { readonly missing: string } {
  if (program === "pytorch") return pythonCommand();
  const [file, ...args] = program.startsWith("tfjs-") ? ["tfjs", program.slice(5)] : [program];
  const needs = packageOf[program];
  if (needs !== undefined && !existsSync(`bench/peers/packages/node_modules/${needs}`)) {
    return { missing: "npm ci --prefix bench/peers/packages --ignore-scripts installs it" };
  }
  return [process.execPath, `build/bench/peers/${file}.js`, ...args];
}

const packageOf: Partial<Record<Program, string>> = {
  "tfjs-wasm": "@tensorflow/tfjs-backend-wasm",
  "tfjs-cpu": "@tensorflow/tfjs",
  "jax-js": "@jax-js/jax",
  onnxruntime: "onnxruntime-node",
};

function pythonCommand() {
  const python = process.env.EVENKEEL_PYTHON;
  const missing = "EVENKEEL_PYTHON names no Python that has torch and torchvision";
  return python && existsSync(python) ? [python, "bench/peers/pytorch_peer.py"] : { missing };
}

/** Longest waits for an answer, in ms. Preparing makes the data, may compile, and runs twice; a sample is one run or is short. */
const patience = { start: 60_000, prepare: 90_000, sample: 30_000 };

export class Peer {
  readonly #name: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #reader: Interface;
  readonly #lines: AsyncIterator<string>;
  #complaints = "";
  #versions: Readonly<Record<string, string>> = {};

  private constructor(name: string, child: ChildProcessWithoutNullStreams) {
    this.#name = name;
    this.#child = child;
    this.#reader = createInterface({ input: child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
    child.stdin.on("error", () => undefined); // its end is reported where an answer is missing
    child.on("error", (error) => this.#hear(`${error.message}\n`));
    child.stderr.on("data", (text) => this.#hear(text));
  }

  static start(program: Program, threads: number): Promise<Peer> {
    const command = commandOf(program);
    if ("missing" in command) throw new Error(command.missing);
    return Peer.run(program, command, threads);
  }

  /** Throws when the process ends before its first answer. */
  static async run(name: string, command: readonly string[], threads: number): Promise<Peer> {
    const [file = "", ...args] = command;
    const env = { ...process.env, OMP_NUM_THREADS: `${threads}`, EVENKEEL_THREADS: `${threads}` };
    const peer = new Peer(name, spawn(file, args, { env, stdio: ["pipe", "pipe", "pipe"] }));
    const { versions, skipped } = await peer.#answer(patience.start);
    if (skipped !== undefined) throw new Error(skipped);
    peer.#versions = versions ?? {};
    return peer;
  }

  get versions(): Readonly<Record<string, string>> {
    return this.#versions;
  }

  prepare(task: Task, threads: number): Promise<Answer> {
    return this.#ask({ prepare: task, threads }, patience.prepare);
  }

  sample(runs: number): Promise<Answer> {
    return this.#ask({ sample: runs }, patience.sample);
  }

  finish(): Promise<Answer> {
    return this.#ask({ finish: true }, patience.sample);
  }

  /** At once: it has nothing to put in order. */
  stop(): void {
    this.#reader.close();
    this.#child.kill("SIGKILL");
  }

  #ask(request: object, limitMs: number): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.#answer(limitMs);
  }

  async #answer(limitMs: number): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, limitMs, null);
    });
    const line = await Promise.race([this.#lines.next(), tooLate]);
    clearTimeout(timer);
    if (line?.done === false) return JSON.parse(line.value);
    if (line !== null) return { skipped: await this.#lastWords(), isError: true };
    this.stop();
    return { skipped: `given up after ${limitMs / 1000} s without an answer`, isError: true };
  }

  async #lastWords(): Promise<string> {
    const { exitCode, signalCode } = this.#child;
    // Its output ends before its end is known, and its complaints may come later still.
    if (exitCode === null && signalCode === null && this.#child.pid !== undefined) {
      await once(this.#child, "close", { signal: AbortSignal.timeout(2000) }).catch(
        () => undefined,
      );
    }
    const lines = this.#complaints.trim().split("\n");
    const words = lines.findLast((line) => /^\w*(Error|Exception)\b/.test(line)) ?? lines.at(-1);
    const { signalCode: signal, exitCode: code } = this.#child;
    return `${this.#name} has ended (${signal ?? `exit code ${code}`}): ${words || "no last words"}`;
  }

  #hear(text: string): void {
    this.#complaints = (this.#complaints + text).slice(-4000);
  }
}

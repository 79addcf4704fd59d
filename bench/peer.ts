/** A peer's process, seen from the bench: lines of JSON to it, answers in the same order. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
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
  if (needs !== undefined && !existsSync(`bench/peers/node_modules/${needs}`)) {
    return { missing: "npm ci --prefix bench/peers installs it" };
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

export class Peer {
  readonly program: Program;
  readonly versions: Readonly<Record<string, string>>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  private constructor(
    program: Program,
    child: ChildProcessWithoutNullStreams,
    hello: Answer,
    reader: Interface,
    lines: AsyncIterator<string>,
  ) {
    this.program = program;
    this.#child = child;
    this.#reader = reader;
    this.#lines = lines;
    this.versions = hello.versions ?? {};
  }

  /** Throws when the process ends before its first answer. */
  static async start(program: Program, threads: number): Promise<Peer> {
    const command = commandOf(program);
    if ("missing" in command) throw new Error(command.missing);
    const [file, ...args] = command;
    const env = { ...process.env, OMP_NUM_THREADS: `${threads}`, EVENKEEL_THREADS: `${threads}` };
    const child = spawn(file, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    child.stdin.on("error", () => undefined); // its end is reported where an answer is missing
    let complaints = "";
    child.stderr.on("data", (text) => {
      complaints = (complaints + text).slice(-2000);
    });
    const reader = createInterface({ input: child.stdout });
    const lines = reader[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.done)
      throw new Error(`${program} ended at once: ${complaints.trim().split("\n").at(-1)}`);
    return new Peer(program, child, JSON.parse(first.value), reader, lines);
  }

  prepare(task: Task, threads: number): Promise<Answer> {
    return this.#ask({ prepare: task, threads });
  }

  sample(runs: number): Promise<Answer> {
    return this.#ask({ sample: runs });
  }

  async finish(): Promise<Answer> {
    const answer = await this.#ask({ finish: true });
    this.stop();
    return answer;
  }

  stop(): void {
    this.#reader.close();
    this.#child.kill();
  }

  async #ask(request: object): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#lines.next();
    return line.done ? { skipped: "its process has ended", isError: true } : JSON.parse(line.value);
  }
}

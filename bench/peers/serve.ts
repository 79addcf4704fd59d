/**
 * A peer's process: requests come as lines of JSON on standard input, answers go out as lines on standard output.
 *
 *   (start)                          { versions }
 *   { prepare: Task, threads }       { ms } of one run when warm, or { skipped: reason }
 *   { sample: runs }                 { ms } of one run, the mean of so many
 *   { finish: true }                 { peakBytes } of the process
 */
import { createInterface } from "node:readline";
import type { Task } from "../task.ts";

/** One run. Where a job must also do what does not count, it returns the ms that do. */
export type Job = () => void | number | Promise<void>;

export interface Peer {
  readonly versions: Readonly<Record<string, string>>;
  /** Throws `CannotError` when the peer can't do the task. */
  prepare(task: Task, threads: number): Job | Promise<Job>;
}

/** The reason for which a row is skipped. */
export class CannotError extends Error {}

/** V8 runs a kernel's first calls in its baseline compiler: this long, and two runs at least, as some peers compile in the first. */
const warmUpMs = 700;

interface Request {
  readonly prepare?: Task;
  readonly threads?: number;
  readonly sample?: number;
  readonly finish?: boolean;
}

export async function serve(peer: Peer): Promise<void> {
  let job: Job = () => undefined;
  const handle = async ({ prepare, threads = 1, sample, finish }: Request): Promise<object> => {
    if (prepare !== undefined) {
      job = await peer.prepare(prepare, threads);
      return { ms: await warmUp(job) };
    }
    if (sample !== undefined) return { ms: await sampleOf(job, sample) };
    if (finish) return { peakBytes: process.resourceUsage().maxRSS * 1024 };
    throw new Error("a request that is not known");
  };
  answer({ versions: peer.versions });
  for await (const line of createInterface({ input: process.stdin })) {
    answer(await handle(JSON.parse(line)).catch(skippedOrFailed));
  }
  process.exit(); // the bench has gone; a peer's own threads would live on
}

function answer(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function skippedOrFailed(error: unknown): object {
  const text = error instanceof Error ? error.message : String(error);
  return { skipped: text.split("\n")[0], isError: !(error instanceof CannotError) };
}

/** Time of the last run, in ms. */
async function warmUp(job: Job): Promise<number> {
  const end = performance.now() + warmUpMs;
  await time(job, 1);
  let last: number;
  do {
    last = await time(job, 1);
  } while (performance.now() < end);
  return last;
}

/** Another peer has just used the caches, and threads have gone to sleep: a run before the samples, where it costs little. */
async function sampleOf(job: Job, runs: number): Promise<number> {
  if (runs > 1) await time(job, 1);
  return time(job, runs);
}

/** Mean time of a run, in ms. */
async function time(job: Job, runs: number): Promise<number> {
  const start = performance.now();
  let counted = 0;
  for (let run = 0; run < runs; run++) {
    const result = job();
    if (typeof result === "number") counted += result;
    else if (result !== undefined) await result;
  }
  return (counted || performance.now() - start) / runs;
}

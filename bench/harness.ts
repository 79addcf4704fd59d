/** One row measured: all peers by turns, A B C A B C ..., so that what disturbs the machine disturbs them alike. */
import { type Answer, Peer, type Program } from "./peer.ts";
import type { Row, Task } from "./task.ts";

/** What a peer took for a row. Times in ms of one run; the samples' median, least and most. */
export interface Figure {
  readonly ms: number;
  readonly least: number;
  readonly most: number;
  readonly samples: number;
  /** Of a process that did nothing but this row. */
  readonly peakBytes?: number;
}

export interface RowResult {
  readonly id: string;
  readonly suite: string;
  readonly threads: number;
  readonly task: Task;
  readonly copyBytes: number;
  readonly flops: number;
  /** By peer; "copy" and "peak" are the limits. */
  readonly figures: Readonly<Record<string, Figure>>;
  /** By peer, the reason. */
  readonly skipped: Readonly<Record<string, string>>;
}

/** A sample should outlast the clock's grain and a thread's waking. */
const sampleMs = 40;
const slowMs = 1500;
/** Rounds for quick rows, and for those in which one run takes seconds. */
const rounds = { quick: 9, slow: 5 };

interface Participant {
  readonly name: string;
  readonly program: Program;
  readonly task: Task;
}

function participantsOf(row: Row): Participant[] {
  const copy = { op: "copy", elements: row.copyBytes / 4 } as const;
  const programs = ["evenkeel", ...row.against] as const;
  return [
    ...programs.map((program) => ({ name: program, program, task: row.task })),
    ...(row.copyBytes > 0 ? [{ name: "copy", program: "limits", task: copy } as const] : []),
    ...(row.flops > 0 ? [{ name: "peak", program: "limits", task: { op: "peak" } } as const] : []),
  ];
}

/** The processes that stay from row to row, by participant. */
export class Staff {
  readonly #peers = new Map<string, Peer>();
  readonly #refused = new Map<string, string>();

  /** The process, or the reason why there is none. */
  async hire({ name, program }: Participant, threads: number): Promise<Peer | string> {
    const key = `${name} ${threads}`;
    const present = this.#peers.get(key) ?? this.#refused.get(key);
    if (present !== undefined) return present;
    try {
      const peer = await Peer.start(program, threads);
      this.#peers.set(key, peer);
      return peer;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#refused.set(key, reason);
      return reason;
    }
  }

  get versions(): Record<string, string> {
    return Object.assign({}, ...[...this.#peers.values()].map(({ versions }) => versions));
  }

  /** Ends a process that answered with an error or has done its row. */
  dismiss(peer: Peer): void {
    for (const [key, other] of this.#peers) if (other === peer) this.#peers.delete(key);
    peer.stop();
  }

  dismissAll(): void {
    for (const peer of this.#peers.values()) peer.stop();
    this.#peers.clear();
  }
}

interface Contender {
  readonly name: string;
  readonly peer: Peer;
  readonly runs: number;
  readonly isSlow: boolean;
  readonly samples: number[];
}

export async function measure(row: Row, staff: Staff): Promise<RowResult> {
  const skipped: Record<string, string> = {};
  const contenders: Contender[] = [];
  for (const participant of participantsOf(row)) {
    const entered = await enter(participant, row, staff);
    if (typeof entered === "string") skipped[participant.name] = entered;
    else contenders.push(entered);
  }
  await takeTurns(contenders, skipped);
  const figures: Record<string, Figure> = {};
  for (const { name, peer, samples } of contenders) {
    const peak = row.hasOwnProcess ? await peer.finish() : {};
    if (row.hasOwnProcess) staff.dismiss(peer);
    if (!(name in skipped)) figures[name] = { ...figureOf(samples), ...peakOf(peak) };
  }
  const { id, suite, threads, task, copyBytes, flops } = row;
  return { id, suite, threads, task, copyBytes, flops, figures, skipped };
}

async function enter(
  participant: Participant,
  row: Row,
  staff: Staff,
): Promise<Contender | string> {
  const peer = await staff.hire(participant, row.threads);
  if (typeof peer === "string") return peer;
  const { ms, skipped, isError } = await peer.prepare(participant.task, row.threads);
  if (ms === undefined) {
    if (isError) staff.dismiss(peer);
    return skipped ?? "no answer";
  }
  const runs = Math.max(1, Math.ceil(sampleMs / Math.max(ms, 1e-3)));
  return { name: participant.name, peer, runs, isSlow: ms > slowMs, samples: [] };
}

async function takeTurns(contenders: readonly Contender[], skipped: Record<string, string>) {
  for (let round = 0; round < rounds.quick; round++) {
    for (const { name, peer, runs, isSlow, samples } of contenders) {
      if (name in skipped || (isSlow && round >= rounds.slow)) continue;
      const answer = await peer.sample(runs);
      if (answer.ms === undefined) skipped[name] = answer.skipped ?? "no answer";
      else samples.push(answer.ms);
    }
  }
}

function figureOf(samples: readonly number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [least = 0, most = 0] = [sorted[0], sorted.at(-1)];
  const high = sorted[middle] ?? 0;
  const ms = sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? 0)) / 2;
  return { ms, least, most, samples: sorted.length };
}

function peakOf({ peakBytes }: Answer) {
  return peakBytes === undefined ? {} : { peakBytes };
}

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
/** Rounds, by how long one run takes at most. Who takes longer than the last is given up. */
const rounds = [
  { ms: 1_500, count: 9 },
  { ms: 5_000, count: 5 },
  { ms: 20_000, count: 3 },
];

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
  /** Of everyone who was ever hired. */
  readonly versions: Record<string, string> = {};
  readonly #start: typeof Peer.start;

  constructor(start = Peer.start) {
    this.#start = start;
  }

  /** The process, or the reason why there is none. */
  async hire({ name, program }: Participant, threads: number): Promise<Peer | string> {
    const key = `${name} ${threads}`;
    const present = this.#peers.get(key) ?? this.#refused.get(key);
    if (present !== undefined) return present;
    try {
      const peer = await this.#start(program, threads);
      this.#peers.set(key, peer);
      Object.assign(this.versions, peer.versions);
      return peer;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#refused.set(key, reason);
      return reason;
    }
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
  readonly rounds: number;
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
    const hasFailed = name in skipped;
    const peak = row.hasOwnProcess && !hasFailed ? await peer.finish() : {};
    if (row.hasOwnProcess || hasFailed) staff.dismiss(peer);
    if (!hasFailed) figures[name] = { ...figureOf(samples), ...peakOf(peak) };
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
    if (isError || row.hasOwnProcess) staff.dismiss(peer);
    return skipped ?? "no answer";
  }
  const pace = rounds.find((pace) => ms <= pace.ms);
  if (pace === undefined) return `given up: one run takes ${Math.round(ms / 1000)} s`;
  const runs = Math.max(1, Math.ceil(sampleMs / Math.max(ms, 1e-3)));
  return { name: participant.name, peer, runs, rounds: pace.count, samples: [] };
}

async function takeTurns(contenders: readonly Contender[], skipped: Record<string, string>) {
  const most = Math.max(0, ...contenders.map((contender) => contender.rounds));
  for (let round = 0; round < most; round++) {
    for (const { name, peer, runs, rounds, samples } of contenders) {
      if (name in skipped || round >= rounds) continue;
      const answer = await peer.sample(runs);
      if (answer.ms === undefined) skipped[name] = answer.skipped ?? "no answer";
      else samples.push(answer.ms);
    }
  }
}

export function figureOf(samples: readonly number[]): Figure {
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

/** What is said of a row: its figures against a peer's and against the machine's limits. Null where one of the two is missing. */
import type { RowResult } from "./harness.ts";
import { peakFlops } from "./task.ts";

/** Evenkeel's time in those of the peer: below 1 is faster. */
export function ratioTo({ figures }: RowResult, peer: string): number | null {
  const [own, other] = [figures.evenkeel, figures[peer]];
  return own && other ? own.ms / other.ms : null;
}

/** Evenkeel's time in copies of the row's tensor. */
export function timesCopy(row: RowResult): number | null {
  return ratioTo(row, "copy");
}

/** Bytes read and written by a copy that takes evenkeel's time. */
export function gigabytesPerSecond({ figures, copyBytes }: RowResult): number | null {
  return figures.evenkeel && copyBytes > 0 ? (2 * copyBytes) / figures.evenkeel.ms / 1e6 : null;
}

export function gigaflops({ figures, flops }: RowResult): number | null {
  return figures.evenkeel && flops > 0 ? flops / figures.evenkeel.ms / 1e6 : null;
}

/** Of the multiply-add peak of all threads, both in operations of the direct method: Winograd can pass 1. */
export function shareOfPeak(row: RowResult): number | null {
  const own = gigaflops(row);
  const peak = peakGigaflops(row);
  return own !== null && peak !== null ? own / peak : null;
}

export function peakGigaflops({ figures, threads }: RowResult): number | null {
  return figures.peak ? (threads * peakFlops) / figures.peak.ms / 1e6 : null;
}

/** Evenkeel's peak memory in that of the peer's process, the language's runtime included in both. */
export function memoryTo({ figures }: RowResult, peer: string): number | null {
  const [own, other] = [figures.evenkeel?.peakBytes, figures[peer]?.peakBytes];
  return own && other ? own / other : null;
}

/** How many rows, or output channels, are computed side by side: the host's side of kernels/panels.ts. */
export interface Panels {
  /** Panels of six rows; those of four follow. */
  readonly sixes: number;
  readonly count: number;
  /** Rows of all panels together, those that are empty included. */
  readonly rows: number;
}

/** Six rows make the fastest panels. The rest is taken by four, in place of a six too, where that leaves fewer rows empty. */
export function panelsOf(rows: number): Panels {
  const rest = rows % 6;
  const isSix = rest === 0 || rest === 5;
  const fours = isSix ? 0 : rest >= 3 || rows < 6 ? 1 : 2;
  const sixes = Math.max(0, Math.ceil((rows - 4 * fours) / 6));
  return { sixes, count: sixes + fours, rows: 6 * sixes + 4 * fours };
}

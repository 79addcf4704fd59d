import { styleText } from "node:util";
import cliProgress from "cli-progress";

type Style = Parameters<typeof styleText>[0];

/** The text in colour on a terminal (unless NO_COLOR is set), as it is in a pipe: Node's own rules for standard output. */
export function paint(style: Style, text: string): string {
  return styleText(style, text);
}

export function say(text = ""): void {
  process.stdout.write(`${text}\n`);
}

export function heading(text: string): void {
  say(`\n${paint("bold", text)}`);
}

/** A cell, or a cell with a style. */
export type Cell = string | { readonly text: string; readonly style: Style };

/** Prints rows under a header, columns padded to their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const textOf = (cell: Cell) => (typeof cell === "string" ? cell : cell.text);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => textOf(row[column]).length)),
  );
  const line = (cells: readonly Cell[]) =>
    cells
      .map((cell, column) => {
        const padded = textOf(cell).padEnd(widths[column]);
        return typeof cell === "string" ? padded : paint(cell.style, padded);
      })
      .join("  ")
      .trimEnd();
  say(`  ${paint("dim", line(header))}`);
  for (const row of rows) say(`  ${line(row)}`);
}

/** Plain lines in a pipe come at most this often. */
const lineIntervalMs = 5000;

/**
 * A bar that is redrawn on a terminal and gone when it ends; in a pipe, a line now and then.
 * Goes to standard error, as results go to standard output.
 */
export class LiveBar {
  readonly #bar: cliProgress.SingleBar | null;
  readonly #label: string;
  readonly #total: number;
  #done = 0;
  #lastLineAt = performance.now();

  constructor(label: string, total: number) {
    this.#label = label;
    this.#total = total;
    const format = `  ${label} [{bar}] {text}`;
    this.#bar = process.stderr.isTTY
      ? new cliProgress.SingleBar({ format, barsize: barSize(), clearOnComplete: true })
      : null;
    this.#start();
  }

  #start(): void {
    this.#bar?.start(this.#total, this.#done, { text: "" });
  }

  update(done: number, text: string): void {
    this.#done = done;
    this.#bar?.update(done, { text });
    if (this.#bar || performance.now() - this.#lastLineAt < lineIntervalMs) return;
    this.#lastLineAt = performance.now();
    const share = Math.floor((100 * done) / this.#total);
    const line = `  ${this.#label} ${share} %  ${text}`;
    process.stderr.write(`${line.trimEnd()}\n`);
  }

  /** Prints a line of its own above the bar. */
  announce(line: string): void {
    this.stop();
    say(line);
    this.#start();
  }

  stop(): void {
    this.#bar?.stop();
  }
}

/** What a terminal's width leaves beside the longest text. */
function barSize(): number {
  return Math.min(30, Math.max(4, (process.stderr.columns ?? 80) - 76));
}

export function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(1)} %`;
}

export function seconds(ms: number): string {
  return ms < 99_500 ? `${(ms / 1000).toFixed(1)} s` : clock(ms);
}

/** Minutes and seconds, `1:05`. */
export function clock(ms: number): string {
  const whole = Math.round(ms / 1000);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

import type { SingleBar } from "cli-progress";
import { type AbortOptions, throwIfAborted, untilAborted } from "./abort.ts";

/** A place to write to: `process.stderr`, or anything like it; a bar is drawn where `isTTY` is true. */
export interface ProgressStream {
  /** Whether it is a terminal. Default false. */
  readonly isTTY?: boolean;
  /** Takes text as it is to appear, line ends and all. */
  write(text: string): unknown;
}

/** What a progress bar says, and where. */
export interface ProgressOptions extends AbortOptions {
  /** Words before the bar. Default: none. */
  readonly label?: string;
  /** Items expected; by default the `length` of what is looped over, if it has one. */
  readonly total?: number;
  /** Where it is shown. Default `process.stderr`, so that results can be piped while the bar stays on the terminal. */
  readonly stream?: ProgressStream;
}

/** Values shown behind the bar; numbers are cut to four significant digits. */
export type Postfix = Readonly<Record<string, number | string>>;

/** The items of a loop, shown as they go by. */
export interface Progress<Item> extends AsyncIterable<Item> {
  /** Shows values behind the bar, until the next call. */
  set(values: Postfix): void;
}

/** A plain line in a pipe at most this often. */
const lineIntervalMs = 5000;

/**
 * Shows how far a loop has come, in the manner of Python's tqdm: count, time spent, time left, items per second.
 * A bar on a terminal; in a pipe a plain line now and then; nothing in a page. It ends with the loop, by `break` and errors too.
 * An aborted `signal` ends the bar and the loop, and what is looped over; of a loader's own signal the bar ends likewise.
 * Throws: the signal's reason; whatever is looped over throws.
 *
 * @example
 * const batches = progress(loader, { label: "epoch 1" });
 * for await (const [x, label] of batches) batches.set({ loss });
 */
export function progress<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  options: ProgressOptions = {},
): Progress<Item> {
  const { label = "", stream = globalThis.process?.stderr, signal } = options;
  const total = options.total ?? lengthOf(items);
  let postfix: Postfix = {};
  return {
    set(values) {
      postfix = values;
    },
    [Symbol.asyncIterator]: () =>
      watch(items, {
        display: stream ? new Display(stream, { label, total }) : null,
        postfix: () => postfix,
        signal,
      }),
  };
}

function watch<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  shown: {
    readonly display: Display | null;
    readonly postfix: () => Postfix;
    readonly signal: AbortSignal | undefined;
  },
): AsyncIterator<Item, undefined> {
  const { display, postfix, signal } = shown;
  const source =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let given = 0;
  // Not an async generator, for the same reason as in loader.ts: it would hold the last item.
  return {
    async next() {
      try {
        if (given === 0) await display?.start();
        else display?.show(given, postfix());
        await throwIfAborted(signal);
        const result = await untilAborted(signal, Promise.resolve(source.next()));
        if (result.done) {
          display?.stop(given, postfix());
          return { done: true, value: undefined };
        }
        given++;
        return { done: false, value: result.value };
      } catch (error) {
        display?.stop(given, postfix());
        // Not awaited: a source that hangs in next() would hang here too.
        if (signal?.aborted) Promise.resolve(source.return?.()).catch(() => {});
        throw error;
      }
    },
    async return() {
      display?.stop(given, postfix());
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
}

/** One bar on one stream. */
class Display {
  readonly #stream: ProgressStream;
  readonly #label: string;
  readonly #total: number | undefined;
  #startedAt = 0;
  #lastLineAt = 0;
  #bar: SingleBar | null = null;
  #isOver = false;

  constructor(
    stream: ProgressStream,
    what: { readonly label: string; readonly total: number | undefined },
  ) {
    this.#stream = stream;
    this.#label = what.label;
    this.#total = what.total;
  }

  async start(): Promise<void> {
    this.#startedAt = performance.now();
    this.#lastLineAt = this.#startedAt;
    if (!this.#stream.isTTY) return;
    const { default: cliProgress } = await import("cli-progress");
    const bar = new cliProgress.SingleBar({
      format: this.#total === undefined ? "{text}" : "{label}[{bar}] {text}",
      barsize: 24,
      // The bar only writes, but its types ask for a whole Node stream.
      stream: this.#stream as NodeJS.WritableStream,
    });
    bar.start(this.#total ?? 1, 0, { label: this.#label && `${this.#label} `, text: "" });
    this.#bar = bar;
  }

  show(done: number, postfix: Postfix): void {
    if (this.#bar) {
      this.#bar.update(done, { text: this.#text(done, postfix) });
      return;
    }
    const now = performance.now();
    if (now - this.#lastLineAt < lineIntervalMs) return;
    this.#lastLineAt = now;
    this.#line(done, postfix);
  }

  stop(done: number, postfix: Postfix): void {
    if (this.#isOver || this.#startedAt === 0) return;
    this.#isOver = true;
    if (!this.#bar) {
      this.#line(done, postfix);
      return;
    }
    this.#bar.update(done, { text: this.#text(done, postfix) });
    this.#bar.stop();
  }

  #line(done: number, postfix: Postfix): void {
    this.#stream.write(`${this.#label && `${this.#label} `}${this.#text(done, postfix)}\n`);
  }

  /** `12/80, 0:03 < 0:17, 4.1/s, loss=0.31`: done, spent, left, rate, postfix. */
  #text(done: number, postfix: Postfix): string {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    const rate = done / seconds;
    const total = this.#total;
    const left = total !== undefined && done > 0 ? ` < ${clock((total - done) / rate)}` : "";
    const values = Object.entries(postfix).map(([name, value]) => `, ${name}=${short(value)}`);
    const count = total === undefined ? `${done}` : `${done}/${total}`;
    return `${count}, ${clock(seconds)}${left}, ${short(rate)}/s${values.join("")}`;
  }
}

function lengthOf(items: object): number | undefined {
  return "length" in items && typeof items.length === "number" ? items.length : undefined;
}

function short(value: number | string): string {
  return typeof value === "string" ? value : String(Number(value.toPrecision(4)));
}

/** Seconds as m:ss. */
function clock(seconds: number): string {
  const whole = Math.round(Math.max(0, seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

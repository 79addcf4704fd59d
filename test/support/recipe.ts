/**
 * Follows a page that says, step by step, what to write into which file:
 *
 *     New file `path`:            and a code block with its text
 *     In `path`, below `line`:    and a code block that goes there; also `above` and `in place of`
 *
 * `line` is the whole text of one line of the file, without its indentation.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface Step {
  readonly path: string;
  /** Where the code goes; undefined for a new file. */
  readonly place?: { readonly side: "below" | "above" | "in place of"; readonly line: string };
  readonly code: string;
}

const stepPattern =
  /^(?:New file `([^`]+)`|In `([^`]+)`, (below|above|in place of) `([^`]+)`):\n\n```ts[^\n]*\n([\s\S]*?)^```$/gm;

/** The steps of a page, in order. */
export function stepsOf(page: string): Step[] {
  return [...page.matchAll(stepPattern)].map(([, created, path, side, line, code]) =>
    created === undefined
      ? { path, place: { side: side as "below", line }, code }
      : { path: created, code },
  );
}

/** Does what a step says to the files in `folder`. Throws when its line is not there, or there twice. */
export function follow({ path, place, code }: Step, folder: string): void {
  const file = join(folder, path);
  if (place === undefined) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, code, { flag: "wx" });
    return;
  }
  const lines = readFileSync(file, "utf8").split("\n");
  const found = lines.flatMap((line, i) => (line.trim() === place.line ? [i] : []));
  if (found.length !== 1) throw new Error(`${path} has ${found.length} lines \`${place.line}\``);
  const [at] = found;
  const start = place.side === "below" ? at + 1 : at;
  lines.splice(start, place.side === "in place of" ? 1 : 0, code.trimEnd());
  writeFileSync(file, lines.join("\n"));
}

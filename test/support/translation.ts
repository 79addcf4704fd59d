/** Tells where a page and its translation have come apart, without reading either language. */
import { codeBlocks, reasonNotToRun, statedResults } from "./code-blocks.ts";

export interface Page {
  readonly file: string;
  readonly text: string;
}

/** What a page and its translation both have at this place: a heading, a table row, a line of code. */
interface Part {
  readonly line: number;
  readonly what: string;
}

/** The first place at which a translation isn't built like its page; nothing where it is. */
export function difference(page: Page, translation: Page): string | undefined {
  const [parts, others] = [partsOf(page), partsOf(translation)];
  const i = parts.findIndex(({ what }, index) => what !== others[index]?.what);
  const at = i < 0 ? parts.length : i;
  if (at === parts.length && at === others.length) return undefined;
  const [here, there] = [described(page, parts[at]), described(translation, others[at])];
  return `${here}, but ${there}: what changes in one page changes in the other`;
}

function described({ file }: Page, part: Part | undefined): string {
  return part ? `${file}:${part.line} has ${part.what}` : `${file} has ended`;
}

function partsOf({ file, text }: Page): Part[] {
  const running = codeBlocks(text, file).filter((block) => reasonNotToRun(block) === undefined);
  const results = new Map(running.flatMap((block) => [...statedResults(block)]));
  const lines = text.split("\n");
  const parts: Part[] = [];
  let isCode = false;
  for (const [i, line] of lines.entries()) {
    const isFence = line.startsWith("```");
    if (isFence) isCode = !isCode;
    const outside = isFence ? fencePart(line) : textPart(line, lines[i - 1] ?? "");
    const what = isCode && !isFence ? codePart(line, results.get(i + 1)) : outside;
    if (what !== undefined) parts.push({ line: i + 1, what });
  }
  return parts;
}

/** The fence without the reason in it, which is prose. */
function fencePart(line: string): string {
  return `the fence ${line.replace(/"[^"]*"/, '"..."')}`;
}

/** A line of code with the result it states and without other comments. */
function codePart(line: string, result: string | undefined): string | undefined {
  const code = line.replace(/(?:^|\s)\s*(?:\/\/|#) .*$/, "").trimEnd();
  if (code === "") return undefined;
  return result === undefined ? `the code ${code}` : `the code ${code} with the result ${result}`;
}

function textPart(line: string, before: string): string | undefined {
  const [, level, id] = /^(#{1,6}) (?:<a id="([^"]+)">)?/.exec(line) ?? [];
  if (level !== undefined) return `a heading ${level}${id === undefined ? "" : ` with id ${id}`}`;
  if (line.startsWith("|")) return `a table row of ${line.split(/(?<!\\)\|/).length - 2} cells`;
  if (/^\s*(?:[-*]|\d+\.) /.test(line)) return "a list item";
  if (/^ {4}/.test(line) && /^( {4}|$)/.test(before)) return `the formula ${signs(line)}`;
  return line !== "" && before === "" ? "a paragraph" : undefined;
}

/** Numbers and operators of a formula; its names may stand beside words of the language. */
function signs(line: string): string {
  const found = line.match(/\d+|\^|<-|(?<=[ (])-(?=[ \w(])|(?<= )[+*/=](?= )/g) ?? [];
  return found.join(" ");
}

/** Every scene runs and prints what docs/scenes.md shows, in both languages. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const pages = ["docs/scenes.md", "docs/scenes.zh-CN.md"].filter((page) => existsSync(page));
const scenes = readdirSync("examples/scenes")
  .map((file) => file.replace(/\.ts$/, ""))
  .filter((name) => name !== "digits");

/** What a page shows of each scene. */
function shownIn(page: string): Map<string, string> {
  const text = readFileSync(page, "utf8");
  const blocks = text.matchAll(/^```text (\S+)\n([\s\S]*?)^```$/gm);
  return new Map(Array.from(blocks, ([, name, output]) => [name, output]));
}

const number = /~?\d+(\.\d+)?/g;

/** The text without its numbers, and these. Counts must agree, fractions nearly: a last place may round otherwise elsewhere. */
function partsOf(output: string) {
  const numbers = Array.from(output.matchAll(number), ([found]) => found);
  return { words: output.replace(number, "#").replace(/ +/g, " "), numbers };
}

function isNear(printed: string, shown: string): boolean {
  const [a, b] = [printed, shown].map((text) => Number(text.replace("~", "")));
  if (shown.startsWith("~")) return a < 2 * b && b < 2 * a;
  return shown.includes(".") ? Math.abs(a - b) <= 0.02 + 0.02 * Math.max(a, b) : a === b;
}

describe("the scenes", () => {
  test("are those that the pages show, in their order", () => {
    const [first, ...others] = pages.map((page) => [...shownIn(page).keys()]);
    expect([...first].sort()).toEqual([...scenes].sort());
    for (const names of others) expect(names).toEqual(first);
  });

  test.each(scenes)("%s takes at most 80 lines", (name) => {
    const lines = readFileSync(`examples/scenes/${name}.ts`, "utf8").split("\n").length - 1;
    expect(lines).toBeLessThanOrEqual(80);
  });

  test.each(scenes)("%s prints what the pages show", { timeout: 180_000 }, (name) => {
    const program = `build/examples/scenes/${name}.js`;
    const printed = partsOf(execFileSync(process.execPath, [program], { encoding: "utf8" }));
    for (const page of pages) {
      const shown = partsOf(shownIn(page).get(name) ?? "");
      expect(printed.words).toBe(shown.words);
      const pairs = printed.numbers.map((value, i) => [value, shown.numbers[i]]);
      expect(pairs.filter(([value, expected]) => !isNear(value, expected))).toEqual([]);
    }
  });
});

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { describe, expect, test } from "vitest";
import {
  codeBlocks,
  reasonNotToRun,
  runBlock,
  statedResults,
  statesResult,
  typeErrors,
} from "./support/code-blocks.ts";
import { filesUnder } from "./support/tree.ts";

const pages = ["README.md", ...filesUnder("docs").filter((path) => /^docs\/[^/]+\.md$/.test(path))];
const blocks = pages.flatMap((page) => codeBlocks(readFileSync(page, "utf8"), page));
const running = blocks.filter((block) => reasonNotToRun(block) === undefined);

/** A page with one block of these lines of code; the first stands on line 4. */
function page(...code: string[]): string {
  return ["# Page", "", "```ts", ...code, "```", ""].join("\n");
}

function blockOf(...code: string[]) {
  return codeBlocks(page(...code), "page.md")[0];
}

describe("the pages", () => {
  test("show the package at work in the README", () => {
    const shown = running.filter(
      ({ file, code }) => file === "README.md" && code.includes("evenkeel"),
    );
    expect(shown).not.toEqual([]);
  });

  test("give a reason for each block that does not run", () => {
    const silent = blocks.filter((block) => reasonNotToRun(block) === "");
    expect(silent.map(({ file, line }) => `${file}:${line}`)).toEqual([]);
  });

  test("pass the type checker", { timeout: 120_000 }, () => {
    expect(typeErrors(running)).toEqual([]);
  });

  const named = running.map((block) => [`${block.file}:${block.line}`, block] as const);
  test.each(named)("%s prints what it states", { timeout: 120_000 }, async (_, block) => {
    expect(await runBlock(block)).toEqual([]);
  });

  test("name every dependency and nothing else in docs/dependencies.md", () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
    const text = readFileSync("docs/dependencies.md", "utf8");
    const named = [...text.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name);
    expect(named.sort()).toEqual(Object.keys({ ...dependencies, ...devDependencies }).sort());
  });

  test("show in the README the kernels that the contract has", () => {
    const check = ["scripts/kernel-table.mjs", "--check"];
    const { status, stderr } = spawnSync(process.execPath, check, { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
  });

  test("link to files that exist", () => {
    const links = pages.flatMap((path) => brokenLinks(path, readFileSync(path, "utf8")));
    expect(links).toEqual([]);
  });

  test("link to headings that exist", () => {
    const links = pages.flatMap((path) => brokenAnchors(path, readFileSync(path, "utf8")));
    expect(links).toEqual([]);
  });
});

/** Relative links of a page whose target is no file or folder. */
function brokenLinks(path: string, text: string): string[] {
  const targets = [...text.matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)].map(([, target]) => target);
  const broken = targets.filter((target) => !existsSync(posix.join(posix.dirname(path), target)));
  return broken.map((target) => `${path}: ${target}`);
}

/** Links of a page into itself or another page of which no heading has that name. */
function brokenAnchors(path: string, text: string): string[] {
  const links = [...text.matchAll(/\]\((?!\w+:)([^)#\s]*)#([^)\s]+)\)/g)];
  const broken = links.filter(([, target, anchor]) => {
    const other = posix.join(posix.dirname(path), target);
    return !anchorsOf(target === "" ? text : readFileSync(other, "utf8")).includes(anchor);
  });
  return broken.map(([, target, anchor]) => `${path}: ${target}#${anchor}`);
}

/** Names of a page's headings as a forge derives them, and the ids it sets itself. */
function anchorsOf(text: string): string[] {
  const headings = [...text.matchAll(/^#+ (?:<a id="([^"]+)"><\/a>)?(.*)$/gm)];
  return headings.flatMap(([, id = "", title]) => [
    id,
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-"),
  ]);
}

describe("the runner", () => {
  test("finds blocks with their lines and reasons", () => {
    const text = page("a();").concat('```ts no-run="needs a GPU"\nb();\n```\n```sh\nls\n```\n');
    const found = codeBlocks(text, "page.md");
    expect(found.map(({ line, code }) => [line, code])).toEqual([
      [4, "a();\n"],
      [7, "b();\n"],
    ]);
    expect(found.map(reasonNotToRun)).toEqual([undefined, "needs a GPU"]);
    expect(reasonNotToRun({ ...found[0], info: "no-run" })).toBe("");
  });

  test("reads results behind the line and below it, and no other comments", () => {
    const block = blockOf(
      "console.log(1); // 1",
      "console.log(tree);",
      "// => Sequential(",
      "//   (0): Linear",
      "// )",
      "const two = 2; // => 2",
      "two + 1; // three, in words",
      "console.log(`// 4`);",
    );
    expect([...statedResults(block)]).toEqual([
      [4, "1"],
      [5, "Sequential(\n  (0): Linear\n)"],
      [9, "2"],
    ]);
  });

  test("accepts a block that prints what it states", async () => {
    const block = blockOf(
      "const x: number[] = [1, 2];",
      "console.log(x); // 1, 2",
      "for (const value of x) console.log(value); // 1, 2",
      "await Promise.resolve(x.length); // => 2",
      "console.log(new Float32Array([0.3, 1 / 3]),",
      '  "text"); // [0.3, 0.3333] text',
    );
    expect(await runBlock(block)).toEqual([]);
  });

  test("reports a wrong result, one never printed, and a block that throws", async () => {
    const block = blockOf(
      "console.log(2); // 3",
      "if (1 > 2) console.log(4); // 4",
      "1 + 1; // => 3",
    );
    expect(await runBlock(block)).toEqual([
      "page.md:4: stated 3, printed 2",
      "page.md:5: stated 4, printed nothing",
      "page.md:6: stated 3, printed 2",
    ]);
    await expect(runBlock(blockOf('throw new Error("no such thing");'))).rejects.toThrow(
      "no such thing",
    );
  });

  test("reports a type error with its line in the page", { timeout: 120_000 }, () => {
    const [first, ...others] = typeErrors([blockOf("const a = 1;", 'const n: number = "text";')]);
    expect(first).toContain("page.md:5: Type 'string' is not assignable to type 'number'");
    expect(others).toEqual([]);
  });

  test.each([
    ["0.3", "0.30000001192092896", true],
    ["0.3", "0.31", false],
    ["0.3333", "0.33333334", true],
    ["0.3333", "0.33341", false],
    ["1, 2", "Float32Array(2) [ 1, 2 ]", true],
    ["1, 2", "Float32Array(3) [ 1, 2, 3 ]", false],
    ["[1, 2]", "1, 2", false],
    ["[[1, 2], [3, 4]]", "[ [ 1, 2 ], [ 3, 4 ] ]", true],
    ["mean 1.5", "mean 1.6", false],
    ["mean 1.5", "mean  1.5", true],
    ["1000", "1001", false],
    ["1e-5", "0.00001", true],
    ["-0.5", "0.5", false],
    ["NaN", "0", false],
    ["true", "false", false],
  ])("takes %s for %s: %s", (stated, printed, verdict) => {
    expect(statesResult(stated, printed)).toBe(verdict);
  });
});

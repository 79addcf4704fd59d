import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { difference } from "./support/translation.ts";
import { filesUnder } from "./support/tree.ts";

const translations = filesUnder("docs").filter((path) => path.endsWith(".zh-CN.md"));
const pairs = translations.map((path) => [path, path.replace(".zh-CN.md", ".md")]);

function read(file: string) {
  return { file, text: readFileSync(file, "utf8") };
}

/** The line under the title of a page. */
function lineUnderTitle(file: string): string {
  return read(file).text.split("\n")[2];
}

describe("the Chinese pages", () => {
  test("are found", () => {
    expect(translations).toContain("docs/batch-norm.zh-CN.md");
  });

  test.each(pairs)("%s is built like %s", (translation, page) => {
    expect(difference(read(page), read(translation))).toBeUndefined();
  });

  test.each(pairs)("%s and %s link to each other under their titles", (translation, page) => {
    expect(lineUnderTitle(page)).toBe(`[简体中文](${basename(translation)})`);
    expect(lineUnderTitle(translation)).toBe(`[English](${basename(page)})`);
  });
});

const english = `# Scale

Two lines of
one paragraph.

    y = -x * 2 + 1        the *weight* is 2

| input | output |
|---|---|
| one | 3 |

## <a id="code"></a>In code

\`\`\`ts
// Doubles the values,
// then adds one.
const scale = (x: number) => x * 2 + 1; // no bias here
console.log(scale(1)); // 3
scale(2); // => 5
\`\`\`

- one item
`;

const chinese = `# 缩放

一个段落。

    y = -x * 2 + 1        权重为 2

| 输入 | 输出 |
|---|---|
| 一 | 3 |

## <a id="code"></a>代码

\`\`\`ts
// 先加倍再加一。
const scale = (x: number) => x * 2 + 1; // 这里没有偏置
console.log(scale(1)); // 3
scale(2); // => 5
\`\`\`

- 一项
`;

function differenceAfter(from: string, to: string): string | undefined {
  const edited = chinese.replace(from, to);
  expect(edited).not.toBe(chinese);
  return difference({ file: "a.md", text: english }, { file: "b.md", text: edited });
}

describe("the comparison", () => {
  test("accepts other words, line breaks and comments", () => {
    expect(differenceAfter("一个段落", "另一个段落")).toBeUndefined();
  });

  test("says which lines differ and that both pages change", () => {
    expect(differenceAfter("* 2 + 1; //", "* 3 + 1; //")).toBe(
      "a.md:17 has the code const scale = (x: number) => x * 2 + 1;, " +
        "but b.md:15 has the code const scale = (x: number) => x * 3 + 1;: " +
        "what changes in one page changes in the other",
    );
  });

  test.each([
    ["a dropped table row", "| 一 | 3 |\n", ""],
    ["a dropped column", "| 一 | 3 |", "| 一 |"],
    ["another heading level", "## <a", "### <a"],
    ["another id", 'id="code"', 'id="daima"'],
    ["a paragraph more", "一个段落。", "一个段落。\n\n又一个。"],
    ["a list item more", "- 一项\n", "- 一项\n- 两项\n"],
    ["another sign in a formula", "= -x", "= x"],
    ["another number in a formula", "x * 2 + 1     ", "x * 2 + 3     "],
    ["a dropped line of code", "scale(2); // => 5\n", ""],
    ["another stated result", "// => 5", "// => 6"],
    ["a result no longer stated", "; // 3", ";"],
    ["a missing end", "\n- 一项\n", "\n"],
  ])("finds %s", (_, from, to) => {
    expect(differenceAfter(from, to)).toContain("b.md");
  });
});

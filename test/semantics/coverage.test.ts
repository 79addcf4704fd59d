import { readFileSync } from "node:fs";
import ts from "typescript";
import { expect, test } from "vitest";
import { filesUnder } from "../support/tree.ts";
import { ids, withoutTest } from "./coverage.ts";

/** First arguments of `test(...)` and `test.each(...)(...)` that are literals. */
function titlesOf(path: string, text: string): string[] {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const titles: string[] = [];
  function visit(node: ts.Node): void {
    if (ts.isCallExpression(node) && /^test(\.each\b|$)/.test(node.expression.getText(tree))) {
      const [title] = node.arguments;
      if (title !== undefined && ts.isStringLiteralLike(title)) titles.push(title.text);
    }
    ts.forEachChild(node, visit);
  }
  visit(tree);
  return titles;
}

function idOf(title: string): string[] {
  return title.match(/^[A-Z]{1,2}-\d+(?= )/) ?? [];
}

const files = filesUnder("test/semantics").filter((path) => path.endsWith(".test.ts"));
const titles = files.flatMap((path) => titlesOf(path, readFileSync(path, "utf8")));
const tested = new Set(titles.flatMap(idOf));

test("every case of the list has a test or a reason why not, and nothing else has", () => {
  const covered = [...tested, ...Object.keys(withoutTest)];
  expect(covered.sort()).toEqual([...ids].sort());
});

test("the list has the 173 cases of its sections, each once", () => {
  expect(ids).toHaveLength(173);
  expect(new Set(ids).size).toBe(173);
  expect(ids).toEqual(expect.arrayContaining(["G-01", "G-31", "TT-1", "TT-14", "N-07"]));
});

test("every reason is one line", () => {
  expect(Object.values(withoutTest).filter((reason) => !/^[^\n]{10,100}$/.test(reason))).toEqual(
    [],
  );
});

test("titles are found in plain and in parametrised tests, ids only at their start", () => {
  const text = 'test("G-01 a", f); test.each([1])("TT-2 b $x", f); it("G-03 c"); // test("G-04 d")';
  expect(titlesOf("a.ts", text)).toEqual(["G-01 a", "TT-2 b $x"]);
  expect(["G-01 a", "about G-02", "F-3b", "TT-12 c"].flatMap(idOf)).toEqual(["G-01", "TT-12"]);
});

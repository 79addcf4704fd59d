import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { filesUnder } from "./support/tree.ts";

const slow = { timeout: 180_000 };

/** Folders of one machine; a path that starts in them means nothing anywhere else. */
const machinePath = /(?<![\w.~-])\/(?:work|opt|root|home|farm|Users)\/\w[^\s"'`)]*/g;

/** Runs a tool of node_modules; nothing where it succeeds, else its exit code and all that it printed. */
function findings(tool: string, ...args: string[]): string {
  const child = spawnSync(process.execPath, [`node_modules/${tool}`, ...args], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
  });
  return child.status === 0 ? "" : `exit code ${child.status}\n${child.stdout}${child.stderr}`;
}

/** Text files that git would hold, by path. */
function texts(): Map<string, string> {
  const ignored = [".git/", ...readFileSync(".gitignore", "utf8").split("\n").filter(Boolean)];
  const isIgnored = (path: string) =>
    ignored.some((rule) =>
      rule.startsWith("*") ? path.endsWith(rule.slice(1)) : `/${path}`.includes(`/${rule}`),
    );
  const entries = readdirSync(".").map((name) => (statSync(name).isFile() ? name : `${name}/`));
  const kept = entries.filter((path) => !isIgnored(path));
  const paths = kept.flatMap((path) => (path.endsWith("/") ? filesUnder(path.slice(0, -1)) : path));
  const files = paths.filter((path) => !isIgnored(path));
  const read = files.map((path) => [path, readFileSync(path, "utf8")] as const);
  return new Map(read.filter(([, text]) => !text.includes("\0")));
}

function machinePaths(files: ReadonlyMap<string, string>): string[] {
  return [...files].flatMap(([path, text]) =>
    (text.match(machinePath) ?? []).map((found) => `${path}: ${found}`),
  );
}

describe("the repository", () => {
  test("passes the formatter and the linter", slow, () => {
    expect(
      findings("@biomejs/biome/bin/biome", "ci", "--colors=off", "--error-on-warnings", "."),
    ).toBe("");
  });

  test("passes the type checker, tests and examples included", slow, () => {
    expect(findings("typescript/bin/tsc", "-p", "tsconfig.test.json")).toBe("");
  });

  test("names no path of one machine", () => {
    expect(machinePaths(texts())).toEqual([]);
  });

  test("locks dependencies by hash and without the address of a registry", () => {
    const lock = readFileSync("package-lock.json", "utf8");
    const { "": self, ...packages }: Record<string, { integrity?: string }> =
      JSON.parse(lock).packages;
    expect(lock).not.toMatch(/"resolved"/);
    expect(self).toBeDefined();
    expect(Object.keys(packages).filter((name) => !packages[name].integrity)).toEqual([]);
  });
});

describe("the checks themselves", () => {
  test("look at every kind of file", () => {
    const files = [...texts().keys()];
    expect(files).toContain("package.json");
    expect(files).toContain(".ci/run");
    expect(files).toContain("test/style.test.ts");
    expect(files.filter((path) => /^(node_modules|dist|build)\//.test(path))).toEqual([]);
  });

  test("find a machine's path and no other", () => {
    const [folder, home] = [["", "work", "main"].join("/"), ["", "home", "me"].join("/")];
    const files = new Map([
      ["a.md", `see ${folder} or "${home}"`],
      ["b.md", "see src/home/main and https://example.org/home/x and /tmp"],
    ]);
    expect(machinePaths(files)).toEqual([`a.md: ${folder}`, `a.md: ${home}`]);
  });

  test("tell a failing tool from one that succeeds", slow, () => {
    expect(findings("typescript/bin/tsc", "--version")).toBe("");
    expect(findings("typescript/bin/tsc", "-p", "nowhere.json")).toContain("nowhere.json");
  });
});

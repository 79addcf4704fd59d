import { readFileSync } from "node:fs";
import { posix } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { filesUnder } from "./support/tree.ts";

/** Left to right: a file imports only from its own layer and from layers in later rows. */
const layers = [
  ["cli"],
  ["data", "optim", "checkpoint", "models"],
  ["nn"],
  ["ops"],
  ["tensor"],
  ["backend"],
  ["core"],
];

/** Packages and Node modules (`node:`) that a layer may import; a layer without a row imports none. */
const outside: Readonly<Record<string, readonly string[]>> = {
  cli: ["node:"],
  data: ["node:", "cli-progress", "sharp"],
  checkpoint: ["node:", "@zip.js/zip.js"],
  backend: ["node:", "fflate"],
};

/** Files that re-export although they are no index.ts, each with the reason. */
const namespaces: Readonly<Record<string, string>> = {
  "src/nn/functional.ts": "nn.functional is a namespace of its own, as in PyTorch",
};

const longestFile = 300;
/** Files that may be longer, each with the reason why splitting made it worse. */
const longFiles: Readonly<Record<string, string>> = {
  "src/backend/backend.ts": "the contract of every device, to be read as one page",
};

interface Source {
  readonly path: string;
  readonly text: string;
}

interface Import {
  readonly name: string;
  /** True if nothing of it is left at run time. */
  readonly isType: boolean;
}

const generated = "src/backend/cpu/embedded.js";
const sources = readSources();

function readSources(): Source[] {
  const paths = filesUnder("src").filter((path) => /\.(ts|js)$/.test(path) && path !== generated);
  return paths.map((path) => source(path, readFileSync(path, "utf8")));
}

/** Everything a file names in an import or a re-export, dynamic imports and imported types included. */
function importsOf({ path, text }: Source): Import[] {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const add = (node: ts.Node | undefined, isType: boolean) => {
    if (node && ts.isStringLiteral(node)) found.push({ name: node.text, isType });
  };
  function visit(node: ts.Node): void {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isErased(node));
    if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, true);
    const isDynamic =
      ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword;
    if (isDynamic) add(node.arguments[0], false);
    ts.forEachChild(node, visit);
  }
  visit(tree);
  return found;
}

/** `import type` leaves nothing at run time; `import { type X }` still loads the file. */
function isErased({ importClause }: ts.ImportDeclaration): boolean {
  return importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
}

function relative(imports: readonly Import[]): Import[] {
  return imports.filter(({ name }) => name.startsWith("."));
}

/** Path of a relative import as it stands in the file system. AssemblyScript leaves out the ending. */
function resolve(from: string, specifier: string): string {
  const path = posix.join(posix.dirname(from), specifier);
  return /\.(ts|js)$/.test(path) ? path : `${path}.ts`;
}

/** First folder below src, or "" for src/index.ts. */
function layerOf(path: string): string {
  return path.split("/").length > 2 ? path.split("/")[1] : "";
}

function rank(layer: string): number {
  return layers.findIndex((row) => row.includes(layer));
}

function layerViolations(files: readonly Source[]): string[] {
  const findings: string[] = [];
  for (const file of files) {
    const from = layerOf(file.path);
    for (const { name } of relative(importsOf(file))) {
      const to = layerOf(resolve(file.path, name));
      const isIndex = file.path === "src/index.ts";
      const isAllowed = isIndex || (to !== "" && (from === to || rank(from) < rank(to)));
      if (!isAllowed) findings.push(`${file.path} imports ${name}`);
    }
  }
  return findings;
}

function outsideViolations(files: readonly Source[]): string[] {
  return files.flatMap((file) => {
    const allowed = outside[layerOf(file.path)] ?? [];
    const packages = importsOf(file).filter(({ name }) => !name.startsWith("."));
    const strangers = packages.filter(
      ({ name }) => !allowed.some((start) => name.startsWith(start)),
    );
    return strangers.map(({ name }) => `${file.path} imports ${name}`);
  });
}

/** Import cycles at run time, each once, as the paths on it: types that name each other load nothing. */
function cycles(files: readonly Source[]): string[] {
  const edges = new Map(
    files.map((file) => {
      const loaded = relative(importsOf(file)).filter(({ isType }) => !isType);
      return [file.path, loaded.map(({ name }) => resolve(file.path, name))];
    }),
  );
  const found = new Set<string>();
  const done = new Set<string>();
  function visit(path: string, trail: readonly string[]): void {
    if (trail.includes(path)) found.add(trail.slice(trail.indexOf(path)).sort().join(" "));
    if (trail.includes(path) || done.has(path)) return;
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  }
  for (const path of edges.keys()) visit(path, []);
  return [...found];
}

/** What the style guide rules out and neither the compiler nor the linter finds in every file, kernels included. */
function forbiddenSyntax(files: readonly Source[]): string[] {
  return files.flatMap((file) => {
    const tree = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.Latest, true);
    const findings: string[] = [];
    function visit(node: ts.Node): void {
      const fault = faultOf(node);
      const { line } = tree.getLineAndCharacterOfPosition(node.getStart(tree));
      if (fault !== undefined) findings.push(`${file.path}:${line + 1}: ${fault}`);
      ts.forEachChild(node, visit);
    }
    visit(tree);
    return findings;
  });
}

function isIndex(node: ts.Node): boolean {
  const path = node.getSourceFile().fileName;
  return path.endsWith("/index.ts") || path in namespaces;
}

function faultOf(node: ts.Node): string | undefined {
  if (node.kind === ts.SyntaxKind.AnyKeyword) return "any";
  if (node.kind === ts.SyntaxKind.DefaultKeyword && isModifier(node)) return "default export";
  if (ts.isExportAssignment(node)) return "default export";
  if (ts.isNonNullExpression(node)) return "non-null assertion";
  if (ts.isEnumDeclaration(node) || ts.isModuleDeclaration(node)) return faultOfDeclaration(node);
  if (ts.isAsExpression(node) && ts.isAsExpression(node.expression)) return "double cast";
  if (ts.isIdentifier(node) && node.text === "console" && isObject(node)) return "console";
  if (ts.isExportDeclaration(node) && node.moduleSpecifier && !isIndex(node)) return "re-export";
  return undefined;
}

/** `declare module "..."` adds to types of another file and makes nothing. */
function faultOfDeclaration(node: ts.EnumDeclaration | ts.ModuleDeclaration): string | undefined {
  return ts.isStringLiteral(node.name) ? undefined : "enum or namespace";
}

function isModifier(node: ts.Node): boolean {
  return !ts.isDefaultClause(node.parent) && !ts.isExportSpecifier(node.parent);
}

function isObject(node: ts.Identifier): boolean {
  return ts.isPropertyAccessExpression(node.parent) && node.parent.expression === node;
}

function source(path: string, text: string): Source {
  return { path, text };
}

describe("src", () => {
  test("imports only from its own layer and from layers below", () => {
    expect(layerViolations(sources)).toEqual([]);
  });

  test("has only folders that are layers", () => {
    const folders = new Set(sources.map(({ path }) => layerOf(path)));
    expect([...folders].filter((folder) => folder !== "" && rank(folder) < 0)).toEqual([]);
  });

  test("imports packages and Node modules only where a layer is allowed to", () => {
    expect(outsideViolations(sources)).toEqual([]);
  });

  test("has no import cycles", () => {
    expect(cycles(sources)).toEqual([]);
  });

  test("re-exports in index.ts alone and holds no any, cast through unknown, ! or console", () => {
    expect(forbiddenSyntax(sources)).toEqual([]);
  });

  test(`has no file over ${longestFile} lines without a reason`, () => {
    const long = sources.filter(({ text }) => text.split("\n").length - 1 > longestFile);
    expect(long.map(({ path }) => path)).toEqual(Object.keys(longFiles).sort());
  });

  test("names files in kebab-case and none of them utils", () => {
    const names = sources.map(({ path }) => path.slice(path.lastIndexOf("/") + 1));
    const bad = names.filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*\.(ts|js)$/.test(name));
    const vague = names.filter((name) => /^(utils?|helpers?|common|misc)\./.test(name));
    expect([...bad, ...vague]).toEqual([]);
  });
});

describe("batch norm has one name", () => {
  test.each([
    "src/nn",
    "src/ops",
    "src/backend/reference",
    "src/backend/cpu",
    "src/backend/cpu/kernels",
    "docs",
    "test",
  ])("in %s", (folder) => {
    const direct = filesUnder(folder).filter((path) => path.startsWith(`${folder}/batch-norm`));
    expect(direct).not.toEqual([]);
  });
});

describe("the checks themselves", () => {
  test("find an import of a layer above, beside, and of the index", () => {
    const files = [
      source("src/core/shape.ts", 'type T = import("../tensor/tensor.ts").Tensor;'),
      source("src/data/loader.ts", 'import type { SGD } from "../optim/sgd.ts";'),
      source("src/nn/linear.ts", 'const ops = await import("../index.ts");'),
      source("src/nn/conv.ts", 'import { add } from "../ops/elementwise.ts";'),
    ];
    expect(layerViolations(files)).toEqual([
      "src/core/shape.ts imports ../tensor/tensor.ts",
      "src/data/loader.ts imports ../optim/sgd.ts",
      "src/nn/linear.ts imports ../index.ts",
    ]);
  });

  test("find a package where none is allowed", () => {
    const files = [
      source("src/nn/linear.ts", 'import { readFileSync } from "node:fs";'),
      source("src/data/files.ts", 'import { readFileSync } from "node:fs";'),
    ];
    expect(outsideViolations(files)).toEqual(["src/nn/linear.ts imports node:fs"]);
  });

  test("find a cycle through a re-export and a dynamic import, but none through types", () => {
    const files = [
      source("src/core/a.ts", 'import { b } from "./b.ts";'),
      source("src/core/b.ts", 'const c = await import("./c.ts");'),
      source("src/core/c.ts", 'export { a } from "./a.ts";'),
      source("src/core/d.ts", 'import type { E } from "./e.ts";'),
      source("src/core/e.ts", 'import { type D } from "./d.ts";'),
    ];
    expect(cycles(files)).toEqual(["src/core/a.ts src/core/b.ts src/core/c.ts"]);
  });

  test.each([
    ["const x: any = 1;", "any"],
    ["const x = 1 as unknown as string;", "double cast"],
    ["const x = y!;", "non-null assertion"],
    ["console.log(1);", "console"],
    ["export default 1;", "default export"],
    ["export default function f() {}", "default export"],
    ["enum E { A }", "enum or namespace"],
    ['export * from "./b.ts";', "re-export"],
  ])("find a fault in %s", (text, fault) => {
    expect(forbiddenSyntax([source("src/core/a.ts", text)])).toEqual([`src/core/a.ts:1: ${fault}`]);
  });

  test("leave comments, strings and declaration merging alone", () => {
    const text = 'declare module "./b.ts" {}\n// console.log(x as any)\nconst s = "console.log";';
    expect(forbiddenSyntax([source("src/core/a.ts", text)])).toEqual([]);
  });
});

/**
 * Runs the TypeScript blocks of a Markdown file against the built package, as a reader would who pastes them.
 *
 * Results stand in comments: behind a `console.log(...)` or, as `// => value`, behind an expression or a `const`; a
 * result of several lines stands below as comment lines, the first with `=>`. See `statesResult` for what is equal.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import ts from "typescript";

export interface CodeBlock {
  readonly file: string;
  /** Line of the file, from 1, that the first line of code stands on. */
  readonly line: number;
  readonly code: string;
  /** What the fence says behind `ts`. */
  readonly info: string;
}

/** What a block printed, by the line of the file on which the printing expression ends. */
type Printed = ReadonlyMap<number, string>;

const folder = "build/docs";
const longestRunMs = 60_000;
// Imported by its address, because a block may not see names that its reader does not see.
const recorder = pathToFileURL("test/support/recorder.mjs").href;

/** The ```ts blocks of a Markdown text, in order. */
export function codeBlocks(markdown: string, file: string): CodeBlock[] {
  const fence = /^```ts\b(.*)\n([\s\S]*?)^```$/gm;
  return [...markdown.matchAll(fence)].map(({ 1: info, 2: code, index }) => {
    const line = markdown.slice(0, index).split("\n").length + 1;
    return { file, line, code, info: info.trim() };
  });
}

/** Why a block isn't run, from `no-run="..."` in its fence; undefined for one that is, "" where the reason is missing. */
export function reasonNotToRun({ info }: CodeBlock): string | undefined {
  if (!info.includes("no-run")) return undefined;
  return /no-run="([^"]+)"/.exec(info)?.[1].trim() ?? "";
}

/** What the type checker has to say about the blocks, each as `file:line: message`. */
export function typeErrors(blocks: readonly CodeBlock[]): string[] {
  const byPath = new Map(
    blocks.map((block) => [writeBlock(block, "ts", moduleText(block)), block]),
  );
  const { config } = ts.readConfigFile("tsconfig.json", ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ".");
  const unused = { noUnusedLocals: false, noUnusedParameters: false };
  const own = { ...unused, noEmit: true, rootDir: ".", outDir: "build/types" };
  const program = ts.createProgram([...byPath.keys()], { ...options, ...own });
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const block = byPath.get(file?.fileName ?? "");
    const line = file?.getLineAndCharacterOfPosition(start ?? 0).line ?? 0;
    return `${block?.file}:${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
  });
}

/** Runs a block in a process of its own and returns where what it printed differs from what it states. */
export async function runBlock(block: CodeBlock): Promise<string[]> {
  const stated = statedResults(block);
  const printed = await execute(block);
  return [...stated].flatMap(([line, text]) => {
    const actual = printed.get(line);
    if (actual !== undefined && statesResult(text, actual)) return [];
    return [`${block.file}:${line}: stated ${text}, printed ${actual ?? "nothing"}`];
  });
}

/** Results that a block states, by line of the file. */
export function statedResults(block: CodeBlock): Map<number, string> {
  const tree = parse(block);
  const stated = new Map<number, string>();
  forEachPrinter(tree, (node) => {
    const line = endLine(tree, node);
    const text = commentBehind(tree, line) ?? commentBelow(tree, line);
    if (text !== undefined) stated.set(line, text);
  });
  return stated;
}

/**
 * True if a stated result stands for what was printed: white space aside the same text, where `0.3, 0.5` may stand for
 * any array of these numbers. A number of four significant digits or more may be rounded; one of fewer is meant as it
 * stands, to the precision of float32.
 */
export function statesResult(stated: string, printed: string): boolean {
  const number = /(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])/g;
  const [a, b] = [plain(stated), plain(printed)];
  const isBare = !a.startsWith("[") && b.startsWith("[");
  const actual = isBare ? b.replace(/^\[(.*)\]$/, "$1") : b;
  if (a.replace(number, "#") !== actual.replace(number, "#")) return false;
  const values = actual.match(number) ?? [];
  return (a.match(number) ?? []).every((text, i) => isRounded(text, Number(values[i])));
}

/** One spelling for what `console.log` may lay out in several ways. */
function plain(text: string): string {
  const oneLine = text.replace(/\b\w+Array\(\d+\) (?=\[)/g, "").replace(/\s+/g, " ");
  return oneLine
    .replace(/([[(]) /g, "$1")
    .replace(/ ([\])])/g, "$1")
    .trim();
}

function isRounded(stated: string, actual: number): boolean {
  const [mantissa, exponent = "0"] = stated.split("e");
  const digits = mantissa.replace(/^-?[0.]*/, "").replace(".", "").length;
  const decimals = (mantissa.split(".")[1] ?? "").length;
  const unit = 10 ** (Number(exponent) - decimals);
  const isExact = digits < 4 || decimals === 0;
  const off = Math.abs(Number(stated) - actual);
  return off <= (isExact ? 1.3e-6 * Math.abs(actual) : unit * 0.5000001);
}

async function execute(block: CodeBlock): Promise<Printed> {
  const script = writeBlock(block, "mjs", instrumented(block));
  const output = script.replace(/mjs$/, "json");
  rmSync(output, { force: true });
  const child = spawn(process.execPath, [script], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, RECORDER_OUTPUT: output },
    timeout: longestRunMs,
  });
  const noise: Buffer[] = [];
  child.stdout.on("data", (bytes) => noise.push(bytes));
  child.stderr.on("data", (bytes) => noise.push(bytes));
  const status = await new Promise((done, fail) => child.on("close", done).on("error", fail));
  if (status !== 0) throw new Error(`${block.file}:${block.line}: ${Buffer.concat(noise)}`);
  return new Map(JSON.parse(readFileSync(output, "utf8")));
}

/** The block as JavaScript in which every printing expression hands its value and its line to the recorder. */
function instrumented(block: CodeBlock): string {
  const { transpileModule, ScriptTarget, ModuleKind } = ts;
  const options = { target: ScriptTarget.ES2022, module: ModuleKind.ESNext };
  const { outputText } = transpileModule(moduleText(block), {
    fileName: `${block.file}.ts`,
    compilerOptions: { ...options, verbatimModuleSyntax: true },
    transformers: { before: [record] },
  });
  return `import { record as $record } from ${JSON.stringify(recorder)};\n${outputText}`;
}

function record(context: ts.TransformationContext): ts.Transformer<ts.SourceFile> {
  return (tree) => {
    const printers = new Set<ts.Node>();
    forEachPrinter(tree, (node) => printers.add(node));
    const visit = (node: ts.Node): ts.Node => {
      const changed = ts.visitEachChild(node, visit, context);
      return printers.has(node) ? recording(tree, node, changed) : changed;
    };
    return ts.visitEachChild(tree, visit, context);
  };
}

function recording(tree: ts.SourceFile, node: ts.Node, changed: ts.Node): ts.Node {
  const { factory } = ts;
  const line = factory.createNumericLiteral(endLine(tree, node));
  const call = (values: readonly ts.Expression[]) =>
    factory.createCallExpression(factory.createIdentifier("$record"), undefined, [line, ...values]);
  if (isLog(changed)) return call(changed.arguments);
  return call([changed as ts.Expression]);
}

/** Calls of `console.log`, and expressions whose value a comment `=>` states. */
function forEachPrinter(tree: ts.SourceFile, use: (node: ts.Expression) => void): void {
  const visit = (node: ts.Node): void => {
    if (isLog(node)) use(node);
    const value = statedExpression(node);
    if (value && !isLog(value) && /^=>/.test(rawCommentBehind(tree, endLine(tree, value)) ?? ""))
      use(value);
    ts.forEachChild(node, visit);
  };
  visit(tree);
}

function statedExpression(node: ts.Node): ts.Expression | undefined {
  if (ts.isExpressionStatement(node)) return node.expression;
  return ts.isVariableDeclaration(node) ? node.initializer : undefined;
}

function isLog(node: ts.Node): node is ts.CallExpression {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return false;
  const { expression, name } = node.expression;
  return ts.isIdentifier(expression) && expression.text === "console" && name.text === "log";
}

function commentBehind(tree: ts.SourceFile, line: number): string | undefined {
  return rawCommentBehind(tree, line)?.replace(/^=>\s*/, "");
}

/** Text of the comment that ends a line of code. */
function rawCommentBehind(tree: ts.SourceFile, line: number): string | undefined {
  const [start, end] = [lineStart(tree, line), lineStart(tree, line + 1)];
  let found: string | undefined;
  const visit = (node: ts.Node): void => {
    for (const { pos, end: stop } of ts.getTrailingCommentRanges(tree.text, node.end) ?? []) {
      if (pos >= start && pos < end) found = tree.text.slice(pos, stop);
    }
    for (const child of node.getChildren(tree)) visit(child);
  };
  visit(tree);
  return found?.startsWith("//") ? found.slice(2).trim() : undefined;
}

/** Text of the comment lines that follow a line, if the first of them begins with `=>`. */
function commentBelow(tree: ts.SourceFile, line: number): string | undefined {
  const rest = tree.text.slice(lineStart(tree, line + 1)).split("\n");
  const length = rest.findIndex((text) => !/^\s*\/\//.test(text));
  const lines = rest.slice(0, length).map((text) => text.replace(/^\s*\/\/ ?/, ""));
  return lines[0]?.startsWith("=>") ? lines.join("\n").slice(2).trim() : undefined;
}

function lineStart(tree: ts.SourceFile, line: number): number {
  return tree.getLineStarts()[line - 1] ?? tree.text.length;
}

function endLine(tree: ts.SourceFile, node: ts.Node): number {
  return tree.getLineAndCharacterOfPosition(node.end).line + 1;
}

function parse(block: CodeBlock): ts.SourceFile {
  return ts.createSourceFile(block.file, moduleText(block), ts.ScriptTarget.Latest, true);
}

/** The block on the lines it has in its file, and a module whether it imports or not. */
function moduleText({ line, code }: CodeBlock): string {
  return `${"\n".repeat(line - 1)}${code}\nexport {};\n`;
}

function writeBlock({ file, line }: CodeBlock, ending: string, text: string): string {
  mkdirSync(folder, { recursive: true });
  const path = `${folder}/${file.replace(/[^\w-]/g, "_")}-${line}.${ending}`;
  writeFileSync(path, text);
  return path;
}

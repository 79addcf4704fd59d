import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Application,
  type DeclarationReflection,
  Logger,
  LogLevel,
  type ProjectReflection,
  ReflectionKind,
  TypeDocReader,
} from "typedoc";
import { beforeAll, describe, expect, test } from "vitest";

/** What TypeDoc has to complain about, as it says it. */
class Complaints extends Logger {
  readonly lines: string[] = [];

  override log(message: string, level: LogLevel): void {
    if (level >= LogLevel.Warn) this.lines.push(message);
  }
}

let project: ProjectReflection | undefined;
let complaints: readonly string[] = [];

/** Runs TypeDoc as `typedoc.json` says, but for `changes`. */
async function convert(changes: { readonly entryPoints?: string[]; readonly tsconfig?: string }) {
  // Types are another test's matter; without them this takes seconds less.
  const usual = { options: "typedoc.json", skipErrorChecking: true, logLevel: LogLevel.Warn };
  const app = await Application.bootstrapWithPlugins({ ...usual, ...changes }, [
    new TypeDocReader(),
  ]);
  const logger = new Complaints();
  app.logger = logger;
  const made = await app.convert();
  if (made !== undefined) app.validate(made);
  return { project: made, complaints: logger.lines };
}

beforeAll(async () => {
  ({ project, complaints } = await convert({}));
}, 60_000);

/** Something in the reference by its path: "nn.BatchNorm2d.forward". */
function found(path: string): DeclarationReflection {
  const reflection = project?.getChildByName(path);
  if (reflection?.isDeclaration()) return reflection;
  throw new Error(`expected ${path} in the reference`);
}

/** The description of something, or of its first way to be called. */
function described(path: string): string {
  const { comment, signatures } = found(path);
  const parts = (comment ?? signatures?.[0]?.comment)?.summary ?? [];
  return parts.map(({ text }) => text).join("");
}

/** Parameters as they are shown: name, mark of what may be left out, type, default. */
function parameters(path: string): string[] {
  const { signatures = [] } = found(path);
  return (signatures[0]?.parameters ?? []).map(({ name, flags, type, defaultValue }) => {
    const mark = flags.isOptional ? "?" : "";
    return `${name}${mark}: ${type}${defaultValue ? ` = ${defaultValue}` : ""}`;
  });
}

describe("the API reference", () => {
  test("has a docstring for everything, and every type that it names", () => {
    expect(complaints).toEqual([]);
  });

  test("describes each type in its own words, not in those of the one it extends", () => {
    const types = ReflectionKind.Class | ReflectionKind.Interface | ReflectionKind.TypeAlias;
    const all = (project?.getReflectionsByKind(types) ?? []).map((type) => ({
      name: type.getFullName(),
      words: (type.comment?.summary ?? []).map(({ text }) => text).join(""),
    }));
    const repeated = all.filter(({ words }, i) => all.findIndex((a) => a.words === words) < i);
    expect(all.length).toBeGreaterThan(100);
    expect(repeated).toEqual([]);
  });

  test.each([
    ["nn.BatchNorm2d", "Batch normalization of (N, C, H, W)"],
    ["nn.BatchNorm2d.eps", "Added to the variance"],
    ["nn.functional.batchNorm", "Normalises each channel of x"],
    ["Tensor.add", "a + b."],
    ["Tensor.relu", "max(x, 0)"],
    ["Tensor.reshape", "The same values in another shape"],
    ["Tensor.eq", "Where a equals b"],
  ])("takes the description of %s from its source", (path, beginning) => {
    expect(described(path).startsWith(beginning)).toBe(true);
  });

  test.each([
    ["Tensor.add", ["b: Operable"]],
    ["Tensor.leakyRelu", ["negativeSlope: number = 0.01"]],
    ["Tensor.sum", ["axes?: Axes", "options: ReduceOptions = {}"]],
    ["Tensor.clamp", ["options: Bounds"]],
    ["Tensor.to", ["target: DType | Device"]],
    ["nn.functional.dropout", ["x: Tensor", "p: number = 0.5", "options: DropoutOptions = {}"]],
    ["nn.ConvTranspose2d", ["x: Tensor", "outputSize?: Shape"]],
  ])("shows the parameters of %s as they are written", (path, expected) => {
    expect(parameters(path)).toEqual(expected);
  });

  test("lists the operations of a tensor as methods", () => {
    const kinds = ["add", "eq", "reshape", "clamp", "max", "item"].map((name) => [
      name,
      ReflectionKind[found(`Tensor.${name}`).kind],
    ]);
    expect(kinds).toEqual(kinds.map(([name]) => [name, "Method"]));
  });

  test("sets Shapes, Numerics, Throws and their like apart as paragraphs", () => {
    const paragraphs = described("nn.functional.batchNorm").split("\n\n");
    const labels = paragraphs.map((text) => /^\*\*(.+):\*\* \S/.exec(text)?.[1]);
    expect(labels.filter(Boolean)).toEqual([
      "Unlike PyTorch",
      "Shapes",
      "Numerics",
      "Throws",
      "Source",
    ]);
  });

  test.each([
    ["nn.BatchNorm2d", ["nn.functional.batchNorm"]],
    ["nn.functional.conv1d", ["nn.functional.conv2d"]],
    ["Tensor.mul", ["Tensor.add"]],
    ["data.Dataset", ["data.DataLoader", "data.Dataset.at", "data.Dataset.gather"]],
    ["Tensor.where", ["where"]],
  ])("links the names in the description of %s", (path, expected) => {
    const { comment, signatures } = found(path);
    const parts = (comment ?? signatures?.[0]?.comment)?.summary ?? [];
    const targets = parts.flatMap((part) => (part.kind === "inline-tag" ? [part.target] : []));
    expect(targets).toEqual(expected.map(found));
  });

  test("leaves out what the library alone calls", () => {
    const members = ["invoke", "ownState", "awaitsShape", "missingState"];
    const layer = found("nn.LazyBatchNorm2d");
    expect(members.filter((name) => layer.getChildByName([name]))).toEqual([]);
  });
});

/** What TypeDoc complains about in a file of this text. */
async function complaintsAbout(text: string): Promise<readonly string[]> {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-reference-"));
  const [file, tsconfig] = [join(folder, "sample.ts"), join(folder, "tsconfig.json")];
  writeFileSync(file, text);
  writeFileSync(tsconfig, JSON.stringify({ compilerOptions: { types: [] }, files: [file] }));
  try {
    return (await convert({ entryPoints: [file], tsconfig })).complaints;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test.each([
  ["an option", "/** Sizes. */\nexport interface Sizes {\n  readonly width: number;\n}"],
  ["a property in a file with a header", "/** A box. */\nexport class Box {\n  width = 1;\n}"],
  ["a function", "export function grow(): void {}"],
])("complains about %s without a word", async (_, text) => {
  const file = `/** The header of the file. */\nconst one = 1;\n${text}`;
  expect(await complaintsAbout(file)).not.toEqual([]);
});

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

const complaints = new Complaints();
let project: ProjectReflection | undefined;

beforeAll(async () => {
  // Types are another test's matter; without them this takes seconds less.
  const options = { options: "typedoc.json", skipErrorChecking: true, logLevel: LogLevel.Warn };
  const app = await Application.bootstrapWithPlugins(options, [new TypeDocReader()]);
  app.logger = complaints;
  project = await app.convert();
  if (project !== undefined) app.validate(project);
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
    expect(complaints.lines).toEqual([]);
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

  test("leaves out what the library alone calls", () => {
    const members = ["invoke", "ownState", "awaitsShape", "missingState"];
    const layer = found("nn.LazyBatchNorm2d");
    expect(members.filter((name) => layer.getChildByName([name]))).toEqual([]);
  });
});

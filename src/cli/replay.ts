/** `evenkeel replay`: arguments, files and exit codes around `replay-run.ts`. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import * as models from "../models/index.ts";
import { Module } from "../nn/module.ts";
import "../ops/methods.ts";
import type { Command } from "./command.ts";
import { type Recording, readRecording } from "./recording.ts";
import { type ReplayModel, replay } from "./replay-run.ts";
import { UsageError } from "./usage-error.ts";

const named: Readonly<Record<string, (options: models.ModelOptions) => ReplayModel>> = {
  resnet18: models.resnet18,
  resnet34: models.resnet34,
  resnet50: models.resnet50,
  resnet101: models.resnet101,
  resnet152: models.resnet152,
  vgg11_bn: models.vgg11Bn,
  vgg16_bn: models.vgg16Bn,
  mobilenet_v2: models.mobilenetV2,
};

const help = `Usage: evenkeel replay FILE --model MODEL [options]

Runs a training run that tools/record.py recorded in PyTorch again, and names the first step and layer that differ by more than rounding.

  --model MODEL      a JavaScript file that exports \`model\` or \`createModel()\`,
                     or one of ${Object.keys(named).join(", ")}
  --num-classes N    outputs of a named model (default 1000)
  --tolerance T      largest relative difference that still agrees (default: float32 rounding as this run magnifies it)
  --help             this text

Exit code: 0 when all agrees, 1 when it parts, 2 when it could not be run.
`;

const options = {
  model: { type: "string" },
  "num-classes": { type: "string" },
  tolerance: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

export const replayCommand: Command = {
  summary: "runs a recorded PyTorch training run again and says where it parts",
  async run(args) {
    const { values, positionals } = parse(args);
    if (values.help) {
      process.stdout.write(help);
      return 0;
    }
    const [file, ...more] = positionals;
    if (file === undefined || more.length > 0) {
      throw new UsageError(`replay: expected one FILE, got ${positionals.length}`);
    }
    if (values.model === undefined) throw new UsageError("replay: expected --model MODEL");
    const tolerance = numberIn("tolerance", values.tolerance);
    const numClasses = numberIn("num-classes", values["num-classes"]);
    const recording = await readRecording(file);
    const model = await modelOf(values.model, recording, numClasses);
    const result = await replay(model, recording, { tolerance });
    process.stdout.write(`${file}: ${result}\n`);
    return result.agrees ? 0 : 1;
  },
};

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`replay: ${error instanceof Error ? error.message : error}`);
  }
}

function numberIn(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (text !== "" && number > 0) return number;
  throw new UsageError(`replay: expected --${option} to be a number above 0, got ${text}`);
}

/** A named model gets the recorded modes; one of a file is in the modes in which the file leaves it. */
async function modelOf(
  name: string,
  { layers }: Recording,
  numClasses: number | undefined,
): Promise<ReplayModel> {
  if (!Object.hasOwn(named, name)) return modelIn(name);
  const model = named[name](numClasses === undefined ? {} : { numClasses });
  for (const [path, module] of model.namedModules()) {
    module.training = layers[path]?.training ?? true;
  }
  return model;
}

async function modelIn(path: string): Promise<ReplayModel> {
  let exported: { readonly model?: unknown; readonly createModel?: unknown };
  try {
    exported = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    throw new UsageError(
      `replay: cannot load ${path}: ${error instanceof Error ? error.message : error}`,
    );
  }
  const { model, createModel } = exported;
  const made: unknown = typeof createModel === "function" ? await createModel() : model;
  if (isModel(made)) return made;
  throw new UsageError(
    `replay: expected ${path} to export a model of this copy of evenkeel as model, or createModel() that returns one`,
  );
}

function isModel(value: unknown): value is ReplayModel {
  return value instanceof Module;
}

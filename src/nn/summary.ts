/** `nn.summary`: a model as a table, from a run that leaves no trace. */
import { defaultGenerator } from "../core/random.ts";
import { formatShape, type Shape } from "../core/shape.ts";
import { zeros } from "../tensor/create.ts";
import { noGrad, scope } from "../tensor/scope.ts";
import { Tensor } from "../tensor/tensor.ts";
import { isBatchNorm } from "./batch-norm.ts";
import { decide, type Frozen } from "./batch-norm-decision.ts";
import { type Watcher, watchCalls } from "./call.ts";
import { FrozenBatchNorm2d } from "./frozen-batch-norm.ts";
import type { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";

/** One module. */
export interface SummaryRow {
  /** Path, as in `namedModules()`; the model itself is "". */
  readonly name: string;
  /** Name of its class. */
  readonly kind: string;
  /** What ran in the same pass as this batch norm, see `nn.batchNormRelu`; null for other modules and where nothing did. */
  readonly fusedWith: "ReLU" | "sum + ReLU" | null;
  /** Shape of the last output; shapes in brackets for several tensors; null when the module did not run or gave no tensor. */
  readonly outputShape: string | null;
  /** Numbers in own parameters. What several modules share counts where it appears first. */
  readonly parameters: number;
  /** Numbers in own buffers, counted likewise. */
  readonly buffers: number;
  /** The mode it is in. */
  readonly mode: "train" | "eval";
  /** What further training would leave alone. */
  readonly frozen: Frozen;
}

/** A model in figures; as text, a table. */
export interface Summary {
  /** The modules, in the order of `namedModules()`. */
  readonly rows: readonly SummaryRow[];
  /** Numbers in all parameters, each once. */
  readonly parameters: number;
  /** Those that get gradients. */
  readonly trainable: number;
  /** Numbers in all buffers, each once. */
  readonly buffers: number;
  /** The table as text. */
  toString(): string;
}

/** Shape of the input, or an input; an array of them for a forward with several. */
export type SummaryInput = Shape | Tensor | readonly (Shape | Tensor)[];

/**
 * Every module with its output shape, its numbers of parameters and buffers, its mode, and what of it is frozen.
 *
 * The model runs once, on zeros for inputs given as shapes, in evaluation mode and without gradients: statistics, counters, gradients, modes and
 * the random generator are as before. Lazy layers stay lazy (a copy runs in their place). Hooks of the model run as in any call.
 * Throws: whatever the model's forward throws.
 *
 * @example
 * console.log(String(nn.summary(model, [1, 3, 224, 224])));
 */
export function summary(model: Module, input: SummaryInput): Summary {
  const modules = model.namedModules();
  const traces = traceCalls(model, inputsOf(model, input));
  const seen = new Set<unknown>();
  const rows = modules.map(([name, module], i) => rowOf(name, module, { ...traces[i], seen }));
  const total = (key: "parameters" | "buffers") => rows.reduce((sum, row) => sum + row[key], 0);
  const trainable = model
    .parameters()
    .reduce((sum, parameter) => sum + (parameter.requiresGrad ? parameter.size : 0), 0);
  const totals = { parameters: total("parameters"), trainable, buffers: total("buffers") };
  return { rows, ...totals, toString: () => format(rows, totals) };
}

function inputsOf(model: Module, input: SummaryInput): () => readonly Tensor[] {
  const { device = "cpu", dtype = "float32" } = model.parameters()[0] ?? {};
  const list = input instanceof Tensor || isShape(input) ? [input] : input;
  return () => list.map((item) => (item instanceof Tensor ? item : zeros(item, { device, dtype })));
}

function isShape(input: Exclude<SummaryInput, Tensor>): input is Shape {
  return input.every((item) => typeof item === "number");
}

type Trace = Pick<SummaryRow, "outputShape" | "fusedWith">;

/** What a run shows of each module, in the order of `namedModules()`. */
function traceCalls(model: Module, inputs: () => readonly Tensor[]): Trace[] {
  const isLazy = model.modules().some((module) => module.kind.startsWith("Lazy"));
  const subject = isLazy ? model.clone() : model;
  const modules = subject.modules();
  const shapes = new Map<Module, string | null>();
  const fused = new Map<Module, "ReLU" | "sum + ReLU">();
  const watcher: Watcher = {
    ended: (module, output) => shapes.set(module, describeShape(output)),
    fused: (bn, hasResidual) => fused.set(bn, hasResidual ? "sum + ReLU" : "ReLU"),
  };
  const modes = modules.map((module) => module.training);
  const generatorState = defaultGenerator.state();
  try {
    subject.eval();
    watchCalls(watcher, () => noGrad(() => scope(() => void subject.invoke(inputs()))));
  } finally {
    modules.forEach((module, i) => {
      module.training = modes[i];
    });
    defaultGenerator.restore(generatorState);
  }
  return modules.map((module) => ({
    outputShape: shapes.get(module) ?? null,
    fusedWith: fused.get(module) ?? null,
  }));
}

function describeShape(output: unknown): string | null {
  if (output instanceof Tensor) return formatShape(output.shape);
  if (typeof output !== "object" || output === null) return null;
  const parts = Object.values(output).map(describeShape);
  return `[${parts.filter((part) => part !== null).join(", ")}]`;
}

function rowOf(
  name: string,
  module: Module,
  { outputShape, fusedWith, seen }: Trace & { readonly seen: Set<unknown> },
): SummaryRow {
  const counts = { parameter: 0, buffer: 0 };
  for (const { kind, value } of module.ownState()) {
    if (value instanceof Tensor && seen.has(value)) continue;
    seen.add(value);
    counts[kind] += typeof value === "number" ? 1 : value.size;
  }
  return {
    name,
    kind: module.kind,
    fusedWith,
    outputShape,
    parameters: counts.parameter,
    buffers: counts.buffer,
    mode: module.training ? "train" : "eval",
    frozen: frozenOf(module),
  };
}

function frozenOf(module: Module): Frozen {
  if (module instanceof FrozenBatchNorm2d) return "yes";
  const parameters = module
    .ownState()
    .flatMap(({ value }) => (value instanceof Parameter ? [value] : []));
  const { learns: mayLearn, isTracking } = isBatchNorm(module) ? decide(module) : otherModule;
  const learns = mayLearn && parameters.some((parameter) => parameter.requiresGrad);
  if (!isBatchNorm(module) || module.runningMean === null) {
    if (parameters.length === 0) return null;
    return learns ? "no" : "yes";
  }
  if (isTracking) return learns || parameters.length === 0 ? "no" : "weights only";
  return learns ? "statistics only" : "yes";
}

/** What `decide` says of batch norm, for modules without statistics. */
const otherModule = { learns: true, isTracking: false };

/** "bn2 (BatchNorm2d + sum + ReLU)", indented by depth. */
function labelOf({ name, kind, fusedWith }: SummaryRow): string {
  const passes = fusedWith === null ? kind : `${kind} + ${fusedWith}`;
  return name === "" ? kind : `${"  ".repeat(name.split(".").length)}${name} (${passes})`;
}

const headings = ["module", "output shape", "parameters", "buffers", "mode", "frozen"] as const;

function format(
  rows: readonly SummaryRow[],
  totals: { readonly parameters: number; readonly trainable: number; readonly buffers: number },
): string {
  const count = (n: number) => (n === 0 ? "-" : n.toLocaleString("en-US"));
  const cells = rows.map((row) => [
    labelOf(row),
    row.outputShape ?? "-",
    count(row.parameters),
    count(row.buffers),
    row.mode,
    row.frozen ?? "-",
  ]);
  const table = [[...headings], ...cells];
  const widths = headings.map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const lines = table.map((row) =>
    row
      .map((cell, column) =>
        column === 2 || column === 3 ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
      )
      .join("  ")
      .trimEnd(),
  );
  const { parameters, trainable, buffers } = totals;
  const fused = rows.filter(({ fusedWith }) => fusedWith !== null).length;
  return [
    ...lines,
    ...(fused === 0
      ? []
      : [`batch norms that run in one pass with what follows their "+": ${fused}`]),
    `${parameters.toLocaleString("en-US")} parameters, ${trainable.toLocaleString("en-US")} of them trainable; ${buffers.toLocaleString("en-US")} numbers in buffers`,
  ].join("\n");
}

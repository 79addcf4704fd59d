/** A run that `tools/record.py` wrote, read and checked. */
import * as checkpoint from "../checkpoint/index.ts";
import type { Entry } from "../core/entry.ts";
import { hostNumbers, isFileEntry } from "../nn/state-values.ts";
import { UsageError } from "./usage-error.ts";

/** One optimizer step. */
export interface RecordedStep {
  readonly x: Entry;
  readonly y: Entry;
  /** What layers without submodules gave, in order of their calls. */
  readonly outputs: readonly { readonly name: string; readonly output: Entry }[];
  readonly loss: number;
  /** Running statistics after the step. */
  readonly buffers: Dict<Entry>;
  /** Options of the optimizer's groups in this step, by PyTorch's names. */
  readonly groups: readonly Dict<checkpoint.Plain>[];
}

/** What a layer was in PyTorch. */
export interface RecordedLayer {
  /** As PyTorch prints it. */
  readonly text: string;
  readonly training: boolean;
}

export interface Recording {
  /** Before the first step. */
  readonly initial: checkpoint.StateDict;
  readonly optimizer: {
    readonly name: string;
    /** Names of the parameters of each group. */
    readonly parameters: readonly (readonly string[])[];
    readonly state: Dict<checkpoint.Plain>;
  };
  readonly loss: { readonly name: string; readonly options: Dict<checkpoint.Plain> };
  readonly layers: Dict<RecordedLayer>;
  readonly steps: readonly RecordedStep[];
  /** After the last step. */
  readonly final: Dict<Entry>;
}

export type Dict<Value> = Readonly<Record<string, Value>>;

/** Throws UsageError for a file of something else, CheckpointError for a damaged one. */
export async function readRecording(source: string | Uint8Array | ArrayBuffer): Promise<Recording> {
  const initial = await checkpoint.read(source);
  const { rest } = initial;
  const about = dictIn(rest, "about");
  const optimizer = dictIn(about, "optimizer");
  const loss = dictIn(about, "loss");
  return {
    initial,
    optimizer: {
      name: textIn(optimizer, "name"),
      parameters: listIn(optimizer, "parameters").map((names) => listOf(names).map(String)),
      state: dictIn(optimizer, "state"),
    },
    loss: { name: textIn(loss, "name"), options: dictIn(loss, "options") },
    layers: mapDict(dictIn(about, "layers"), (layer) => {
      const { text, training } = dictOf(layer);
      return { text: String(text), training: training === true };
    }),
    steps: listIn(rest, "steps").map((step) => recordedStep(dictOf(step))),
    final: mapDict(dictIn(rest, "final"), entryOf),
  };
}

function recordedStep(step: Dict<checkpoint.Plain>): RecordedStep {
  return {
    x: entryOf(step.x),
    y: entryOf(step.y),
    outputs: listIn(step, "outputs").map((pair) => {
      const [name, output] = listOf(pair);
      return { name: String(name), output: entryOf(output) };
    }),
    loss: typeof step.loss === "number" ? step.loss : reject("a loss in every step"),
    buffers: mapDict(dictIn(step, "buffers"), entryOf),
    groups: listIn(step, "groups").map((group) => dictOf(group)),
  };
}

/** Values of an entry and its shape. */
export function hostOf(entry: Entry) {
  return { shape: entry.shape, values: hostNumbers(entry) };
}

function mapDict<From, To>(dict: Dict<From>, change: (value: From) => To): Dict<To> {
  return Object.fromEntries(Object.entries(dict).map(([key, value]) => [key, change(value)]));
}

function dictIn(dict: Dict<checkpoint.Plain>, key: string): Dict<checkpoint.Plain> {
  return dictOf(dict[key], `a dict "${key}"`);
}

function listIn(dict: Dict<checkpoint.Plain>, key: string): readonly checkpoint.Plain[] {
  return listOf(dict[key], `a list "${key}"`);
}

function textIn(dict: Dict<checkpoint.Plain>, key: string): string {
  const value = dict[key];
  return typeof value === "string" ? value : reject(`text as "${key}"`);
}

function dictOf(value: checkpoint.Plain | undefined, what = "dicts"): Dict<checkpoint.Plain> {
  const isDict = typeof value === "object" && value !== null && !isFileEntry(value);
  if (isDict && !isList(value)) return value;
  return reject(what);
}

function listOf(value: checkpoint.Plain | undefined, what = "lists"): readonly checkpoint.Plain[] {
  return isList(value) ? value : reject(what);
}

/** `Array.isArray` does not know readonly arrays. */
function isList(value: checkpoint.Plain | undefined): value is readonly checkpoint.Plain[] {
  return Array.isArray(value);
}

function entryOf(value: checkpoint.Plain | undefined): Entry {
  return isFileEntry(value) ? value : reject("tensors");
}

function reject(what: string): never {
  throw new UsageError(`this is no recording of tools/record.py: it lacks ${what}`);
}

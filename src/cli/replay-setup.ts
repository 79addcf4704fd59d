/** The recorded optimizer and loss, made of ours. */
import type { Entry } from "../core/entry.ts";
import * as loss from "../nn/loss.ts";
import type { Module } from "../nn/module.ts";
import { hostNumbers, isFileEntry } from "../nn/state-values.ts";
import { Adam, AdamW, type Optimizer, RMSprop, SGD } from "../optim/index.ts";
import { camelKey, type StateValue } from "../optim/state-value.ts";
import { tensor } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Dict, Recording } from "./recording.ts";
import { UsageError } from "./usage-error.ts";

type Loss = Module & ((output: Tensor, target: Tensor) => Tensor);

const optimizers = { SGD, Adam, AdamW, RMSprop };

const losses: Dict<new (options: object) => Loss> = {
  BCEWithLogitsLoss: loss.BCEWithLogitsLoss,
  CrossEntropyLoss: loss.CrossEntropyLoss,
  HuberLoss: loss.HuberLoss,
  L1Loss: loss.L1Loss,
  MSELoss: loss.MSELoss,
  NLLLoss: loss.NLLLoss,
  SmoothL1Loss: loss.SmoothL1Loss,
};

/** How PyTorch computes a step; what it computes is the same. */
const withoutEffect = [
  "foreach",
  "fused",
  "capturable",
  "differentiable",
  "decoupled_weight_decay",
];

export function lossOf({ loss: { name, options } }: Recording): Loss {
  const known = losses[name];
  if (known === undefined) throw new UsageError(unknown("loss", name, Object.keys(losses)));
  const given = Object.entries(options).map(([key, value]) => [
    camelKey(key),
    isFileEntry(value) ? tensorOf(value) : value,
  ]);
  return new known(Object.fromEntries(given.filter(([, value]) => value !== null)));
}

/** With the recorded groups, options and state. */
export function optimizerOf(model: Module, { optimizer }: Recording): Optimizer {
  const { name, parameters, state } = optimizer;
  const make = Object.entries(optimizers).find(([known]) => known === name)?.[1];
  if (make === undefined) {
    throw new UsageError(unknown("optimizer", name, Object.keys(optimizers)));
  }
  const byName = new Map(model.namedParameters());
  const groups = parameters.map((names) => ({
    params: names.map((key) => {
      const parameter = byName.get(key);
      if (parameter !== undefined) return parameter;
      throw new UsageError(`the recorded optimizer holds ${key}, which this model lacks`);
    }),
  }));
  const made: Optimizer = new make(groups);
  made.loadStateDict(state as StateValue);
  return made;
}

/** Gives the groups the options that they had in a step: schedules change them in between. */
export function setOptions(
  optimizer: Optimizer,
  groups: Recording["steps"][number]["groups"],
): void {
  const { state, param_groups } = optimizer.stateDict();
  const changed = groups.map((options, i) => {
    rejectUnknown(optimizer, options);
    return { ...options, params: param_groups[i].params };
  });
  optimizer.loadStateDict({ state, param_groups: changed } as StateValue);
}

function rejectUnknown(optimizer: Optimizer, options: Dict<unknown>): void {
  for (const [key, value] of Object.entries(options)) {
    const isOff = value === null || value === false || value === 0;
    const isKnown = camelKey(key) in optimizer.defaults || key === "initial_lr";
    if (isOff || isKnown || withoutEffect.includes(key)) continue;
    throw new UsageError(`the recorded optimizer has ${key}=${value}, which ours does not know`);
  }
}

function unknown(what: string, name: string, known: readonly string[]): string {
  return `the recorded ${what} is ${name}; replay knows ${known.join(", ")}`;
}

/** A tensor of the entry's values: floats as float32, whole numbers as int32. */
export function tensorOf(entry: Entry): Tensor {
  const { shape, dtype } = entry;
  const numbers = hostNumbers(entry);
  const isWhole = /int|bool/.test(dtype);
  return tensor(isWhole ? Int32Array.from(numbers) : Float32Array.from(numbers), { shape });
}

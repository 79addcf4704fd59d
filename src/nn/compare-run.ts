/** A run of a model that leaves no trace and remembers what every layer was given and gave. */
import { defaultGenerator } from "../core/random.ts";
import { noGrad, scope } from "../tensor/scope.ts";
import { backendFor, operandOf, Tensor } from "../tensor/tensor.ts";
import { isBatchNorm } from "./batch-norm.ts";
import type { HostValues } from "./difference.ts";
import type { HookHandle } from "./hooks.ts";
import type { Module } from "./module.ts";

/** One call of a layer. */
export interface Call {
  /** Path, as in `namedModules()`. */
  readonly name: string;
  /** Which call of this module it was, from 1. */
  readonly count: number;
  readonly module: Module;
  readonly inputs: readonly unknown[];
  readonly output: unknown;
  /** Where random numbers stood before the call. */
  readonly generatorState: ReturnType<typeof defaultGenerator.state>;
}

/** Calls of leaf modules and of the model itself, in the order in which they ended. Their tensors live until `dispose`. */
export interface ModelRun {
  readonly calls: readonly Call[];
  dispose(): void;
}

/** Calls the model as it is; statistics, counters, modes, hooks and random numbers are afterwards as before. */
export function runWithoutTrace(model: Module, x: Tensor): ModelRun {
  const calls: Call[] = [];
  const kept: Tensor[] = [];
  // Memory is shared: an input is most often the output of the layer before.
  const keep = (value: unknown) =>
    mapTensors(value, (tensor) => {
      const view = tensor.detach().keep();
      kept.push(view);
      return view;
    });
  const hooks = model
    .namedModules()
    .filter(([name, module]) => name === "" || module.namedChildren().length === 0)
    .flatMap(([name, module]) => watch(name, module, { calls, keep }));
  const dispose = () => {
    for (const tensor of kept) tensor.dispose();
  };
  try {
    withoutTrace(model, () => void model.invoke([x]));
  } catch (error) {
    dispose();
    throw error;
  } finally {
    for (const hook of hooks) hook.remove();
  }
  return { calls, dispose };
}

function watch(
  name: string,
  module: Module,
  { calls, keep }: { readonly calls: Call[]; keep(value: unknown): unknown },
): HookHandle[] {
  let count = 0;
  const states: Call["generatorState"][] = [];
  return [
    module.registerForwardPreHook(() => {
      states.push(defaultGenerator.state());
    }),
    module.registerForwardHook((_module, args, output) => {
      const generatorState = states.pop() ?? defaultGenerator.state();
      const inputs = args.map(keep);
      calls.push({ name, count: ++count, module, inputs, output: keep(output), generatorState });
    }),
  ];
}

/** Runs `fn` in a scope without gradients, and puts back what calls of `root` change. */
export function withoutTrace<T>(root: Module, fn: () => T): T {
  const generatorState = defaultGenerator.state();
  const restores = root.modules().map(remember);
  try {
    return noGrad(() => scope(fn));
  } finally {
    for (const restore of restores) restore();
    defaultGenerator.restore(generatorState);
  }
}

/** Takes the module's mode and buffers, values and identity; gives what puts them back. */
function remember(module: Module): () => void {
  const { training } = module;
  const buffers = module.ownState().filter(({ kind }) => kind === "buffer");
  const copies = buffers.map(({ value }) =>
    value instanceof Tensor ? value.clone().keep() : value,
  );
  const skipped = isBatchNorm(module) ? module.skippedBatches : null;
  return () => {
    module.training = training;
    if (isBatchNorm(module)) module.skippedBatches = skipped;
    for (const [i, { name, value }] of buffers.entries()) {
      if (Reflect.get(module, name) !== value) Reflect.set(module, name, value);
      const copy = copies[i];
      if (!(copy instanceof Tensor) || !(value instanceof Tensor)) continue;
      backendFor(value).copy(operandOf(copy), operandOf(value));
      copy.dispose();
    }
  };
}

/** The same structure of arrays and plain objects with every tensor replaced. */
export function mapTensors(value: unknown, change: (tensor: Tensor) => Tensor): unknown {
  if (value instanceof Tensor) return change(value);
  if (Array.isArray(value)) return value.map((item) => mapTensors(item, change));
  if (typeof value !== "object" || value === null) return value;
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  const pairs = Object.entries(value).map(([key, item]) => [key, mapTensors(item, change)]);
  return Object.fromEntries(pairs);
}

/** The values of every tensor in arrays and plain objects, in order. */
export function hostValues(value: unknown): HostValues[] {
  const found: HostValues[] = [];
  mapTensors(value, (tensor) => {
    found.push({ shape: tensor.shape, values: tensor.dataSync() });
    return tensor;
  });
  return found;
}

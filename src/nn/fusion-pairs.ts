/** Which batch norm stands right behind which layer: seen in a run, since nothing else tells what a forward does. */
import { noGrad, scope } from "../tensor/scope.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type AnyBatchNorm, isBatchNorm } from "./batch-norm.ts";
import { batchedRank, channelsOf, type Foldable, isFoldable } from "./fold.ts";
import { internals } from "./internals.ts";
import type { Module } from "./module.ts";
import { walk } from "./tree.ts";

/** A batch norm that could be folded into the layer before it. */
export interface Pair {
  readonly layer: Foldable;
  readonly layerName: string;
  readonly bn: AnyBatchNorm;
  readonly bnName: string;
}

/** A batch norm that stays, and why. */
export interface RefusedBatchNorm {
  /** Path of the batch norm. */
  readonly batchNorm: string;
  /** Why it stays. */
  readonly reason: string;
}

/** What a run showed of the modules without children. Tensors are told by identity; their memory has ended. */
interface Trace {
  readonly calls: Map<Module, number>;
  readonly inputOf: Map<Module, unknown>;
  readonly outputOf: Map<Module, unknown>;
  readonly makerOf: Map<unknown, Module>;
  readonly takersOf: Map<unknown, Module[]>;
}

export function findPairs(model: Module, args: readonly unknown[]) {
  const hooked = new Set(model.modules().filter(hasHooks));
  const trace = traceRun(model, args);
  const pairs: Pair[] = [];
  const refused: RefusedBatchNorm[] = [];
  const context = { trace, hooked, names: namesOf(model) };
  for (const [bnName, bn] of model.namedModules()) {
    if (!isBatchNorm(bn)) continue;
    const found = judge(bn, context);
    if (typeof found === "string") refused.push({ batchNorm: bnName, reason: found });
    else pairs.push({ ...found, bn, bnName });
  }
  return { pairs, refused };
}

function hasHooks(module: Module): boolean {
  return module[internals].hooks.size > 0 || module[internals].preHooks.size > 0;
}

/** All paths of each module. */
function namesOf(model: Module): Map<Module, string[]> {
  const names = new Map<Module, string[]>();
  for (const [name, module] of walk(model, "")) {
    names.set(module, [...(names.get(module) ?? []), name]);
  }
  return names;
}

function traceRun(model: Module, args: readonly unknown[]): Trace {
  const trace: Trace = {
    ...{ calls: new Map(), inputOf: new Map(), outputOf: new Map() },
    ...{ makerOf: new Map(), takersOf: new Map() },
  };
  const leaves = model.modules().filter((module) => module.namedChildren().length === 0);
  const hooks = leaves.flatMap((leaf) => [
    leaf.registerForwardPreHook((_leaf, inputs) => {
      trace.calls.set(leaf, (trace.calls.get(leaf) ?? 0) + 1);
      trace.inputOf.set(leaf, inputs[0]);
      for (const input of inputs) {
        trace.takersOf.set(input, [...(trace.takersOf.get(input) ?? []), leaf]);
      }
    }),
    leaf.registerForwardHook((_leaf, _inputs, output) => {
      trace.outputOf.set(leaf, output);
      trace.makerOf.set(output, leaf);
    }),
  ]);
  try {
    noGrad(() => scope(() => void model.invoke(args)));
  } finally {
    for (const hook of hooks) hook.remove();
  }
  return trace;
}

interface Context {
  readonly trace: Trace;
  readonly hooked: ReadonlySet<Module>;
  readonly names: ReadonlyMap<Module, readonly string[]>;
}

/** The layer to fold into, or why there is none. */
function judge(
  bn: AnyBatchNorm,
  { trace, hooked, names }: Context,
): Pick<Pair, "layer" | "layerName"> | string {
  const isShared = (module: Module) =>
    (trace.calls.get(module) ?? 0) > 1 || (names.get(module) ?? []).length > 1;
  if (!trace.calls.has(bn)) return "it did not run on the example";
  if (isShared(bn)) return "it is shared: it runs twice or has two places";
  if (bn.runningMean === null || bn.runningVar === null) return "it has no running statistics";
  const input = trace.inputOf.get(bn);
  const layer = trace.makerOf.get(input);
  if (layer === undefined || !isFoldable(layer)) return withoutLayer(bn, trace);
  const layerName = names.get(layer)?.[0] ?? "";
  if (isShared(layer)) return `${layerName} is shared: it runs twice or has two places`;
  const other = trace.takersOf.get(input)?.find((taker) => taker !== bn);
  if (other !== undefined) {
    return `the output of ${layerName} goes to ${names.get(other)?.[0]}, too`;
  }
  if (hooked.has(bn) || hooked.has(layer)) return "it or the layer before it has hooks";
  const fits = input instanceof Tensor && input.shape.length === batchedRank(layer);
  if (!fits || bn.runningMean.size !== channelsOf(layer)) {
    return `axis 1, which it normalises, does not hold the channels of ${layerName}`;
  }
  return { layer, layerName };
}

function withoutLayer(bn: AnyBatchNorm, { outputOf, takersOf }: Trace): string {
  const takers = takersOf.get(outputOf.get(bn)) ?? [];
  return takers.some(isFoldable)
    ? "it stands before a convolution or linear layer, not right behind one"
    : "its input does not come straight from a convolution or linear layer";
}

/** `nn.compare`: where two models that should agree part, and why. */
import { ArgumentError } from "../core/errors.ts";
import { checkTensor } from "../ops/check.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { isBatchNorm } from "./batch-norm.ts";
import { type Cause, causesOf, randomCause } from "./compare-causes.ts";
import { type Fact, factsOf } from "./compare-facts.ts";
import { type Call, hostValues, type ModelRun, runWithoutTrace } from "./compare-run.ts";
import { type ComparedLayer, type Comparison, formatComparison } from "./comparison.ts";
import { differenceOfAll, roundingBound } from "./difference.ts";
import type { Module } from "./module.ts";
import type { BatchModel } from "./recalibrate.ts";

/** What `nn.compare` may be told. */
export interface CompareOptions {
  /** Largest relative difference of an output that still agrees. Default: 6e-6 for the first layer, growing with the square root of its position. */
  readonly tolerance?: number;
}

/**
 * Runs two models on the same input and names the first layer where they part, by how much, and what explains it: weights, running
 * statistics, mode, eps, another option, or an input that differed already. Why does a loaded model give other results?
 *
 * Layers are matched by their paths, call by call; a wrapper's prefix ("module.") is taken off. Each cause is tried: B's layer runs on
 * A's input with A's value of that one thing, and `explains` says which part of the difference is gone. For models whose inputs are prepared
 * differently, `x` is a pair.
 *
 * Both run in the modes they are in, batch norm in training included, without gradients and from the same random numbers. Statistics, counters, modes,
 * hooks and the random generator are as before, bit for bit.
 * Numerics: the default tolerance is 100 units in the last place of float32, times the square root of the layer's position: rounding
 * of one layer, added up like a random walk.
 * Cost: the outputs of all layers of both models are held until the end.
 * Throws: ArgumentError for lazy layers that have not seen a batch, or a tolerance that is no positive number; whatever a forward throws.
 *
 * @example
 * console.log(String(nn.compare(trained, loaded, x)));
 */
export function compare(
  modelA: BatchModel,
  modelB: BatchModel,
  x: Tensor | readonly [Tensor, Tensor],
  { tolerance }: CompareOptions = {},
): Comparison {
  const inputs: readonly [Tensor, Tensor] = "shape" in x ? [x, x] : x;
  checkArguments([modelA, modelB], inputs, tolerance);
  const a = runWithoutTrace(modelA, inputs[0]);
  try {
    const b = runWithoutTrace(modelB, inputs[1]);
    try {
      const pairing = paired(a.calls, b.calls);
      const layers = pairing.pairs.map((pair, i) =>
        comparedLayer(pair, tolerance ?? roundingBound(i + 1)),
      );
      const at = layers.findIndex(({ agrees }) => !agrees);
      const again = () => runWithoutTrace(modelA, inputs[0]);
      const causes = at < 0 ? [] : causesAt(at, { pairing, layers, a, again });
      return finished({ layers, parting: layers[at] ?? null, causes }, pairing);
    } finally {
      b.dispose();
    }
  } finally {
    a.dispose();
  }
}

function checkArguments(
  models: readonly Module[],
  inputs: readonly Tensor[],
  tolerance: number | undefined,
): void {
  for (const input of inputs) checkTensor("compare", input);
  if (tolerance !== undefined && !(tolerance > 0)) {
    const expected = "tolerance to be a number above 0";
    throw new ArgumentError({ op: "compare", expected, actual: String(tolerance) });
  }
  const lazy = models
    .flatMap((model) => model.namedModules())
    .find(([, module]) => module.kind.startsWith("Lazy"));
  if (lazy === undefined) return;
  throw new ArgumentError({
    op: "compare",
    expected: "models whose layers know their sizes",
    actual: `${lazy[0]} (${lazy[1].kind})`,
    hint: "call the model once, or load a state dict",
  });
}

/** A call of each model, of the layers of one name. */
interface Pair {
  readonly name: string;
  readonly a: Call;
  readonly b: Call;
}

interface Pairing {
  readonly pairs: readonly Pair[];
  readonly onlyInA: readonly string[];
  readonly onlyInB: readonly string[];
}

function paired(callsA: readonly Call[], callsB: readonly Call[]): Pairing {
  const [prefixA, prefixB] = prefixes(callsA, callsB);
  const keyOf = ({ name, count }: Call, prefix: string) => {
    const path = name.startsWith(prefix) ? name.slice(prefix.length) : name;
    return count === 1 ? path : `${path} (call ${count})`;
  };
  const inB = new Map(callsB.map((call) => [keyOf(call, prefixB), call]));
  const pairs: Pair[] = [];
  const onlyInA: string[] = [];
  for (const a of callsA) {
    const key = keyOf(a, prefixA);
    const b = inB.get(key);
    inB.delete(key);
    if (b === undefined) onlyInA.push(key);
    else pairs.push({ name: keyOf({ ...a, count: 1 }, prefixA), a, b });
  }
  return { pairs, onlyInA, onlyInB: [...inB.keys()] };
}

/** What a wrapper puts in front of one model's paths: the first layer of one ends in the other's. */
function prefixes(callsA: readonly Call[], callsB: readonly Call[]): readonly [string, string] {
  const [a, b] = [callsA[0].name, callsB[0].name];
  if (b !== "" && a.endsWith(`.${b}`)) return [a.slice(0, -b.length), ""];
  if (a !== "" && b.endsWith(`.${a}`)) return ["", b.slice(0, -a.length)];
  return ["", ""];
}

function comparedLayer({ name, a, b }: Pair, tolerance: number): ComparedLayer {
  const { largest, relative, remark } = differenceOfAll(hostValues(a.output), hostValues(b.output));
  const inputRelative = differenceOfAll(hostValues(a.inputs), hostValues(b.inputs)).relative;
  const agrees = relative <= tolerance;
  const figures = { largest, relative, inputRelative, tolerance, agrees, remark };
  return { name, call: a.count, kind: a.module.kind, ...figures };
}

interface PartingPlace {
  readonly pairing: Pairing;
  readonly layers: readonly ComparedLayer[];
  readonly a: ModelRun;
  /** Runs A again. */
  again(): ModelRun;
}

function causesAt(at: number, { pairing, layers, a, again }: PartingPlace): readonly Cause[] {
  const pair = pairing.pairs[at];
  const second = again();
  const outputAgain = second.calls[a.calls.indexOf(pair.a)]?.output;
  const change = differenceOfAll(hostValues(pair.a.output), hostValues(outputAgain));
  second.dispose();
  if (change.largest > 0) return [randomCause()];
  const { inputRelative, tolerance } = layers[at];
  const isNew = inputRelative > tolerance;
  return causesOf(pair.a, pair.b, isNew ? inputOrigin(at, pairing) : "from rounding before");
}

/** Why an input can differ although all that was compared before agrees. */
function inputOrigin(at: number, { onlyInA, onlyInB }: Pairing): string {
  if (onlyInA.length + onlyInB.length > 0)
    return "by the models' input or layers of one model only";
  return at === 0 ? "before the first layer" : "by code between the layers, which agree up to here";
}

function finished(
  found: Pick<Comparison, "layers" | "parting" | "causes">,
  { pairs, onlyInA, onlyInB }: Pairing,
): Comparison {
  const agrees = found.parting === null;
  const content = { ...found, agrees, differences: allDifferences(pairs), onlyInA, onlyInB };
  return { ...content, toString: () => formatComparison(content) };
}

/** Facts of all layers, those of one sense counted together. */
function allDifferences(pairs: readonly Pair[]): string[] {
  const groups = new Map<string, { readonly text: string; readonly names: string[] }>();
  for (const { name, a, b } of pairs) {
    if (a.count > 1 || name === "") continue;
    for (const fact of factsOf(a.module, b.module)) {
      if (fact.what === "mode" && !readsMode(a.module)) continue;
      const text = describeFact(a.module, fact);
      const { names } = groups.get(text) ?? { names: [] };
      groups.set(text, { text, names: [...names, name] });
    }
  }
  return Array.from(groups.values(), ({ text, names }) => {
    const few = names.slice(0, 3).join(", ");
    return `${names.length} ${text} (${names.length > 3 ? `${few}, ...` : few})`;
  });
}

/** The library's other layers do the same in both modes. */
function readsMode(module: Module): boolean {
  return isBatchNorm(module) || module.kind.startsWith("Dropout");
}

function describeFact({ kind }: Module, { what, detail, properties }: Fact): string {
  if (what === "parameters" || what === "statistics") {
    return `${kind} differ in ${properties.join(", ")}`;
  }
  return `${kind} differ in ${what}: ${detail}`;
}

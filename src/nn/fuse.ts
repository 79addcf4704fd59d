/** `nn.fuseConvBatchNorm`: a model for inference without its batch norms. */
import { ArgumentError } from "../core/errors.ts";
import { abs, sub } from "../ops/elementwise.ts";
import { max } from "../ops/reduce.ts";
import { noGrad, scope } from "../tensor/scope.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type FoldedParameters, fold } from "./fold.ts";
import { findPairs, type Pair, type RefusedBatchNorm } from "./fusion-pairs.ts";
import { guessInput } from "./guess-input.ts";
import type { Module } from "./module.ts";
import { replaceModules } from "./replace-modules.ts";
import { Identity } from "./shape.ts";
import { formatTable } from "./table.ts";

/** On what a fold is tried, and what is done with it. */
export interface FuseOptions {
  /**
   * Input of the model, or the array of its arguments: shows what stands behind what, and how exact the fold is. Default: random numbers for
   * the channels of the model's first layer, in the first of the usual sizes that its forward takes.
   */
  readonly example?: Tensor | readonly unknown[];
  /** Largest error allowed of a pair and of the model, as a share of the largest output. Default 1e-4. */
  readonly tolerance?: number;
  /** Change `model` itself; optimizers then hold parameters that are no longer in it. Default false: a clone. */
  readonly inPlace?: boolean;
  /** Only report. Default false. */
  readonly preview?: boolean;
}

/** A layer with the batch norm that was folded into it. */
export interface FoldedPair {
  /** Path of the convolution or linear layer. */
  readonly layer: string;
  /** Path of the batch norm, where an Identity is now. */
  readonly batchNorm: string;
  /** Largest difference between the outputs of the pair and of the folded layer, given the same input. */
  readonly error: number;
  /** Largest absolute output of the pair. */
  readonly largest: number;
}

/** What a fold came to; as text, a table. */
export interface Fusion<M extends Module> {
  /** The model with the folded layers; with `preview` the one that was given, unchanged. */
  readonly model: M;
  /** What was folded. */
  readonly folded: readonly FoldedPair[];
  /** The batch norms that stay. */
  readonly refused: readonly RefusedBatchNorm[];
  /** Largest error of the model's output on the example, as a share of the largest output. */
  readonly outputError: number;
  /** The table as text. */
  toString(): string;
}

/** A pair with what it would become. */
interface Candidate extends Pair {
  readonly parameters: FoldedParameters;
}

/**
 * Folds every batch norm that stands right behind a convolution, transposed convolution or linear layer into that layer's weight and bias, and puts
 * nn.Identity in its place: the same outputs in evaluation with fewer passes over memory. Paths of the other modules stay; folded layers always
 * have a bias.
 *
 * Pairs are found by running the model on `example`: the batch norm takes the very tensor that the layer gave, and no other module does.
 * Each pair is tried beside the original before anything is replaced; then the whole model, which shows uses of a layer's output that are
 * not modules. What cannot be folded stays, with the reason in `refused`.
 *
 * Numerics: weights are computed in float64 and rounded once. A running variance near 0 magnifies what the layer before it rounds.
 * Throws: ArgumentError if a module is in training mode; without an example, if no guess fits; if the model's output changes by more than `tolerance` though no pair alone is
 * to blame; for a tolerance below 0; whatever the forward throws.
 * Unlike PyTorch: torch.nn.utils.fusion folds one pair that it is given and checks nothing; with groups, its transposed convolutions fail or
 * come out wrong.
 * Source: PyTorch torch.nn.utils.fusion; as there, weights keep `requiresGrad`, and a bias that was not there does not require grad.
 *
 * @example
 * const { model: fast } = await nn.fuseConvBatchNorm(model.eval(), { example: x });
 */
export async function fuseConvBatchNorm<M extends Module>(
  model: M,
  { example, tolerance = 1e-4, inPlace = false, preview = false }: FuseOptions = {},
): Promise<Fusion<M>> {
  check(model, tolerance);
  const args = argumentsFor(model, example);
  const { pairs, refused } = findPairs(model, args);
  const candidates: Candidate[] = [];
  for (const pair of pairs) {
    candidates.push({ ...pair, parameters: await fold(pair.layer, pair.bn) });
  }
  const tried = await tryPairs(model, candidates, args);
  const exact = candidates.filter((_, i) => tried[i].error <= tolerance * tried[i].largest);
  const { accepted, clone, outputError } = await foldClone(model, exact, { args, tolerance });
  if (inPlace && !preview) foldInto(model, model, accepted);
  const names = new Set(accepted.map(({ bnName }) => bnName));
  const rest = candidates.filter(({ bnName }) => !names.has(bnName));
  return fusionOf(inPlace || preview ? model : clone, {
    folded: tried.filter(({ batchNorm }) => names.has(batchNorm)),
    refused: [...refused, ...rest.map((candidate) => refusalOf(candidate, exact))],
    outputError,
  });
}

function argumentsFor(model: Module, example: FuseOptions["example"]): readonly unknown[] {
  if (example !== undefined) return example instanceof Tensor ? [example] : example;
  const guess = guessInput(model);
  if (guess !== null) return [guess];
  throw new ArgumentError({
    op: "fuseConvBatchNorm",
    expected: "an example of the model's input",
    actual: "none, and its forward takes none of the usual shapes",
    hint: "pass { example: x }",
  });
}

interface Trial {
  readonly args: readonly unknown[];
  readonly tolerance: number;
}

/** A clone with all pairs folded that leave the model's output as it is. */
async function foldClone<M extends Module>(
  model: M,
  pairs: readonly Candidate[],
  { args, tolerance }: Trial,
) {
  const before = await outputsOf(model, args);
  const attempt = async (accepted: readonly Candidate[]) => {
    const clone = foldInto(model.clone(), model, accepted);
    const outputError = errorBetween(await outputsOf(clone, args), before);
    return { accepted, clone, outputError };
  };
  const all = await attempt(pairs);
  if (all.outputError <= tolerance) return all;
  const harmless: Candidate[] = [];
  for (const pair of pairs) {
    if ((await attempt([pair])).outputError <= tolerance) harmless.push(pair);
  }
  const some = await attempt(harmless);
  if (some.outputError <= tolerance) return some;
  throw new ArgumentError({
    op: "fuseConvBatchNorm",
    expected: `the model's output to change by at most ${tolerance} of its largest value`,
    actual: String(some.outputError),
    hint: "no pair alone changes it so much; pass a larger tolerance if that is rounding",
  });
}

function check(model: Module, tolerance: number): void {
  const op = "fuseConvBatchNorm";
  const training = model.namedModules().find(([, module]) => module.training);
  if (training !== undefined) {
    const [name, { kind }] = training;
    throw new ArgumentError({
      op,
      expected: "a model in evaluation mode",
      actual: `${name === "" ? kind : `${name} (${kind})`} in training mode`,
      hint: "call model.eval() first: only running statistics can be folded",
    });
  }
  if (tolerance >= 0) return;
  throw new ArgumentError({ op, expected: "tolerance >= 0", actual: String(tolerance) });
}

/** Errors of all pairs from one run, each on what its layer is given there. */
async function tryPairs(
  model: Module,
  candidates: readonly Candidate[],
  args: readonly unknown[],
): Promise<FoldedPair[]> {
  const measured = new Map<Candidate, readonly [Tensor, Tensor]>();
  const hooks = candidates.flatMap((candidate) => {
    const trial = candidate.layer.clone();
    Object.assign(trial, candidate.parameters);
    let folded: unknown;
    return [
      candidate.layer.registerForwardHook((_layer, inputs) => {
        const output = trial.invoke(inputs);
        folded = output instanceof Tensor ? output.keep() : output;
      }),
      candidate.bn.registerForwardHook((_bn, _inputs, output) => {
        if (!(folded instanceof Tensor) || !(output instanceof Tensor)) return;
        const error = max(abs(sub(folded, output))).keep();
        measured.set(candidate, [error, max(abs(output)).keep()]);
        folded.dispose();
      }),
    ];
  });
  try {
    noGrad(() => scope(() => void model.invoke(args)));
  } finally {
    for (const hook of hooks) hook.remove();
  }
  return Promise.all(
    candidates.map(async (candidate) => {
      const scalars = measured.get(candidate) ?? [];
      const [error = Number.NaN, largest = Number.NaN] = await Promise.all(
        scalars.map(async (scalar) => (await scalar.data())[0]),
      );
      for (const scalar of scalars) scalar.dispose();
      return { layer: candidate.layerName, batchNorm: candidate.bnName, error, largest };
    }),
  );
}

/** Folds pairs of `model` in `root`, which is it or a clone of it. */
function foldInto<M extends Module>(root: M, model: M, pairs: readonly Candidate[]): M {
  const copies = root.modules();
  const copyOf = new Map(model.modules().map((module, i) => [module, copies[i]]));
  const norms = new Set(pairs.map(({ bn }) => copyOf.get(bn)));
  replaceModules(root, (module) => (norms.has(module) ? new Identity().eval() : null));
  for (const { layer, parameters } of pairs) {
    Object.assign(copyOf.get(layer) ?? layer, parameters);
  }
  return root;
}

async function outputsOf(model: Module, args: readonly unknown[]): Promise<ArrayLike<number>[]> {
  const tensors = noGrad(() => scope(() => tensorsIn(model.invoke(args))));
  const values = await Promise.all(tensors.map((t) => t.data()));
  const given = new Set(args);
  for (const t of tensors) if (!given.has(t)) t.dispose();
  return values;
}

function tensorsIn(output: unknown): Tensor[] {
  if (output instanceof Tensor) return [output];
  if (typeof output !== "object" || output === null) return [];
  return Object.values(output).flatMap(tensorsIn);
}

/** Largest difference as a share of the largest value, of the output where that is most. */
function errorBetween(
  outputs: readonly ArrayLike<number>[],
  expected: readonly ArrayLike<number>[],
): number {
  const shares = expected.map((values, i) => {
    let [difference, largest] = [0, 0];
    for (let j = 0; j < values.length; j++) {
      difference = Math.max(difference, Math.abs(outputs[i][j] - values[j]));
      largest = Math.max(largest, Math.abs(values[j]));
    }
    return difference === 0 ? 0 : difference / largest;
  });
  return Math.max(0, ...shares);
}

function refusalOf(candidate: Candidate, exact: readonly Candidate[]): RefusedBatchNorm {
  const { bnName, layerName } = candidate;
  const reason = exact.includes(candidate)
    ? `the model's output would change: something that is no module uses the output of ${layerName}, too`
    : `the folded ${layerName} gives other outputs than the pair`;
  return { batchNorm: bnName, reason };
}

function fusionOf<M extends Module>(
  model: M,
  parts: Pick<Fusion<M>, "folded" | "refused" | "outputError">,
): Fusion<M> {
  const { folded, refused, outputError } = parts;
  const rows = folded.map(({ layer, batchNorm, error, largest }) => [
    ...[batchNorm, layer, error.toPrecision(3), largest.toPrecision(3)],
  ]);
  const table = formatTable([["batch norm", "folded into", "error", "largest output"], ...rows]);
  const kept = refused.map(({ batchNorm, reason }) => `${batchNorm || "(model)"} stays: ${reason}`);
  const last = `the model's output changes by ${outputError.toPrecision(3)} of its largest value`;
  return { model, ...parts, toString: () => [table, ...kept, last].join("\n") };
}

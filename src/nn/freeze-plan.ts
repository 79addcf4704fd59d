/** What the next step of training will do to each batch norm layer, in words. */
import { forwardsToUpdate } from "./accumulate.ts";
import { type AnyBatchNorm, isBatchNorm } from "./batch-norm.ts";
import { averagingOf, type Decision, decide, hasFrozenStatistics } from "./batch-norm-decision.ts";
import { FrozenBatchNorm2d } from "./frozen-batch-norm.ts";
import type { Module } from "./module.ts";
import type { Parameter } from "./parameter.ts";

/** One layer, after `model.train()`, in a forward and its backward. */
export interface FreezePlanRow {
  /** Path, as in `namedModules()`. */
  readonly path: string;
  /** Name of its class. */
  readonly kind: string;
  /** What normalises; "nothing" where the call will throw. */
  readonly normalizesWith: "batch" | "running" | "nothing";
  /** Why these. */
  readonly reason: string;
  /** Weight of the batch in the running mean and variance; 0 while they stand still. */
  readonly factor: number;
  /** Whether the counter goes up by one. */
  readonly counts: boolean;
  /** Forwards until they do so, the next one included: 1, or more in a cycle of `batchesPerUpdate`. */
  readonly forwards: number;
  /** Which of weight and bias get gradients. */
  readonly gradients: readonly ("weight" | "bias")[];
  /** What holds which part still. */
  readonly frozenBy: readonly string[];
  /** What is probably not meant. */
  readonly warnings: readonly string[];
}

/** What training will do; as text, a paragraph for each layer. */
export interface FreezePlan {
  /** The layers, in the order of `namedModules()`. */
  readonly rows: readonly FreezePlanRow[];
  /** The plan in words. */
  toString(): string;
}

/**
 * Says of every batch norm layer what `model.train()` and the next forward and backward will do: which statistics normalise and why, what
 * moves and how far, what gets gradients, what is frozen and by what; with a warning where that is often not what was meant. It is the
 * decision that the forward itself follows. `train()` is called to see what it does, and every mode is put back.
 *
 * Throws: whatever a `train` of the model's own throws.
 * Unlike PyTorch: it has nothing like it.
 *
 * @example
 * console.log(String(nn.freezePlan(model)));
 */
export function freezePlan(model: Module): FreezePlan {
  const modules = model.namedModules();
  const modes = modules.map(([, module]) => module.training);
  let trained: readonly boolean[] = modes;
  try {
    model.train();
    trained = modules.map(([, module]) => module.training);
  } finally {
    for (const [i, [, module]] of modules.entries()) module.training = modes[i];
  }
  const rows = modules.flatMap(([path, module], i): FreezePlanRow[] => {
    if (module instanceof FrozenBatchNorm2d) return [constantRow(path, module)];
    return isBatchNorm(module) ? [rowOf(path, module, trained[i])] : [];
  });
  return { rows, toString: () => rows.map(inWords).join("\n") };
}

function constantRow(path: string, { kind }: FrozenBatchNorm2d): FreezePlanRow {
  return {
    ...{ path, kind, normalizesWith: "running", reason: "its class knows no others" },
    ...{ factor: 0, counts: false, forwards: 1, gradients: [], warnings: [] },
    frozenBy: ["everything by its class"],
  };
}

function rowOf(path: string, layer: AnyBatchNorm, training: boolean): FreezePlanRow {
  const decision = decide(layer, training);
  const lacks = missingFrom(decision);
  const factor = lacks === null ? factorOf(layer, decision) : 0;
  const gradients = (["weight", "bias"] as const).filter(
    (name) => lacks === null && decision.learns && layer[name]?.requiresGrad,
  );
  return {
    ...{ path, kind: layer.kind, factor, gradients },
    normalizesWith: lacks !== null ? "nothing" : decision.usesBatch ? "batch" : "running",
    reason: lacks === null ? reasonOf(layer, decision) : `${lacks} is missing: the call will throw`,
    counts: decision.isTracking && layer.numBatchesTracked !== null,
    forwards: decision.isTracking ? forwardsToUpdate(layer) : 1,
    frozenBy: frozenBy(layer, decision),
    warnings: lacks === null ? warningsOf(layer, decision, { training, factor }) : [],
  };
}

/** The statistic without which the forward throws. */
function missingFrom({ usesBatch, runningMean, runningVar }: Decision): string | null {
  if (usesBatch && runningMean === null && runningVar === null) return null;
  if (runningMean === null) return "runningMean";
  return runningVar === null ? "runningVar" : null;
}

/** Weight of the next batch, as the forward passes it on once it has counted. */
function factorOf(layer: AnyBatchNorm, { isTracking, runningMean }: Decision): number {
  if (!isTracking || runningMean === null) return 0;
  const { momentum, batches } = averagingOf(layer);
  return momentum ?? 1 / (batches + 1);
}

function reasonOf(layer: AnyBatchNorm, { usesBatch }: Decision): string {
  if (hasFrozenStatistics(layer)) return "its statistics are frozen";
  if (!usesBatch) return "train() leaves it in evaluation mode";
  return layer.runningMean === null ? "it has no running ones" : "it is training";
}

function frozenBy(layer: AnyBatchNorm, { usesBatch, learns }: Decision): string[] {
  const parameters = [layer.weight, layer.bias].filter((parameter) => parameter !== null);
  const holdsStats = hasFrozenStatistics(layer);
  const isOff = learns && parameters.length > 0 && !parameters.some(wantsGradient);
  return [
    holdsStats ? "statistics by freezeBatchNorm" : "",
    learns ? "" : "weight and bias by freezeBatchNorm",
    isOff ? "weight and bias by requiresGrad = false" : "",
    !usesBatch && !holdsStats ? "statistics by a train() of the model's own" : "",
  ].filter(Boolean);
}

function wantsGradient({ requiresGrad }: Parameter): boolean {
  return requiresGrad;
}

/** The traps, each with the way out. */
function warningsOf(
  layer: AnyBatchNorm,
  { usesBatch, isTracking, learns }: Decision,
  { training, factor }: { readonly training: boolean; readonly factor: number },
): string[] {
  const { runningMean, trackRunningStats, numBatchesTracked } = layer;
  const parameters = [layer.weight, layer.bias].filter((parameter) => parameter !== null);
  const isStill = parameters.length > 0 && !(learns && parameters.some(wantsGradient));
  const standsStill = usesBatch && runningMean !== null && factor === 0;
  const cause = trackRunningStats ? "momentum" : "trackRunningStats";
  const isNew = hasFrozenStatistics(layer) && numBatchesTracked === 0;
  return [
    training && !layer.training && !hasFrozenStatistics(layer)
      ? "it is in evaluation mode now, which the next train() ends; freezeBatchNorm lasts"
      : "",
    isStill && isTracking && factor > 0
      ? "weight and bias are still and the statistics move: the outputs in evaluation change; freeze the statistics, too"
      : "",
    standsStill
      ? `the running statistics stand still for their ${cause}, but the batch normalises: this is not frozen`
      : "",
    isNew
      ? "its statistics are frozen with no batch counted: they may be those of a new layer"
      : "",
  ].filter(Boolean);
}

function inWords(row: FreezePlanRow): string {
  const { path, kind, normalizesWith, reason, factor, counts, forwards, gradients } = row;
  const when = forwards === 1 ? "" : ` once in ${forwards} forwards from here`;
  const moves = [
    factor === 0 ? "" : `mean and variance move by ${Number(factor.toPrecision(4))}${when}`,
    counts ? "the counter by 1" : "",
  ].filter(Boolean);
  const lines = [
    `${path === "" ? kind : `${path} (${kind})`}: ${
      normalizesWith === "nothing"
        ? reason
        : `normalises with ${normalizesWith} statistics (${reason})`
    }; ${moves.length === 0 ? "no statistic moves" : moves.join(", ")}; ${
      gradients.length === 0 ? "no gradients" : `gradients to ${gradients.join(" and ")}`
    }`,
    ...row.frozenBy.map((what) => `  frozen: ${what}`),
    ...row.warnings.map((warning) => `  warning: ${warning}`),
  ];
  return lines.join("\n");
}

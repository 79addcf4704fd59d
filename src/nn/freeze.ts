/** Batch norm layers that stay frozen through `train()`, and what ends it. */
import { ArgumentError } from "../core/errors.ts";
import { type AnyBatchNorm, isBatchNorm } from "./batch-norm.ts";
import { freeze, hasFrozenStatistics, type LearnedBefore } from "./batch-norm-decision.ts";
import { FrozenBatchNorm2d } from "./frozen-batch-norm.ts";
import type { Module } from "./module.ts";
import type { Parameter } from "./parameter.ts";
import { describe } from "./slot.ts";
import { nearestKey } from "./state-dict.ts";
import { walk } from "./tree.ts";

/** Which layers: a path and all below it ("layer1" is not "layer10"), a pattern found in the path, or a function that says yes. */
export type LayerMatch = string | RegExp | ((module: Module, path: string) => boolean);

/** Which layers, and what of them. */
export interface FreezeOptions {
  /** Which batch norm layers. Default: all. */
  readonly match?: LayerMatch;
  /** Hold weight and bias still. Default true. */
  readonly affine?: boolean;
  /** Hold the running statistics still, and normalise with them in training too. Default true. */
  readonly stats?: boolean;
}

/** Which layers thaw. */
export interface UnfreezeOptions {
  /** Which batch norm layers. Default: all. */
  readonly match?: LayerMatch;
}

/** A layer that was left as it is. */
export interface SkippedLayer {
  /** Its path, as in `namedModules()`. */
  readonly path: string;
  /** Why. */
  readonly reason: string;
}

/** What `freezeBatchNorm` did. */
export interface FreezeReport {
  /** Paths of the layers of which something is frozen now that was not before. */
  readonly frozen: readonly string[];
  /** Layers that match and had nothing left to freeze. */
  readonly skipped: readonly SkippedLayer[];
}

/**
 * Freezes batch norm layers until `unfreezeBatchNorm`: `train()`, `eval()`, `apply`, `setRequiresGrad(true)`, `clone()` and loading a state
 * dict do not end it. With `stats` the running statistics normalise in every mode, and neither they nor the counter move; with `affine`
 * weight and bias get no gradients, `requiresGrad` becomes false and gradients that they have are dropped, so that no optimizer moves them.
 * `bn.frozen`, the printed model, `nn.summary` and `nn.freezePlan` tell.
 *
 * A subclass is frozen as far as its forward calls that of its base. Values may still be written on purpose: `loadStateDict`, `resetRunningStats` and `resetParameters` do. `nn.updateBatchNorm` leaves frozen
 * statistics alone. What was frozen before stays frozen: calls add up.
 * Throws: ArgumentError, before anything changes, for a `match` that no batch norm layer meets, for statistics of a layer that has none, for a
 * lazy layer without values, and when neither `affine` nor `stats` is true; TypeError for options of another type.
 * Unlike PyTorch: it has no such switch. There `eval()` on a layer ends with the next `train()` of the model.
 *
 * @example
 * nn.freezeBatchNorm(model, { match: "layer1", affine: false });
 */
export function freezeBatchNorm(
  model: Module,
  { match, affine = true, stats = true }: FreezeOptions = {},
): FreezeReport {
  checkFlags({ affine, stats });
  const found = find(model, match, "freezeBatchNorm");
  for (const { path, layer } of found) checkFreezable(layer, path, stats);
  const plans = found.map(({ path, layer }) => ({ path, layer, ...planOf(layer, affine, stats) }));
  for (const { layer, reason, next } of plans) {
    if (reason !== null || !isBatchNorm(layer)) continue;
    layer[freeze] = next;
    if (next.affine !== null) for (const parameter of affineOf(layer)) hold(parameter);
  }
  return {
    frozen: plans.flatMap(({ path, reason }) => (reason === null ? [path] : [])),
    skipped: plans.flatMap(({ path, reason }) => (reason === null ? [] : [{ path, reason }])),
  };
}

/**
 * Ends what `freezeBatchNorm` began: weight and bias require grad as they did before, and the layer normalises as the mode says that `train()`
 * or `eval()` asked for last. Returns the paths of the layers that were frozen.
 *
 * Layers that are frozen otherwise stay so: see docs/freezing.md.
 * Throws: ArgumentError for a `match` that no batch norm layer meets.
 *
 * @example
 * nn.unfreezeBatchNorm(model, { match: /^layer4/ });
 */
export function unfreezeBatchNorm(
  model: Module,
  { match }: UnfreezeOptions = {},
): readonly string[] {
  return find(model, match, "unfreezeBatchNorm").flatMap(({ path, layer }) => {
    if (!isBatchNorm(layer) || layer.frozen === "no") return [];
    const before = layer[freeze]?.affine ?? null;
    layer[freeze] = null;
    if (before !== null) restore(layer, before);
    return [path];
  });
}

/** A layer that normalises a batch, frozen by its class or not. */
interface Found {
  readonly path: string;
  readonly layer: AnyBatchNorm | FrozenBatchNorm2d;
}

/** Layers that match at any of their places, each once. */
function find(model: Module, match: LayerMatch | undefined, op: string): Found[] {
  checkMatch(match, op);
  const places = walk(model, "").flatMap(([path, layer]): Found[] =>
    isBatchNorm(layer) || layer instanceof FrozenBatchNorm2d ? [{ path, layer }] : [],
  );
  const isFound = ({ path, layer }: Found) => match === undefined || meets(match, layer, path);
  const found = new Map(
    places
      .filter(isFound)
      .reverse()
      .map((place) => [place.layer, place]),
  );
  if (found.size > 0 || match === undefined) return [...found.values()].reverse();
  const paths = places.map(({ path }) => path);
  throw new ArgumentError({
    op,
    expected: "match to be met by a batch norm layer",
    actual: typeof match === "function" ? "a function that refuses all" : String(match),
    hint: suggestion(match, paths),
  });
}

function meets(match: LayerMatch, module: Module, path: string): boolean {
  if (typeof match === "function") return match(module, path);
  if (match instanceof RegExp) return path.search(match) >= 0;
  return match === "" || path === match || path.startsWith(`${match}.`);
}

function checkMatch(match: unknown, op: string): void {
  const isKnown = ["undefined", "string", "function"].includes(typeof match);
  if (isKnown || match instanceof RegExp) return;
  throw new TypeError(
    `${op}: expected match to be a path, a pattern or a function, got ${describe(match)}`,
  );
}

/** Where the nearest batch norm layers are, or the first. */
function suggestion(match: LayerMatch, paths: readonly string[]): string {
  if (paths.length === 0) return "the model has no batch norm layer";
  const parents = paths.flatMap((path) =>
    path.split(".").map((_, i, all) => all.slice(0, i + 1).join(".")),
  );
  const nearest = typeof match === "string" ? nearestKey(match, new Set(parents)) : null;
  if (nearest !== null) return `the nearest path is "${nearest}"`;
  const more = paths.length > 3 ? ", ..." : "";
  return `they are at ${paths
    .slice(0, 3)
    .map((path) => `"${path}"`)
    .join(", ")}${more}`;
}

function checkFlags(flags: { readonly affine: unknown; readonly stats: unknown }): void {
  for (const [name, flag] of Object.entries(flags)) {
    if (typeof flag === "boolean") continue;
    throw new TypeError(
      `freezeBatchNorm: expected ${name} to be true or false, got ${describe(flag)}`,
    );
  }
  if (flags.affine || flags.stats) return;
  throw new ArgumentError({
    op: "freezeBatchNorm",
    expected: "affine or stats to be true",
    actual: "both false",
    hint: "unfreezeBatchNorm ends a freeze",
  });
}

function checkFreezable(layer: Found["layer"], path: string, stats: boolean): void {
  if (!isBatchNorm(layer)) return;
  const where = path === "" ? "the model itself" : `"${path}"`;
  if (layer.ownState().some(({ value }) => typeof value !== "number" && layer.awaitsShape(value))) {
    throw new ArgumentError({
      op: "freezeBatchNorm",
      expected: "layers that have values",
      actual: `a ${layer.kind} before its first batch at ${where}`,
      hint: "pass a batch through the model or load a state dict first",
    });
  }
  if (!stats || (layer.runningMean !== null && layer.runningVar !== null)) return;
  throw new ArgumentError({
    op: "freezeBatchNorm",
    expected: "layers with running statistics",
    actual: `none at ${where}`,
    hint: "pass { stats: false }, or a match that leaves the layer out",
  });
}

/** What the layer's freeze becomes, or why it stays as it is. */
function planOf(layer: Found["layer"], affine: boolean, stats: boolean) {
  if (!isBatchNorm(layer)) return { reason: "frozen by its class", next: null };
  const held = layer[freeze]?.affine ?? null;
  const learned = affine && affineOf(layer).length > 0 ? learnedOf(layer) : null;
  const next = { stats: stats || hasFrozenStatistics(layer), affine: held ?? learned };
  const isNew = (held === null && learned !== null) || (stats && !hasFrozenStatistics(layer));
  if (isNew) return { reason: null, next };
  const lacks = affine && !stats && held === null;
  return { reason: lacks ? "no weight or bias" : "frozen already", next };
}

function affineOf({ weight, bias }: AnyBatchNorm): Parameter[] {
  return [weight, bias].filter((parameter) => parameter !== null);
}

function learnedOf({ weight, bias }: AnyBatchNorm): LearnedBefore {
  return { weight: weight?.requiresGrad ?? null, bias: bias?.requiresGrad ?? null };
}

function hold(parameter: Parameter): void {
  parameter.requiresGrad = false;
  parameter.grad?.dispose();
  parameter.grad = null;
}

function restore({ weight, bias }: AnyBatchNorm, before: LearnedBefore): void {
  if (weight !== null && before.weight !== null) weight.requiresGrad = before.weight;
  if (bias !== null && before.bias !== null) bias.requiresGrad = before.bias;
}

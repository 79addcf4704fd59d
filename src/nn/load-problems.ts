/** What `loadStateDict` says of keys that do not fit: each with its shapes and the nearest name, and the cause where it is a known one. */
import { StateDictError } from "../core/errors.ts";
import { formatShape, type Shape } from "../core/shape.ts";
import { nearestKey } from "./state-dict.ts";

/** Shapes by key, on both sides, and which of them found no partner. */
export interface Problems {
  readonly model: ReadonlyMap<string, Shape>;
  readonly source: ReadonlyMap<string, Shape>;
  readonly missingKeys: readonly string[];
  readonly unexpectedKeys: readonly string[];
  readonly mismatchedKeys: readonly string[];
}

/** Longer lists are cut; the error's fields have all. */
const mostShown = 10;

export function rejectState(problems: Problems): never {
  const { model, source, missingKeys, unexpectedKeys, mismatchedKeys } = problems;
  const near = (
    key: string,
    candidates: readonly string[],
    where: string,
    shapes: Problems["model"],
  ) => {
    const nearest = nearestKey(key, candidates);
    return nearest === null ? "" : ` (${where} ${nearest} ${shapeIn(shapes, nearest)})`;
  };
  const missing = listed(missingKeys, (key) => {
    return `${key} ${shapeIn(model, key)}${near(key, unexpectedKeys, "there is", source)}`;
  });
  const unexpected = listed(unexpectedKeys, (key) => {
    const candidates = missingKeys.length > 0 ? missingKeys : [...model.keys()];
    return `${key} ${shapeIn(source, key)}${near(key, candidates, "the model has", model)}`;
  });
  const mismatched = listed(mismatchedKeys, (key) => {
    return `${key}: the model has ${shapeIn(model, key)}, the state dict ${shapeIn(source, key)}`;
  });
  const parts = Object.entries({ missing, unexpected, mismatched });
  throw new StateDictError({
    op: "loadStateDict",
    expected: "the keys and shapes of the model",
    actual: parts.flatMap(([word, text]) => (text === "" ? [] : [`${word} ${text}`])).join("; "),
    hint: cureOf(problems),
    ...{ missingKeys, unexpectedKeys, mismatchedKeys },
  });
}

function listed(keys: readonly string[], describe: (key: string) => string): string {
  const shown = keys.slice(0, mostShown).map(describe).join(", ");
  return keys.length > mostShown ? `${shown} and ${keys.length - mostShown} more` : shown;
}

function shapeIn(shapes: ReadonlyMap<string, Shape>, key: string): string {
  return formatShape(shapes.get(key) ?? []);
}

/** The commonest causes, each with what to do; the first that accounts for the keys. */
function cureOf(problems: Problems): string {
  const cures = [wrapperInSource, wrapperInModel, onlyCounters, onlyStatistics, onlyLastLayer];
  for (const cure of cures) {
    const found = cure(problems);
    if (found !== null) return found;
  }
  return problems.mismatchedKeys.length > 0
    ? "shapes must fit also when not strict: leave those keys out of what you load"
    : "pass { strict: false } to load what fits";
}

/** "module." of DataParallel and AveragedModel, "_orig_mod." of compiled models, "model." and "backbone." of programs. */
function wrapperInSource({ model, source, unexpectedKeys }: Problems): string | null {
  const prefix = commonPrefix(
    unexpectedKeys,
    (start) => countBehind(start, source, model),
    model.size,
  );
  return prefix === null
    ? null
    : `its keys start with "${prefix}": pass { prefix: ${JSON.stringify(prefix)} }`;
}

function wrapperInModel({ model, source, missingKeys }: Problems): string | null {
  const prefix = commonPrefix(
    missingKeys,
    (start) => countBehind(start, model, source),
    source.size,
  );
  return prefix === null
    ? null
    : `these are keys of the model's ${prefix.slice(0, -1)}: load them into that module`;
}

/** How many keys of `wrapped` are keys of `plain` behind this start. */
function countBehind(
  start: string,
  wrapped: ReadonlyMap<string, Shape>,
  plain: ReadonlyMap<string, Shape>,
): number {
  const inner = [...wrapped.keys()].filter((key) => key.startsWith(start));
  return inner.filter((key) => plain.has(key.slice(start.length))).length;
}

/** The start of a path, dot included, that accounts for more than half of `all` keys. */
function commonPrefix(
  keys: readonly string[],
  count: (start: string) => number,
  all: number,
): string | null {
  const [first = ""] = keys;
  const parts = first.split(".");
  const starts = parts.slice(0, -1).map((_, i) => `${parts.slice(0, i + 1).join(".")}.`);
  return starts.find((start) => 2 * count(start) > all) ?? null;
}

function onlyCounters(problems: Problems): string | null {
  if (!all(problems, /(^|\.)num_batches_tracked$/)) return null;
  return problems.missingKeys.length > 0
    ? "only counters of batch norm, which momentum null alone reads: { strict: false } keeps the model's"
    : "only counters of batch norm, for layers that have none: { strict: false } leaves them out, and nothing else changes";
}

function onlyStatistics(problems: Problems): string | null {
  if (!all(problems, /(^|\.)(running_mean|running_var|num_batches_tracked)$/)) return null;
  return problems.missingKeys.length > 0
    ? "it was saved without running statistics: make those layers with trackRunningStats false, or load with { strict: false } and then estimate them with nn.updateBatchNorm"
    : "the model keeps no running statistics, so evaluation would use each batch's own: make its layers with trackRunningStats true";
}

function onlyLastLayer({ model, source, mismatchedKeys, ...others }: Problems): string | null {
  if (others.missingKeys.length + others.unexpectedKeys.length > 0) return null;
  const layer = [...model.keys()].at(-1)?.replace(/[^.]*$/, "") ?? "";
  const isLast = layer !== "" && mismatchedKeys.every((key) => key.startsWith(layer));
  const classes = source.get(mismatchedKeys[0])?.[0];
  if (!isLast || classes === undefined) return null;
  return `the last layer has ${classes} outputs there: make the model with as many (numClasses), or leave ${mismatchedKeys.join(" and ")} out of what you load`;
}

/** Whether nothing is wrong but keys of one kind, all missing or all unexpected. */
function all({ missingKeys, unexpectedKeys, mismatchedKeys }: Problems, kind: RegExp): boolean {
  if (mismatchedKeys.length > 0) return false;
  const keys = missingKeys.length === 0 ? unexpectedKeys : missingKeys;
  return (
    keys.length === missingKeys.length + unexpectedKeys.length &&
    keys.every((key) => kind.test(key))
  );
}

/** What tells two layers apart, read from their properties; what of it matters is for `compare-causes.ts` to try. */
import { Tensor } from "../tensor/tensor.ts";
import { Callable } from "./callable.ts";
import { differenceOf } from "./difference.ts";
import type { Module } from "./module.ts";

/**
 * What can part two layers: "mode", "eps", "parameters", "statistics" (any buffers), "option" (any other property), "kind" (class or forward),
 * "input", "random" (the first model differs from itself), "dtype" (or device), "code" (nothing of these).
 */
export type CauseKind =
  | "mode"
  | "eps"
  | "parameters"
  | "statistics"
  | "option"
  | "kind"
  | "input"
  | "random"
  | "dtype"
  | "code";

/** One thing in which two layers differ. */
export interface Fact {
  readonly what: CauseKind;
  /** "A eval, B train". */
  readonly detail: string;
  /** Properties that hold it. */
  readonly properties: readonly string[];
}

/** Everything in which b differs from a, submodules left out. */
export function factsOf(a: Module, b: Module): Fact[] {
  return [
    ...kindFact(a, b),
    ...modeFact(a, b),
    ...stateFact("parameters", stateNames(a, b, "parameter"), [a, b]),
    ...stateFact("statistics", stateNames(a, b, "buffer"), [a, b]),
    ...optionFacts(a, b),
    ...placeFact(a, b),
  ];
}

function kindFact(a: Module, b: Module): Fact[] {
  if (a.kind !== b.kind) return [fact("kind", `A ${a}, B ${b}`.replaceAll(/\s+/g, " "), [])];
  if (String(a.forward) === String(b.forward)) return [];
  return [fact("kind", `both ${a.kind}, with another forward`, [])];
}

function modeFact(a: Module, b: Module): Fact[] {
  if (a.training === b.training) return [];
  const mode = (module: Module) => (module.training ? "train" : "eval");
  return [fact("mode", `A ${mode(a)}, B ${mode(b)}`, ["training"])];
}

/** Names of what either of them holds as `kind`. */
function stateNames(a: Module, b: Module, kind: "parameter" | "buffer"): string[] {
  const slots = [...a.ownState(), ...b.ownState()].filter((slot) => slot.kind === kind);
  return [...new Set(slots.map(({ name }) => name))];
}

function stateFact(
  what: "parameters" | "statistics",
  names: readonly string[],
  [a, b]: readonly [Module, Module],
): Fact[] {
  const found = names.flatMap((name) => {
    const detail = stateDetail(Reflect.get(a, name), Reflect.get(b, name));
    return detail === null ? [] : [{ name, detail }];
  });
  if (found.length === 0) return [];
  const detail = found.map(({ name, detail }) => `${name}: ${detail}`).join("; ");
  return [
    fact(
      what,
      detail,
      found.map(({ name }) => name),
    ),
  ];
}

/** Null for what is alike. Counters change no output. */
function stateDetail(a: unknown, b: unknown): string | null {
  const isTensor = [a, b].map((value) => value instanceof Tensor);
  if (!isTensor[0] && !isTensor[1]) return null;
  if (!(a instanceof Tensor)) return "only B has it";
  if (!(b instanceof Tensor)) return "only A has it";
  const { largest, remark } = differenceOf(hostOf(a), hostOf(b));
  if (largest === 0) return null;
  return `differ by up to ${formatNumber(largest)}${remark && ` (${remark})`}${constantIn(b)}`;
}

/** Values that are all alike are most often those a layer starts with. */
function constantIn(tensor: Tensor): string {
  const values = tensor.dataSync();
  const isConstant = values.length > 1 && values.every((value) => value === values[0]);
  return isConstant ? `, all ${formatNumber(values[0])} in B` : "";
}

function optionFacts(a: Module, b: Module): Fact[] {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  const state = new Set([...stateNames(a, b, "parameter"), ...stateNames(a, b, "buffer")]);
  return [...names].flatMap((name): Fact[] => {
    const [inA, inB] = [plainText(Reflect.get(a, name)), plainText(Reflect.get(b, name))];
    if (name === "training" || name === "skippedBatches" || state.has(name)) return [];
    if (inA === null || inB === null || inA === inB) return [];
    const values = `A ${inA}, B ${inB}`;
    return [
      name === "eps" ? fact("eps", values, [name]) : fact("option", `${name}: ${values}`, [name]),
    ];
  });
}

/** Null for modules, tensors and functions. */
function plainText(value: unknown): string | null {
  if (value instanceof Tensor || value instanceof Callable || typeof value === "function") {
    return null;
  }
  if (typeof value === "number") return formatNumber(value);
  if (Array.isArray(value)) {
    const items = value.map(plainText);
    return items.includes(null) ? null : `[${items.join(", ")}]`;
  }
  return typeof value === "object" && value !== null ? null : String(value);
}

function placeFact(a: Module, b: Module): Fact[] {
  const place = (module: Module) =>
    module.ownState().flatMap(({ value }) => {
      return value instanceof Tensor ? [`${value.dtype} on ${value.device}`] : [];
    })[0];
  const [inA, inB] = [place(a), place(b)];
  if (inA === undefined || inB === undefined || inA === inB) return [];
  return [fact("dtype", `A ${inA}, B ${inB}`, [])];
}

function fact(what: CauseKind, detail: string, properties: readonly string[]): Fact {
  return { what, detail, properties };
}

function hostOf(tensor: Tensor) {
  return { shape: tensor.shape, values: tensor.dataSync() };
}

/** Three digits; fewer where they say all, and an exponent for what is small. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const short = Number(value.toPrecision(3));
  if (value !== 0 && Math.abs(value) < 1e-3) return short.toExponential();
  return String(value).length <= 6 ? String(value) : String(short);
}

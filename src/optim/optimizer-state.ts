/** Optimizers' state dicts in PyTorch's layout: writing one, and reading one completely before anything is changed. */
import { StateDictError } from "../core/errors.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { stateKey } from "../nn/state-dict.ts";
import { hostNumbers } from "../nn/state-values.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { OptimizerKind } from "./optimizer.ts";
import { type GroupOptions, isScheduleName, type ParamGroup } from "./param-group.ts";
import { copyValues, emptyLike, ParameterState, writeValues } from "./parameter-state.ts";
import {
  camelKey,
  isEntry,
  membersOf,
  readLike,
  readNumber,
  readNumbers,
  requireMembers,
  type StateValue,
} from "./state-value.ts";

/** PyTorch's layout and names: state by the parameter's index over all groups, options of each group with its indices. */
export type OptimizerState = {
  /** What is remembered of each parameter that has taken a step, by its index. */
  readonly state: { readonly [index: string]: { readonly [name: string]: Tensor | number } };
  /** Options of each group, and its parameters' indices as `params`. */
  readonly param_groups: readonly {
    readonly [option: string]: number | boolean | readonly number[];
  }[];
};

export function savedState<Options extends GroupOptions>(
  { countsSteps }: OptimizerKind<Options>,
  groups: readonly ParamGroup<Options>[],
  states: ReadonlyMap<Tensor, ParameterState>,
): OptimizerState {
  const state: Record<string, Record<string, Tensor | number>> = {};
  let count = 0;
  const saved = groups.map(({ params, ...options }) => {
    const indices = params.map((parameter) => {
      const known = states.get(parameter);
      if (known !== undefined) {
        const tensors = [...known.tensors].map(([name, tensor]) => [stateKey(name), tensor]);
        const step = countsSteps ? { step: known.step } : {};
        state[count] = { ...step, ...Object.fromEntries(tensors) };
      }
      return count++;
    });
    const named = Object.entries(options).map(([name, value]) => [stateKey(name), value]);
    return { ...Object.fromEntries(named), params: indices };
  });
  return { state, param_groups: saved };
}

/** What is to be assigned to each group, and the states of parameters, as new copies. */
export function readState<Options extends GroupOptions>(
  kind: OptimizerKind<Options>,
  groups: readonly ParamGroup<Options>[],
  source: StateValue,
): { readonly groups: readonly object[]; readonly states: Map<Tensor, ParameterState> } {
  const op = `${kind.name}.loadStateDict`;
  const dict = requireMembers(op, source, "a dict with state and param_groups");
  const saved = requireMembers(op, dict.get("param_groups"), "param_groups, a list of groups");
  if (saved.size !== groups.length) {
    throw new StateDictError({ op, expected: `${groups.length} groups`, actual: `${saved.size}` });
  }
  const byIndex = new Map<string, Tensor>();
  const loaded = [...saved.values()].map((value, i) => {
    const what = `group ${i}`;
    const members = requireMembers(op, value, `${what} to be a dict`);
    const indices = readNumbers(op, members.get("params"), `indices as params of ${what}`);
    const { params } = groups[i];
    if (indices.length !== params.length) {
      const expected = `${params.length} parameters in ${what}`;
      throw new StateDictError({ op, expected, actual: `${indices.length}` });
    }
    for (const [k, index] of indices.entries()) byIndex.set(String(index), params[k]);
    return readOptions(op, kind.defaults, members);
  });
  return { groups: loaded, states: readStates(kind, byIndex, membersOf(dict.get("state"))) };
}

/** Options and schedulers' notes; what else PyTorch keeps there (foreach, fused) has no meaning here. */
function readOptions(
  op: string,
  defaults: object,
  members: ReadonlyMap<string, StateValue>,
): object {
  const options = [...members].flatMap(([key, value]) => {
    const name = camelKey(key);
    if (!(name in defaults || isScheduleName(name))) return [];
    const example: unknown = isScheduleName(name) ? 0 : Reflect.get(defaults, name);
    return [[name, readLike(op, example, value, `${key} like ${JSON.stringify(example)}`)]];
  });
  return Object.fromEntries(options);
}

function readStates<Options extends GroupOptions>(
  kind: OptimizerKind<Options>,
  byIndex: ReadonlyMap<string, Tensor>,
  saved: ReadonlyMap<string, StateValue> | null,
): Map<Tensor, ParameterState> {
  const op = `${kind.name}.loadStateDict`;
  const planned: [Tensor, ReadonlyMap<string, StateValue>][] = [];
  for (const [index, value] of saved ?? []) {
    const parameter = byIndex.get(index);
    if (parameter === undefined) {
      const expected = "state of the parameters in its groups";
      throw new StateDictError({ op, expected, actual: `state of parameter ${index}` });
    }
    const members = requireMembers(op, value, `the state of parameter ${index} to be a dict`);
    checkNames(kind, index, members);
    for (const [key, entry] of members) {
      if (key !== "step") checkShape(op, `${key} of parameter ${index}`, parameter, entry);
    }
    planned.push([parameter, members]);
  }
  return new Map(
    planned.map(([parameter, members]) => [parameter, stateFrom(op, parameter, members)]),
  );
}

function checkNames<Options extends GroupOptions>(
  { name, countsSteps, required, optional }: OptimizerKind<Options>,
  index: string,
  members: ReadonlyMap<string, StateValue>,
): void {
  const needed = [...(countsSteps ? ["step"] : []), ...required.map(stateKey)];
  const possible = [...needed, ...optional.map(stateKey)];
  const missing = needed.filter((key) => !members.has(key));
  const unexpected = [...members.keys()].filter((key) => !possible.includes(key));
  if (missing.length + unexpected.length === 0) return;
  throw new StateDictError({
    op: `${name}.loadStateDict`,
    expected: `${possible.join(", ")} for parameter ${index}`,
    actual: [...members.keys()].join(", ") || "nothing",
    hint: "is it the state of another optimizer?",
  });
}

/** PyTorch keeps null for a momentum buffer that is not there yet. */
function checkShape(op: string, what: string, parameter: Tensor, entry: StateValue): void {
  if (entry === null) return;
  const isTensor = isEntry(entry) && typeof entry !== "number";
  if (isTensor && sameShape(entry.shape, parameter.shape)) return;
  const actual = isTensor ? formatShape(entry.shape) : "no tensor";
  throw new StateDictError({
    op,
    expected: `${what} of shape ${formatShape(parameter.shape)}`,
    actual,
  });
}

function stateFrom(
  op: string,
  parameter: Tensor,
  members: ReadonlyMap<string, StateValue>,
): ParameterState {
  const state = new ParameterState(parameter);
  for (const [key, entry] of members) {
    if (key === "step") state.step = readNumber(op, entry, "a number of steps");
    else if (isEntry(entry)) {
      const copy = emptyLike(parameter);
      if (entry instanceof Tensor) copyValues(entry, copy);
      else writeValues(copy, hostNumbers(entry));
      state.tensors.set(camelKey(key), copy);
    }
  }
  return state;
}

import type { Backend } from "../backend/backend.ts";
import { ArgumentError } from "../core/errors.ts";
import { backendFor, type Tensor } from "../tensor/tensor.ts";
import { type OptimizerState, readState, savedState } from "./optimizer-state.ts";
import {
  type GivenGroup,
  type GivenParameters,
  type GroupOptions,
  givenGroups,
  isScheduleName,
  leavesOf,
  type ParamGroup,
  type UncheckedGroup,
} from "./param-group.ts";
import { ParameterState } from "./parameter-state.ts";
import type { StateValue } from "./state-value.ts";

/** What tells one optimizer from the others. */
export interface OptimizerKind<Options extends GroupOptions> {
  /** Its class's name, which begins its errors. */
  readonly name: string;
  /** What options are unless they are given; no others may be. */
  readonly defaults: Options;
  /** Throws ArgumentError for options out of range. */
  check(op: string, options: Options): void;
  /** Whether the steps of each parameter are counted, as "step" in state dicts. */
  readonly countsSteps: boolean;
  /** Names of the tensors that each parameter's state has. */
  readonly required: readonly string[];
  /** Names of those that it has with some options only. */
  readonly optional: readonly string[];
}

/** Base of optimizers: holds parameters in groups and what is remembered of each, clears gradients. */
export abstract class Optimizer<Options extends GroupOptions = GroupOptions> {
  /** Groups in the order they came; their options may be changed between steps. */
  readonly paramGroups: ParamGroup<Options>[] = [];
  /** Options of groups that do not state their own. */
  readonly defaults: Readonly<Options>;
  readonly #kind: OptimizerKind<Options>;
  readonly #states = new Map<Tensor, ParameterState>();

  /**
   * Puts the parameters into groups, and completes the options of each by the defaults.
   *
   * Throws: ArgumentError if there is no parameter, one that is not a leaf, one in two groups, an option that is unknown or out of range.
   * Unlike PyTorch: groups are checked like the defaults, and a parameter named twice in a group is stepped once.
   */
  constructor(
    kind: OptimizerKind<Options>,
    parameters: GivenParameters<Options>,
    options: Readonly<Partial<Options>>,
  ) {
    this.#kind = kind;
    this.defaults = withDefaults<Options>(kind.name, kind.defaults, options);
    kind.check(kind.name, this.defaults);
    for (const group of givenGroups(kind.name, parameters)) this.#add(group);
  }

  /** All parameters, group after group. */
  get parameters(): readonly Tensor[] {
    return this.paramGroups.flatMap(({ params }) => params);
  }

  /** The learning rate of all groups. Throws ArgumentError while they differ. */
  get lr(): number {
    const rates = new Set(this.paramGroups.map(({ lr }) => lr));
    const [lr] = rates;
    if (rates.size === 1) return lr;
    throw new ArgumentError({
      op: `${this.#kind.name}.lr`,
      expected: "one learning rate in all groups",
      actual: [...rates].join(", "),
      hint: "read paramGroups[i].lr",
    });
  }

  /** Sets every group's learning rate. Throws ArgumentError for a negative number. */
  set lr(lr: number) {
    this.#kind.check(this.#kind.name, { ...this.defaults, lr });
    for (const group of this.paramGroups) group.lr = lr;
  }

  /**
   * Adds parameters with options of their own; those left out are the defaults. For layers that are unfrozen during training.
   * Throws: as the constructor, before anything is added.
   */
  addParamGroup(group: GivenGroup<Options>): void {
    this.#add({ params: group.params, options: group });
  }

  /**
   * Drops all gradients: `grad` is null until the next backward.
   * Unlike PyTorch: the old gradient tensors end, whoever holds them; `detach()` one to keep its values.
   */
  zeroGrad(): void {
    for (const parameter of this.parameters) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /** Changes every parameter that has a gradient. Statistics of batch norm are none of its business: `forward` moves them. */
  step(): void {
    for (const group of this.paramGroups) {
      const learning = group.params.flatMap((parameter) => {
        const { grad } = parameter;
        return grad === null ? [] : [{ parameter, grad }];
      });
      const byBackend = groupedBy(learning, ({ parameter }) => backendFor(parameter));
      for (const [backend, together] of byBackend) this.update(backend, together, group);
      for (const { parameter } of learning) {
        parameter.holding.storage.markWritten("the optimizer's step");
      }
    }
  }

  /**
   * What PyTorch's state_dict() holds, under its names: `state` by index of the parameter with live tensors, and `param_groups`.
   * Later steps change the tensors in it. `optim.flattenState` makes it fit for a file.
   */
  stateDict(): OptimizerState {
    return savedState(this.#kind, this.paramGroups, this.#states);
  }

  /**
   * Continues from a state dict of the same groups: ours, PyTorch's, or `optim.unflattenState` of a file. Options come from it too.
   *
   * Tensors are copied and converted to the dtype and device of their parameter.
   * Throws: StateDictError if groups, their sizes, names or shapes differ; nothing is changed then.
   * Unlike PyTorch: tensors are always copied, there two optimizers may come to share them; and state that does not fit is refused here
   * and not by a later step.
   */
  loadStateDict(source: StateValue): void {
    const { groups, states } = readState(this.#kind, this.paramGroups, source);
    for (const [i, loaded] of groups.entries()) {
      const group = this.paramGroups[i];
      for (const name of Object.keys(group)) {
        if (isScheduleName(name)) delete group[name];
      }
      Object.assign(group, loaded);
    }
    this.#states.clear();
    for (const [parameter, state] of states) this.#states.set(parameter, state);
  }

  /** What is remembered of a parameter; nothing at first. */
  protected stateOf(parameter: Tensor): ParameterState {
    const known = this.#states.get(parameter);
    if (known !== undefined) return known;
    const state = new ParameterState(parameter);
    this.#states.set(parameter, state);
    return state;
  }

  #add({ params, options }: UncheckedGroup): void {
    const { name } = this.#kind;
    const leaves = leavesOf(name, params);
    const complete = withDefaults<Options>(name, this.defaults, options);
    this.#kind.check(name, complete);
    const known = new Set(this.parameters);
    const again = leaves.findIndex((parameter) => known.has(parameter));
    if (again >= 0) {
      throw new ArgumentError({
        op: name,
        expected: "every parameter in one group",
        actual: `parameter ${again} of a group that an earlier group has`,
      });
    }
    this.paramGroups.push({ ...complete, params: leaves });
  }

  /** Steps parameters of one backend and group. */
  protected abstract update(
    backend: Backend,
    learning: readonly Learning[],
    group: ParamGroup<Options>,
  ): void;
}

/** A parameter that has a gradient. */
export interface Learning {
  readonly parameter: Tensor;
  readonly grad: Tensor;
}

/** Items by what `keyOf` gives for them, in their order. */
export function groupedBy<Item, Key>(
  items: readonly Item[],
  keyOf: (item: Item) => Key,
): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** `given` over `defaults`, without params. Throws ArgumentError for a name that neither options nor schedulers have. */
function withDefaults<Options extends GroupOptions>(
  op: string,
  defaults: Readonly<Options>,
  given: object,
): Options {
  const options: Options = { ...defaults };
  for (const [name, value] of Object.entries(given)) {
    if (name === "params" || value === undefined) continue;
    if (!(name in defaults || isScheduleName(name))) {
      throw new ArgumentError({
        op,
        expected: `options named ${Object.keys(defaults).join(", ")}`,
        actual: JSON.stringify(name),
      });
    }
    Object.assign(options, { [name]: value });
  }
  return options;
}

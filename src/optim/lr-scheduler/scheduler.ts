import { ArgumentError, StateDictError } from "../../core/errors.ts";
import { Optimizer } from "../optimizer.ts";
import type { ParamGroup } from "../param-group.ts";
import { readLike, requireMembers, type StateValue } from "../state-value.ts";

/** Where a schedule begins. */
export interface SchedulerOptions {
  /** Steps already taken; above -1 groups must have `initialLr`. For resuming without a state dict. Default -1. */
  readonly lastEpoch?: number;
}

/** A scheduler's state under PyTorch's names. */
export type SchedulerState = { readonly [name: string]: StateValue };

/** What a learning rate is computed from. */
export interface Turn {
  /** Steps taken, this one included; 0 when the scheduler is made. */
  readonly epoch: number;
  /** True when the scheduler is made or starts anew. */
  readonly isInitial: boolean;
}

/**
 * Base of schedules: sets every group's `lr` when it is made and at each `step()`, to be called after the optimizer's.
 *
 * As in PyTorch the next rate is computed from the group's present one where the formula allows it, so schedules chain: two on one
 * optimizer multiply, and a rate set by hand goes on from there. Groups keep their first rate as `initialLr`.
 */
export abstract class LRScheduler {
  /** The class's name, which minifiers leave alone. */
  protected readonly name: string;
  /** The optimizer whose rates it sets. */
  readonly optimizer: Optimizer;
  /** The rate of each group that the schedule starts from. */
  baseLrs: number[];
  /** Steps taken, counted from 0. */
  lastEpoch: number;
  protected stepCount = 0;
  #lastLr: number[] = [];

  /**
   * Notes the rate that each group starts from.
   *
   * Throws: ArgumentError unless it is given an optimizer; if `lastEpoch` is set and a group has no `initialLr`.
   */
  constructor(name: string, optimizer: Optimizer, { lastEpoch = -1 }: SchedulerOptions) {
    checkOptimizer(name, optimizer);
    this.name = name;
    this.optimizer = optimizer;
    this.lastEpoch = lastEpoch;
    this.baseLrs = optimizer.paramGroups.map(({ initialLr, lr }, i) => {
      if (lastEpoch === -1 || initialLr !== undefined) return initialLr ?? lr;
      throw new ArgumentError({
        op: name,
        expected: "initialLr in every group when lastEpoch is given",
        actual: `none in group ${i}`,
        hint: "load the optimizer's state dict first",
      });
    });
  }

  /** Properties that state dicts hold besides the counters, with PyTorch's names for them. */
  protected abstract get stateKeys(): Readonly<Record<string, string>>;

  /** The group's next rate; may set momenta beside it. */
  protected abstract nextLr(group: ParamGroup, i: number, turn: Turn): number;

  /** The rate as a function of the epoch alone, where there is one: what a sequence starts a schedule with. */
  protected closedLr(_i: number, _epoch: number): number | null {
    return null;
  }

  /** Sets the next learning rates: once an epoch, or once a batch, as the schedule is meant. */
  step(): void {
    this.advance(false);
  }

  /** The rates of all groups that were set last. */
  getLastLr(): number[] {
    return [...this.#lastLr];
  }

  /** Counters and options under PyTorch's names. Functions aren't saved. */
  stateDict(): SchedulerState {
    const named = Object.entries(this.stateKeys).map(([name, key]) => [
      key,
      Reflect.get(this, name),
    ]);
    return {
      ...Object.fromEntries(named),
      base_lrs: this.baseLrs,
      last_epoch: this.lastEpoch,
      _step_count: this.stepCount,
      _last_lr: this.getLastLr(),
    };
  }

  /**
   * Continues from a state dict, options included. Learning rates are the optimizer's state: load that too, after the scheduler is made,
   * since making one sets them.
   * Throws: StateDictError for a value of another kind or a missing one; nothing is changed then.
   */
  loadStateDict(source: StateValue): void {
    const op = `${this.name}.loadStateDict`;
    const members = requireMembers(op, source, "a dict");
    const read = <T>(key: string, example: T) => readLike(op, example, members.get(key), key);
    const values = Object.entries(this.stateKeys).map(([name, key]) => {
      const present: unknown = Reflect.get(this, name);
      return [name, read(key, present)];
    });
    const baseLrs = read("base_lrs", this.baseLrs);
    const lastEpoch = read("last_epoch", this.lastEpoch);
    const stepCount = read("_step_count", this.stepCount);
    const lastLr = read("_last_lr", this.#lastLr);
    if (baseLrs.length !== this.baseLrs.length) {
      const expected = `base_lrs of ${this.baseLrs.length} groups`;
      throw new StateDictError({ op, expected, actual: `${baseLrs.length}` });
    }
    this.#lastLr = lastLr;
    Object.assign(this, { baseLrs, lastEpoch, stepCount }, Object.fromEntries(values));
  }

  /** @internal The first step, which sets the rates to begin with. Constructors end with it. */
  start(): void {
    for (const [i, group] of this.optimizer.paramGroups.entries())
      group.initialLr ??= this.baseLrs[i];
    this.stepCount = 0;
    this.advance(true);
  }

  /** @internal Takes back the first step: another schedule of a sequence goes first. */
  undo(): void {
    this.lastEpoch--;
  }

  /** @internal Sets the rates of epoch 0, from the initial ones where the schedule has a closed form. */
  restart(): void {
    this.lastEpoch = 0;
    this.#assign((group, i) => this.closedLr(i, 0) ?? this.#nextLr(group, i, false));
  }

  protected advance(isInitial: boolean): void {
    this.stepCount++;
    this.lastEpoch++;
    this.#assign((group, i) => this.#nextLr(group, i, isInitial));
  }

  #nextLr(group: ParamGroup, i: number, isInitial: boolean): number {
    return this.nextLr(group, i, { epoch: this.lastEpoch, isInitial });
  }

  #assign(rate: (group: ParamGroup, i: number) => number): void {
    const { paramGroups } = this.optimizer;
    if (paramGroups.length !== this.baseLrs.length) {
      throw new ArgumentError({
        op: `${this.name}.step`,
        expected: `the ${this.baseLrs.length} groups that the optimizer had at first`,
        actual: `${paramGroups.length}`,
        hint: "make the scheduler after the last addParamGroup",
      });
    }
    for (const [i, group] of paramGroups.entries()) group.lr = rate(group, i);
    this.#lastLr = paramGroups.map(({ lr }) => lr);
  }
}

export function checkOptimizer(op: string, optimizer: Optimizer): void {
  if (optimizer instanceof Optimizer) return;
  throw new ArgumentError({ op, expected: "an optimizer", actual: typeof optimizer });
}

/** One value per group from one for all or a list. Throws ArgumentError for a list of another length. */
export function perGroup<T>(
  op: string,
  what: string,
  values: { readonly given: T | readonly T[]; readonly optimizer: Optimizer },
): T[] {
  const { given, optimizer } = values;
  const count = optimizer.paramGroups.length;
  if (!isList(given)) return new Array<T>(count).fill(given);
  if (given.length === count) return [...given];
  throw new ArgumentError({
    op,
    expected: `${what} for ${count} groups, or one for all`,
    actual: `${given.length}`,
  });
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value);
}

/** Throws ArgumentError unless `value` is a whole number of at least `least`. */
export function checkWhole(op: string, what: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new ArgumentError({
    op,
    expected: `${what} to be a whole number >= ${least}`,
    actual: String(value),
  });
}

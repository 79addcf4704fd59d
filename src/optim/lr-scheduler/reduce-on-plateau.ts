import { ArgumentError } from "../../core/errors.ts";
import type { Optimizer } from "../optimizer.ts";
import { readLike, requireMembers, type StateValue } from "../state-value.ts";
import { checkOptimizer, perGroup, type SchedulerState } from "./scheduler.ts";

/** What counts as progress, and what happens without it. */
export interface ReduceLROnPlateauOptions {
  /** Whether lower or higher metrics are better. Default "min". */
  readonly mode?: "min" | "max";
  /** New rates are old ones times this; below 1. Default 0.1. */
  readonly factor?: number;
  /** Epochs without progress that are borne. Default 10. */
  readonly patience?: number;
  /** How much better counts as progress. Default 1e-4. */
  readonly threshold?: number;
  /** Whether the threshold is a part of the best metric or an amount. Default "rel". */
  readonly thresholdMode?: "rel" | "abs";
  /** Epochs after a reduction in which nothing counts. Default 0. */
  readonly cooldown?: number;
  /** The least rate, for all groups or each. Default 0. */
  readonly minLr?: number | readonly number[];
  /** Smaller changes of a rate are not made. Default 1e-8. */
  readonly eps?: number;
}

/**
 * Lowers the rates when a metric has stopped getting better: `step(metric)` follows every validation. NaN is never better.
 *
 * Throws: ArgumentError for a factor of 1 or more, unknown modes, lists of another length than the groups, or a metric that is no
 * number.
 * Source: PyTorch optim.lr_scheduler.ReduceLROnPlateau.
 *
 * @example
 * const scheduler = new optim.lrScheduler.ReduceLROnPlateau(opt, { patience: 3 });
 * scheduler.step(await validationLoss.item());
 */
export class ReduceLROnPlateau {
  /** The optimizer whose rates it sets. */
  readonly optimizer: Optimizer;
  /** Whether lower or higher metrics are better. */
  readonly mode: "min" | "max";
  /** New rates are old ones times this. */
  readonly factor: number;
  /** Epochs without progress that are borne. */
  readonly patience: number;
  /** How much better counts as progress. */
  readonly threshold: number;
  /** Whether the threshold is a part of the best metric or an amount. */
  readonly thresholdMode: "rel" | "abs";
  /** Epochs after a reduction in which nothing counts. */
  readonly cooldown: number;
  /** The least rate of each group. */
  readonly minLrs: readonly number[];
  /** Smaller changes of a rate are not made. */
  readonly eps: number;
  /** The best metric so far. */
  best: number;
  /** Epochs of the cooldown that are left. */
  cooldownCounter = 0;
  /** Epochs without progress so far. */
  numBadEpochs = 0;
  /** Steps taken. */
  lastEpoch = 0;
  #lastLr: number[];

  constructor(optimizer: Optimizer, options: ReduceLROnPlateauOptions = {}) {
    const op = "ReduceLROnPlateau";
    const { mode = "min", factor = 0.1, thresholdMode = "rel", minLr = 0 } = options;
    const { patience = 10, threshold = 1e-4, cooldown = 0, eps = 1e-8 } = options;
    checkOptimizer(op, optimizer);
    checkOneOf("mode", mode, ["min", "max"]);
    checkOneOf("thresholdMode", thresholdMode, ["rel", "abs"]);
    if (!(factor < 1)) {
      throw new ArgumentError({ op, expected: "factor below 1", actual: String(factor) });
    }
    this.optimizer = optimizer;
    this.mode = mode;
    this.factor = factor;
    this.patience = patience;
    this.threshold = threshold;
    this.thresholdMode = thresholdMode;
    this.cooldown = cooldown;
    this.minLrs = perGroup(op, "minLr", { given: minLr, optimizer });
    this.eps = eps;
    this.best = mode === "min" ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    this.#lastLr = this.#rates();
  }

  /** Takes the metric of one more epoch into account. */
  step(metric: number): void {
    if (typeof metric !== "number") {
      const hint = "read a tensor first: step(await loss.item())";
      throw new ArgumentError({
        op: "ReduceLROnPlateau.step",
        expected: "a number",
        actual: typeof metric,
        hint,
      });
    }
    this.lastEpoch++;
    if (this.#isBetter(metric)) {
      this.best = metric;
      this.numBadEpochs = 0;
    } else this.numBadEpochs++;
    if (this.cooldownCounter > 0) {
      this.cooldownCounter--;
      this.numBadEpochs = 0;
    }
    if (this.numBadEpochs > this.patience) {
      this.#reduce();
      this.cooldownCounter = this.cooldown;
      this.numBadEpochs = 0;
    }
    this.#lastLr = this.#rates();
  }

  /** The rates of all groups after the last step. */
  getLastLr(): number[] {
    return [...this.#lastLr];
  }

  /** Options and counters under PyTorch's names. */
  stateDict(): SchedulerState {
    const named = Object.entries(stateKeys).map(([name, key]) => [key, Reflect.get(this, name)]);
    return { ...Object.fromEntries(named), _last_lr: this.getLastLr() };
  }

  /**
   * Continues from a state dict, options included. Learning rates are the optimizer's state.
   * Throws: StateDictError for a value of another kind or a missing one; nothing is changed then.
   */
  loadStateDict(source: StateValue): void {
    const op = "ReduceLROnPlateau.loadStateDict";
    const members = requireMembers(op, source, "a dict");
    const read = <T>(key: string, example: T) => readLike(op, example, members.get(key), key);
    const values = Object.entries(stateKeys).map(([name, key]) => {
      const present: unknown = Reflect.get(this, name);
      return [name, read(key, present)];
    });
    this.#lastLr = read("_last_lr", this.#lastLr);
    Object.assign(this, Object.fromEntries(values));
  }

  #rates(): number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }

  #isBetter(metric: number): boolean {
    const { mode, threshold, thresholdMode, best } = this;
    if (mode === "min") {
      return metric < (thresholdMode === "rel" ? best * (1 - threshold) : best - threshold);
    }
    return metric > (thresholdMode === "rel" ? best * (threshold + 1) : best + threshold);
  }

  #reduce(): void {
    for (const [i, group] of this.optimizer.paramGroups.entries()) {
      // A group added later has the bound that was given for all.
      const lr = Math.max(group.lr * this.factor, this.minLrs[i] ?? this.minLrs[0]);
      if (group.lr - lr > this.eps) group.lr = lr;
    }
  }
}

const stateKeys = {
  factor: "factor",
  minLrs: "min_lrs",
  patience: "patience",
  cooldown: "cooldown",
  eps: "eps",
  lastEpoch: "last_epoch",
  mode: "mode",
  threshold: "threshold",
  thresholdMode: "threshold_mode",
  best: "best",
  cooldownCounter: "cooldown_counter",
  numBadEpochs: "num_bad_epochs",
} as const;

function checkOneOf(name: string, value: string, known: readonly string[]): void {
  if (known.includes(value)) return;
  throw new ArgumentError({
    op: "ReduceLROnPlateau",
    expected: `${name} ${known.map((item) => JSON.stringify(item)).join(" or ")}`,
    actual: JSON.stringify(value),
  });
}

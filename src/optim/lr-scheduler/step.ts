/** Schedules that multiply the rate by gamma, at every step or at some. */
import type { Optimizer } from "../optimizer.ts";
import type { ParamGroup } from "../param-group.ts";
import { readNumber, requireMembers, type StateValue } from "../state-value.ts";
import {
  checkWhole,
  LRScheduler,
  type SchedulerOptions,
  type SchedulerState,
  type Turn,
} from "./scheduler.ts";

/** How much a decay takes. */
export interface GammaOptions extends SchedulerOptions {
  /** Factor of each decay. Default 0.1. */
  readonly gamma?: number;
}

/**
 * Multiplies the rate by gamma every `stepSize` steps.
 * Throws: ArgumentError unless stepSize is a whole number above 0.
 * Source: PyTorch optim.lr_scheduler.StepLR.
 *
 * @example
 * const scheduler = new optim.lrScheduler.StepLR(opt, 30, { gamma: 0.1 });
 */
export class StepLR extends LRScheduler {
  /** Steps between two decays. */
  readonly stepSize: number;
  /** Factor of each decay. */
  readonly gamma: number;

  constructor(optimizer: Optimizer, stepSize: number, options: GammaOptions = {}) {
    super("StepLR", optimizer, options);
    checkWhole(this.name, "stepSize", stepSize, 1);
    this.stepSize = stepSize;
    this.gamma = options.gamma ?? 0.1;
    this.start();
  }

  protected get stateKeys() {
    return { stepSize: "step_size", gamma: "gamma" };
  }

  protected nextLr({ lr }: ParamGroup, _i: number, { epoch }: Turn): number {
    return epoch === 0 || epoch % this.stepSize !== 0 ? lr : lr * this.gamma;
  }

  protected override closedLr(i: number, epoch: number): number {
    return this.baseLrs[i] * this.gamma ** Math.floor(epoch / this.stepSize);
  }
}

/**
 * Multiplies the rate by gamma at each milestone; at one that is given twice, twice.
 * Throws: ArgumentError unless milestones are whole numbers.
 * Source: PyTorch optim.lr_scheduler.MultiStepLR.
 */
export class MultiStepLR extends LRScheduler {
  /** Factor of each decay. */
  readonly gamma: number;
  /** How often each milestone was given. */
  #milestones: ReadonlyMap<number, number>;

  constructor(optimizer: Optimizer, milestones: Iterable<number>, options: GammaOptions = {}) {
    super("MultiStepLR", optimizer, options);
    const counts = new Map<number, number>();
    for (const milestone of milestones) {
      checkWhole(this.name, "milestones", milestone, 0);
      counts.set(milestone, (counts.get(milestone) ?? 0) + 1);
    }
    this.#milestones = counts;
    this.gamma = options.gamma ?? 0.1;
    this.start();
  }

  /** Epochs at which the rate decays, in ascending order. */
  get milestones(): number[] {
    const all = [...this.#milestones].flatMap(([epoch, count]) => new Array(count).fill(epoch));
    return all.sort((a, b) => a - b);
  }

  protected get stateKeys() {
    return { gamma: "gamma" };
  }

  /** As `LRScheduler`'s; milestones as PyTorch's Counter, how often by epoch. */
  override stateDict(): SchedulerState {
    return { milestones: Object.fromEntries(this.#milestones), ...super.stateDict() };
  }

  override loadStateDict(source: StateValue): void {
    const op = "MultiStepLR.loadStateDict";
    const saved = requireMembers(op, source, "a dict").get("milestones");
    const counts = [...requireMembers(op, saved ?? {}, "milestones to be counts by epoch")].map(
      ([epoch, count]) => [Number(epoch), readNumber(op, count, "a count")] as const,
    );
    super.loadStateDict(source);
    this.#milestones = new Map(counts);
  }

  protected nextLr({ lr }: ParamGroup, _i: number, { epoch }: Turn): number {
    const count = this.#milestones.get(epoch);
    return count === undefined ? lr : lr * this.gamma ** count;
  }

  protected override closedLr(i: number, epoch: number): number {
    const passed = this.milestones.filter((milestone) => milestone <= epoch).length;
    return this.baseLrs[i] * this.gamma ** passed;
  }
}

/**
 * Multiplies the rate by gamma at every step.
 * Source: PyTorch optim.lr_scheduler.ExponentialLR.
 */
export class ExponentialLR extends LRScheduler {
  /** Factor of each decay. */
  readonly gamma: number;

  constructor(optimizer: Optimizer, gamma: number, options: SchedulerOptions = {}) {
    super("ExponentialLR", optimizer, options);
    this.gamma = gamma;
    this.start();
  }

  protected get stateKeys() {
    return { gamma: "gamma" };
  }

  protected nextLr({ lr }: ParamGroup, _i: number, { isInitial }: Turn): number {
    return isInitial ? lr : lr * this.gamma;
  }

  protected override closedLr(i: number, epoch: number): number {
    return this.baseLrs[i] * this.gamma ** epoch;
  }
}

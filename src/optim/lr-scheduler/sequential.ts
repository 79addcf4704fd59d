import { ArgumentError, StateDictError } from "../../core/errors.ts";
import type { Optimizer } from "../optimizer.ts";
import { readNumber, readNumbers, requireMembers, type StateValue } from "../state-value.ts";
import { checkOptimizer, checkWhole, LRScheduler, type SchedulerState } from "./scheduler.ts";

/**
 * Runs one schedule after the other: `schedulers[i]` takes over at `milestones[i - 1]`, and counts its epochs from there.
 *
 * Throws: ArgumentError unless all schedules are of this optimizer and there is one more of them than milestones; for schedules that
 * need a metric.
 * Unlike PyTorch: sequences in a sequence are refused here and not when their turn comes.
 * Source: PyTorch optim.lr_scheduler.SequentialLR.
 *
 * @example
 * const warmUp = new optim.lrScheduler.LinearLR(opt, { totalIters: 5 });
 * const decay = new optim.lrScheduler.CosineAnnealingLR(opt, 95);
 * const scheduler = new optim.lrScheduler.SequentialLR(opt, [warmUp, decay], [5]);
 */
export class SequentialLR {
  /** The optimizer whose rates it sets. */
  readonly optimizer: Optimizer;
  /** The schedules, first to last. */
  readonly schedulers: readonly LRScheduler[];
  /** Epochs at which the next schedule takes over. */
  milestones: readonly number[];
  /** Steps taken, counted from 0. */
  lastEpoch = 0;
  #lastLr: number[];

  constructor(
    optimizer: Optimizer,
    schedulers: readonly LRScheduler[],
    milestones: readonly number[],
  ) {
    checkOptimizer("SequentialLR", optimizer);
    checkParts(optimizer, schedulers, milestones);
    this.optimizer = optimizer;
    this.schedulers = [...schedulers];
    this.milestones = [...milestones];
    for (const group of optimizer.paramGroups) group.lr = group.initialLr ?? group.lr;
    for (const scheduler of schedulers) scheduler.undo();
    const first = this.#inCharge();
    first.start();
    this.#lastLr = first.getLastLr();
  }

  /** Sets the next learning rates. */
  step(): void {
    this.lastEpoch++;
    const scheduler = this.#inCharge();
    if (this.milestones.includes(this.lastEpoch)) scheduler.restart();
    else scheduler.step();
    this.#lastLr = scheduler.getLastLr();
  }

  /** The rates of all groups that were set last. */
  getLastLr(): number[] {
    return [...this.#lastLr];
  }

  /** Counters, and the state of each schedule, under PyTorch's names. */
  stateDict(): SchedulerState {
    return {
      _milestones: this.milestones,
      last_epoch: this.lastEpoch,
      _last_lr: this.getLastLr(),
      _schedulers: this.schedulers.map((scheduler) => scheduler.stateDict()),
    };
  }

  /**
   * Continues from a state dict of a sequence of the same schedules.
   * Throws: StateDictError for another number of schedules or values of another kind.
   */
  loadStateDict(source: StateValue): void {
    const op = "SequentialLR.loadStateDict";
    const members = requireMembers(op, source, "a dict");
    const saved = requireMembers(op, members.get("_schedulers"), "_schedulers, a list of dicts");
    const milestones = readNumbers(op, members.get("_milestones"), "_milestones");
    const lastEpoch = readNumber(op, members.get("last_epoch"), "last_epoch");
    const lastLr = readNumbers(op, members.get("_last_lr"), "_last_lr");
    if (saved.size !== this.schedulers.length) {
      const expected = `${this.schedulers.length} schedules`;
      throw new StateDictError({ op, expected, actual: `${saved.size}` });
    }
    for (const [i, state] of [...saved.values()].entries()) this.schedulers[i].loadStateDict(state);
    this.milestones = milestones;
    this.lastEpoch = lastEpoch;
    this.#lastLr = lastLr;
  }

  /** The schedule of this epoch: as many are done as milestones have passed. */
  #inCharge(): LRScheduler {
    return this.schedulers[this.milestones.filter((epoch) => epoch <= this.lastEpoch).length];
  }
}

function checkParts(
  optimizer: Optimizer,
  schedulers: readonly LRScheduler[],
  milestones: readonly number[],
): void {
  const op = "SequentialLR";
  for (const [i, scheduler] of schedulers.entries()) {
    const isSchedule = scheduler instanceof LRScheduler;
    if (isSchedule && scheduler.optimizer === optimizer) continue;
    throw new ArgumentError({
      op,
      expected: "schedules of this optimizer, none a sequence and none that needs a metric",
      actual: isSchedule ? `number ${i} of another optimizer` : `another object as number ${i}`,
    });
  }
  for (const [i, milestone] of milestones.entries()) {
    checkWhole(op, "milestones in ascending order", milestone, milestones[i - 1] ?? 0);
  }
  if (schedulers.length > 0 && milestones.length === schedulers.length - 1) return;
  throw new ArgumentError({
    op,
    expected: "at least one schedule, and one milestone less than schedules",
    actual: `${schedulers.length} schedules and ${milestones.length} milestones`,
  });
}

import type { Optimizer } from "../optimizer.ts";
import type { ParamGroup } from "../param-group.ts";
import { type AnnealStrategy, anneal, checkStrategy } from "./anneal.ts";
import { checkWhole, LRScheduler, perGroup, type SchedulerOptions } from "./scheduler.ts";

/** How the rate gets to its new value. */
export interface SWALROptions extends SchedulerOptions {
  /** Steps to the constant rate. Default 10. */
  readonly annealEpochs?: number;
  /** Along a cosine or a line. Default "cos". */
  readonly annealStrategy?: AnnealStrategy;
}

/**
 * Moves each group's rate to `swaLr` in `annealEpochs` steps and keeps it there: the phase in which weights are averaged. Begins where
 * another schedule stopped.
 *
 * Throws: ArgumentError for annealEpochs that are no whole number, or a list of another length than the groups.
 * Source: PyTorch optim.swa_utils.SWALR.
 */
export class SWALR extends LRScheduler {
  /** Steps to the constant rate. */
  readonly annealEpochs: number;
  /** Whether the way there is a cosine or a line. */
  readonly annealStrategy: AnnealStrategy;

  constructor(optimizer: Optimizer, swaLr: number | readonly number[], options: SWALROptions = {}) {
    super("SWALR", optimizer, options);
    const { annealEpochs = 10, annealStrategy = "cos" } = options;
    checkStrategy(this.name, annealStrategy);
    checkWhole(this.name, "annealEpochs", annealEpochs, 0);
    const rates = perGroup(this.name, "swaLr", { given: swaLr, optimizer });
    for (const [i, group] of optimizer.paramGroups.entries()) group.swaLr = rates[i];
    this.annealEpochs = annealEpochs;
    this.annealStrategy = annealStrategy;
    this.start();
  }

  protected get stateKeys() {
    return { annealStrategy: "_anneal_strategy", annealEpochs: "anneal_epochs" };
  }

  /** The rate that led here is computed back from the present one, so that a change by hand counts. */
  protected nextLr({ lr, swaLr = lr }: ParamGroup): number {
    const { annealEpochs } = this;
    const step = annealEpochs === 0 ? Math.max(1, this.stepCount - 1) : this.stepCount - 1;
    const before = this.#share(step - 1);
    const initial = before === 1 ? swaLr : (lr - before * swaLr) / (1 - before);
    const share = this.#share(step);
    return swaLr * share + initial * (1 - share);
  }

  /** How much of the rate is the new one's after that many steps. */
  #share(steps: number): number {
    const part = Math.max(0, Math.min(1, steps / Math.max(1, this.annealEpochs)));
    return anneal(this.annealStrategy, { start: 0, end: 1 }, part);
  }
}

/** Schedules that follow a curve. */
import { ArgumentError } from "../../core/errors.ts";
import type { Optimizer } from "../optimizer.ts";
import type { ParamGroup } from "../param-group.ts";
import {
  checkWhole,
  LRScheduler,
  perGroup,
  type SchedulerOptions,
  type Turn,
} from "./scheduler.ts";

/** Where the factor starts and ends, and how long it takes. */
export interface LinearLROptions extends SchedulerOptions {
  /** Factor at first, above 0 and at most 1. Default 1 / 3. */
  readonly startFactor?: number;
  /** Factor at the end, from 0 to 1. Default 1. */
  readonly endFactor?: number;
  /** Steps from the first factor to the last. Default 5. */
  readonly totalIters?: number;
}

/**
 * Moves the rate's factor from `startFactor` to `endFactor` in `totalIters` equal steps: warm-up.
 * Throws: ArgumentError for factors out of range, or totalIters not a whole number above 0.
 * Source: PyTorch optim.lr_scheduler.LinearLR.
 */
export class LinearLR extends LRScheduler {
  /** Factor at first. */
  readonly startFactor: number;
  /** Factor at the end. */
  readonly endFactor: number;
  /** Steps from the first factor to the last. */
  readonly totalIters: number;

  constructor(optimizer: Optimizer, options: LinearLROptions = {}) {
    super("LinearLR", optimizer, options);
    const { startFactor = 1 / 3, endFactor = 1, totalIters = 5 } = options;
    checkWhole(this.name, "totalIters", totalIters, 1);
    if (!(startFactor > 0 && startFactor <= 1 && endFactor >= 0 && endFactor <= 1)) {
      throw new ArgumentError({
        op: this.name,
        expected: "startFactor in (0, 1] and endFactor in [0, 1]",
        actual: `${startFactor} and ${endFactor}`,
      });
    }
    this.startFactor = startFactor;
    this.endFactor = endFactor;
    this.totalIters = totalIters;
    this.start();
  }

  protected get stateKeys() {
    return { startFactor: "start_factor", endFactor: "end_factor", totalIters: "total_iters" };
  }

  protected nextLr({ lr }: ParamGroup, _i: number, { epoch, isInitial }: Turn): number {
    const { startFactor, endFactor, totalIters } = this;
    if (epoch === 0) return lr * startFactor;
    if (isInitial || epoch > totalIters) return lr;
    const change = endFactor - startFactor;
    return lr * (1 + change / (totalIters * startFactor + (epoch - 1) * change));
  }

  protected override closedLr(i: number, epoch: number): number {
    const { startFactor, endFactor, totalIters } = this;
    const change = ((endFactor - startFactor) * Math.min(totalIters, epoch)) / totalIters;
    return this.baseLrs[i] * (startFactor + change);
  }
}

/** Where the rate ends. */
export interface CosineAnnealingLROptions extends SchedulerOptions {
  /** The least rate. Default 0. */
  readonly etaMin?: number;
}

/**
 * Takes the rate down half a cosine wave to `etaMin` in `tMax` steps; steps beyond take it up again.
 * Throws: ArgumentError unless tMax is a whole number above 0.
 * Source: PyTorch optim.lr_scheduler.CosineAnnealingLR; Loshchilov and Hutter 2016, arXiv:1608.03983.
 *
 * @example
 * const scheduler = new optim.lrScheduler.CosineAnnealingLR(opt, epochs, { etaMin: 1e-4 });
 */
export class CosineAnnealingLR extends LRScheduler {
  /** Steps to the least rate. */
  readonly tMax: number;
  /** The least rate. */
  readonly etaMin: number;

  constructor(optimizer: Optimizer, tMax: number, options: CosineAnnealingLROptions = {}) {
    super("CosineAnnealingLR", optimizer, options);
    checkWhole(this.name, "tMax", tMax, 1);
    this.tMax = tMax;
    this.etaMin = options.etaMin ?? 0;
    this.start();
  }

  protected get stateKeys() {
    return { tMax: "T_max", etaMin: "eta_min" };
  }

  protected nextLr({ lr }: ParamGroup, i: number, { epoch, isInitial }: Turn): number {
    const { tMax, etaMin } = this;
    if (isInitial) return lr;
    // At the bottom the factor below would be 0 / 0: the way up starts by addition.
    if ((epoch - 1 - tMax) % (2 * tMax) === 0) {
      return lr + ((this.baseLrs[i] - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2;
    }
    const height = (at: number) => 1 + Math.cos((Math.PI * at) / tMax);
    return (height(epoch) / height(epoch - 1)) * (lr - etaMin) + etaMin;
  }

  protected override closedLr(i: number, epoch: number): number {
    const { tMax, etaMin } = this;
    const height = 1 + Math.cos((Math.PI * epoch) / tMax);
    return etaMin + ((this.baseLrs[i] - etaMin) * height) / 2;
  }
}

/** Factor of the initial rate at an epoch. */
export type LrLambda = (epoch: number) => number;

/**
 * Sets the rate to the initial one times a function of the epoch; one function for all groups or one for each.
 * The functions are no part of the state dict: give them again when resuming.
 * Throws: ArgumentError for a list of another length than the groups.
 * Source: PyTorch optim.lr_scheduler.LambdaLR.
 *
 * @example
 * const scheduler = new optim.lrScheduler.LambdaLR(opt, (epoch) => 0.95 ** epoch);
 */
export class LambdaLR extends LRScheduler {
  readonly #lambdas: readonly LrLambda[];

  constructor(
    optimizer: Optimizer,
    lrLambda: LrLambda | readonly LrLambda[],
    options: SchedulerOptions = {},
  ) {
    super("LambdaLR", optimizer, options);
    this.#lambdas = perGroup(this.name, "functions", { given: lrLambda, optimizer });
    this.start();
  }

  protected get stateKeys() {
    return {};
  }

  protected nextLr(_group: ParamGroup, i: number, { epoch }: Turn): number {
    return this.baseLrs[i] * this.#lambdas[i](epoch);
  }
}

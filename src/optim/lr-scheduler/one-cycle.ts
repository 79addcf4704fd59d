import { ArgumentError, StateDictError } from "../../core/errors.ts";
import { stateKey } from "../../nn/state-dict.ts";
import type { Optimizer } from "../optimizer.ts";
import { isScheduleName, type ParamGroup, type Schedule } from "../param-group.ts";
import { camelKey, readLike, readNumber, requireMembers, type StateValue } from "../state-value.ts";
import { type AnnealStrategy, anneal, checkStrategy } from "./anneal.ts";
import {
  checkWhole,
  LRScheduler,
  perGroup,
  type SchedulerOptions,
  type SchedulerState,
  type Turn,
} from "./scheduler.ts";

/** The cycle's length and shape, and what momentum does meanwhile. */
export interface OneCycleLROptions extends SchedulerOptions {
  /** Steps of the cycle. Default: `epochs` times `stepsPerEpoch`, which must be given then. */
  readonly totalSteps?: number;
  /** Epochs of the cycle; of no effect beside `totalSteps`. */
  readonly epochs?: number;
  /** Batches in an epoch; of no effect beside `totalSteps`. */
  readonly stepsPerEpoch?: number;
  /** Part of the cycle in which the rate rises. Default 0.3. */
  readonly pctStart?: number;
  /** Along a cosine or a line. Default "cos". */
  readonly annealStrategy?: AnnealStrategy;
  /** Whether momentum, or beta1, falls while the rate rises. Default true. */
  readonly cycleMomentum?: boolean;
  /** The least momentum, for all groups or each. Default 0.85. */
  readonly baseMomentum?: number | readonly number[];
  /** The greatest momentum, for all groups or each. Default 0.95. */
  readonly maxMomentum?: number | readonly number[];
  /** The first rate is maxLr / divFactor. Default 25. */
  readonly divFactor?: number;
  /** The last rate is the first one / finalDivFactor. Default 1e4. */
  readonly finalDivFactor?: number;
  /** Down as slowly as up, then on to the last rate. Default false. */
  readonly threePhase?: boolean;
}

/** A stretch of the cycle: names of the group's values that it leads from and to. */
interface Phase {
  readonly endStep: number;
  readonly startLr: keyof Schedule;
  readonly endLr: keyof Schedule;
  readonly startMomentum: keyof Schedule;
  readonly endMomentum: keyof Schedule;
}

/**
 * Takes the rate up to `maxLr` and down to almost nothing over the whole training, and momentum the other way. `step()` follows
 * every batch. Each group's initial rate becomes maxLr / divFactor.
 *
 * Throws: ArgumentError without a number of steps, for pctStart outside [0, 1], momentum cycling with an optimizer that has none, or
 * lists of another length than the groups; from `step()` beyond the last step.
 * Source: PyTorch optim.lr_scheduler.OneCycleLR; Smith and Topin 2017, arXiv:1708.07120.
 *
 * @example
 * const scheduler = new optim.lrScheduler.OneCycleLR(opt, 0.1, { epochs: 10, stepsPerEpoch: 100 });
 */
export class OneCycleLR extends LRScheduler {
  /** Steps of the cycle. */
  readonly totalSteps: number;
  /** Whether rates move along a cosine or a line. */
  readonly annealStrategy: AnnealStrategy;
  /** Whether momentum, or beta1, falls while the rate rises. */
  readonly cycleMomentum: boolean;
  #phases: readonly Phase[];

  constructor(
    optimizer: Optimizer,
    maxLr: number | readonly number[],
    options: OneCycleLROptions = {},
  ) {
    super("OneCycleLR", optimizer, options);
    const { annealStrategy = "cos", cycleMomentum = true, lastEpoch = -1 } = options;
    checkStrategy(this.name, annealStrategy);
    this.totalSteps = stepsOf(this.name, options);
    this.annealStrategy = annealStrategy;
    this.cycleMomentum = cycleMomentum;
    this.#phases = phasesOf(this.name, this.totalSteps, options);
    if (lastEpoch === -1) {
      const { paramGroups } = optimizer;
      const rates = ratesOf(this.name, optimizer, { ...options, maxLr });
      const momenta = cycleMomentum ? momentaOf(this.name, optimizer, options) : [];
      for (const [i, group] of paramGroups.entries()) Object.assign(group, rates[i], momenta[i]);
      this.baseLrs = rates.map(({ initialLr }) => initialLr);
    }
    this.start();
  }

  protected get stateKeys() {
    return {
      totalSteps: "total_steps",
      annealStrategy: "_anneal_func_type",
      cycleMomentum: "cycle_momentum",
    };
  }

  /** As `LRScheduler`'s, and the phases of the cycle. */
  override stateDict(): SchedulerState {
    const phases = this.#phases.map(({ endStep, ...names }) => {
      const named = Object.entries(names).map(([name, value]) => [stateKey(name), stateKey(value)]);
      return { end_step: endStep, ...Object.fromEntries(named) };
    });
    return { _schedule_phases: phases, ...super.stateDict() };
  }

  override loadStateDict(source: StateValue): void {
    const op = "OneCycleLR.loadStateDict";
    const saved = requireMembers(op, source, "a dict").get("_schedule_phases");
    const phases = requireMembers(op, saved, "_schedule_phases, a list of phases");
    const loaded = [...phases.values()].map((phase) => readPhase(op, phase));
    super.loadStateDict(source);
    this.#phases = loaded;
  }

  protected nextLr(group: ParamGroup, _i: number, { epoch }: Turn): number {
    if (epoch > this.totalSteps) rejectStep(epoch, this.totalSteps);
    const last = this.#phases.length - 1;
    const k = this.#phases.findIndex(({ endStep }, at) => epoch <= endStep || at === last);
    const phase = this.#phases[k];
    const startStep = k === 0 ? 0 : this.#phases[k - 1].endStep;
    // With a rise as long as the cycle, nothing follows its last step.
    if (phase.endStep === startStep) rejectStep(epoch, epoch - 1);
    const part = (epoch - startStep) / (phase.endStep - startStep);
    const between = (start: keyof Schedule, end: keyof Schedule) => {
      const way = { start: noteOf(group, start), end: noteOf(group, end) };
      return anneal(this.annealStrategy, way, part);
    };
    if (this.cycleMomentum) {
      const momentum = between(phase.startMomentum, phase.endMomentum);
      if (group.betas !== undefined) group.betas = [momentum, group.betas[1]];
      else group.momentum = momentum;
    }
    return between(phase.startLr, phase.endLr);
  }
}

function rejectStep(epoch: number, most: number): never {
  throw new ArgumentError({
    op: "OneCycleLR.step",
    expected: `at most ${most} steps`,
    actual: `${epoch}`,
  });
}

/** A value that this schedule has noted in the group. */
function noteOf(group: ParamGroup, name: keyof Schedule): number {
  const value = group[name];
  if (value !== undefined) return value;
  throw new ArgumentError({
    op: "OneCycleLR",
    expected: `${name} in every group`,
    actual: "a group without",
    hint: "load the optimizer's state dict first",
  });
}

function stepsOf(op: string, options: OneCycleLROptions): number {
  const { totalSteps, epochs, stepsPerEpoch } = options;
  if (totalSteps !== undefined) {
    checkWhole(op, "totalSteps", totalSteps, 1);
    return totalSteps;
  }
  if (epochs === undefined || stepsPerEpoch === undefined) {
    throw new ArgumentError({
      op,
      expected: "totalSteps, or epochs and stepsPerEpoch",
      actual: "neither",
    });
  }
  checkWhole(op, "epochs", epochs, 1);
  checkWhole(op, "stepsPerEpoch", stepsPerEpoch, 1);
  return epochs * stepsPerEpoch;
}

function phasesOf(op: string, totalSteps: number, options: OneCycleLROptions): Phase[] {
  const { pctStart = 0.3, threePhase = false } = options;
  if (!(pctStart >= 0 && pctStart <= 1)) {
    throw new ArgumentError({ op, expected: "pctStart in [0, 1]", actual: String(pctStart) });
  }
  const endOfRise = pctStart * totalSteps - 1;
  if (endOfRise === 0) {
    throw new ArgumentError({
      op,
      expected: "a rise of another length than one step, where a phase would have none",
      actual: `pctStart ${pctStart} of ${totalSteps} steps`,
    });
  }
  const up = { startMomentum: "maxMomentum", endMomentum: "baseMomentum" } as const;
  const down = { startMomentum: "baseMomentum", endMomentum: "maxMomentum" } as const;
  const level = { startMomentum: "maxMomentum", endMomentum: "maxMomentum" } as const;
  const rise: Phase = { endStep: endOfRise, startLr: "initialLr", endLr: "maxLr", ...up };
  const endStep = totalSteps - 1;
  if (!threePhase) return [rise, { endStep, startLr: "maxLr", endLr: "minLr", ...down }];
  const endOfFall = 2 * pctStart * totalSteps - 2;
  return [
    rise,
    { endStep: endOfFall, startLr: "maxLr", endLr: "initialLr", ...down },
    { endStep, startLr: "initialLr", endLr: "minLr", ...level },
  ];
}

function ratesOf(
  op: string,
  optimizer: Optimizer,
  options: OneCycleLROptions & { readonly maxLr: number | readonly number[] },
) {
  const { maxLr: given, divFactor = 25, finalDivFactor = 1e4 } = options;
  return perGroup(op, "maxLr", { given, optimizer }).map((maxLr) => {
    const initialLr = maxLr / divFactor;
    return { initialLr, maxLr, minLr: initialLr / finalDivFactor };
  });
}

function momentaOf(op: string, optimizer: Optimizer, options: OneCycleLROptions) {
  const { maxMomentum: most = 0.95, baseMomentum: least = 0.85 } = options;
  const { momentum, betas } = optimizer.defaults;
  if (momentum === undefined && betas === undefined) {
    throw new ArgumentError({
      op,
      expected: "an optimizer with momentum or betas",
      actual: "one without",
      hint: "pass { cycleMomentum: false }",
    });
  }
  const greatest = perGroup(op, "maxMomentum", { given: most, optimizer });
  const leasts = perGroup(op, "baseMomentum", { given: least, optimizer });
  return greatest.map((maxMomentum, i) => ({ maxMomentum, baseMomentum: leasts[i] }));
}

function readPhase(op: string, value: StateValue): Phase {
  const members = requireMembers(op, value, "a phase");
  const note = (key: string): keyof Schedule => {
    const name = camelKey(readLike(op, "", members.get(key), `${key} of a phase`));
    if (isScheduleName(name)) return name;
    throw new StateDictError({ op, expected: `a known ${key}`, actual: name });
  };
  return {
    endStep: readNumber(op, members.get("end_step"), "end_step of a phase"),
    startLr: note("start_lr"),
    endLr: note("end_lr"),
    startMomentum: note("start_momentum"),
    endMomentum: note("end_momentum"),
  };
}

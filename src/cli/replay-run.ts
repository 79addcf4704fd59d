/** Runs a recorded run again and finds where it parts from the recording. */
import { formatNumber } from "../nn/compare-facts.ts";
import { hostValues } from "../nn/compare-run.ts";
import { type Difference, differenceOf, type HostValues, roundingBound } from "../nn/difference.ts";
import type { Module } from "../nn/module.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { hostOf, type RecordedStep, type Recording } from "./recording.ts";
import { describeModel } from "./replay-notes.ts";
import { lossOf, optimizerOf, setOptions, tensorOf } from "./replay-setup.ts";
import { shadowOf } from "./replay-shadow.ts";

/** A model that takes one batch. */
export type ReplayModel = Module & ((x: Tensor) => Tensor);

export interface ReplayOptions {
  /** Largest relative difference that still agrees, everywhere. Default: the rule of docs/parity.md. */
  readonly tolerance?: number | undefined;
}

/** Differences of the model that the text has; `notes` has all. */
const mostNotes = 6;

/** Something that was recorded and computed again. */
export interface Compared {
  /** From 1. */
  readonly step: number;
  /** "bn1", "bn1 (call 2)", "the loss", "bn1.running_var after the step", "fc.weight at the end". */
  readonly place: string;
  readonly largest: number;
  readonly relative: number;
  readonly tolerance: number;
  readonly remark: string;
}

export interface Replay {
  readonly agrees: boolean;
  /** The first that is beyond its tolerance. */
  readonly parting: Compared | null;
  /** Everything compared, up to the parting. */
  readonly compared: readonly Compared[];
  /** In what the model is not the recorded one, in words. */
  readonly notes: readonly string[];
  toString(): string;
}

/**
 * Loads the recorded weights into `model`, takes the recorded steps, and stops at the first output, loss or state that differs by more than
 * rounding. Modes are left as they are.
 *
 * Numerics: the tolerance is `roundingBound` of the layer's position, times the number of the step: weights carry the rounding of all
 * steps before. Where training magnifies rounding (Adam makes whole steps of gradients near 0, a deep network has long sums), it is four times
 * what a second run here comes to that starts from weights a little off, if that is more. It is relative to the recorded values' root
 * mean square, of running means to the deviation beside them.
 */
export async function replay(
  model: ReplayModel,
  recording: Recording,
  { tolerance }: ReplayOptions = {},
): Promise<Replay> {
  const keys = model.loadStateDict(recording.initial, { strict: false });
  const notes = describeModel(model, recording, keys);
  const runs = [new Run(model, recording), new Run(shadowOf(model), recording)] as const;
  const compared: Compared[] = [];
  for (const [i, recorded] of recording.steps.entries()) {
    const [own, shadow] = [await runs[0].step(recorded), await runs[1].step(recorded)];
    const judge = new Judge(i + 1, tolerance);
    judge.outputs(recorded, own, shadow);
    judge.loss(recorded.loss, own.loss, shadow.loss);
    judge.state(recorded.buffers, [own.state, shadow.state], "after the step");
    if (i === recording.steps.length - 1) {
      judge.state(recording.final, [own.state, shadow.state], "at the end");
    }
    compared.push(...judge.compared);
    if (compared.some(isParted)) break;
  }
  return finished(compared, notes);
}

/** What a step computed. */
interface Taken {
  readonly outputs: ReadonlyMap<string, HostValues>;
  readonly loss: number;
  readonly state: ReadonlyMap<string, HostValues>;
}

/** A model with the recorded optimizer and loss. */
class Run {
  readonly #model: ReplayModel;
  readonly #optimizer: ReturnType<typeof optimizerOf>;
  readonly #criterion: ReturnType<typeof lossOf>;

  constructor(model: ReplayModel, recording: Recording) {
    this.#model = model;
    this.#optimizer = optimizerOf(model, recording);
    this.#criterion = lossOf(recording);
  }

  async step(recorded: RecordedStep): Promise<Taken> {
    setOptions(this.#optimizer, recorded.groups);
    const { outputs, result } = watched(this.#model, tensorOf(recorded.x));
    const loss = this.#criterion(result, tensorOf(recorded.y));
    this.#optimizer.zeroGrad();
    loss.backward();
    this.#optimizer.step();
    const state = [...this.#model.stateDict()].map(([key, value]) => {
      const host =
        typeof value === "number" ? { shape: [], values: [value] } : hostValues(value)[0];
      return [key, host] as const;
    });
    return { outputs, loss: await loss.item(), state: new Map(state) };
  }
}

/** One forward with the outputs of all layers, by place. */
function watched(model: ReplayModel, x: Tensor) {
  const outputs = new Map<string, HostValues>();
  const hooks = model.namedModules().map(([name, module]) => {
    let count = 0;
    return module.registerForwardHook((_module, _args, output) => {
      const [values] = hostValues(output);
      if (values !== undefined) outputs.set(placeOf(name, ++count), values);
    });
  });
  try {
    return { result: model(x), outputs };
  } finally {
    for (const hook of hooks) hook.remove();
  }
}

function placeOf(name: string, count: number): string {
  return count === 1 ? name : `${name} (call ${count})`;
}

/** Compares what one step recorded with what it computed here. */
class Judge {
  readonly compared: Compared[] = [];
  readonly #step: number;
  readonly #tolerance: number | undefined;
  /** Layers before what is compared next. */
  #depth = 0;
  /** What rounding comes to in the last output. */
  #noise = 0;

  constructor(step: number, tolerance: number | undefined) {
    this.#step = step;
    this.#tolerance = tolerance;
  }

  outputs({ outputs }: RecordedStep, own: Taken, shadow: Taken): void {
    const counts = new Map<string, number>();
    for (const { name, output } of outputs) {
      const count = (counts.get(name) ?? 0) + 1;
      counts.set(name, count);
      const place = placeOf(name, count);
      const values = own.outputs.get(place);
      if (values !== undefined) {
        const noise = differenceOf(values, shadow.outputs.get(place) ?? values);
        this.#noise = noise.relative;
        this.#add(place, differenceOf(hostOf(output), values), noise);
      }
      this.#depth++;
    }
  }

  loss(recorded: number, own: number, shadow: number): void {
    const scalar = (value: number) => ({ shape: [], values: [value] });
    const { relative, ...others } = differenceOf(scalar(own), scalar(shadow));
    // One number may agree by luck where the outputs that it is made of do not.
    const noise = { ...others, relative: Math.max(relative, this.#noise) };
    this.#add("the loss", differenceOf(scalar(recorded), scalar(own)), noise);
  }

  state(recorded: Recording["final"], states: readonly Taken["state"][], when: string): void {
    for (const [name, entry] of Object.entries(recorded)) {
      const [own, shadow = own] = states.map((state) => state.get(name));
      if (own === undefined || shadow === undefined) continue;
      const spread = recorded[name.replace(/running_mean$/, "running_var")];
      const isMean = name.endsWith("running_mean") && spread !== undefined;
      const scaled = (difference: Difference) =>
        isMean ? { ...difference, relative: byDeviation(difference, hostOf(spread)) } : difference;
      const noise = scaled(differenceOf(own, shadow));
      this.#add(`${name} ${when}`, scaled(differenceOf(hostOf(entry), own)), noise);
    }
  }

  #add(place: string, { largest, relative, remark }: Difference, noise: Difference): void {
    const rule = roundingBound(this.#depth + 1) * this.#step;
    // Noise without bound says that the run itself has NaN, which is no rounding.
    const magnified = Number.isFinite(noise.relative) ? 4 * noise.relative : 0;
    const tolerance = this.#tolerance ?? Math.max(rule, magnified);
    this.compared.push({ step: this.#step, place, largest, relative, tolerance, remark });
  }
}

/** A mean near 0 carries the rounding of values of their deviation's size. */
function byDeviation({ largest, relative }: Difference, { values }: HostValues): number {
  const mean = Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
  return mean > 0 ? Math.min(relative, largest / Math.sqrt(mean)) : relative;
}

/** Written so that NaN is beyond every tolerance. */
function isParted({ relative, tolerance }: Compared): boolean {
  return !(relative <= tolerance);
}

function finished(compared: readonly Compared[], notes: readonly string[]): Replay {
  const parting = compared.find(isParted) ?? null;
  const text = parting === null ? agreement(compared) : `parts at ${describe(parting)}`;
  const shown = parting === null ? [] : notes.slice(0, mostNotes).map((note) => `  ${note}`);
  if (shown.length === mostNotes) shown.push(...more(notes.length - mostNotes));
  const report = [text, ...shown].join("\n");
  return { agrees: parting === null, parting, compared, notes, toString: () => report };
}

function more(count: number): string[] {
  return count === 0 ? [] : [`  and ${count} more`];
}

function agreement(compared: readonly Compared[]): string {
  const share = ({ relative, tolerance }: Compared) => relative / tolerance;
  const worst = compared.reduce((most, next) => (share(next) > share(most) ? next : most));
  return `agrees in ${compared.length} outputs, losses and states; nearest to parting: ${describe(worst)}`;
}

function describe({ step, place, largest, relative, tolerance, remark }: Compared): string {
  const figures = `relative ${formatNumber(relative)}, tolerance ${formatNumber(tolerance)}`;
  const text = `step ${step}, ${place}: off by ${formatNumber(largest)} (${figures})`;
  return remark === "" ? text : `${text}; ${remark}`;
}

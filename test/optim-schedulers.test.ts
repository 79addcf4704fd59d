/** Schedules against 30 steps of PyTorch's, and their state dicts. */
import { describe, expect, test } from "vitest";
import { optim, zeros } from "../src/index.ts";
import { expectClose } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";
import { type OptimizerName, optimizers } from "./support/optimizers.ts";
import { makers, type Schedule } from "./support/schedules.ts";

interface Part {
  readonly kind: keyof typeof makers;
  readonly args: readonly (number & string & number[])[];
  readonly options: object;
}

type State = { readonly [key: string]: optim.StateValue };

interface Case {
  readonly name: string;
  readonly optimizer: OptimizerName;
  readonly groups: readonly { readonly lr: number }[];
  readonly chain?: readonly Part[];
  readonly sequence?: readonly Part[];
  readonly milestones?: readonly number[];
  /** Factors of the first group's rate, by the step before which they count. */
  readonly byHand?: Readonly<Record<string, number>>;
  readonly lastLrs: readonly (readonly number[])[];
  readonly states: readonly State[];
  readonly paramGroups: readonly State[];
}

const fixture = new Fixture("schedulers");
const cases = readCases<Case>("schedulers");
const metrics = fixture.values("metrics");
const steps = metrics.length;
/** Rates are double in PyTorch too; what differs is the last digit of a cosine or a power, over 30 steps. */
const rounding = { rtol: 1e-12, atol: 1e-17 };

test("the fixtures cover every schedule, 30 steps each", () => {
  const parts = cases.flatMap(({ chain = [], sequence = [] }) => [...chain, ...sequence]);
  expect(new Set(parts.map(({ kind }) => kind))).toEqual(new Set(Object.keys(makers)));
  expect(cases.some(({ sequence }) => sequence !== undefined)).toBe(true);
  expect(steps).toBe(30);
});

describe("rates and momenta are PyTorch's at every step", () => {
  test.each(cases)("$name: $chain $sequence, $optimizer, $groups", (entry) => {
    const run = new Run(entry);
    for (let step = 0; step < steps; step++) {
      run.step(step);
      run.expectAt(step);
    }
    for (const [i, schedule] of run.schedules.entries()) {
      expectClose(schedule.getLastLr(), entry.lastLrs[i], rounding, `last rates of ${i}`);
    }
  });
});

describe("state dicts hold what PyTorch's hold", () => {
  test.each(cases)("$name", (entry) => {
    const run = new Run(entry);
    for (let step = 0; step < steps; step++) run.step(step);
    for (const [i, schedule] of run.schedules.entries()) {
      expectAlike(schedule.stateDict(), entry.states[i], "state");
    }
    const { param_groups } = run.stepper.stateDict();
    for (const [i, group] of param_groups.entries()) {
      expectAlike(group, entry.paramGroups[i], `group ${i}`);
    }
  });
});

describe.each([1, 6, 13, 28])(
  "a schedule resumed after %d steps goes on as if uninterrupted",
  (at) => {
    test.each(cases)("$name", (entry) => {
      const first = new Run(entry);
      for (let step = 0; step < at; step++) first.step(step);
      const resumed = new Run(entry);
      resumed.load(
        optim.unflattenState(optim.flattenState(first.stepper.stateDict())),
        first.schedules.map((s) => optim.unflattenState(optim.flattenState(s.stateDict()))),
      );
      for (let step = at; step < steps; step++) {
        first.step(step);
        resumed.step(step);
        expect(resumed.rates()).toEqual(first.rates());
        expect(resumed.momenta()).toEqual(first.momenta());
      }
      expect(resumed.schedules.map((s) => s.stateDict())).toEqual(
        first.schedules.map((s) => s.stateDict()),
      );
    });
  },
);

describe("a state dict of PyTorch's can be loaded", () => {
  test.each(cases)("$name", (entry) => {
    const run = new Run(entry);
    run.load(null, entry.states);
    for (const [i, schedule] of run.schedules.entries()) {
      expect(schedule.stateDict()).toEqual(entry.states[i]);
    }
  });
});

const momenta: Readonly<Record<OptimizerName, object>> = {
  ...{ SGD: { momentum: 0.9 }, RMSprop: { momentum: 0.9 } },
  ...{ Adam: {}, AdamW: {} },
};

class Run {
  readonly stepper: optim.Optimizer;
  readonly schedules: readonly Schedule[];
  readonly #entry: Case;

  constructor(entry: Case) {
    const { optimizer, groups, chain, sequence, milestones = [] } = entry;
    const given = groups.map((group) => ({ ...group, params: [zeros([1])] }));
    const stepper = optimizers[optimizer](given, momenta[optimizer]);
    const parts = (chain ?? sequence ?? []).map(({ kind, args, options }) =>
      makers[kind](stepper, args[0], options),
    );
    const inner = parts.filter((part) => part instanceof optim.lrScheduler.LRScheduler);
    this.#entry = entry;
    this.stepper = stepper;
    this.schedules =
      chain === undefined
        ? [new optim.lrScheduler.SequentialLR(stepper, inner, milestones)]
        : parts;
  }

  /** Step 0 is what the schedules do when they are made. */
  step(step: number): void {
    if (step === 0) return;
    this.stepper.paramGroups[0].lr *= this.#entry.byHand?.[step] ?? 1;
    this.stepper.step();
    for (const schedule of this.schedules) schedule.step(metrics[step]);
  }

  load(optimizer: optim.StateValue, schedules: readonly optim.StateValue[]): void {
    if (optimizer !== null) this.stepper.loadStateDict(optimizer);
    for (const [i, schedule] of this.schedules.entries()) schedule.loadStateDict(schedules[i]);
  }

  rates(): number[] {
    return this.stepper.paramGroups.map(({ lr }) => lr);
  }

  momenta(): number[] {
    return this.stepper.paramGroups.map(({ momentum, betas }) => momentum ?? betas?.[0] ?? 0);
  }

  expectAt(step: number): void {
    const { name } = this.#entry;
    expectClose(this.rates(), rowOf(`${name}/lrs`, step), rounding, `rates at step ${step}`);
    expectClose(this.momenta(), rowOf(`${name}/momenta`, step), rounding, `momenta at ${step}`);
  }
}

function rowOf(key: string, row: number) {
  const { shape, values } = fixture.get(key);
  return values.slice(row * shape[1], (row + 1) * shape[1]);
}

/** Same keys, same values, numbers up to rounding. */
function expectAlike(actual: optim.StateValue, expected: optim.StateValue, path: string): void {
  if (typeof actual === "number" && typeof expected === "number") {
    expectClose([actual], [expected], rounding, path);
  } else if (isDict(actual) && isDict(expected)) {
    expect(Object.keys(actual).sort(), path).toEqual(Object.keys(expected).sort());
    for (const [key, value] of Object.entries(actual)) {
      expectAlike(value, expected[key], `${path}.${key}`);
    }
  } else expect(actual, path).toEqual(expected);
}

function isDict(value: optim.StateValue): value is State {
  return typeof value === "object" && value !== null;
}

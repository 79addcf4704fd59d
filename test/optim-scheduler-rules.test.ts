/** What holds for schedules beyond their numbers: what they note, what they share, what they refuse. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ArgumentError, optim, StateDictError, tensor } from "../src/index.ts";
import { expectClose } from "./support/close.ts";

const { lrScheduler } = optim;
const leaf = () => tensor([1], { requiresGrad: true });
const sgd = (lr = 0.1) =>
  new optim.SGD([{ params: leaf() }, { params: leaf(), lr: lr / 10 }], { lr });
const ratesOf = (opt: optim.Optimizer) => opt.paramGroups.map(({ lr }) => lr);

describe("schedules", () => {
  test("note the first rate of each group, once for all of them", () => {
    const opt = sgd();
    const first = new lrScheduler.ExponentialLR(opt, 0.5);
    first.step();
    const second = new lrScheduler.StepLR(opt, 2);

    expect(opt.paramGroups.map(({ initialLr }) => initialLr)).toEqual([0.1, 0.01]);
    expect([first.baseLrs, second.baseLrs]).toEqual([
      [0.1, 0.01],
      [0.1, 0.01],
    ]);
  });

  test("chain: two on one optimizer multiply", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.5, max: 1 }), fc.double({ min: 0.5, max: 1 }), (a, b) => {
        const opt = sgd();
        const both = [a, b].map((gamma) => new lrScheduler.ExponentialLR(opt, gamma));
        for (let step = 0; step < 5; step++) for (const schedule of both) schedule.step();
        expectClose(ratesOf(opt), [0.1 * (a * b) ** 5, 0.01 * (a * b) ** 5]);
      }),
    );
  });

  test("give copies of the last rates", () => {
    const opt = sgd();
    const schedule = new lrScheduler.StepLR(opt, 1);
    schedule.getLastLr()[0] = 5;
    expect(schedule.getLastLr()).toEqual([0.1, 0.01]);
    opt.lr = 1;
    expect(schedule.getLastLr()).toEqual([0.1, 0.01]);
  });

  test("go on without a state dict when told where they were", () => {
    const opt = new optim.SGD([{ params: leaf(), lr: 0.025, initialLr: 0.1 }]);
    const schedule = new lrScheduler.CosineAnnealingLR(opt, 10, { lastEpoch: 5 });
    expect([schedule.lastEpoch, schedule.baseLrs, opt.lr]).toEqual([6, [0.1], 0.025]);
    const byFormula = new lrScheduler.LambdaLR(opt, (epoch) => epoch, { lastEpoch: 2 });
    expect([byFormula.lastEpoch, opt.lr]).toEqual([3, expect.closeTo(0.3)]);
  });

  test("a plateau's added group has the bound that was given for all", () => {
    const opt = sgd();
    const options = { patience: 0, factor: 0.1, minLr: 0.05 };
    const schedule = new lrScheduler.ReduceLROnPlateau(opt, options);
    opt.addParamGroup({ params: leaf(), lr: 1 });
    for (const metric of [1, 2]) schedule.step(metric);
    expectClose(ratesOf(opt), [0.05, 0.01, 0.1]);
  });

  test("NaN is never progress on a plateau", () => {
    const opt = new optim.SGD([leaf()], { lr: 1 });
    const schedule = new lrScheduler.ReduceLROnPlateau(opt, { patience: 1 });
    for (let step = 0; step < 2; step++) schedule.step(Number.NaN);
    expectClose([opt.lr, schedule.best], [0.1, Number.POSITIVE_INFINITY]);
  });

  test("a plateau that has seen nothing yet survives a file: infinity is a number there", () => {
    const schedule = new lrScheduler.ReduceLROnPlateau(sgd());
    const packed = optim.flattenState(schedule.stateDict());
    const again = new lrScheduler.ReduceLROnPlateau(sgd());
    again.step(-5);
    again.loadStateDict(optim.unflattenState(packed));
    expect(again.best).toBe(Number.POSITIVE_INFINITY);
  });

  test("milestones are sorted, and kept as often as given", () => {
    const schedule = new lrScheduler.MultiStepLR(sgd(), new Set([9, 3]));
    expect(schedule.milestones).toEqual([3, 9]);
    expect(schedule.stateDict().milestones).toEqual({ 3: 1, 9: 1 });
  });

  test("momentum cycles leave beta2 alone", () => {
    const opt = new optim.AdamW([leaf()], { betas: [0.5, 0.75] });
    const schedule = new lrScheduler.OneCycleLR(opt, 1, { totalSteps: 9 });
    expect(opt.paramGroups[0].betas).toEqual([0.95, 0.75]);
    for (let step = 0; step < 2; step++) schedule.step();
    expect(opt.paramGroups[0].betas[1]).toBe(0.75);
    expect(opt.paramGroups[0].betas[0]).toBeLessThan(0.95);
  });
});

describe("schedules refuse", () => {
  const opt = sgd();
  const step = new lrScheduler.StepLR(opt, 3);
  const cycle = (options: object) => new lrScheduler.OneCycleLR(opt, 1, options);
  const sequence = (parts: object[], milestones: number[]) =>
    new lrScheduler.SequentialLR(opt, parts as optim.lrScheduler.LRScheduler[], milestones);
  const plateau = (options: object) => new lrScheduler.ReduceLROnPlateau(opt, options);
  const cases: readonly (readonly [string, () => unknown, RegExp])[] = [
    ["no optimizer", () => new lrScheduler.StepLR({} as never, 1), /StepLR: expected an optimizer/],
    ["a plateau without", () => new lrScheduler.ReduceLROnPlateau({} as never), /an optimizer/],
    ["a sequence without", () => new lrScheduler.SequentialLR({} as never, [], []), /an optimizer/],
    [
      "lastEpoch without first rates",
      () => new lrScheduler.StepLR(sgd(), 1, { lastEpoch: 3 }),
      /initialLr in every group when lastEpoch is given, got none in group 0; load the optimizer/,
    ],
    ["a step of no length", () => new lrScheduler.StepLR(opt, 0), /stepSize .* >= 1, got 0/],
    ["half a milestone", () => new lrScheduler.MultiStepLR(opt, [1.5]), /milestones .* got 1.5/],
    [
      "factors out of range",
      () => new lrScheduler.LinearLR(opt, { startFactor: 0 }),
      /startFactor in \(0, 1\] and endFactor in \[0, 1\], got 0 and 1/,
    ],
    [
      "too great an end",
      () => new lrScheduler.LinearLR(opt, { endFactor: 2 }),
      /got 0.333.* and 2/,
    ],
    ["no way", () => new lrScheduler.LinearLR(opt, { totalIters: 0 }), /totalIters .* got 0/],
    ["no period", () => new lrScheduler.CosineAnnealingLR(opt, 0), /tMax .* got 0/],
    [
      "functions for other groups",
      () => new lrScheduler.LambdaLR(opt, [() => 1]),
      /functions for 2 groups, or one for all, got 1/,
    ],
    ["a cycle of no known length", () => cycle({}), /totalSteps, or epochs and stepsPerEpoch/],
    ["epochs alone", () => cycle({ epochs: 3 }), /totalSteps, or epochs and stepsPerEpoch/],
    ["no steps", () => cycle({ totalSteps: 0 }), /totalSteps .* >= 1, got 0/],
    ["no epochs", () => cycle({ epochs: 0, stepsPerEpoch: 3 }), /epochs .* >= 1, got 0/],
    [
      "no steps in them",
      () => cycle({ epochs: 1, stepsPerEpoch: 0.5 }),
      /stepsPerEpoch .* got 0.5/,
    ],
    ["a rise beyond the end", () => cycle({ totalSteps: 9, pctStart: 2 }), /pctStart in \[0, 1\]/],
    [
      "a rise of one step",
      () => cycle({ totalSteps: 10, pctStart: 0.1 }),
      /another length than one/,
    ],
    [
      "an unknown curve",
      () => cycle({ totalSteps: 9, annealStrategy: "exp" }),
      /"cos" or "linear"/,
    ],
    [
      "lists of another length",
      () => new lrScheduler.OneCycleLR(opt, [1], { totalSteps: 9 }),
      /maxLr for 2/,
    ],
    ["momenta for others", () => cycle({ totalSteps: 9, maxMomentum: [1] }), /maxMomentum for 2/],
    [
      "least momenta for others",
      () => cycle({ totalSteps: 9, baseMomentum: [1] }),
      /baseMomentum for 2/,
    ],
    ["another mode", () => plateau({ mode: "least" }), /mode "min" or "max", got "least"/],
    ["another threshold", () => plateau({ thresholdMode: "x" }), /thresholdMode "rel" or "abs"/],
    ["a factor of one", () => plateau({ factor: 1 }), /factor below 1, got 1/],
    ["bounds for other groups", () => plateau({ minLr: [0] }), /minLr for 2 groups/],
    ["a tensor as metric", () => plateau({}).step(tensor(1) as never), /await loss.item\(\)/],
    ["half an epoch", () => new optim.SWALR(opt, 1, { annealEpochs: 0.5 }), /annealEpochs .* 0.5/],
    ["SWA rates for others", () => new optim.SWALR(opt, [1]), /swaLr for 2 groups/],
    ["no schedules in a row", () => sequence([], []), /got 0 schedules and 0 milestones/],
    ["too few milestones", () => sequence([step, step], []), /got 2 schedules and 0 milestones/],
    [
      "falling milestones",
      () => sequence([step, step, step], [4, 2]),
      /ascending order .* >= 4, got 2/,
    ],
    ["a plateau in a row", () => sequence([plateau({})], []), /none that needs a metric/],
    ["a row in a row", () => sequence([sequence([step], [])], []), /none a sequence/],
    [
      "a schedule of another optimizer",
      () => sequence([new lrScheduler.StepLR(sgd(), 3)], []),
      /number 0 of another optimizer/,
    ],
  ];
  test.each(cases)("%s", (_, make, message) => {
    const before = opt.paramGroups.map((group) => ({ ...group }));
    expect(make).toThrow(ArgumentError);
    expect(make).toThrow(message);
    expect(opt.paramGroups).toEqual(before);
  });

  test("steps beyond the end of a cycle", () => {
    const schedule = new lrScheduler.OneCycleLR(sgd(), 1, { totalSteps: 3 });
    for (let epoch = 0; epoch < 3; epoch++) schedule.step();
    expect(() => schedule.step()).toThrow(/OneCycleLR.step: expected at most 3 steps, got 4/);
  });

  test.each(["cos", "linear"] as const)("a %s cycle that only rises ends with it", (strategy) => {
    const opt = sgd();
    const options = { totalSteps: 3, pctStart: 1, annealStrategy: strategy };
    const schedule = new lrScheduler.OneCycleLR(opt, 1, options);
    for (let epoch = 0; epoch < 2; epoch++) schedule.step();
    expect(opt.lr).toBe(1);
    expect(() => schedule.step()).toThrow(/OneCycleLR.step: expected at most 2 steps, got 3/);
    expect(opt.lr).toBe(1);
  });

  test("a momentum to cycle where there is none", () => {
    class Own extends optim.SGD {
      override readonly defaults = { lr: 1, weightDecay: 0, maximize: false } as never;
    }
    const make = () => new lrScheduler.OneCycleLR(new Own([leaf()]), 1, { totalSteps: 3 });
    expect(make).toThrow(/an optimizer with momentum or betas.*cycleMomentum: false/);
  });

  test("groups that came later", () => {
    const grown = sgd();
    const schedule = new lrScheduler.StepLR(grown, 1);
    grown.addParamGroup({ params: leaf(), lr: 3 });
    expect(() => schedule.step()).toThrow(/the 2 groups that the optimizer had at first, got 3/);
    expect(ratesOf(grown)).toEqual([0.1, 0.01, 3]);
  });

  const saved = step.stateDict();
  const states: readonly (readonly [string, optim.StateValue, RegExp])[] = [
    ["no dict", 3, /StepLR.loadStateDict: expected a dict, got 3/],
    ["a missing value", { ...saved, gamma: null }, /expected gamma, got nothing/],
    ["text for a number", { ...saved, step_size: "4" }, /expected step_size, got "4"/],
    ["rates of other groups", { ...saved, base_lrs: [1] }, /base_lrs of 2 groups, got 1/],
    ["no rates", { ...saved, _last_lr: ["a"] }, /expected _last_lr, got a list or dict/],
  ];
  test.each(states)("a state dict with %s, and keep their own", (_, source, message) => {
    expect(() => step.loadStateDict(source)).toThrow(StateDictError);
    expect(() => step.loadStateDict(source)).toThrow(message);
    expect(step.stateDict()).toEqual(saved);
  });

  test("a sequence of another length, or phases that are none", () => {
    const row = sequence([step], []);
    const dict = row.stateDict();
    expect(() => row.loadStateDict({ ...dict, _schedulers: [] })).toThrow(
      /expected 1 schedules, got 0/,
    );
    const one = new lrScheduler.OneCycleLR(sgd(), 1, { totalSteps: 5 });
    const phases = [{ end_step: 1, start_lr: "lr" }];
    expect(() => one.loadStateDict({ ...one.stateDict(), _schedule_phases: phases })).toThrow(
      /a known start_lr, got lr/,
    );
  });
});

/** State dicts of optimizers and schedules: copied, checked, flattened into files, and resumed from bit for bit. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  checkpoint,
  nn,
  optim,
  StateDictError,
  Tensor,
  tensor,
} from "../src/index.ts";
import { expectSameBytes } from "./support/close.ts";
import { type OptimizerName, optimizers } from "./support/optimizers.ts";

const names = Object.keys(optimizers) as OptimizerName[];
const { lrScheduler } = optim;

/** Everything that a training run changes, with options that use all kinds of state. */
class Training {
  readonly model = new nn.Sequential(
    new nn.Linear(3, 4),
    new nn.BatchNorm1d(4),
    new nn.ReLU(),
    new nn.Linear(4, 2),
  );
  readonly opt: optim.Optimizer;
  readonly schedule: optim.lrScheduler.SequentialLR;
  readonly plateau: optim.lrScheduler.ReduceLROnPlateau;

  constructor(name: OptimizerName) {
    const groups = optim.splitWeightDecay(this.model, 0.01);
    const more = { SGD: sgd, Adam: adam, AdamW: adam, RMSprop: rmsprop }[name];
    this.opt = optimizers[name](groups, { lr: 0.02, ...more });
    const cycle = new lrScheduler.OneCycleLR(this.opt, 0.1, { totalSteps: 10 });
    const decay = new lrScheduler.ExponentialLR(this.opt, 0.7);
    this.schedule = new lrScheduler.SequentialLR(this.opt, [cycle, decay], [4]);
    this.plateau = new lrScheduler.ReduceLROnPlateau(this.opt, { patience: 0, cooldown: 1 });
  }

  /** One step on data that depends on its number alone. */
  async step(number: number): Promise<void> {
    const values = Float32Array.from({ length: 15 }, (_, i) => Math.sin(i * 7 + number));
    const loss = this.model(tensor(values, { shape: [5, 3] }))
      .pow(2)
      .mean();
    this.opt.zeroGrad();
    loss.backward();
    this.opt.step();
    this.schedule.step();
    this.plateau.step(await loss.item());
  }

  stateDict(): Map<string, optim.StateValue> {
    return new Map<string, optim.StateValue>([
      ["model", this.model.stateDict()],
      ["optimizer", this.opt.stateDict()],
      ["schedule", this.schedule.stateDict()],
      ["plateau", this.plateau.stateDict()],
    ]);
  }

  loadStateDict({ model, optimizer, schedule, plateau }: optim.StateTree<checkpoint.Entry>): void {
    this.model.loadStateDict(model as nn.StateSource);
    this.opt.loadStateDict(optimizer);
    this.schedule.loadStateDict(schedule);
    this.plateau.loadStateDict(plateau);
  }
}

const sgd = { momentum: 0.9, nesterov: true };
const adam = { amsgrad: true };
const rmsprop = { momentum: 0.9, centered: true };

describe("a run resumed from a file ends bit for bit as the uninterrupted one", () => {
  test.each(names)("%s", async (name) => {
    const whole = new Training(name);
    const resumed = new Training(name);
    for (let step = 0; step < 6; step++) await whole.step(step);
    await throughFile(optim.flattenState(whole.stateDict()), (entries) =>
      resumed.loadStateDict(optim.unflattenState(entries)),
    );
    for (let step = 6; step < 14; step++) {
      await whole.step(step);
      await resumed.step(step);
    }

    const [expected, actual] = [whole, resumed].map((t) => optim.flattenState(t.stateDict()));
    expect([...actual.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [key, value] of expected) {
      expectSameBytes(await bytesOf(actual.get(key)), await bytesOf(value), key);
    }
  });
});

describe("loadStateDict", () => {
  test.each(names)("%s: copies, so that both go their own way", async (name) => {
    const [first, second] = [new Training(name), new Training(name)];
    await first.step(0);
    const dict = first.opt.stateDict();
    second.opt.loadStateDict(dict);
    const before = await tensorsOf(second.opt);
    await first.step(1);

    expect(await tensorsOf(second.opt)).toEqual(before);
    expect(await tensorsOf(first.opt)).not.toEqual(before);
  });

  test("stateDict holds live tensors", async () => {
    const training = new Training("Adam");
    await training.step(0);
    const { state } = training.opt.stateDict();
    const before = await bytesOf(state[0].exp_avg);
    await training.step(1);

    expect(await bytesOf(state[0].exp_avg)).not.toEqual(before);
    expect(state[0].step).toBe(1);
  });

  test("takes an optimizer's own dict, and groups stay the same objects", async () => {
    const { opt, ...training } = new Training("RMSprop");
    const [group] = opt.paramGroups;
    const dict = opt.stateDict();
    group.lr = 7;
    opt.loadStateDict(dict);

    expect(opt.paramGroups[0]).toBe(group);
    expect(group.lr).not.toBe(7);
    expect(training.schedule.getLastLr()).toEqual(opt.paramGroups.map(({ lr }) => lr));
  });

  test("takes steps and rates as tensors, states as Maps, missing buffers as null", async () => {
    const [p, q] = [tensor([1, 2], { requiresGrad: true }), tensor([3], { requiresGrad: true })];
    const opt = new optim.Adam([p, q]);
    const average = tensor([0.5, 0.25]);
    const state = new Map([
      [
        0,
        new Map([
          ["step", tensor([3]) as optim.StateValue],
          ["exp_avg", average],
          ["exp_avg_sq", average],
        ]),
      ],
    ]);
    const group = { lr: tensor([0.5]), betas: tensor([0.5, 0.75]), amsgrad: true, foreach: null };
    opt.loadStateDict({ state, param_groups: [{ ...group, params: [0, 1] }] });

    expect(opt.paramGroups[0]).toMatchObject({ lr: 0.5, betas: [0.5, 0.75], amsgrad: true });
    expect(opt.stateDict().state).toMatchObject({ 0: { step: 3 } });
    const stepper = new optim.SGD([p], { momentum: 0.5 });
    const param_groups = [{ momentum: 0.5, params: [5] }];
    stepper.loadStateDict({ state: { 5: { momentum_buffer: null } }, param_groups });
    expect(stepper.stateDict().state[0]).toEqual({});
  });

  test("converts tensors to the parameter's device and dtype", async () => {
    const [a, b] = [
      tensor([1, 2], { requiresGrad: true }),
      tensor([1, 2], { device: "reference", dtype: "float64" }),
    ];
    const [from, to] = [new optim.SGD([a], { momentum: 0.5 }), new optim.SGD([b])];
    a.grad = tensor([3, 4]);
    from.step();
    to.loadStateDict(from.stateDict());
    const { momentum_buffer } = to.stateDict().state[0];

    expect(momentum_buffer).toMatchObject({ device: "reference", dtype: "float64" });
    expect(await bytesOf(momentum_buffer)).toEqual(Float64Array.of(3, 4));
  });

  test("forgets what schedules noted if the dict has no such notes, as PyTorch does", () => {
    const p = tensor([1], { requiresGrad: true });
    const [plain, scheduled] = [new optim.SGD([p]), new optim.SGD([p])];
    new lrScheduler.StepLR(scheduled, 3);
    expect(scheduled.paramGroups[0].initialLr).toBe(1e-3);
    scheduled.loadStateDict(plain.stateDict());
    expect(scheduled.paramGroups[0]).not.toHaveProperty("initialLr");
  });
});

describe("loadStateDict refuses, and changes nothing:", () => {
  const p = tensor([1, 2], { requiresGrad: true });
  const momentum_buffer = tensor([1, 2]);
  const groups = (...params: number[]) => [{ lr: 0.5, params }];
  const adamState = { step: 1, exp_avg: momentum_buffer, exp_avg_sq: momentum_buffer };
  const cases: readonly (readonly [string, optim.StateValue, RegExp])[] = [
    ["something else", 3, /expected a dict with state and param_groups, got 3/],
    ["a model's state dict", new nn.Linear(1, 1).stateDict(), /param_groups.* got nothing/],
    ["another number of groups", { param_groups: [] }, /expected 1 groups, got 0/],
    ["groups of another size", { param_groups: groups(0, 1) }, /1 parameters in group 0, got 2/],
    ["a group without indices", { param_groups: [{ lr: 1 }] }, /indices as params of group 0/],
    ["a rate that is text", { param_groups: [{ lr: "a", params: [0] }] }, /lr like 0.001, got "a"/],
    [
      "state of a parameter it does not have",
      { state: { 4: adamState }, param_groups: groups(0) },
      /state of the parameters in its groups, got state of parameter 4/,
    ],
    [
      "another optimizer's state",
      { state: { 0: { momentum_buffer } }, param_groups: groups(0) },
      /step, exp_avg, exp_avg_sq, max_exp_avg_sq for parameter 0, got momentum_buffer; is it the/,
    ],
    [
      "part of a state",
      { state: { 0: { step: 1, exp_avg: momentum_buffer } }, param_groups: groups(0) },
      /for parameter 0, got step, exp_avg;/,
    ],
    [
      "another shape",
      { state: { 0: { ...adamState, exp_avg_sq: tensor([1]) } }, param_groups: groups(0) },
      /exp_avg_sq of parameter 0 of shape \(2,\), got \(1,\)/,
    ],
    [
      "a number for a tensor",
      { state: { 0: { ...adamState, exp_avg: 1 } }, param_groups: groups(0) },
      /exp_avg of parameter 0 of shape \(2,\), got no tensor/,
    ],
    [
      "steps that are no number",
      { state: { 0: { ...adamState, step: tensor([1, 2]) } }, param_groups: groups(0) },
      /a number of steps, got values of shape \(2,\)/,
    ],
  ];
  test.each(cases)("%s", (_, source, message) => {
    const opt = new optim.Adam([p], { lr: 0.01 });
    p.grad = tensor([1, 1]);
    opt.step();
    const before = opt.stateDict();
    const load = () => opt.loadStateDict(source);

    expect(load).toThrow(StateDictError);
    expect(load).toThrow(message);
    expect(opt.stateDict()).toEqual(before);
    expect(opt.stateDict().state[0].exp_avg).toBe(before.state[0].exp_avg);
  });
});

describe("flattenState", () => {
  test("names values by their path, in types that a file has", async () => {
    const average = tensor([1, 2]);
    const flat = optim.flattenState({
      state: { 0: { step: 3, exp_avg: average } },
      param_groups: [{ lr: 0.1, betas: [0.9, 0.999], amsgrad: false, foreach: null, params: [0] }],
      mode: "min",
    });

    expect(flat.get("state/0/exp_avg")).toBe(average);
    expect(flat.get("state/0/step")).toBe(3);
    expect(flat.get("param_groups/0/lr")).toMatchObject({ dtype: "float64", shape: [] });
    expect(flat.get("param_groups/0/betas")).toMatchObject({ dtype: "float64", shape: [2] });
    expect(flat.get("param_groups/0/amsgrad")).toMatchObject({ dtype: "bool", shape: [] });
    expect(flat.get("param_groups/0/params")).toMatchObject({ dtype: "int64", shape: [1] });
    expect(flat.get("mode")).toMatchObject({ dtype: "uint8", shape: [3] });
    expect(flat.has("param_groups/0/foreach")).toBe(false);
  });

  test("keys with slashes, tildes and names of Object's come back", () => {
    const state = { "a/b": { "~1": 1, "~": 2 }, __proto__x: { constructor: 3 } };
    const back = optim.unflattenState(optim.flattenState(state) as Map<string, number>);
    expect(back).toEqual(state);
    const hostile = optim.unflattenState(new Map([["__proto__/polluted", 1]]));
    expect(Object.keys(hostile)).toEqual(["__proto__"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  test("what it gives goes through a file bit for bit", async () => {
    const value = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(-0, 2 ** 53, -(2 ** 53) + 1));
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), fc.dictionary(fc.string(), value)), (state) =>
        throughFile(optim.flattenState(state), (entries) => {
          const back = optim.unflattenState(entries);
          const pairs = Object.entries(state).filter(([, inner]) => Object.keys(inner).length > 0);
          const numbers = pairs.map(([key, inner]) => [
            key,
            Object.fromEntries(Object.keys(inner).map((name) => [name, numberOf(back[key], name)])),
          ]);
          expect(Object.fromEntries(numbers)).toEqual(Object.fromEntries(pairs));
        }),
      ),
      { numRuns: 25 },
    );
  });

  test("refuses functions, and keys that are both a value and a path", () => {
    const flatten = () => optim.flattenState({ a: { b: (() => 0) as never } });
    expect(flatten).toThrow(ArgumentError);
    expect(flatten).toThrow(/lists and dicts of them in "a\/b", got function/);
    for (const keys of [
      ["a", "a/b"],
      ["a/b", "a"],
    ]) {
      const unflatten = () => optim.unflattenState(new Map(keys.map((key) => [key, 1])));
      expect(unflatten).toThrow(StateDictError);
      expect(unflatten).toThrow(/a value or the start of others, got "a(\/b)?" as both/);
    }
  });
});

function numberOf(
  branch: checkpoint.Entry | optim.StateTree<checkpoint.Entry>,
  name: string,
): number {
  const entry = Reflect.get(branch, name) as checkpoint.Entry;
  return Number(entry.data()[0]);
}

/** Writes the entries to a file, reads it, and gives what it holds to `use`. */
async function throughFile(
  entries: ReturnType<typeof optim.flattenState>,
  use: (entries: checkpoint.StateDict) => void,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "evenkeel-"));
  try {
    const path = join(folder, "training.safetensors");
    await checkpoint.write(path, entries as ReadonlyMap<string, checkpoint.Writable>);
    use(await checkpoint.read(path));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function bytesOf(value: optim.StateValue | undefined) {
  if (value instanceof Tensor) return value.data();
  if (typeof value === "number") return Float64Array.of(value);
  return (value as checkpoint.Entry).data();
}

async function tensorsOf(opt: optim.Optimizer) {
  const tensors = Object.values(opt.stateDict().state).flatMap((state) => Object.values(state));
  return Promise.all(tensors.map(bytesOf));
}

/** Optimizers against ten steps that PyTorch took, and their state dicts against PyTorch's after five. */
import { describe, expect, test } from "vitest";
import { sizeOf } from "../src/core/shape.ts";
import { type checkpoint, type optim, Tensor, tensor } from "../src/index.ts";
import { expectClose, type Tolerance, tolerance } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";
import { type OptimizerName, optimizers } from "./support/optimizers.ts";

type Group = Readonly<Record<string, number | boolean | readonly number[] | null>>;

interface Case {
  readonly name: string;
  readonly optimizer: OptimizerName;
  readonly options: { readonly lr: number; readonly groups?: readonly object[] };
  /** PyTorch's state dict after five steps: names of each parameter's state, options of each group. */
  readonly state?: {
    readonly keys: Readonly<Record<string, readonly string[]>>;
    readonly param_groups: readonly Group[];
  };
}

type SavedState = {
  readonly state: Readonly<Record<string, Readonly<Record<string, checkpoint.Entry>>>>;
  readonly param_groups: readonly Group[];
};

const fixture = new Fixture("optimizers");
const cases = readCases<Case>("optimizers");
const names = ["matrix", "scalar", "kernel", "vector", "empty"] as const;
const shapes = names.map((key) => fixture.get(`initial/${key}`).shape);
const missing: Readonly<Record<string, readonly number[]>> = {
  scalar: [0, 1, 6],
  vector: [4, 5],
  kernel: [9],
};
const steps = fixture.get("gradients/vector").shape[0];
const half = 5;
const newRate = 0.3;
const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;

test("the fixtures cover every optimizer, ten steps each", () => {
  const covered = new Set(cases.map(({ optimizer }) => optimizer));
  expect(covered).toEqual(new Set(Object.keys(optimizers)));
  expect(steps).toBe(10);
});

describe.each(placements)("$dtype on $device agrees with PyTorch after every step", (place) => {
  test.each(cases)("$name: $options", async (entry) => {
    const run = new Run(entry, place);
    for (let step = 0; step < steps; step++) {
      run.step(step);
      await run.expectAfter(step);
    }
  });
});

const withState = cases.filter(({ state }) => state !== undefined);

test("the fixtures hold a state dict of every optimizer", () => {
  expect(withState.map(({ optimizer }) => optimizer)).toEqual(Object.keys(optimizers));
});

describe.each(placements)("$dtype on $device: state dicts of PyTorch", (place) => {
  test.each(withState)("$name has the same names, options and values", async (entry) => {
    const run = new Run(entry, place);
    for (let step = 0; step < half; step++) run.step(step);
    const { state, param_groups } = run.stepper.stateDict();

    expect(keysOf(state)).toEqual(entry.state?.keys);
    expect(param_groups).toEqual(entry.state?.param_groups.map(withoutRuntimeOptions));
    for (const [index, members] of Object.entries(state)) {
      for (const [name, value] of Object.entries(members)) {
        const key = `${entry.name}/state/${index}/${name}`;
        expectClose(await valuesOf(value), fixture.values(key), tolerance[place.dtype], key);
      }
    }
  });

  test.each(withState)("$name goes on from it", async (entry) => {
    const run = new Run(entry, place, (i) => parametersAt(entry.name, half - 1)[i]);
    run.stepper.loadStateDict(stateOf(entry));
    for (let step = half; step < steps; step++) {
      run.step(step);
      await run.expectAfter(step);
    }
  });
});

/** One case on one device. */
class Run {
  readonly #name: string;
  readonly #place: (typeof placements)[number];
  readonly #tolerance: Tolerance;
  readonly #parameters: readonly Tensor[];
  readonly stepper: optim.Optimizer;

  constructor(
    { name, optimizer, options: { groups = [{}], ...options } }: Case,
    place: (typeof placements)[number],
    initial = (i: number) => fixture.values(`initial/${names[i]}`),
  ) {
    this.#name = name;
    this.#place = place;
    this.#tolerance = tolerance[place.dtype];
    this.#parameters = shapes.map((shape, i) =>
      tensor(initial(i), { ...place, shape, requiresGrad: true }),
    );
    const grouped = groups.map((group, i) => ({
      ...group,
      params: this.#parameters.filter((_, k) => k % groups.length === i),
    }));
    this.stepper = optimizers[optimizer](grouped, options);
  }

  step(step: number): void {
    for (const group of this.stepper.paramGroups) group.lr *= step === half ? newRate : 1;
    for (const [i, parameter] of this.#parameters.entries()) {
      const key = names[i];
      const isMissing = missing[key]?.includes(step);
      const gradient = entryAt(`gradients/${key}`, step);
      const shaped = () => tensor(gradient, { ...this.#place, shape: parameter.shape });
      parameter.grad = isMissing ? null : shaped();
    }
    this.stepper.step();
  }

  async expectAfter(step: number): Promise<void> {
    const expected = parametersAt(this.#name, step);
    for (const [i, parameter] of this.#parameters.entries()) {
      const label = `${names[i]} after step ${step}`;
      expectClose(await parameter.data(), expected[i], this.#tolerance, label);
    }
  }
}

/** Entry `step` of a recording stacked along its first axis. */
function entryAt(key: string, step: number) {
  const { values } = fixture.get(key);
  const size = values.length / steps;
  return values.slice(step * size, (step + 1) * size);
}

/** The parameters after a step, which the fixture holds as one row. */
function parametersAt(name: string, step: number) {
  const row = entryAt(name, step);
  let start = 0;
  return shapes.map((shape) => {
    const end = start + sizeOf(shape);
    const values = row.slice(start, end);
    start = end;
    return values;
  });
}

/** PyTorch's state dict, its tensors as entries of a file. */
function stateOf({ name, state }: Case): SavedState {
  const { keys = {}, param_groups = [] } = state ?? {};
  const entries = Object.entries(keys).map(([index, members]) => [
    index,
    Object.fromEntries(
      members.map((member) => {
        const { shape, values } = fixture.get(`${name}/state/${index}/${member}`);
        const dtype = values instanceof Float64Array ? "float64" : "float32";
        return [member, { dtype, shape, data: () => values }];
      }),
    ),
  ]);
  return { state: Object.fromEntries(entries), param_groups };
}

function withoutRuntimeOptions(group: Group): Group {
  const { foreach, fused, capturable, differentiable, ...options } = group;
  return options;
}

function keysOf(state: Readonly<Record<string, object>>) {
  return Object.fromEntries(Object.entries(state).map(([index, s]) => [index, Object.keys(s)]));
}

async function valuesOf(value: number | Tensor) {
  return value instanceof Tensor ? value.data() : [value];
}

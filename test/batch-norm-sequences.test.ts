/**
 * Replays what PyTorch was put through, call by call: whatever PyTorch shows after a step must show here too.
 *
 * Tolerance: rtol 1e-5 against PyTorch in float64, and an absolute part for results that are small because large terms cancelled
 * (dx in training sums to zero over every channel, y crosses it, gradients accumulate). A float32 result that was added up from terms
 * of total size s carries their roundings, 2^-24 of s each, whatever is left of it; four of them are allowed. The fixtures hold s
 * per channel (`*_scale`): for y |x - mean| and |mean| over the deviation, times |w|, plus |b|; for dx w / deviation times the three
 * terms g, mean(g) and (x - mean) * mean(g * (x - mean)) / variance; for weights and buffers the sums that built them.
 * In float64, where both sides round alike, the same with 1e-10 and 2^-53.
 */
import { describe, expect, test } from "vitest";
import { nn, noGrad, type Tensor } from "../src/index.ts";
import { expectWithin } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";

const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;
type Place = (typeof placements)[number];

const tolerances = {
  float32: { rtol: 1e-5, roundings: 4 * 2 ** -24 },
  float64: { rtol: 1e-10, roundings: 4 * 2 ** -53 },
} as const;

const stateNames = [
  "weight",
  "bias",
  "weight_grad",
  "bias_grad",
  "running_mean",
  "running_var",
] as const;
type StateName = (typeof stateNames)[number];
type BufferName = "running_mean" | "running_var" | "num_batches_tracked";

interface Observed {
  /** Entries that are there after the step, in the order of the rows of the fixture's `state`. */
  readonly state: readonly StateName[];
  readonly batches: number | null;
  /** The kind of error that PyTorch threw, when it did. */
  readonly error?: keyof typeof refusals;
}

interface Forward {
  readonly op: "forward";
  /** Row of the truth table of docs/batch-norm.md. */
  readonly row: number;
  readonly grad: boolean;
  readonly inputGrad: boolean;
  readonly requiresGrad: boolean;
  readonly backward: "now" | "later" | "none";
}

type Action =
  | Forward
  | { readonly op: "backward"; readonly of: readonly number[] }
  | { readonly op: "train"; readonly mode: boolean }
  | { readonly op: "track"; readonly flag: boolean }
  | { readonly op: "drop"; readonly names: readonly BufferName[] }
  | { readonly op: "assign"; readonly names: readonly BufferName[] }
  | { readonly op: "load"; readonly names: readonly string[] }
  | { readonly op: "momentum"; readonly value: number | null }
  | { readonly op: "requiresGrad"; readonly name: "weight" | "bias"; readonly flag: boolean }
  | { readonly op: "zeroGrad" | "resetRunningStats" | "resetParameters" };
type Step = Action & Observed;

interface Sequence {
  readonly name: string;
  readonly module: "BatchNorm1d" | "BatchNorm2d" | "BatchNorm3d";
  readonly channels: number;
  readonly options: {
    readonly eps: number;
    readonly momentum: number | null;
    readonly affine: boolean;
    readonly bias: boolean;
    readonly trackRunningStats: boolean;
  };
  readonly steps: readonly Step[];
}

/** Class and gist of our error, by the kind of PyTorch's. */
const refusals = {
  oneValue: ["ShapeError", /more than one value per channel/],
  channels: ["ShapeError", /runningMean .* channels/],
  rank: ["ShapeError", /4 axes .* got 3 axes/],
  zeroEps: ["ArgumentError", /positive eps/],
  missingRunningMean: ["ArgumentError", /runningMean .* evaluation/],
  missingRunningVar: ["ArgumentError", /runningVar .* evaluation/],
  oneBufferInTraining: ["ArgumentError", /both runningMean and runningVar/],
  noBuffers: ["ArgumentError", /resetRunningStats: expected running statistics/],
} as const;

const fixture = new Fixture("batch-norm-sequences");
const sequences = readCases<Sequence>("batch-norm-sequences");

test("the sequences visit every row of the truth table and every kind of error", () => {
  const steps = sequences.flatMap((sequence) => sequence.steps);
  const rows = steps.flatMap((step) => (step.op === "forward" ? [step.row] : []));
  const errors = steps.flatMap((step) => step.error ?? []);
  expect(sequences.length).toBeGreaterThanOrEqual(80);
  expect(new Set(rows)).toEqual(new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
  expect(new Set(errors)).toEqual(new Set(Object.keys(refusals)));
});

describe.each(placements)("$dtype on $device follows PyTorch through", (place) => {
  test.each(sequences)("$name", async (sequence) => {
    const player = new Player(sequence, place);
    for (const [at, step] of sequence.steps.entries()) {
      await player.runOrRefuse(step, at);
      await player.expectState(step, at);
    }
  });
});

class Player {
  readonly #module;
  readonly #place;
  readonly #name: string;
  /** Inputs and outputs of forwards whose backward comes later, by step. */
  readonly #held = new Map<number, { readonly x: Tensor; readonly y: Tensor }>();

  constructor({ name, module, channels, options }: Sequence, place: Place) {
    this.#name = name;
    this.#place = place;
    this.#module = new nn[module](channels, options);
    this.#module.to(place.device);
    this.#module.to(place.dtype);
  }

  async runOrRefuse(step: Step, at: number): Promise<void> {
    if (step.error === undefined) return this.#run(step, at);
    const [name, gist] = refusals[step.error];
    const refusal = { name, message: expect.stringMatching(gist) };
    await expect(this.#run(step, at), step.error).rejects.toMatchObject(refusal);
  }

  async #run(step: Step, at: number): Promise<void> {
    const bn = this.#module;
    switch (step.op) {
      case "forward":
        return this.#forward(step, at);
      case "backward":
        for (const earlier of step.of) await this.#backward(earlier);
        return;
      case "train":
        bn.train(step.mode);
        return;
      case "track":
        bn.trackRunningStats = step.flag;
        return;
      case "drop":
        for (const name of step.names) this.#assign(name, null);
        return;
      case "assign":
        for (const name of step.names) this.#assign(name, this.#value(name, at));
        return;
      case "load":
        bn.loadStateDict(new Map(step.names.map((name) => [name, this.#value(name, at)])), {
          strict: false,
        });
        return;
      case "momentum":
        bn.momentum = step.value;
        return;
      case "requiresGrad":
        this.#parameter(step.name).requiresGrad = step.flag;
        return;
      case "zeroGrad":
        for (const parameter of bn.parameters()) parameter.grad = null;
        return;
      case "resetRunningStats":
        bn.resetRunningStats();
        return;
      case "resetParameters":
        bn.resetParameters();
    }
  }

  async #forward(step: Forward, at: number): Promise<void> {
    const x = fixture.tensor(this.#key(at, "x"), { ...this.#place, requiresGrad: step.inputGrad });
    const y = step.grad ? this.#module(x) : noGrad(() => this.#module(x));
    expect(y.shape).toEqual(x.shape);
    expect(y.requiresGrad, `requiresGrad of ${this.#key(at, "y")}`).toBe(step.requiresGrad);
    await this.#expectChannels(y, at, "y");
    if (step.backward === "none") return;
    this.#held.set(at, { x, y });
    if (step.backward === "now") await this.#backward(at);
  }

  async #backward(at: number): Promise<void> {
    const held = this.#held.get(at);
    if (held === undefined) throw new Error(`${this.#key(at, "y")} was not kept`);
    held.y.backward(fixture.tensor(this.#key(at, "cotangent"), this.#place));
    if (fixture.has(this.#key(at, "dx"))) await this.#expectChannels(held.x.grad, at, "dx");
    else expect(held.x.grad).toBeNull();
  }

  async expectState({ state, batches }: Step, at: number): Promise<void> {
    expect(this.#module.numBatchesTracked, this.#key(at, "num_batches_tracked")).toBe(batches);
    for (const name of stateNames) {
      const actual = this.#state(name);
      const row = state.indexOf(name);
      const label = this.#key(at, name);
      if (row < 0) expect(actual, label).toBeNull();
      else await this.#expectRow(actual, at, row, label);
    }
  }

  async #expectRow(actual: Tensor | null, at: number, row: number, label: string): Promise<void> {
    const all = fixture.get(this.#key(at, "state"));
    const scales = fixture.values(this.#key(at, "state_scale"));
    const [begin, end] = [row * all.shape[1], (row + 1) * all.shape[1]];
    const expected = all.values.slice(begin, end);
    const scale = scales.slice(begin, end);
    expectWithin((await actual?.data()) ?? [], expected, this.#bounds(expected, scale), label);
  }

  /** Compares a tensor of (N, C, ...), where the terms' size is known per channel. */
  async #expectChannels(actual: Tensor | null, at: number, name: "y" | "dx"): Promise<void> {
    const { values, shape } = fixture.get(this.#key(at, name));
    const perChannel = fixture.values(this.#key(at, `${name}_scale`));
    const inner = shape.slice(2).reduce((a, b) => a * b, 1);
    const scale = Float64Array.from(values, (_, i) => perChannel[Math.floor(i / inner) % shape[1]]);
    const label = this.#key(at, name);
    expectWithin((await actual?.data()) ?? [], values, this.#bounds(values, scale), label);
  }

  #state(name: StateName): Tensor | null {
    const { weight, bias, runningMean, runningVar } = this.#module;
    switch (name) {
      case "weight":
        return weight;
      case "bias":
        return bias;
      case "weight_grad":
        return weight?.grad ?? null;
      case "bias_grad":
        return bias?.grad ?? null;
      case "running_mean":
        return runningMean;
      case "running_var":
        return runningVar;
    }
  }

  #assign(name: BufferName, value: Tensor | number | null): void {
    if (name === "num_batches_tracked") this.#module.numBatchesTracked = value as number | null;
    else if (name === "running_mean") this.#module.runningMean = value as Tensor | null;
    else this.#module.runningVar = value as Tensor | null;
  }

  #parameter(name: "weight" | "bias"): Tensor {
    const parameter = this.#module[name];
    if (parameter === null) throw new Error(`${this.#name} has no ${name}`);
    return parameter;
  }

  /** A recorded tensor; the counter as the number that it is in code. */
  #value(name: string, at: number): Tensor | number {
    const key = this.#key(at, name);
    return name === "num_batches_tracked"
      ? fixture.values(key)[0]
      : fixture.tensor(key, this.#place);
  }

  #key(at: number, name: string): string {
    return `${this.#name}/${at}/${name}`;
  }

  #bounds(expected: ArrayLike<number>, scale: ArrayLike<number>): Float64Array {
    const { rtol, roundings } = tolerances[this.#place.dtype];
    return Float64Array.from(expected, (value, i) => rtol * Math.abs(value) + roundings * scale[i]);
  }
}

/**
 * Float32 batch norm where it goes wrong easily, held against PyTorch's own float32 error on the same input.
 *
 * The truth is computed here, in float64 by the two-pass formula, and checked against what the generator found by other code.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { nn, tensor } from "../src/index.ts";
import { expectClose } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";

const quantities = ["y", "dx", "mean", "variance", "dweight", "dbias"] as const;
type Quantity = (typeof quantities)[number];
/** y and dx like x, the others (C). */
type Results = Readonly<Record<Quantity, ArrayLike<number>>>;

interface Case {
  readonly name: string;
  readonly shape: readonly number[];
  readonly centre: readonly number[];
  readonly spread: readonly number[];
  readonly eps: number;
  readonly seeds: { readonly x: number; readonly cotangent: number };
  readonly weight: readonly number[];
  readonly bias: readonly number[];
  /** Largest error of PyTorch's float32 kernel in every channel. */
  readonly torchError: Readonly<Record<Quantity, readonly number[]>>;
}

interface Input {
  readonly x: Float32Array;
  readonly cotangent: Float32Array;
}

const fixture = new Fixture("numerics");
const cases = readCases<Case>("numerics");

describe.each(cases)("$name $shape", (recipe) => {
  let input: Input;
  let truth: Results;
  beforeAll(() => {
    input = inputOf(recipe);
    truth = truthOf(recipe, input);
  });

  test("the truth computed here is the truth the generator computed", () => {
    const positions = [...fixture.values(`${recipe.name}/positions`)];
    const exact = { rtol: 1e-9, atol: 1e-9 };
    for (const quantity of ["mean", "variance", "dweight", "dbias"] as const) {
      const expected = fixture.values(`${recipe.name}/${quantity}`);
      expectClose(truth[quantity], expected, exact, quantity);
    }
    for (const quantity of ["y", "dx"] as const) {
      const sampled = positions.map((position) => truth[quantity][position]);
      expectClose(sampled, fixture.values(`${recipe.name}/${quantity}`), exact, quantity);
    }
  });

  test.each(["cpu", "reference"] as const)("%s errs at most as much as PyTorch", async (device) => {
    const results = await run(recipe, input, device);
    for (const quantity of quantities) {
      const errors = largestErrors(results[quantity], truth[quantity], recipe);
      const allowed = allowedErrors(recipe, truth, quantity);
      expect.soft(excesses(errors, allowed), `${quantity}: [channel, error, allowed]`).toEqual([]);
    }
  });
});

async function run(
  recipe: Case,
  { x, cotangent }: Input,
  device: "cpu" | "reference",
): Promise<Results> {
  const { shape, eps, weight, bias } = recipe;
  const Layer = shape.length === 2 ? nn.BatchNorm1d : nn.BatchNorm2d;
  // With momentum 1 the buffers hold this batch's statistics.
  const bn = new Layer(shape[1], { eps, momentum: 1 });
  bn.to(device);
  bn.loadStateDict({ weight: tensor([...weight]), bias: tensor([...bias]) }, { strict: false });
  const input = tensor(x, { shape, device, requiresGrad: true });
  const y = bn(input);
  y.backward(tensor(cotangent, { shape, device }));
  const read = { y, dx: input.grad, mean: bn.runningMean, variance: bn.runningVar };
  const parameters = { dweight: bn.weight?.grad, dbias: bn.bias?.grad };
  const results: Partial<Record<Quantity, ArrayLike<number>>> = {};
  for (const [quantity, value] of Object.entries({ ...read, ...parameters })) {
    results[quantity as Quantity] = (await value?.data()) ?? [];
  }
  return results as Results;
}

// ---- the input ------------------------------------------------------------------------------------------------------

function inputOf({ shape, centre, spread, seeds }: Case): Input {
  const channels = shape[1];
  const shifts = Array.from({ length: channels }, (_, c) => 0.125 * c);
  return {
    x: recipeValues(seeds.x, shape, { centre, spread }),
    cotangent: recipeValues(seeds.cotangent, shape, {
      centre: shifts,
      spread: Array(channels).fill(2),
    }),
  };
}

interface Distribution {
  readonly centre: readonly number[];
  readonly spread: readonly number[];
}

function recipeValues(
  seed: number,
  shape: readonly number[],
  { centre, spread }: Distribution,
): Float32Array {
  const channelOf = channelsOf(shape);
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
    const c = channelOf(i);
    return centre[c] + spread[c] * (hashed(seed, i) - 0.5);
  });
}

/** Uniform multiples of 2^-24 in [0, 1); the generator has the same mix. */
function hashed(seed: number, index: number): number {
  let z = (Math.imul(index, 0x9e3779b1) + seed) >>> 0;
  z = Math.imul(z ^ (z >>> 16), 0x7feb352d);
  z = Math.imul(z ^ (z >>> 15), 0x846ca68b);
  return ((z ^ (z >>> 16)) >>> 8) / 2 ** 24;
}

// ---- the truth ------------------------------------------------------------------------------------------------------

function truthOf({ shape, eps, weight, bias }: Case, { x, cotangent: g }: Input): Results {
  const channelOf = channelsOf(shape);
  const n = x.length / shape[1];
  const sum = (term: (i: number, c: number) => number) => channelSums(shape, term);
  const mean = sum((i) => x[i]).map((total) => total / n);
  const centred = (i: number, c: number) => x[i] - mean[c];
  const squares = sum((i, c) => centred(i, c) ** 2);
  const invStd = squares.map((total) => 1 / Math.sqrt(total / n + eps));
  const s1 = sum((i) => g[i]);
  const s2 = sum((i, c) => g[i] * centred(i, c));
  const y = Float64Array.from(x, (_, i) => {
    const c = channelOf(i);
    return centred(i, c) * invStd[c] * weight[c] + bias[c];
  });
  const dx = Float64Array.from(x, (_, i) => {
    const c = channelOf(i);
    const through = s1[c] / n + (centred(i, c) * invStd[c] ** 2 * s2[c]) / n;
    return weight[c] * invStd[c] * (g[i] - through);
  });
  const variance = squares.map((total) => total / (n - 1));
  return { y, dx, mean, variance, dweight: s2.map((total, c) => total * invStd[c]), dbias: s1 };
}

/** Sums per channel with Kahan's compensation: a plain float64 sum of 10^6 squares would be off in the eleventh digit. */
function channelSums(
  shape: readonly number[],
  term: (i: number, c: number) => number,
): Float64Array {
  const channelOf = channelsOf(shape);
  const sums = new Float64Array(shape[1]);
  const lost = new Float64Array(shape[1]);
  for (let i = 0; i < sizeOf(shape); i++) {
    const c = channelOf(i);
    const value = term(i, c) - lost[c];
    const next = sums[c] + value;
    lost[c] = next - sums[c] - value;
    sums[c] = next;
  }
  return sums;
}

// ---- errors ---------------------------------------------------------------------------------------------------------

function largestErrors(
  actual: ArrayLike<number>,
  truth: ArrayLike<number>,
  { shape }: Case,
): Float64Array {
  expect(actual.length).toBe(truth.length);
  const channelOf = actual.length === shape[1] ? (i: number) => i : channelsOf(shape);
  const errors = new Float64Array(shape[1]);
  for (let i = 0; i < actual.length; i++) {
    const c = channelOf(i);
    const error = Math.abs(actual[i] - truth[i]);
    // Written so that a NaN stays.
    if (!(error <= errors[c])) errors[c] = error;
  }
  return errors;
}

/**
 * Half units in the last place of the channel's largest value that float32 costs by itself. A vector per channel may be the
 * truth, rounded once. An element goes through three roundings: the difference x - mean (for dx the first product), the product
 * with a coefficient that is rounded too, the sum.
 */
const unavoidable: Readonly<Record<Quantity, number>> = {
  ...{ mean: 1, variance: 1, dweight: 1, dbias: 1 },
  ...{ y: 3, dx: 3 },
};

/** PyTorch's error; or what is unavoidable, where PyTorch was luckier than that. */
function allowedErrors(recipe: Case, truth: Results, quantity: Quantity): Float64Array {
  const largest = largestErrors(new Float64Array(truth[quantity].length), truth[quantity], recipe);
  const floor = unavoidable[quantity] * 2 ** -24;
  return largest.map((value, c) => Math.max(recipe.torchError[quantity][c], value * floor));
}

function excesses(errors: Float64Array, allowed: Float64Array): [number, number, number][] {
  const all = Array.from(errors, (error, c): [number, number, number] => [c, error, allowed[c]]);
  return all.filter(([, error, limit]) => !(error <= limit));
}

function channelsOf(shape: readonly number[]): (index: number) => number {
  const inner = sizeOf(shape.slice(2));
  return (index) => Math.floor(index / inner) % shape[1];
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

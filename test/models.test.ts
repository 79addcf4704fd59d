/** The architectures against torchvision's. Filled by one formula on both sides: see test/fixtures/models.py. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { manualSeed, models, nn, noGrad, optim, Tensor } from "../src/index.ts";
import { expectWithin, tolerance } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";
import {
  type Distribution,
  distributions,
  fill,
  images,
  labels,
  measure,
  withoutDropout,
} from "./support/model-values.ts";

interface Case {
  readonly name: keyof typeof models;
  /** Height and width of the images. */
  readonly size: number;
  readonly trained: boolean;
  readonly parameters: number;
  /** torchvision's printed form. */
  readonly text: string;
  /** Of the state dict: "key size,size". */
  readonly keys: readonly string[];
  /** Of PyTorch's own float32 from float64. */
  readonly distances: Readonly<Record<string, number>>;
}

/** What one run of a model gives, as the fixture has it. */
interface Outcome {
  readonly train: Float32Array;
  readonly loss: Float32Array;
  readonly gradients: readonly [number, number][];
  readonly parameters: readonly [number, number][];
  readonly statistics: readonly [number, number][];
}

const fixture = new Fixture("models");
const cases = readCases<Case>("models");
/** PyTorch's own rounding may be worse; then twice that is allowed. */
const relative = 1e-4;
const batch = 3;
// VGG's half gigabyte of weights takes a quarter of a minute to draw.
const patience = 120_000;

const norm = (x: ArrayLike<number>) => measure(x, 0)[0];

function values(x: Tensor): Float32Array {
  return Float32Array.from(x.dataSync());
}

function evaluated(model: nn.Module & ((x: Tensor) => Tensor), size: number): Float32Array {
  model.eval();
  return noGrad(() => values(model(images(0, batch, size))));
}

/** Two steps; gradients are those of the first. */
function trained(model: nn.Module & ((x: Tensor) => Tensor), size: number): Outcome {
  model.train();
  const optimizer = new optim.SGD(model.parameters(), { lr: 1e-3 });
  const table = (tensors: readonly Tensor[]) => tensors.map((x, i) => measure(x.dataSync(), i));
  const step = (index: number) => {
    optimizer.zeroGrad();
    const logits = model(images(index, batch, size));
    const loss = nn.functional.crossEntropy(logits, labels(index, batch));
    loss.backward();
    const gradients = model.parameters().flatMap(({ grad }) => (grad === null ? [] : [grad]));
    const found = { train: values(logits), loss: values(loss), gradients: table(gradients) };
    optimizer.step();
    return found;
  };
  const first = step(0);
  step(1);
  const statistics = model.buffers().filter((buffer) => buffer instanceof Tensor);
  optimizer.zeroGrad();
  return { ...first, parameters: table(model.parameters()), statistics: table(statistics) };
}

/** Fails unless the norm of the difference is within the bound. */
function expectNear({ name, distances }: Case, kind: string, actual: Float32Array): void {
  const expected = fixture.values(`${name}/${kind}`);
  const difference = Float64Array.from(actual, (x, i) => x - expected[i]);
  const bound = Math.max(relative * norm(expected), 2 * distances[kind]);
  expect(actual.length).toBe(expected.length);
  expectWithin([norm(difference)], [0], [bound], `${name} ${kind}`);
}

/**
 * Fails unless norms and projections of all tensors are within the bound. A ReLU whose input is 0 but for rounding may go either way and
 * moves all gradients below it, elsewhere than in PyTorch's run: so the distance of the whole table counts too. Gradients that are 0
 * but for rounding are held to `tolerance`.
 */
function expectTable({ name }: Case, kind: string, actual: readonly [number, number][]): void {
  const rows = fixture.values(`${name}/${kind}`);
  const expected = actual.map((_, i) => rows.subarray(3 * i, 3 * i + 3));
  const column = (at: number) => expected.map((row) => row[at]);
  const share = Math.max(relative, (2 * norm(column(2))) / norm(column(0)));
  const bounds = expected.map(([size, , distance]) =>
    Math.max(share * size, 2 * distance, tolerance.float32.atol),
  );
  expect(3 * actual.length).toBe(rows.length);
  for (const at of [0, 1]) {
    const found = actual.map((row) => row[at]);
    expectWithin(found, column(at), bounds, `${name} ${kind}, ${["norm", "projection"][at]}`);
  }
}

interface Made {
  readonly text: string;
  readonly keys: readonly string[];
  readonly parameters: number;
  readonly initial: ReadonlyMap<string, Distribution>;
  readonly eval: Float32Array;
  readonly summary: nn.Summary;
  readonly model: ReturnType<(typeof models)[keyof typeof models]>;
}

/** Makes a model once for all tests of it. */
function make({ name, size }: Case): Made {
  manualSeed(1);
  const model = models[name]();
  const initial = distributions(model);
  const state = [...model.stateDict()];
  const shape = (value: Tensor | number) => (typeof value === "number" ? [] : value.shape);
  const summary = nn.summary(model, [1, 3, size, size]);
  const text = String(model);
  withoutDropout(model);
  fill(model);
  return {
    ...{ model, initial, text, summary },
    keys: state.map(([key, value]) => `${key} ${shape(value)}`),
    parameters: model.parameters().reduce((sum, { size: count }) => sum + count, 0),
    eval: evaluated(model, size),
  };
}

function release(model: nn.Module): void {
  model.zeroGrad();
  for (const parameter of model.parameters()) parameter.dispose();
}

/** Standard deviation of a weight as torchvision draws it. */
function initialStd(name: string, shape: readonly number[]): number {
  const [outputs, inputs, ...kernel] = shape;
  if (kernel.length > 0) return Math.sqrt(2 / (outputs * kernel[0] * kernel[1]));
  // A fully connected layer's own, in ResNet: uniform up to 1 / sqrt(inputs).
  return name.startsWith("resnet") ? 1 / Math.sqrt(3 * inputs) : 0.01;
}

describe.each(cases)("$name", (entry) => {
  let made: Made;
  beforeAll(() => {
    made = make(entry);
  }, patience);
  afterAll(() => release(made.model));

  test("has torchvision's modules, in its order, with its options", () => {
    expect(made.text).toBe(entry.text);
  });

  test("has torchvision's keys and shapes", () => {
    expect(made.keys).toEqual(entry.keys);
  });

  test("has torchvision's number of parameters, in its summary too", () => {
    expect(made.parameters).toBe(entry.parameters);
    expect(made.summary.parameters).toBe(entry.parameters);
    expect(made.summary.rows[0].outputShape).toBe("(1, 1000)");
  });

  test("starts with torchvision's distributions", () => {
    for (const key of entry.keys.filter((line) => /weight \d+,\d+/.test(line))) {
      const [path, sizes] = key.split(" ");
      const std = initialStd(entry.name, sizes.split(",").map(Number));
      const found = made.initial.get(path);
      const count = found?.count ?? 0;
      // Five standard errors; those of a mean and of a normal sample's deviation.
      const errors = [(5 * std) / Math.sqrt(count), (5 * std) / Math.sqrt(2 * count)];
      expectWithin([found?.mean ?? Number.NaN, found?.std ?? Number.NaN], [0, std], errors, path);
    }
  });

  test("starts with weight 1 in every norm and bias 0 everywhere but in ResNet's fc", () => {
    const vectors = entry.keys.filter((line) => /(weight|bias) \d+$/.test(line));
    for (const line of vectors.filter((key) => !key.startsWith("fc."))) {
      const [path] = line.split(" ");
      const { mean, std } = made.initial.get(path) ?? {};
      expect({ path, mean, std }).toEqual({ path, mean: Number(path.endsWith("weight")), std: 0 });
    }
  });

  test("gives torchvision's logits in evaluation", () => {
    expectNear(entry, "eval", made.eval);
  });

  describe.each([entry].filter((one) => one.trained))("in training, but for resnet152", () => {
    let found: Outcome;
    beforeAll(() => {
      found = trained(made.model, entry.size);
    }, patience);

    test("gives torchvision's logits and loss", () => {
      expectNear(entry, "train", found.train);
      expectNear(entry, "loss", found.loss);
    });

    test("has torchvision's gradients", () => {
      expectTable(entry, "gradients", found.gradients);
    });

    test("has torchvision's parameters and running statistics after two steps", () => {
      expectTable(entry, "parameters", found.parameters);
      expectTable(entry, "statistics", found.statistics);
    });
  });
});

test("the fixture has the numbers of parameters that torchvision documents", () => {
  expect(Object.fromEntries(cases.map(({ name, parameters }) => [name, parameters]))).toEqual({
    resnet18: 11_689_512,
    resnet34: 21_797_672,
    resnet50: 25_557_032,
    resnet101: 44_549_160,
    resnet152: 60_192_808,
    vgg11Bn: 132_868_840,
    vgg16Bn: 138_365_992,
    mobilenetV2: 3_504_872,
  });
});

import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  memory,
  nn,
  optim,
  randn,
  scope,
  type Tensor,
  tensor,
} from "../src/index.ts";
import { expectClose } from "./support/close.ts";
import { expectGradients } from "./support/gradcheck.ts";

const values = (t: Tensor | null | undefined) => Array.from(t?.dataSync() ?? []);
const keysOf = (module: nn.Module) => [...module.stateDict().keys()];

/** One of each kind of layer that has a weight to normalise, with an input. */
const layers: [string, () => nn.Module & ((x: Tensor) => Tensor), readonly number[]][] = [
  ["Linear", () => new nn.Linear(3, 4), [2, 3]],
  ["Conv1d", () => new nn.Conv1d(2, 3, 2), [2, 2, 5]],
  [
    "Conv2d",
    () => new nn.Conv2d(2, 4, 2, { groups: 2, paddingMode: "reflect", padding: 1 }),
    [2, 2, 4, 4],
  ],
  ["Conv3d", () => new nn.Conv3d(1, 2, 2), [1, 1, 3, 3, 3]],
  ["ConvTranspose1d", () => new nn.ConvTranspose1d(2, 3, 2), [2, 2, 4]],
  ["ConvTranspose2d", () => new nn.ConvTranspose2d(2, 3, 2), [1, 2, 3, 3]],
  ["ConvTranspose3d", () => new nn.ConvTranspose3d(1, 2, 2), [1, 1, 2, 2, 2]],
];

describe.each(layers)("weight norm on %s", (_name, make, shape) => {
  test.each([0, 1, -1, null])(
    "with dim %s leaves the output as it was, and so does its removal",
    (dim) => {
      const layer = make();
      const x = randn(shape);
      const before = values(layer(x));
      const printed = String(layer);
      expect(nn.weightNorm(layer, "weight", dim)).toBe(layer);
      expectClose(values(layer(x)), before);
      expect(keysOf(layer)).toEqual(["bias", "weight_g", "weight_v"]);
      expect(layer.namedParameters().map(([key]) => key)).toEqual(keysOf(layer));
      expect(String(layer)).toBe(printed);
      const trained = values(layer(x));
      expect(nn.removeWeightNorm(layer)).toBe(layer);
      expect(keysOf(layer)).toEqual(["bias", "weight"]);
      expect(values(layer(x))).toEqual(trained);
    },
  );

  test("clones, moves and loads: the weight follows length and direction", () => {
    const layer = nn.weightNorm(make());
    const copy = layer.clone();
    const x = randn(shape);
    const before = values(layer(x));
    nn.init.constant(copy.parameters()[1], 0);
    expect(values(layer(x))).toEqual(before);
    expect(values(copy(x))).not.toEqual(before);
    copy.loadStateDict(layer.stateDict());
    expect(values(copy(x))).toEqual(before);
    const wide = copy.to("reference").to("float64");
    expectClose(values(wide(x.to("reference").to("float64"))), before);
    nn.removeWeightNorm(wide);
    expect(keysOf(layer)).toEqual(["bias", "weight_g", "weight_v"]);
  });
});

test("the weight is g * v / |v| for each index of dim, or of one length", () => {
  const weight = tensor([
    [3, 4],
    [0, 2],
  ]);
  const make = (dim: number | null) => {
    const layer = new nn.Linear(2, 2);
    layer.loadStateDict({ weight, bias: tensor([0, 0]) });
    return nn.weightNorm(layer, "weight", dim);
  };
  const shapes = [0, 1, null].map((dim) => {
    const g = make(dim).stateDict().get("weight_g") as Tensor;
    return [g.shape, values(g)];
  });
  expect(shapes.slice(0, 1)).toEqual([
    [
      [2, 1],
      [5, 2],
    ],
  ]);
  expect([shapes[1][0], shapes[2][0]]).toEqual([[1, 2], []]);
  expectClose(shapes[1][1], [3, Math.sqrt(20)]);
  expectClose(shapes[2][1], [Math.sqrt(29)]);
  const layer = make(0);
  layer.loadStateDict({
    bias: tensor([0, 0]),
    weight_g: tensor([[10], [1]]),
    weight_v: tensor([
      [3, 4],
      [0, -7],
    ]),
  });
  expectClose(values(layer.weight), [6, 8, 0, -1]);
});

test("dim -1 is the last axis", () => {
  const layer = nn.weightNorm(new nn.Linear(3, 2), "weight", -1);
  expect(layer.parameters().map(({ shape }) => shape)).toEqual([[2], [1, 3], [2, 3]]);
});

test("optimizers train length and direction, and a bias can be normalised too", () => {
  const layer = nn.weightNorm(nn.weightNorm(new nn.Linear(2, 2)), "bias");
  expect(keysOf(layer)).toEqual(["weight_g", "weight_v", "bias_g", "bias_v"]);
  const before = layer.parameters().map(values);
  const opt = new optim.SGD(layer.parameters(), { lr: 0.1 });
  scope(() =>
    layer(randn([4, 2]))
      .pow(2)
      .sum()
      .backward(),
  );
  opt.step();
  const after = layer.parameters().map(values);
  for (const i of [0, 1, 2]) expect(after[i]).not.toEqual(before[i]);
  // The direction of a single number is its sign: no gradient moves it.
  expectClose(after[3], before[3]);
});

test("gradients of length and direction agree with differences", () => {
  const weightOf = (g: Tensor, v: Tensor) => {
    const layer = nn.weightNorm(new nn.Linear(3, 2).to("reference").to("float64"));
    Reflect.set(layer, "weightG", g);
    Reflect.set(layer, "weightV", v);
    return layer.weight.mul(1);
  };
  expectGradients(weightOf, [{ shape: [2, 1] }, { shape: [2, 3], range: [0.5, 2] }]);
});

test("loading takes the keys of PyTorch's parametrizations, below any path, in clones too", () => {
  const model = new nn.Sequential(nn.weightNorm(new nn.Linear(2, 1)));
  const source = new Map([
    ["0.bias", tensor([1])],
    ["0.parametrizations.weight.original0", tensor([[10]])],
    ["0.parametrizations.weight.original1", tensor([[3, 4]])],
  ]);
  const keys = [...source.keys()];
  for (const each of [model.clone(), model]) {
    expect(each.loadStateDict(source)).toEqual({ missingKeys: [], unexpectedKeys: [] });
    expectClose(values(each(tensor([[1, 1]]))), [15]);
  }
  expect([...source.keys()]).toEqual(keys);
  nn.removeWeightNorm(model.at(0));
  expect(model.loadStateDict(source, { strict: false })).toEqual({
    missingKeys: ["0.weight"],
    unexpectedKeys: keys.slice(1),
  });
});

test("a frozen weight stays frozen, there and back; what was tied is so no more", () => {
  const [first, second] = [new nn.Linear(2, 2), new nn.Linear(2, 2)];
  second.weight = first.weight;
  const before = values(second.weight);
  first.weight.requiresGrad = false;
  nn.weightNorm(first);
  expect(first.parameters().map(({ requiresGrad }) => requiresGrad)).toEqual([true, false, false]);
  nn.init.constant(first.parameters()[2], 1);
  expect(values(second.weight)).toEqual(before);
  expect(nn.removeWeightNorm(first).weight.requiresGrad).toBe(false);
  expect(() => Reflect.set(first, "weight", tensor([1]))).toThrow(/expected an nn.Parameter/);
});

test("only parameters are made and copied: a computed weight ends with the call", () => {
  const layer = new nn.Linear(2, 2);
  const x = randn([3, 2]);
  const counts = [memory().tensors];
  const count = () => void counts.push(memory().tensors);
  nn.weightNorm(layer);
  count();
  scope(() => void layer(x));
  count();
  layer.clone();
  count();
  nn.removeWeightNorm(layer);
  count();
  expect(counts.map((n) => n - counts[0])).toEqual([0, 2, 2, 5, 6]);
});

test("misuse is refused by name", () => {
  const layer = nn.weightNorm(new nn.Linear(2, 2));
  const refusals: [() => unknown, RegExp][] = [
    [
      () => nn.weightNorm(layer),
      /a Linear with a parameter weight, got one with weight norm on it already/,
    ],
    [() => nn.weightNorm(new nn.ReLU()), /a ReLU with a parameter weight, got none/],
    [() => nn.weightNorm(new nn.LazyBatchNorm1d()), /one whose shape its first call decides/],
    [
      () => nn.removeWeightNorm(new nn.Linear(2, 2)),
      /a Linear with weight norm on weight, got one without/,
    ],
  ];
  for (const [attempt, message] of refusals) {
    expect(attempt).toThrow(ArgumentError);
    expect(attempt).toThrow(message);
  }
  expect(() => nn.weightNorm(new nn.Linear(2, 2), "weight", 2)).toThrow(/an axis in \[-2, 1\]/);
  expect(() => Reflect.set(layer, "weight", layer.bias)).not.toThrow();
  expect(layer.weight).not.toBe(layer.bias);
});

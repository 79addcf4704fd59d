import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  DTypeError,
  memory,
  nn,
  ones,
  rand,
  randn,
  ShapeError,
  scope,
  type Tensor,
  tensor,
} from "../src/index.ts";

const { crossEntropy, nllLoss, mseLoss, l1Loss, smoothL1Loss, huberLoss } = nn.functional;
const { binaryCrossEntropyWithLogits } = nn.functional;

const labelsOf = (...values: number[]) => tensor(Int32Array.from(values));
const values = (t: Tensor) => t.dataSync();

describe("modules", () => {
  const weight = tensor([1, 2, 3]);

  test("print as in PyTorch", () => {
    const all = [
      ...[new nn.CrossEntropyLoss({ weight, labelSmoothing: 0.1 }), new nn.NLLLoss()],
      ...[new nn.MSELoss(), new nn.L1Loss({ reduction: "sum" }), new nn.SmoothL1Loss({ beta: 2 })],
      ...[new nn.HuberLoss({ delta: 2 }), new nn.BCEWithLogitsLoss({ posWeight: weight })],
    ];
    const kinds = ["CrossEntropyLoss", "NLLLoss", "MSELoss", "L1Loss", "SmoothL1Loss"];
    const expected = [...kinds, "HuberLoss", "BCEWithLogitsLoss"].map((kind) => `${kind}()`);
    expect(all.map(String)).toEqual(expected);
  });

  test("hold weights as buffers under PyTorch's keys", () => {
    const both = { weight, posWeight: weight };
    expect([...new nn.BCEWithLogitsLoss(both).stateDict().keys()]).toEqual([
      "weight",
      "pos_weight",
    ]);
    expect([...new nn.CrossEntropyLoss({ weight }).stateDict().keys()]).toEqual(["weight"]);
    expect([...new nn.NLLLoss({ weight }).stateDict().keys()]).toEqual(["weight"]);
    expect(new nn.CrossEntropyLoss().stateDict().size).toBe(0);
    expect(new nn.CrossEntropyLoss({ weight }).parameters()).toEqual([]);
  });

  test("move their weights with them", () => {
    const loss = new nn.CrossEntropyLoss({ weight: tensor([1, 2, 3]) }).to("reference");
    const x = randn([2, 3], { device: "reference" });
    expect(loss(x, tensor(Int32Array.of(0, 2), { device: "reference" })).device).toBe("reference");
  });

  test("pass every option on", () => {
    const [x, t] = [randn([4, 3]), rand([4, 3])];
    const labels = labelsOf(0, 2, 1, 2);
    const sum = { reduction: "sum" } as const;
    const classes = { ...sum, weight, ignoreIndex: 2 };
    const smooth = { ...classes, labelSmoothing: 0.3 };
    const binary = { ...sum, weight, posWeight: tensor([4, 5, 6]) };
    const pairs: readonly (readonly [Tensor, Tensor])[] = [
      [new nn.CrossEntropyLoss(smooth)(x, labels), crossEntropy(x, labels, smooth)],
      [new nn.NLLLoss(classes)(x, labels), nllLoss(x, labels, classes)],
      [new nn.BCEWithLogitsLoss(binary)(x, t), binaryCrossEntropyWithLogits(x, t, binary)],
      [new nn.MSELoss(sum)(x, t), mseLoss(x, t, sum)],
      [new nn.L1Loss(sum)(x, t), l1Loss(x, t, sum)],
      [new nn.SmoothL1Loss({ ...sum, beta: 3 })(x, t), smoothL1Loss(x, t, { ...sum, beta: 3 })],
      [new nn.HuberLoss({ ...sum, delta: 3 })(x, t), huberLoss(x, t, { ...sum, delta: 3 })],
    ];
    for (const [module, plain] of pairs) expect(values(module)).toEqual(values(plain));
  });
});

describe("errors", () => {
  const x = randn([2, 3]);
  const labels = labelsOf(0, 2);
  const learned = ones([3], { requiresGrad: true });

  test.each([
    ["labels of another count", () => crossEntropy(x, labelsOf(0, 1, 2)), ShapeError, /labels/],
    ["labels like logits", () => crossEntropy(x, x.to("int32")), ShapeError, /must be floating/],
    ["a scalar", () => crossEntropy(tensor(1), labels), ShapeError, /scalar/],
    ["floating labels", () => crossEntropy(x, tensor([0, 2])), DTypeError, /to\("int32"\)/],
    ["floating labels of nllLoss", () => nllLoss(x, tensor([0, 2])), DTypeError, /labels of int32/],
    ["probabilities of another shape", () => crossEntropy(x, rand([3, 2])), ShapeError, /\(2, 3\)/],
    [
      "a label that is no class",
      () => crossEntropy(x, labelsOf(0, 3)),
      ArgumentError,
      /3 at position 1/,
    ],
    ["a negative label", () => nllLoss(x, labelsOf(-1, 0)), ArgumentError, /-1 at position 0/],
    [
      "weights of another count",
      () => crossEntropy(x, labels, { weight: ones([2]) }),
      ShapeError,
      /3 classes/,
    ],
    [
      "weights beside probabilities",
      () => crossEntropy(x, x, { weight: ones([2]) }),
      ShapeError,
      /3 classes/,
    ],
    [
      "integer weights",
      () => nllLoss(x, labels, { weight: labelsOf(1, 1, 1) }),
      DTypeError,
      /dtype/,
    ],
    [
      "learned weights",
      () => crossEntropy(x, labels, { weight: learned }),
      ArgumentError,
      /detach/,
    ],
    [
      "an index to ignore beside probabilities",
      () => crossEntropy(x, x, { ignoreIndex: 1 }),
      ArgumentError,
      /beside prob/,
    ],
    [
      "half an index to ignore",
      () => nllLoss(x, labels, { ignoreIndex: 0.5 }),
      ArgumentError,
      /integer/,
    ],
    [
      "smoothing above 1",
      () => crossEntropy(x, labels, { labelSmoothing: 1.1 }),
      ArgumentError,
      /\[0, 1\]/,
    ],
    [
      "smoothing below 0",
      () => crossEntropy(x, labels, { labelSmoothing: -0.1 }),
      ArgumentError,
      /\[0, 1\]/,
    ],
    ["a beta below 0", () => smoothL1Loss(x, x, { beta: -1 }), ArgumentError, /beta >= 0/],
    ["a delta of 0", () => huberLoss(x, x, { delta: 0 }), ArgumentError, /delta > 0/],
    [
      "a factor too large",
      () => binaryCrossEntropyWithLogits(x, x, { weight: ones([2, 2, 3]) }),
      ShapeError,
      /\(2, 3\)/,
    ],
    [
      "a factor that does not fit",
      () => binaryCrossEntropyWithLogits(x, x, { posWeight: ones([2]) }),
      ShapeError,
      /equal or 1/,
    ],
    [
      "a learned factor",
      () => binaryCrossEntropyWithLogits(x, x, { posWeight: learned }),
      ArgumentError,
      /detach/,
    ],
  ])("%s", (_name, run, type, message) => {
    const before = memory().tensors;
    expect(() => scope(run)).toThrow(type);
    expect(() => scope(run)).toThrow(message);
    expect(memory().tensors).toBe(before);
  });

  test("an unknown reduction", () => {
    const options: { reduction: "mean" } = JSON.parse('{"reduction":"avg"}');
    const calls = [
      () => crossEntropy(x, labels, options),
      () => nllLoss(x, labels, options),
      () => mseLoss(x, x, options),
      () => binaryCrossEntropyWithLogits(x, x, options),
    ];
    for (const call of calls) expect(call).toThrow(/"mean", "sum" or "none", got "avg"/);
  });
});

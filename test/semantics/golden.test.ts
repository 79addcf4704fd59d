/** Golden vectors: numbers found with PyTorch in float64, rounded to ten digits. */
import { describe, expect, test } from "vitest";
import { AutogradError, nn, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, tolerance } from "../support/close.ts";
import { type Place, placements } from "./coverage.ts";

const goldenTolerance = {
  float64: { rtol: 1e-8, atol: 1e-8 },
  float32: tolerance.float32,
} as const;

const X = [
  [1, 2],
  [3, 4],
  [5, 9],
];
const cotangent = [
  [1, 0],
  [0, 1],
  [2, -1],
];
/** Two batches of one feature, of different size. */
const A = [[1], [2], [3], [10]];
const B = [[4], [8]];

describe.each(placements)("$dtype on $device", (place) => {
  const golden = (actual: Tensor | null | undefined, ...expected: number[]) =>
    expectClose(actual?.dataSync() ?? [], expected, goldenTolerance[place.dtype]);

  test("G-01 train output of the worked example", () => {
    const { y } = pass(example(place), place);
    golden(y, -1.94948515, 1.0190487428, 0.5, 0.3396829143, 2.94948515, -1.3587316571);
  });

  test("G-02 its running mean", () => {
    golden(trained(place).runningMean, 0.3, 0.5);
  });

  test("G-03 its running variance", () => {
    golden(trained(place).runningVar, 1.3, 2.2);
  });

  test("G-04 its train gradient of x", () => {
    const { dx } = pass(example(place), place);
    const rows = [0.6123689911, 0.195970686, -1.224742575, -0.2743593523];
    golden(dx, ...rows, 0.6123735839, 0.0783886663);
  });

  test("G-05 its train gradients of weight and bias", () => {
    const { dWeight, dBias } = pass(example(place), place);
    golden(dWeight, 1.224742575, -1.6984145714);
    golden(dBias, 3, 0);
  });

  test("G-06 eval output after that step", () => {
    const { y } = pass(trained(place).eval(), place);
    const rows = [1.7278765044, -1.0112974953, 5.2360950885, -2.3596941557];
    golden(y, ...rows, 8.7443136726, -5.7306858067);
  });

  test("G-07 eval gradient of x", () => {
    const { dx } = pass(trained(place).eval(), place);
    golden(dx, 1.7541092921, 0, 0, -0.6741983302, 3.5082185841, 0.6741983302);
  });

  test("G-08 eval gradients of weight and bias", () => {
    const { dWeight, dBias } = pass(trained(place).eval(), place);
    golden(dWeight, 8.8582519249, -3.370991651);
    golden(dBias, 3, 0);
  });

  test("G-09 momentum null: the first batch replaces the initial statistics", () => {
    const bn = layer(place, 2, { momentum: null });
    bn(tensor(X, place));
    golden(bn.runningMean, 3, 5);
    golden(bn.runningVar, 4, 13);
  });

  test("G-10 momentum null: the second batch weighs as much as the first", () => {
    const bn = layer(place, 2, { momentum: null });
    bn(tensor(X, place));
    const second = [
      [0, 1],
      [2, 1],
    ];
    bn(tensor(second, place));
    golden(bn.runningMean, 2, 3);
    golden(bn.runningVar, 3, 6.5);
  });

  test("G-11 0 to 15 as images: train output", () => {
    const { y } = images(place);
    const low = [-1.3242440001, -1.0834723637, -0.8427007273, -0.601929091];
    const high = [0.601929091, 0.8427007273, 1.0834723637, 1.3242440001];
    golden(y, ...low, ...low, ...high, ...high);
  });

  test("G-12 0 to 15 as images: running statistics count the 8 values of a channel", () => {
    const { bn } = images(place);
    golden(bn.runningMean, 0.55, 0.95);
    golden(bn.runningVar, 2.8714285714, 2.8714285714);
  });

  test("G-13 a constant channel gives exactly 0 and shrinks the running variance", () => {
    const bn = layer(place, 1);
    const y = bn(tensor([[7], [7], [7], [7]], place));
    expect(Array.from(y.dataSync(), Math.abs)).toEqual([0, 0, 0, 0]);
    golden(bn.runningMean, 0.7);
    golden(bn.runningVar, 0.9);
  });

  test("G-14 two values without affine", () => {
    golden(layer(place, 1, { affine: false })(tensor([[1], [3]], place)), -0.999995, 0.999995);
  });

  test("G-15 two values so close that eps dominates", () => {
    const y = layer(place, 1, { affine: false })(tensor([[0], [0.002]], place));
    golden(y, -0.3015113446, 0.3015113446);
  });

  test("G-16 momentum 1: train output", () => {
    const y = layer(place, 2, { momentum: 1, affine: false })(tensor(X, place));
    golden(y, -1.224742575, -1.0190487428, 0, -0.3396829143, 1.224742575, 1.3587316571);
  });

  test("G-17 momentum 1: eval output of the same batch differs by n / (n - 1)", () => {
    const bn = layer(place, 2, { momentum: 1, affine: false });
    bn(tensor(X, place));
    const y = bn.eval()(tensor(X, place));
    golden(y, -0.99999875, -0.8320499743, 0, -0.2773499914, 0.99999875, 1.1093999658);
  });

  test("G-18 the same batch twice, as recomputation does: weight 0.19, two batches", () => {
    const bn = layer(place, 2);
    bn(tensor(X, place));
    bn(tensor(X, place));
    golden(bn.runningMean, 0.19 * 3, 0.19 * 5);
    expect(bn.numBatchesTracked).toBe(2);
  });

  test("G-19 mean and biased variance of the two batches that processes would share", () => {
    const [a, b] = [A, B].map((batch) => observed(batch, place));
    golden(a.mean, 4);
    golden(a.unbiased.mul(3 / 4), 12.5);
    golden(b.mean, 6);
    golden(b.unbiased.mul(1 / 2), 4);
  });

  test("G-21 updateBatchNorm weighs batches equally, whatever their size", async () => {
    const bn = layer(place, 1);
    await nn.updateBatchNorm(bn, [tensor(A, place), tensor(B, place)]);
    golden(bn.runningMean, 5);
    golden(bn.runningVar, 12.3333333333);
  });

  test("G-23 the formula of a frozen layer is that of eval", () => {
    const [mean, variance, weight, bias] = [3, 4, 2, 1].map((value) => tensor([value], place));
    const x = tensor([[5]], place);
    golden(nn.functional.batchNorm(x, mean, variance, { weight, bias }), 2.9999975);
  });

  test("G-24 eval after a 1x1 convolution is the convolution with folded weights", () => {
    const x = tensor([1, -2, 0.5, 3, 4, -1, 2, 0.25], { ...place, shape: [1, 2, 2, 2] });
    const conv = (weight: number[], bias: number[]) =>
      nn.functional.conv2d(x, tensor(weight, place).reshape([2, 2, 1, 1]), {
        bias: tensor(bias, place),
      });
    const folded = conv([1, 2, 6, 8], [10.5, 14]);
    golden(beforeFolding(conv([1, 2, 3, 4], [1, -1]), place), ...folded.dataSync());
  });

  test("G-26 eval after a linear layer is the linear layer with folded weights", () => {
    const x = tensor([1, -2, 0.5, 3, 4, -1], { ...place, shape: [3, 2] });
    const linear = (weight: number[], bias: number[]) =>
      nn.functional.linear(x, tensor(weight, place).reshape([2, 2]), tensor(bias, place));
    const folded = linear([1, 2, 6, 8], [10.5, 14]);
    golden(beforeFolding(linear([1, 2, 3, 4], [1, -1]), place), ...folded.dataSync());
  });

  test("G-28 second order with respect to x is refused, not wrong", () => {
    const { x, secondLoss } = gradientLoss(place);
    const before = [...(x.grad?.dataSync() ?? [])];
    expect(() => secondLoss.backward()).toThrow(AutogradError);
    expect([...(x.grad?.dataSync() ?? [])]).toEqual(before);
  });

  test("G-29 second order with respect to the weight is refused, not wrong", () => {
    const { weight, secondLoss } = gradientLoss(place);
    const before = [...(weight.grad?.dataSync() ?? [])];
    expect(() => secondLoss.backward()).toThrow(/first-order only/);
    expect([...(weight.grad?.dataSync() ?? [])]).toEqual(before);
  });

  test("G-30 second order with respect to the cotangent is refused, not wrong", () => {
    const { g, secondLoss } = gradientLoss(place);
    expect(() => secondLoss.backward()).toThrow(AutogradError);
    expect(g.grad).toBeNull();
  });

  test("G-31 the running variance takes the unbiased batch variance", () => {
    const bn = new nn.BatchNorm2d(1).to(place.device).to(place.dtype);
    bn(tensor([1, 2, 3, 4], { ...place, shape: [4, 1, 1, 1] }));
    golden(bn.runningVar, 1.0666666667);
  });
});

function layer(place: Place, channels: number, options: nn.BatchNormLayerOptions = {}) {
  return new nn.BatchNorm1d(channels, options).to(place.device).to(place.dtype);
}

function example(place: Place) {
  const bn = layer(place, 2);
  bn.loadStateDict({ weight: tensor([2, -1]), bias: tensor([0.5, 0]) }, { strict: false });
  return bn;
}

/** The worked example after one training batch. */
function trained(place: Place) {
  const bn = example(place);
  bn(tensor(X, place));
  return bn;
}

function pass(bn: nn.BatchNorm1d, place: Place) {
  const x = tensor(X, { ...place, requiresGrad: true });
  const y = bn(x);
  y.backward(tensor(cotangent, place));
  return { y, dx: x.grad, dWeight: bn.weight?.grad, dBias: bn.bias?.grad };
}

function images(place: Place) {
  const bn = new nn.BatchNorm2d(2).to(place.device).to(place.dtype);
  const values = Array.from({ length: 16 }, (_, i) => i);
  return { bn, y: bn(tensor(values, { ...place, shape: [2, 2, 2, 2] })) };
}

/** Mean and unbiased variance of a batch, as momentum 1 writes them down. */
function observed(batch: number[][], place: Place) {
  const [mean, unbiased] = [tensor([0], place), tensor([0], place)];
  nn.functional.batchNorm(tensor(batch, place), mean, unbiased, { training: true, momentum: 1 });
  return { mean, unbiased };
}

/** The batch norm that G-24 and G-26 fold away. */
function beforeFolding(x: Tensor, place: Place): Tensor {
  const [mean, variance] = [tensor([0.5, 2], place), tensor([3, 8], place)];
  const [weight, bias] = [tensor([2, 6], place), tensor([10, 20], place)];
  return nn.functional.batchNorm(x, mean, variance, { weight, bias, eps: 1 });
}

/** A loss of first gradients, sum(dx * V) + sum(dWeight * U), and what one might differentiate it by. */
function gradientLoss(place: Place) {
  const x = tensor(X, { ...place, requiresGrad: true });
  const weight = tensor([2, -1], { ...place, requiresGrad: true });
  const g = tensor(cotangent, { ...place, requiresGrad: true });
  nn.functional.batchNorm(x, null, null, { weight, training: true }).backward(g);
  const V = tensor([1, 2, 0, -1, 1, 0], { ...place, shape: [3, 2] });
  const U = tensor([1, -2], place);
  const [dx, dWeight] = [x.grad, weight.grad];
  if (dx === null || dWeight === null) throw new Error("the first backward left no gradients");
  return { x, weight, g, secondLoss: dx.mul(V).sum().add(dWeight.mul(U).sum()) };
}

/** Batch norm among other modules and in a training loop. */
import { describe, expect, test } from "vitest";
import { nn, noGrad, optim, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct, normals } from "../support/random.ts";
import { placements } from "./coverage.ts";

function read(t: Tensor | null | undefined): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

function net() {
  const bn = new nn.BatchNorm1d(3);
  const inner = new nn.Sequential(new nn.Linear(2, 3), bn);
  return { bn, inner, outer: new nn.Sequential(inner, new nn.ReLU()) };
}

test("M-01 a parent's train() undoes a child's eval()", () => {
  const { bn, outer } = net();
  bn.eval();
  expect(outer.training).toBe(true);
  outer.train();
  expect(bn.training).toBe(true);
});

test("M-02 train and eval reach every level, apply visits children first", () => {
  const { bn, inner, outer } = net();
  expect(
    outer
      .eval()
      .modules()
      .map((module) => module.training),
  ).toEqual(Array(5).fill(false));
  expect(inner.train(true)).toBe(inner);
  expect([outer.training, inner.training, bn.training]).toEqual([false, true, true]);
  const visited: string[] = [];
  outer.apply((module) => visited.push(module.kind));
  expect(visited).toEqual(["Linear", "BatchNorm1d", "Sequential", "ReLU", "Sequential"]);
});

test("M-03 without requiresGrad anywhere the statistics still move in training", () => {
  const { bn, outer } = net();
  outer.setRequiresGrad(false);
  const y = outer(tensor(distinct(8, { seed: 1 }), { shape: [4, 2] }));
  expect(y.requiresGrad).toBe(false);
  expect([...read(bn.runningMean)]).not.toEqual([0, 0, 0]);
  expect(bn.numBatchesTracked).toBe(1);
});

describe.each(placements)("$dtype on $device", (place) => {
  const near = tolerance[place.dtype];
  const X = tensor([1, 2, 3, 4, 5, 9], { ...place, shape: [3, 2] });
  const layer = (options: nn.BatchNormLayerOptions = {}) =>
    new nn.BatchNorm1d(2, options).to(place.device).to(place.dtype);

  test.each([
    [0.1, 0.19],
    [1 - Math.sqrt(0.9), 0.1],
  ])(
    "M-04 recomputation with momentum %s moves the statistics twice: weight %s",
    (momentum, weight) => {
      const bn = layer({ momentum });
      noGrad(() => bn(X));
      bn(X).sum().backward();
      expectClose(read(bn.runningMean), [weight * 3, weight * 5], near);
      expectClose(read(bn.runningVar), [1 + weight * 3, 1 + weight * 12], near);
      expect(bn.numBatchesTracked).toBe(2);
    },
  );

  test("M-05 k micro-batches are k updates, one optimizer step notwithstanding", () => {
    const bn = layer();
    const optimizer = new optim.SGD(bn.parameters(), { lr: 0.1 });
    for (let k = 0; k < 4; k++) bn(X.add(k)).mul(X).sum().backward();
    const before = read(bn.runningMean);
    optimizer.step();
    const shifts = [0, 1, 2, 3].reduce((sum, k) => sum * 0.9 + 0.1 * k, 0);
    expectClose(
      before,
      [3, 5].map((mean) => mean * (1 - 0.9 ** 4) + shifts),
      near,
    );
    expectSameBytes(read(bn.runningMean), before);
    expect(bn.numBatchesTracked).toBe(4);
  });

  // Unlike PyTorch, where the write makes backward throw.
  test.each([true, false])(
    "M-06 statistics written between forward and backward: the gradients are right (training %s)",
    (training) => {
      const g = tensor(normals(6, 2), { ...place, shape: [3, 2] });
      const gradients = [false, true].map((isWritten) => {
        const bn = layer();
        bn(X);
        bn.train(training);
        const x = tensor([2, 1, 0, 3, 7, 5], { ...place, shape: [3, 2], requiresGrad: true });
        const y = bn(x);
        if (isWritten) {
          bn.resetRunningStats();
          bn.loadStateDict(
            { running_mean: tensor([9, 9]), running_var: tensor([4, 4]) },
            { strict: false },
          );
        }
        y.backward(g);
        return [x.grad, bn.weight?.grad, bn.bias?.grad].map(read);
      });
      for (const [i, untouched] of gradients[0].entries())
        expectSameBytes(gradients[1][i], untouched);
      expect(Math.max(...gradients[0][0].map(Math.abs))).toBeGreaterThan(0.01);
    },
  );

  test("M-07 the bias of a linear layer before it: no gradient, no effect on the output, the mean shifts by momentum * bias", () => {
    const values = distinct(6, { seed: 3 });
    const run = (bias: readonly number[]) => {
      const [linear, bn] = [new nn.Linear(2, 2), layer()];
      linear.loadStateDict({
        weight: tensor([
          [1, 0.5],
          [-2, 1],
        ]),
        bias: tensor([...bias]),
      });
      linear.to(place.device).to(place.dtype);
      const y = bn(linear(tensor(values, { ...place, shape: [3, 2] })));
      y.backward(tensor(normals(6, 4), { ...place, shape: [3, 2] }));
      return { y: read(y), dBias: read(linear.bias?.grad), mean: read(bn.runningMean) };
    };
    const [without, withBias] = [run([0, 0]), run([3, -2])];
    expectClose(withBias.dBias, [0, 0], near);
    expectClose(withBias.y, without.y, near);
    expectClose(withBias.mean, [without.mean[0] + 0.3, without.mean[1] - 0.2], near);
  });
});

import { expect, test } from "vitest";
import { nn, type Tensor, tensor } from "../../src/index.ts";
import { expectSameBytes } from "../support/close.ts";
import { distinct, normals } from "../support/random.ts";

function read(t: Tensor | null | undefined): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

test("D-03 a permuted input in eval gives what the same values in order give", () => {
  const values = distinct(6, { seed: 1 });
  const bn = new nn.BatchNorm2d(2);
  bn.loadStateDict(
    { running_mean: tensor([0.5, -1]), running_var: tensor([2, 0.25]) },
    { strict: false },
  );
  const permuted = tensor(values, { shape: [1, 3, 1, 2] }).permute([0, 3, 2, 1]); // (1, 2, 1, 3)
  const inOrder = [0, 2, 4, 1, 3, 5].map((i) => values[i]);
  const plain = tensor(inOrder, { shape: [1, 2, 1, 3] });
  expect(permuted.shape).toEqual([1, 2, 1, 3]);
  expectSameBytes(read(bn.eval()(permuted)), read(bn(plain)));
});

test("D-06 to() converts the four floating entries and leaves the counter an integer", () => {
  const bn = new nn.BatchNorm1d(3).to("reference");
  bn.numBatchesTracked = 7;
  const { weight, runningVar } = bn;
  bn.to("float64");
  const tensors = [bn.weight, bn.bias, bn.runningMean, bn.runningVar];
  expect(tensors.map((t) => t?.dtype)).toEqual(Array(4).fill("float64"));
  expect(bn.numBatchesTracked).toBe(7);
  expect([bn.weight, bn.runningVar]).toEqual([weight, runningVar]);
  expect(
    bn(tensor(distinct(6, { seed: 2 }), { device: "reference", dtype: "float64", shape: [2, 3] }))
      .dtype,
  ).toBe("float64");
  bn.float();
  expect(tensors.map((t) => t?.dtype)).toEqual(Array(4).fill("float32"));
});

test("D-07 a cotangent that comes through a permutation gives the same gradients", () => {
  const shape = [2, 8, 8, 1];
  const values = distinct(128, { seed: 3 });
  const g = tensor(normals(128, 4), { shape: [2, 1, 8, 8] });
  const [direct, permuted] = [false, true].map((isPermuted) => {
    const bn = new nn.BatchNorm2d(8);
    const x = tensor(values, { shape, requiresGrad: true });
    const y = bn(x);
    if (isPermuted) y.permute([0, 3, 1, 2]).backward(g);
    else y.backward(g.permute([0, 2, 3, 1]));
    return [x.grad, bn.weight?.grad, bn.bias?.grad].map(read);
  });
  for (const [i, gradient] of direct.entries()) expectSameBytes(permuted[i], gradient);
});

/** Where the library chose to differ from PyTorch on purpose, apart from updateBatchNorm (H-05, H-06) and captured statistics (B-10, M-06). */
import { describe, expect, test } from "vitest";
import {
  AutogradError,
  LifetimeError,
  nn,
  optim,
  StateDictError,
  type Tensor,
  tensor,
  zeros,
} from "../../src/index.ts";
import { expectClose, expectSameBytes } from "../support/close.ts";
import { distinct } from "../support/random.ts";

function stateOf(model: nn.Module): Map<string, Float64Array> {
  const entries = [...model.stateDict()].map(([key, value]) => {
    const values = typeof value === "number" ? [value] : value.dataSync();
    return [key, Float64Array.from(values)] as const;
  });
  return new Map(entries);
}

describe("a loadStateDict that throws writes nothing", () => {
  /** Conforms to the model below but for what a test changes. */
  const dict = (): Record<string, Tensor | number> => ({
    "0.weight": tensor(distinct(6, { seed: 1 }), { shape: [3, 2] }),
    "0.bias": tensor(distinct(3, { seed: 2 })),
    "1.weight": tensor(distinct(3, { seed: 3 })),
    "1.bias": tensor(distinct(3, { seed: 4 })),
    "1.running_mean": tensor(distinct(3, { seed: 5 })),
    "1.running_var": tensor(distinct(3, { seed: 6, low: 1, high: 2 })),
    "1.num_batches_tracked": 12,
  });
  const without = (key: string) =>
    Object.fromEntries(Object.entries(dict()).filter(([name]) => name !== key));

  test.each([
    ["the last tensor is misshapen", { ...dict(), "1.running_var": zeros([4]) }, { strict: false }],
    ["a key is missing", without("1.running_var"), {}],
    ["a key is unexpected", { ...dict(), "1.gamma": zeros([3]) }, {}],
  ])("when %s", (_, source, options) => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.BatchNorm1d(3));
    const before = stateOf(model);
    expect(() => model.loadStateDict(source, options)).toThrow(StateDictError);
    for (const [key, values] of stateOf(model)) {
      expectSameBytes(values, before.get(key) ?? new Float64Array(), key);
    }
    model.loadStateDict(dict());
    expect([...stateOf(model)]).not.toEqual([...before]);
  });
});

test("the message lists every missing, unexpected and mismatched entry, and suggests near keys", () => {
  const bn = new nn.BatchNorm1d(3);
  const load = () =>
    bn.loadStateDict({ weight: zeros([4]), bias: zeros([3]), runing_mean: zeros([3]) });
  expect(load).toThrow(
    /missing running_mean .*, running_var .*; unexpected runing_mean .*the model has running_mean/,
  );
  expect(load).toThrow(/mismatched weight: the model has \(3,\), the state dict \(4,\)/);
});

test("a weight overwritten between forward and backward is an error that names the writer, as in PyTorch", () => {
  const bn = new nn.BatchNorm1d(2);
  const y = bn(tensor([1, 2, 3, 5], { shape: [2, 2], requiresGrad: true }));
  bn.loadStateDict({ weight: tensor([2, 2]) }, { strict: false });
  expect(() => y.sum().backward()).toThrow(AutogradError);
  expect(() => y.sum().backward()).toThrow(/weight of batchNorm.*overwritten by loadStateDict/);
});

test("200,000 samples of 2 features around 100 have exact statistics, where float32 sums are 8 % off", () => {
  const values = distinct(400_000, { seed: 7, low: 100, high: 101 });
  const bn = new nn.BatchNorm1d(2, { momentum: 1 });
  bn(tensor(values, { shape: [200_000, 2] }));
  for (const c of [0, 1]) {
    const column = values.filter((_, i) => i % 2 === c);
    const mean = column.reduce((sum, v) => sum + v, 0) / column.length;
    const squares = column.reduce((sum, v) => sum + (v - mean) ** 2, 0);
    expectClose([bn.runningMean?.dataSync()[c] ?? 0], [mean], { rtol: 1e-6, atol: 0 });
    expectClose([bn.runningVar?.dataSync()[c] ?? 0], [squares / (column.length - 1)], {
      rtol: 1e-6,
      atol: 0,
    });
  }
});

test("max over all gives the gradient to the first of equals", () => {
  const x = tensor([1, 3, 3, 2], { requiresGrad: true });
  x.max().backward();
  expect([...(x.grad?.dataSync() ?? [])]).toEqual([0, 1, 0, 0]);
});

test("zeroGrad ends the gradients it drops, but not a detached handle", () => {
  const bn = new nn.BatchNorm1d(2);
  bn(tensor([1, 2, 3, 5], { shape: [2, 2] }))
    .sum()
    .backward();
  const dBias = bn.bias?.grad;
  const detached = dBias?.detach();
  new optim.SGD(bn.parameters()).zeroGrad();
  expect(bn.bias?.grad).toBeNull();
  expect(() => dBias?.dataSync()).toThrow(LifetimeError);
  expect([...(detached?.dataSync() ?? [])]).toEqual([2, 2]);
});

test("the counter is a number in code and one entry in the state", () => {
  const bn = new nn.BatchNorm1d(2);
  bn(tensor([1, 2, 3, 5], { shape: [2, 2] }));
  expect(bn.numBatchesTracked).toBe(1);
  expect(bn.stateDict().get("num_batches_tracked")).toBe(1);
});

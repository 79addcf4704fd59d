import { expect, test } from "vitest";
import { memory, nn, optim, randn, Tensor, tensor } from "../src/index.ts";

class Tied extends nn.Module {
  static override readonly kind = "Tied";
  readonly first = new nn.Linear(3, 3);
  readonly second = new nn.Linear(3, 3);
  readonly norms = [new nn.BatchNorm1d(3)];
  readonly settings = { scale: 2, sizes: [1, 2], byName: new Map([["first", this.first]]) };
  readonly seen = new Set([this.norms[0]]);
  readonly table = Float64Array.of(1, 2);
  readonly created = new Date(0);
  cache: Tensor | null = null;

  constructor() {
    super();
    this.second.weight = this.first.weight;
    this.registerBuffer("offset", tensor([1, 2, 3]));
  }

  forward(x: Tensor): Tensor {
    this.cache = this.first(x);
    return this.norms[0](this.second(this.cache)).mul(this.settings.scale);
  }
}

const values = (t: Tensor | null | undefined) => Array.from(t?.dataSync() ?? []);

test("a clone computes the same and shares no memory", () => {
  const model = new Tied();
  model(randn([4, 3]));
  const copy = model.clone();
  expect([...copy.stateDict().keys()]).toEqual([...model.stateDict().keys()]);
  expect(String(copy)).toBe(String(model));
  expect([copy instanceof Tied, copy.kind]).toEqual([true, "Tied"]);

  const x = randn([4, 3]);
  expect(values(copy.clone()(x))).toEqual(values(model.clone()(x)));
  const before = values(model.first.weight);
  const opt = new optim.SGD(copy.parameters(), { lr: 0.1 });
  copy(x).pow(2).sum().backward();
  opt.step();
  expect(values(model.first.weight)).toEqual(before);
  expect(values(copy.first.weight)).not.toEqual(before);
  expect(model.norms[0].numBatchesTracked).toBe(1);
  expect(copy.norms[0].numBatchesTracked).toBe(2);
});

test("what is shared inside stays shared inside, and nothing else is", () => {
  const model = new Tied();
  const copy = model.clone();
  expect(copy.second.weight).toBe(copy.first.weight);
  expect(copy.first.weight).not.toBe(model.first.weight);
  expect(copy.settings.byName.get("first")).toBe(copy.first);
  expect(copy.seen.has(copy.norms[0])).toBe(true);
  copy.settings.sizes.push(3);
  copy.table[0] = 9;
  expect([model.settings.sizes, model.table[0]]).toEqual([[1, 2], 1]);
  expect(copy.created).toBe(model.created);
});

test("a clone keeps modes, requiresGrad, hooks and what registered properties refuse; gradients stay behind", () => {
  const model = new Tied();
  model.norms[0].eval();
  model.first.weight.requiresGrad = false;
  let calls = 0;
  const hook = model.norms[0].registerForwardHook(() => void calls++);
  model(randn([2, 3]))
    .sum()
    .backward();
  const copy = model.clone();
  expect([copy.training, copy.norms[0].training]).toEqual([true, false]);
  expect([copy.first.weight.requiresGrad, copy.first.bias?.requiresGrad]).toEqual([false, true]);
  expect([model.first.bias?.grad instanceof Tensor, copy.first.bias?.grad]).toEqual([true, null]);
  copy(randn([2, 3]));
  expect(calls).toBe(2);
  hook.remove();
  copy(randn([2, 3]));
  expect(calls).toBe(3);
  expect(() => Reflect.set(copy, "offset", 3)).toThrow("offset: expected a tensor or null");
  expect(() => Reflect.set(copy.norms[0], "weight", tensor([1]))).toThrow(/new nn.Parameter/);
  expect(copy.namedBuffers().map(([key]) => key)).toContain("offset");
});

test("a copy whose state is disposed of leaves nothing behind", () => {
  const model = new nn.Sequential(new nn.Linear(3, 3), new nn.BatchNorm1d(3));
  const { tensors } = memory();
  const copy = model.clone();
  for (const { value } of copy.modules().flatMap((module) => module.ownState())) {
    if (value instanceof Tensor) value.dispose();
  }
  expect(memory().tensors).toBe(tensors);
});

test("a tensor with history is copied as a leaf", () => {
  const model = new Tied();
  model(randn([2, 3]));
  const copy = model.clone();
  expect(values(copy.cache)).toEqual(values(model.cache));
  expect([model.cache?.requiresGrad, copy.cache?.node]).toEqual([true, null]);
});

test("a batch norm that has skipped a batch can be cloned and goes on skipping", () => {
  const bn = new nn.BatchNorm1d(1, { onNonFinite: "skip" });
  bn(tensor([[1], [Number.NaN]]));
  const copy = bn.clone();
  copy(tensor([[1], [Number.NaN]]));
  expect([bn.skippedBatches?.count, copy.skippedBatches?.count]).toEqual([1, 2]);
});

import { beforeEach, describe, expect, test } from "vitest";
import {
  AutogradError,
  LifetimeError,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  randn,
  type Tensor,
  tensor,
} from "../src/index.ts";

class Block extends nn.Module {
  static override readonly kind = "Block";
  readonly conv = new nn.Conv2d(4, 4, 3, { padding: 1 });
  readonly bn = new nn.BatchNorm2d(4);
  readonly drop = new nn.Dropout(0.3);
  forward(x: Tensor): Tensor {
    return this.drop(this.bn(this.conv(x)).relu()).add(x);
  }
}

class Net extends nn.Module {
  static override readonly kind = "Net";
  readonly blocks = [new Block(), new Block()];
  readonly head = new nn.Linear(4 * 36, 3);
  forward(x: Tensor, run: (block: Block, x: Tensor) => Tensor): Tensor {
    let y = x;
    for (const block of this.blocks) y = run(block, y);
    return this.head(y.flatten(1));
  }
}

const plainly = (block: Block, x: Tensor) => block(x);
const again = (block: Block, x: Tensor) => nn.recompute(block, x);
const nested = (block: Block, x: Tensor) =>
  nn.recompute((y: Tensor) => nn.recompute(block, y.mul(1)), x);

let x: Tensor;
beforeEach(() => {
  manualSeed(3);
  x = randn([5, 4, 6, 6]);
});

/** The gradient so far, which starts anew. */
function takeGradient(of: Tensor): number[] {
  const values = Array.from(of.grad?.dataSync() ?? []);
  of.grad = null;
  return values;
}

/** Everything that a training step leaves behind. */
function step(net: Net, run: (block: Block, x: Tensor) => Tensor): Record<string, number[]> {
  manualSeed(11);
  const labels = tensor(Int32Array.of(0, 1, 2, 0, 1));
  const loss = nn.functional.crossEntropy(net(x, run), labels);
  loss.backward();
  const gradients = net
    .namedParameters()
    .map(([key, p]) => [key, Array.from(p.grad?.dataSync() ?? [])]);
  const buffers = net
    .namedBuffers()
    .map(([key, b]) => [key, typeof b === "number" ? [b] : Array.from(b.dataSync())]);
  const draw = Array.from(randn([2]).dataSync());
  return {
    ...Object.fromEntries([...gradients, ...buffers]),
    loss: Array.from(loss.dataSync()),
    draw,
  };
}

describe("nn.recompute", () => {
  test.each([
    ["a module", again],
    ["a function around another recompute", nested],
  ])(
    "of %s gives loss, gradients, statistics and later draws of a plain call, bit for bit",
    (_what, run) => {
      const net = new Net();
      const twin = net.clone();
      const plain = step(net, plainly);
      const recomputed = step(twin, run);
      expect(recomputed).toEqual(plain);
      expect(recomputed["blocks.0.bn.num_batches_tracked"]).toEqual([1]);
    },
  );

  test("keeps gradients of inputs, and works when only parameters require them", () => {
    const block = new Block();
    const input = randn([2, 4, 6, 6]);
    input.requiresGrad = true;
    const other = block.clone();
    const twin = input.detach();
    twin.requiresGrad = true;
    manualSeed(1);
    block(input).mul(2).sum().backward();
    manualSeed(1);
    nn.recompute(other, twin).mul(2).sum().backward();
    expect(twin.grad?.dataSync()).toEqual(input.grad?.dataSync());
    expect(other.conv.weight.grad?.dataSync()).toEqual(block.conv.weight.grad?.dataSync());
  });

  test("holds less memory between forward and backward", () => {
    const layers = () => new nn.Sequential(...Array.from({ length: 8 }, () => new nn.Sigmoid()));
    const input = randn([64, 1024]);
    input.requiresGrad = true;
    const held = (run: (model: nn.Sequential) => Tensor) => {
      const before = memory().liveBytes;
      const y = run(layers());
      const bytes = memory().liveBytes - before;
      y.sum().backward();
      y.dispose();
      return bytes / (64 * 1024 * 4);
    };
    expect(held((model) => model(input))).toBe(8);
    expect(held((model) => nn.recompute(model, input))).toBe(1);
  });

  test("runs the function in the modes of its first run, and moves no statistics then", () => {
    const bn = new nn.BatchNorm1d(2);
    const twin = bn.clone();
    const input = tensor(
      [
        [1, 2],
        [3, 5],
        [4, 4],
      ],
      { requiresGrad: true },
    );
    const cotangent = tensor([
      [1, 0],
      [0, 1],
      [2, 0],
    ]);
    bn(input).backward(cotangent);
    const expected = takeGradient(input);

    const y = nn.recompute((t: Tensor) => twin(t).sigmoid().log(), input);
    const z = bn(input).sigmoid().log();
    twin.eval();
    y.backward(cotangent);
    const recomputed = takeGradient(input);
    z.backward(cotangent);
    expect(recomputed).toEqual(takeGradient(input));
    expect(recomputed).not.toEqual(expected);
    expect(twin.training).toBe(false);
    expect([twin.numBatchesTracked, Array.from(twin.runningMean?.dataSync() ?? [])]).toEqual([
      1,
      Array.from(tensor([8 / 30, 11 / 30]).dataSync()),
    ]);
  });

  test("in evaluation differentiates with the statistics of the first run, whatever moved them since", () => {
    const bn = new nn.BatchNorm1d(1).eval();
    const input = tensor([[1], [3]], { requiresGrad: true });
    const slope = (change: () => void) => {
      bn.resetRunningStats();
      const y = nn.recompute((t: Tensor) => bn(t).sigmoid().tanh(), input);
      change();
      y.backward(tensor([[1], [1]]));
      return takeGradient(input);
    };
    const expected = slope(() => {});
    expect(
      slope(() => bn.loadStateDict({ running_var: tensor([100]) }, { strict: false })),
    ).toEqual(expected);
    expect(
      slope(() => {
        bn.runningVar = tensor([100]);
      }),
    ).toEqual(expected);
  });

  test("goes through arrays of tensors and other arguments", () => {
    const a = tensor([2], { requiresGrad: true });
    const b = tensor([3], { requiresGrad: true });
    const y = nn.recompute(
      ([p, q]: readonly Tensor[], power: number) => p.mul(q).pow(power),
      [a, b],
      2,
    );
    y.backward();
    expect([a.grad?.dataSync()[0], b.grad?.dataSync()[0]]).toEqual([36, 24]);
  });

  test("can be walked twice with retainGraph, and gives everything back", () => {
    const input = tensor([0.5, -1], { requiresGrad: true });
    const before = memory().tensors;
    const y = nn.recompute((t: Tensor) => t.sigmoid().tanh().sum(), input);
    y.backward(undefined, { retainGraph: true });
    const once = Array.from(input.grad?.dataSync() ?? []);
    y.backward();
    expect(Array.from(input.grad?.dataSync() ?? [])).toEqual(once.map((g) => Math.fround(2 * g)));
    y.dispose();
    input.grad?.dispose();
    expect(memory().tensors).toBe(before);
  });

  test("under noGrad is a plain call", () => {
    const y = noGrad(() =>
      nn.recompute((t: Tensor) => t.mul(2), tensor([1], { requiresGrad: true })),
    );
    expect(y.requiresGrad).toBe(false);
  });

  test("notices an argument or a parameter that was overwritten since", () => {
    const layer = new nn.Linear(2, 2);
    const opt = new optim.SGD(layer.parameters(), { lr: 0.1 });
    const input = randn([3, 2]);
    input.requiresGrad = true;
    const y = nn.recompute((t: Tensor) => layer(t).sigmoid().sigmoid(), input).sum();
    y.backward(undefined, { retainGraph: true });
    opt.step();
    expect(() => y.backward()).toThrow(AutogradError);
    const leaf = new nn.Parameter(randn([2]));
    const z = nn.recompute((t: Tensor) => t.add(1).sigmoid().sigmoid(), leaf).sum();
    leaf.grad = randn([2]);
    new optim.SGD([leaf], { lr: 1 }).step();
    expect(() => z.backward()).toThrow(/argument of sigmoid|argument of recompute/);
  });

  test("notices a function that does something else the second time", () => {
    const input = tensor([1, 2], { requiresGrad: true });
    let calls = 0;
    const shrinking = (t: Tensor) =>
      calls++ === 0 ? t.sigmoid().sigmoid() : t.slice(0, 1).sigmoid().sigmoid();
    const y = nn.recompute(shrinking, input);
    expect(() => y.backward(tensor([1, 1]))).toThrow(/computes the same when it runs again/);
  });

  test("refuses promises and what is no function", () => {
    const asynchronous = async (t: Tensor) => t;
    expect(() => nn.recompute(asynchronous, tensor([1], { requiresGrad: true }))).toThrow(
      LifetimeError,
    );
    const nothing: unknown = undefined;
    expect(() => Reflect.apply(nn.recompute, null, [nothing])).toThrow(
      "recompute: expected a function or a module, got undefined",
    );
  });
});

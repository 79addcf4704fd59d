import { expect, test } from "vitest";
import { memory, nn, randn, type Tensor } from "../src/index.ts";

class Net extends nn.Module {
  static override readonly kind = "Net";
  readonly conv = new nn.Conv2d(1, 4, 3, { bias: false });
  readonly bn = new nn.BatchNorm2d(4);
  readonly drop = new nn.Dropout(0.5);
  readonly head = new nn.Sequential(new nn.Flatten(), new nn.Linear(16, 1000));
  readonly spare = new nn.Linear(2, 2);
  forward(x: Tensor): Tensor {
    return this.head(this.drop(this.bn(this.conv(x)).relu()));
  }
}

test("summary names every module with its shape, numbers, mode and what is frozen", () => {
  const net = new Net();
  net.bn.eval();
  net.head.setRequiresGrad(false);
  expect(String(nn.summary(net, [2, 1, 4, 4]))).toBe(
    [
      "module                output shape  parameters  buffers  mode   frozen",
      "Net                   (2, 1000)              -        -  train  -",
      "  conv (Conv2d)       (2, 4, 2, 2)          36        -  train  no",
      "  bn (BatchNorm2d)    (2, 4, 2, 2)           8        9  eval   statistics only",
      "  drop (Dropout)      (2, 4, 2, 2)           -        -  train  -",
      "  head (Sequential)   (2, 1000)              -        -  train  -",
      "    head.0 (Flatten)  (2, 16)                -        -  train  -",
      "    head.1 (Linear)   (2, 1000)         17,000        -  train  yes",
      "  spare (Linear)      -                      6        -  train  no",
      "17,050 parameters, 50 of them trainable; 9 numbers in buffers",
    ].join("\n"),
  );
});

test("frozen tells the trap: weights that do not learn under statistics that move", () => {
  const frozenOf = (layer: nn.BatchNorm1d) => nn.summary(layer, [2, 3]).rows[0].frozen;
  const layer = new nn.BatchNorm1d(3);
  expect(frozenOf(layer)).toBe("no");
  layer.setRequiresGrad(false);
  expect(frozenOf(layer)).toBe("weights only");
  layer.eval();
  expect(frozenOf(layer)).toBe("yes");
  layer.setRequiresGrad(true);
  expect(frozenOf(layer)).toBe("statistics only");
  layer.train().trackRunningStats = false;
  expect(frozenOf(layer)).toBe("statistics only");
  expect(frozenOf(new nn.BatchNorm1d(3, { trackRunningStats: false, affine: false }))).toBeNull();
  expect(frozenOf(new nn.BatchNorm1d(3, { affine: false }))).toBe("no");
});

test("summary leaves statistics, counters, modes, gradients, memory and the generator as they were", () => {
  const net = new Net();
  net(randn([3, 1, 4, 4]))
    .sum()
    .backward();
  const state = () =>
    [...net.stateDict()].map(([key, v]) => [
      key,
      typeof v === "number" ? v : Array.from(v.dataSync()),
    ]);
  const before = {
    state: state(),
    modes: net.modules().map((m) => m.training),
    tensors: memory().tensors,
  };
  nn.summary(net, [2, 1, 4, 4]);
  expect({
    state: state(),
    modes: net.modules().map((m) => m.training),
    tensors: memory().tensors,
  }).toEqual(before);
  expect(net.conv.weight.grad).not.toBeNull();

  expect(() => nn.summary(net, [2, 5, 4, 4])).toThrow(/channels/);
  expect(net.modules().map((m) => m.training)).toEqual(before.modes);
  let calls = 0;
  net.registerForwardHook(() => void calls++);
  net.eval()(randn([1, 1, 4, 4]));
  expect(calls).toBe(1);
});

test("lazy layers stay lazy", () => {
  const model = new nn.Sequential(new nn.LazyBatchNorm1d(), new nn.Linear(3, 2));
  const { rows } = nn.summary(model, [4, 3]);
  expect(rows.map(({ kind, outputShape }) => [kind, outputShape])).toEqual([
    ["Sequential", "(4, 2)"],
    ["LazyBatchNorm1d", "(4, 3)"],
    ["Linear", "(4, 2)"],
  ]);
  expect(model.at(0).kind).toBe("LazyBatchNorm1d");
});

test("a forward with several inputs takes several shapes or tensors; what is shared counts once", () => {
  class Siamese extends nn.Module {
    static override readonly kind = "Siamese";
    readonly left = new nn.Linear(2, 2, { bias: false });
    readonly right = new nn.Linear(2, 2, { bias: false });
    constructor() {
      super();
      this.right.weight = this.left.weight;
    }
    forward(a: Tensor, b: Tensor): Tensor[] {
      return [this.left(a), this.right(b)];
    }
  }
  const found = nn.summary(new Siamese(), [[5, 2], randn([3, 2])]);
  expect(found.rows.map((row) => [row.outputShape, row.parameters])).toEqual([
    ["[(5, 2), (3, 2)]", 0],
    ["(5, 2)", 4],
    ["(3, 2)", 0],
  ]);
  expect([found.parameters, found.trainable, found.buffers]).toEqual([4, 4, 0]);
});

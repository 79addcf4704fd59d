/** Parameter groups: options of their own, changed by hand, added later; and what is refused. */
import { describe, expect, test } from "vitest";
import { ArgumentError, nn, optim, type Tensor, tensor } from "../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "./support/close.ts";
import { type OptimizerName, optimizers } from "./support/optimizers.ts";

const names = Object.keys(optimizers) as OptimizerName[];

/** A parameter of ones with a gradient of ones. */
function parameter(device: "cpu" | "reference" = "cpu"): Tensor {
  const p = tensor([1, 1], { device, requiresGrad: true });
  p.grad = tensor([1, 1], { device });
  return p;
}

describe("groups", () => {
  test("options that a group leaves out are the defaults", () => {
    const [a, b] = [parameter(), parameter()];
    const opt = new optim.SGD(
      [
        { params: [a], lr: 0.5 },
        { params: b, momentum: 0 },
      ],
      {
        ...{ lr: 0.1, momentum: 0.9 },
      },
    );

    expect(opt.paramGroups).toMatchObject([
      { params: [a], lr: 0.5, momentum: 0.9, weightDecay: 0 },
      { params: [b], lr: 0.1, momentum: 0 },
    ]);
    expect(opt.defaults).toMatchObject({ lr: 0.1, momentum: 0.9, nesterov: false });
    expect(opt.parameters).toEqual([a, b]);
  });

  test("an option of undefined is one left out", () => {
    const options: object = { lr: undefined, momentum: 0.5 };
    expect(new optim.SGD([parameter()], options).paramGroups).toMatchObject([
      { lr: 1e-3, momentum: 0.5 },
    ]);
  });

  test("any iterable will do, generators included", async () => {
    const [a, b] = [parameter(), parameter()];
    function* groups() {
      yield { params: new Set([a]), lr: 1 };
      yield { params: [b].values(), lr: 2 };
    }
    new optim.SGD(groups()).step();

    expect([await a.array(), await b.array()]).toEqual([
      [0, 0],
      [-1, -1],
    ]);
  });

  test("a parameter named twice in a group is stepped once", async () => {
    const p = parameter();
    new optim.SGD([p, p], { lr: 0.25 }).step();

    expect(await p.array()).toEqual([0.75, 0.75]);
  });

  test.each(names)("%s reads options at each step", async (name) => {
    const [a, b] = [parameter(), parameter()];
    const opt = optimizers[name]([{ params: [a] }, { params: [b] }], { lr: 0.1 });
    opt.step();
    expectSameBytes(await a.data(), await b.data());
    opt.paramGroups[1].lr = 0;
    const before = await b.data();
    opt.step();

    expectSameBytes(await b.data(), before);
    expect(await a.data()).not.toEqual(before);
  });

  test("a group added during training starts with a state of its own", async () => {
    const [a, b] = [parameter(), parameter()];
    const opt = new optim.SGD([a], { lr: 0.1, momentum: 0.5 });
    opt.step();
    opt.addParamGroup({ params: b, lr: 1 });
    opt.step();

    expectClose(await a.data(), [0.75, 0.75]);
    expectClose(await b.data(), [0, 0]);
    opt.zeroGrad();
    expect([a.grad, b.grad]).toEqual([null, null]);
  });

  test("lr stands for the rate of all groups", () => {
    const opt = new optim.Adam([{ params: parameter() }, { params: parameter() }], { lr: 0.1 });
    expect(opt.lr).toBe(0.1);
    opt.lr = 0.01;
    expect(opt.paramGroups.map(({ lr }) => lr)).toEqual([0.01, 0.01]);
    opt.paramGroups[1].lr = 1;

    expect(() => opt.lr).toThrow(/Adam.lr: expected one learning rate in all groups, got 0.01, 1/);
    expect(() => {
      opt.lr = -1;
    }).toThrow(/lr >= 0, got -1/);
  });

  test("state follows a parameter to another device and dtype", async () => {
    const [layer, still] = [new nn.Linear(2, 1), new nn.Linear(2, 1)];
    still.loadStateDict(layer.stateDict());
    still.to("reference").to("float64");
    const run = (model: nn.Linear, steps: number, opt: optim.Optimizer) => {
      for (let step = 0; step < steps; step++) {
        for (const p of model.parameters()) {
          const { device, dtype, shape, size } = p;
          const values = Float64Array.from({ length: size }, (_, i) => i + 1);
          p.grad = tensor(values, { device, dtype, shape });
        }
        opt.step();
      }
    };
    const [moving, staying] = [layer, still].map(
      (model) => new optim.RMSprop(model.parameters(), { centered: true, momentum: 0.9 }),
    );
    run(still, 6, staying);
    run(layer, 2, moving);
    layer.to("reference").to("float64");
    run(layer, 2, moving);
    layer.to("float32").to("cpu");
    run(layer, 2, moving);

    expectClose(await layer.weight.data(), await still.weight.data(), tolerance.float32);
    const { momentum_buffer } = moving.stateDict().state[0];
    expect(momentum_buffer).toMatchObject({ device: "cpu", dtype: "float32" });
  });
});

describe("optimizers refuse", () => {
  const shared = parameter();
  const result = tensor([1], { requiresGrad: true }).mul(2);
  const model = new nn.Sequential(new nn.Linear(2, 2));
  const loose = (parameters: unknown, options: object = {}) =>
    new optim.SGD(parameters as Tensor[], options);
  const cases: readonly (readonly [string, () => unknown, RegExp])[] = [
    ["no parameters", () => loose([]), /got an empty one; pass model.parameters\(\)/],
    ["a result", () => loose([result]), /expected leaf tensors, got the result of an operation/],
    ["a result in a group", () => loose([{ params: [result] }]), /expected leaf tensors/],
    ["a single tensor", () => loose(shared), /an array, or another iterable, .* a single tensor/],
    ["a model", () => loose(new nn.Linear(1, 1)), /got a module; pass model.parameters\(\)/],
    ["a sequence of layers", () => loose(model), /got a module; pass model.parameters\(\)/],
    ["numbers", () => loose([1, 2]), /expected leaf tensors, got number/],
    ["a group without params", () => loose([{ lr: 1 }]), /expected leaf tensors, got object/],
    ["params of null", () => loose([{ params: null }]), /params in every group, got null/],
    ["tensors beside groups", () => loose([shared, { params: [] }]), /tensors only or groups only/],
    [
      "a parameter in two groups",
      () => loose([{ params: shared }, { params: [parameter(), shared] }]),
      /every parameter in one group, got parameter 1 of a group that an earlier group has/,
    ],
    [
      "a parameter that is there already",
      () => loose([shared]).addParamGroup({ params: [shared] }),
      /every parameter in one group/,
    ],
    [
      "an unknown option",
      () => loose([shared], { learningRate: 1 }),
      /options named lr, momentum, dampening, weightDecay, nesterov, maximize, got "learningRate"/,
    ],
    ["one in a group", () => loose([{ params: shared, beta: 1 }]), /got "beta"/],
    ["a bad option in a group", () => loose([{ params: shared, lr: -1 }]), /lr >= 0, got -1/],
    [
      "Nesterov in a group without momentum",
      () => loose([{ params: shared, nesterov: true }]),
      /momentum above 0 and dampening 0 beside nesterov, got momentum 0/,
    ],
    [
      "AdamW's negative decay",
      () => new optim.AdamW([shared], { weightDecay: -1 }),
      /AdamW: .*>= 0/,
    ],
    ["Adam's eps", () => new optim.Adam([shared], { eps: Number.NaN }), /eps >= 0, got NaN/],
    ["Adam's betas", () => new optim.Adam([shared], { betas: [0.9, 1] }), /two betas in \[0, 1\)/],
    ["RMSprop's alpha", () => new optim.RMSprop([shared], { alpha: -1 }), /alpha >= 0, got -1/],
    ["RMSprop's momentum", () => new optim.RMSprop([shared], { momentum: -1 }), /momentum >= 0/],
    ["RMSprop's eps", () => new optim.RMSprop([shared], { eps: -1 }), /eps >= 0/],
    ["RMSprop's decay", () => new optim.RMSprop([shared], { weightDecay: -1 }), /weightDecay >= 0/],
  ];
  test.each(cases)("%s", (_, make, message) => {
    expect(make).toThrow(ArgumentError);
    expect(make).toThrow(message);
  });

  test("a group as a whole: nothing of it is added", () => {
    const opt = new optim.SGD([shared]);
    const add = () => opt.addParamGroup({ params: [parameter(), shared] });

    expect(add).toThrow(ArgumentError);
    expect(opt.paramGroups).toHaveLength(1);
  });

  test("nothing else: an empty group is one that has no parameters yet", () => {
    const opt = new optim.SGD([{ params: [] }, { params: [shared] }]);
    opt.step();
    expect(opt.parameters).toEqual([shared]);
  });
});

describe("AdamW", () => {
  test("decays by 1e-2 unless told otherwise, and always apart from the gradient", async () => {
    const p = parameter();
    new optim.AdamW([p], { lr: 0.5, eps: 0 }).step();
    expectClose(await p.data(), [0.5 - 0.005, 0.5 - 0.005]);
  });

  test("stays decoupled when it goes on from Adam's state", () => {
    const p = parameter();
    const opt = new optim.AdamW([p]);
    opt.loadStateDict(new optim.Adam([p]).stateDict());
    expect(opt.paramGroups).toMatchObject([{ weightDecay: 0, decoupledWeightDecay: true }]);
  });
});

describe("RMSprop", () => {
  test.each(["cpu", "reference"] as const)(
    "centered on %s: parameters stay finite where gradients do not change",
    async (device) => {
      const values = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i) * 2);
      const p = tensor(new Float32Array(1000), { device, requiresGrad: true });
      const opt = new optim.RMSprop([p], { alpha: 0.9, centered: true });
      p.grad = tensor(values, { device });
      for (let step = 0; step < 400; step++) opt.step();

      expect((await p.data()).filter(Number.isNaN)).toHaveLength(0);
    },
  );
});

describe("splitWeightDecay", () => {
  class Net extends nn.Module {
    readonly conv = new nn.Conv2d(1, 2, 3);
    readonly bn = new nn.BatchNorm2d(2);
    readonly head = new nn.Linear(2, 2);
    readonly tied = this.head;
    readonly alsoScale = this.bn.weight;
    forward(x: Tensor): Tensor {
      return x;
    }
  }
  const keysOf = (net: nn.Module, { params }: { readonly params: readonly Tensor[] }) =>
    net.namedParameters().flatMap(([key, value]) => (params.includes(value) ? [key] : []));

  test("keeps decay off batch norm, wherever its parameters are shared", () => {
    const net = new Net();
    const [decayed, spared] = optim.splitWeightDecay(net, 0.1);

    expect([decayed.weightDecay, spared.weightDecay]).toEqual([0.1, 0]);
    expect(keysOf(net, decayed).sort()).toEqual(
      ["conv.bias", "conv.weight", "head.bias", "head.weight"].sort(),
    );
    expect(spared.params).toEqual([net.bn.weight, net.bn.bias]);
  });

  test("keeps it off all biases when asked", () => {
    const net = new Net();
    const [decayed] = optim.splitWeightDecay(net, 0.1, { biases: true });
    expect(decayed.params).toEqual([net.conv.weight, net.head.weight]);
  });

  test("has every parameter once, frozen ones too, so that an optimizer takes it", () => {
    const net = new Net();
    net.conv.setRequiresGrad(false);
    const opt = new optim.SGD(optim.splitWeightDecay(net, 5e-4), { lr: 0.1 });
    expect(new Set(opt.parameters)).toEqual(new Set(net.parameters()));
    expect(opt.parameters).toHaveLength(net.parameters().length);
  });

  test("knows subclasses of batch norm, and other layers by their kind", () => {
    class Own extends nn.BatchNorm2d {}
    class LayerNorm extends nn.Linear {
      static override readonly kind: string = "LayerNorm";
    }
    const net = new nn.ModuleList([new Own(2), new LayerNorm(2, 2), new nn.Linear(2, 2)]);
    const [decayed, spared] = optim.splitWeightDecay(net, 1);
    expect(keysOf(net, decayed)).toEqual(["2.weight", "2.bias"]);
    expect(spared.params).toHaveLength(4);
  });

  test("takes a model without normalization: one group is empty", () => {
    const net = new nn.Linear(2, 2);
    const groups = optim.splitWeightDecay(net, 0.1);
    expect(groups[1].params).toEqual([]);
    expect(new optim.SGD(groups).parameters).toEqual(net.parameters());
  });

  test("refuses a negative decay", () => {
    expect(() => optim.splitWeightDecay(new Net(), -1)).toThrow(/weightDecay >= 0, got -1/);
  });
});

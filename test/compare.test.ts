import { describe, expect, test } from "vitest";
import {
  getRngState,
  manualSeed,
  memory,
  models,
  nn,
  noGrad,
  randn,
  scope,
  type Tensor,
  tensor,
} from "../src/index.ts";
import { differenceOf, roundingBound } from "../src/nn/difference.ts";

const images = (): Tensor => {
  manualSeed(3);
  return randn([2, 3, 64, 64]);
};

/** resnet18 with statistics that no layer starts with, and a copy. */
function twins() {
  manualSeed(1);
  const a = models.resnet18({ numClasses: 5 });
  noGrad(() => void a(randn([4, 3, 64, 64])));
  a.eval();
  return { a, b: a.clone(), x: images() };
}

function ranked({ causes }: nn.Comparison): string[] {
  return causes.filter(({ explains }) => explains !== 0).map(({ what }) => what);
}

class Net extends nn.Module {
  static override readonly kind: string = "Net";
  readonly conv = new nn.Conv2d(2, 3, 3, { padding: 1 });
  bn: nn.BatchNorm2d = new nn.BatchNorm2d(3);
  readonly act = new nn.ReLU();
  readonly drop = new nn.Dropout(0.25);
  fc = new nn.Linear(3, 2);
  forward(x: Tensor): Tensor {
    return this.fc(this.drop(this.act(this.bn(this.conv(x)))).mean([2, 3]));
  }
}

function smallTwins() {
  manualSeed(7);
  const a = new Net();
  return { a, b: a.clone(), x: randn([4, 2, 5, 5]).mul(2).add(1) };
}

describe("nn.compare of resnet18", () => {
  test("finds no difference between a model and its copy", () => {
    const { a, b, x } = twins();
    const result = nn.compare(a, b, x);
    expect(result).toMatchObject({ agrees: true, parting: null, causes: [], differences: [] });
    expect(result.layers.length).toBe(61);
    expect(String(result)).toBe("no difference: 61 calls agree, the worst to 0 of its scale");
  });

  test("names one batch norm in training mode, and the mode alone as the cause", () => {
    const { a, b, x } = twins();
    const layer = b.namedModules().find(([name]) => name === "layer2.0.bn2")?.[1];
    layer?.train();
    const result = nn.compare(a, b, x);
    expect(result.parting).toMatchObject({ name: "layer2.0.bn2", kind: "BatchNorm2d", call: 1 });
    expect(result.parting?.inputRelative).toBe(0);
    expect(result.causes).toMatchObject([{ what: "mode", detail: "A eval, B train", explains: 1 }]);
    expect(result.differences).toEqual([
      "1 BatchNorm2d differ in mode: A eval, B train (layer2.0.bn2)",
    ]);
  });

  test("sums up what differs in many layers", () => {
    const { a, b, x } = twins();
    b.train();
    expect(nn.compare(a, b, x).differences).toEqual([
      "20 BatchNorm2d differ in mode: A eval, B train (bn1, layer1.0.bn1, layer1.0.bn2, ...)",
    ]);
  });

  test("names eps 1e-3 against 1e-5", () => {
    const { a, b, x } = twins();
    for (const module of b.modules()) if (nn.isBatchNorm(module)) module.eps = 1e-3;
    const result = nn.compare(a, b, x);
    expect(result.parting?.name).toBe("bn1");
    expect(result.causes).toMatchObject([{ what: "eps", detail: "A 1e-5, B 0.001", explains: 1 }]);
    expect(String(result)).toContain("make the layer with the other model's eps");
  });

  test("names one changed weight in layer3", () => {
    const { a, b, x } = twins();
    const key = "layer3.1.conv1.weight";
    const values = b.stateDict().get(key);
    const changed = Float32Array.from((values as Tensor).dataSync());
    changed[17] += 0.5;
    b.loadStateDict({ [key]: tensor(changed, { shape: [256, 256, 3, 3] }) }, { strict: false });
    const result = nn.compare(a, b, x);
    expect(result.parting?.name).toBe("layer3.1.conv1");
    expect(result.causes).toMatchObject([
      { what: "parameters", detail: "weight: differ by up to 0.5", explains: 1 },
    ]);
  });

  test("names statistics that were reset, and says that they are as new", () => {
    const { a, b, x } = twins();
    b.bn1.resetRunningStats();
    const result = nn.compare(a, b, x);
    expect(result.parting?.name).toBe("bn1");
    expect(result.causes).toMatchObject([{ what: "statistics", explains: 1 }]);
    const [{ detail }] = result.causes;
    expect(detail).toMatch(
      /^runningMean: differ by up to .*, all 0 in B; runningVar: .*, all 1 in B$/,
    );
  });
});

describe("causes that nn.compare finds in a small network", () => {
  test("a layer that keeps no statistics lacks them", () => {
    const { a, x } = smallTwins();
    const b = new Net();
    b.bn = new nn.BatchNorm2d(3, { trackRunningStats: false });
    b.loadStateDict(a.stateDict(), { strict: false });
    const result = nn.compare(a.eval(), b.eval(), x);
    expect(result.parting?.name).toBe("bn");
    expect(ranked(result)).toEqual(["statistics"]);
    expect(result.causes).toMatchObject([
      { detail: "runningMean: only A has it; runningVar: only A has it", explains: 1 },
      { what: "option", detail: "trackRunningStats: A true, B false", explains: 0 },
    ]);
  });

  test("momentum differs and explains nothing", () => {
    const { a, b, x } = smallTwins();
    b.bn.momentum = null;
    const result = nn.compare(a, b, x);
    expect(result.agrees).toBe(true);
    expect(result.differences).toEqual([
      "1 BatchNorm2d differ in option: momentum: A 0.1, B null (bn)",
    ]);
  });

  test("of two causes each gets its part, the larger first", () => {
    const { a, b, x } = smallTwins();
    b.bn.eps = 0.05;
    b.bn.training = false;
    const [mode, eps] = nn.compare(a, b, x).causes;
    expect([mode.what, eps.what]).toEqual(["mode", "eps"]);
    expect(mode.explains).toBeGreaterThan(0.5);
    expect(mode.explains).toBeLessThan(1);
    expect(eps.explains).toBeLessThan(0.5);
  });

  test("dropout draws the same numbers in both, so that another p is the whole cause", () => {
    const { a, b, x } = smallTwins();
    expect(nn.compare(a, b, x).agrees).toBe(true);
    b.drop.p = 0.5;
    const result = nn.compare(a, b, x);
    expect(result.parting?.name).toBe("drop");
    expect(result.causes).toMatchObject([
      { what: "option", detail: "p: A 0.25, B 0.5", explains: 1 },
    ]);
  });

  test("a layer is tried with the random numbers that it drew, not with the first", () => {
    const a = new nn.Sequential(new nn.Dropout(0.5), new nn.Dropout(0.25));
    const b = new nn.Sequential(new nn.Dropout(0.5), new nn.Dropout(0.75));
    const { parting, causes } = nn.compare(a, b, randn([8, 8]));
    expect(parting?.name).toBe("1");
    expect(causes).toMatchObject([{ what: "option", detail: "p: A 0.25, B 0.75", explains: 1 }]);
  });

  test("inputs prepared differently are a cause of their own, beside the layer's", () => {
    const { a, b, x } = smallTwins();
    const other = x.sub(0.5);
    expect(nn.compare(a, b, [x, other]).causes).toMatchObject([
      { what: "input", detail: expect.stringContaining("before the first layer"), explains: 1 },
    ]);
    b.conv.setRequiresGrad(false);
    b.loadStateDict({ "conv.bias": a.conv.bias?.mul(3) ?? 0 }, { strict: false });
    const both = nn.compare(a, b, [x, other]).causes;
    expect(both.map(({ what }) => what).sort()).toEqual(["input", "parameters"]);
    expect(both.find(({ what }) => what === "parameters")?.explains).toBe(1);
    expect(both.find(({ what }) => what === "input")?.explains).toBeLessThan(1);
  });

  test("code between the layers is told from the layers", () => {
    class Scaled extends Net {
      override forward(x: Tensor): Tensor {
        return this.fc(
          this.drop(this.act(this.bn(this.conv(x))))
            .mul(1.5)
            .mean([2, 3]),
        );
      }
    }
    const { a, x } = smallTwins();
    const b = new Scaled();
    b.loadStateDict(a.stateDict());
    const { parting, causes } = nn.compare(a, b, x);
    expect(parting?.name).toBe("fc");
    expect(causes).toMatchObject([
      { what: "input", detail: expect.stringContaining("code between the layers"), explains: 1 },
    ]);
  });

  test("another class, a hook, and numbers that nothing seeds", () => {
    const { a, b, x } = smallTwins();
    const causes = () => nn.compare(a, b, x).causes;
    const hook = b.act.registerForwardHook((_module, _args, output) => (output as Tensor).add(1));
    expect(causes()).toMatchObject([{ what: "code", explains: null }]);
    hook.remove();
    Reflect.set(b, "act", new nn.Tanh());
    expect(causes()).toMatchObject([{ what: "kind", detail: "A ReLU(), B Tanh()", explains: 1 }]);
    Reflect.set(b, "act", new nn.ReLU());
    let calls = 0;
    for (const net of [a, b]) {
      net.act.registerForwardHook((_module, _args, output) => (output as Tensor).add(calls++));
    }
    expect(causes()).toMatchObject([{ what: "random", explains: null }]);
  });

  test("NaN on one side parts without bound; the same NaN on both sides agrees", () => {
    const { a, b, x } = smallTwins();
    b.loadStateDict({ "bn.bias": tensor([0, Number.NaN, 0]) }, { strict: false });
    const result = nn.compare(a, b, x);
    expect(result.parting).toMatchObject({ name: "bn", largest: Number.POSITIVE_INFINITY });
    expect(result.parting?.remark).toBe("NaN or infinity in 0 of 300 elements of A, 100 of B");
    expect(result.causes).toMatchObject([{ what: "parameters", explains: 1 }]);
    expect(nn.compare(b, b.clone(), x).agrees).toBe(true);
  });
});

describe("layers that nn.compare matches", () => {
  class Twice extends nn.Module {
    readonly fc = new nn.Linear(3, 3);
    readonly again = this.fc;
    factor = 1;
    forward(x: Tensor): Tensor {
      return this.again(this.fc(x).mul(this.factor));
    }
  }

  test("calls of a module that is shared and called twice are compared one by one", () => {
    const a = new Twice();
    const b = a.clone();
    const x = randn([2, 3]);
    expect(nn.compare(a, b, x).layers.map(({ name, call }) => [name, call])).toEqual([
      ["fc", 1],
      ["fc", 2],
      ["", 1],
    ]);
    b.factor = 2;
    const result = nn.compare(a, b, x);
    expect(result.parting).toMatchObject({ name: "fc", call: 2 });
    expect(String(result)).toContain("the models part at fc (Linear), call 2");
  });

  test("a wrapper's prefix is taken off", () => {
    class Wrapper extends nn.Module {
      module: Net;
      constructor(net: Net) {
        super();
        this.module = net;
      }
      forward(x: Tensor): Tensor {
        return this.module(x);
      }
    }
    const { a, b, x } = smallTwins();
    b.bn.eps = 0.1;
    for (const pair of [
      [a, new Wrapper(b)],
      [new Wrapper(a), b],
    ] as const) {
      const result = nn.compare(pair[0], pair[1], x);
      expect(result.layers.map(({ name }) => name)).toEqual([
        "conv",
        "bn",
        "act",
        "drop",
        "fc",
        "",
      ]);
      expect(result.parting?.name).toBe("bn");
      expect([result.onlyInA, result.onlyInB]).toEqual([[], []]);
    }
  });

  test("layers that one model lacks are listed, and those of other shapes part", () => {
    const { a, x } = smallTwins();
    const b = a.clone();
    Reflect.set(b, "act", new nn.Sequential(new nn.ReLU()));
    b.fc = new nn.Linear(3, 4);
    const result = nn.compare(a, b, x);
    expect(result.onlyInA).toEqual(["act"]);
    expect(result.onlyInB).toEqual(["act.0"]);
    expect(result.parting).toMatchObject({ name: "fc", remark: "shape (4, 2) against (4, 4)" });
    expect(result.causes[0]).toMatchObject({ what: "parameters", explains: 1 });
    expect(String(result)).toContain("ran in B only:\n  act.0");
  });

  test("models without a layer of one name still have their outputs compared", () => {
    class One extends nn.Module {
      readonly one = new nn.Flatten();
      forward(x: Tensor): Tensor {
        return this.one(x);
      }
    }
    const result = nn.compare(new One(), new nn.Sequential(new nn.Tanh()), randn([2, 3]));
    expect(result.layers.map(({ name, agrees }) => [name, agrees])).toEqual([["", false]]);
    expect([result.onlyInA, result.onlyInB]).toEqual([["one"], ["0"]]);
  });
});

describe("what nn.compare leaves behind", () => {
  const stateOf = (net: nn.Module) =>
    [...net.stateDict()].map(([key, v]) => [
      key,
      typeof v === "number" ? v : Array.from(v.dataSync()),
    ]);

  test("nothing: statistics, counters, modes, random numbers, hooks, memory", () => {
    const { a, b, x } = smallTwins();
    // A's statistics go through B's layer in training, which moves them.
    b.loadStateDict(
      { "bn.running_mean": tensor([1, 2, 3]), "bn.weight": tensor([2, 1, 3]) },
      { strict: false },
    );
    const trace = () => ({
      state: [stateOf(a), stateOf(b)],
      modes: [a, b].flatMap((net) => net.modules().map((module) => module.training)),
      buffers: [a, b].map((net) => net.bn.runningMean),
      random: Array.from(getRngState().data()),
      tensors: memory().tensors,
    });
    const before = trace();
    const [mean, ...others] = before.buffers;
    expect(nn.compare(a, b, x).parting?.name).toBe("bn");
    const after = trace();
    expect(after.buffers[0]).toBe(mean);
    expect(after.buffers[1]).toBe(others[0]);
    expect({ ...after, buffers: null }).toEqual({ ...before, buffers: null });
    let calls = 0;
    a.act.registerForwardHook(() => void calls++);
    a(x);
    expect(calls).toBe(1);
    const { tensors } = memory();
    scope(() => void a(x));
    expect(memory().tensors).toBe(tensors); // a hook left behind would keep them
  });

  test("nothing either when a forward throws", () => {
    const { a, b, x } = smallTwins();
    b.fc = new nn.Linear(7, 2);
    const before = [stateOf(a), stateOf(b)];
    const { tensors } = memory();
    expect(() => nn.compare(a, b, x)).toThrow(/7/);
    expect([stateOf(a), stateOf(b)]).toEqual(before);
    expect(memory().tensors).toBe(tensors);
  });
});

describe("the tolerance of nn.compare", () => {
  test("by default holds what two backends' rounding makes of resnet18, with a margin of less than 10", () => {
    const { a, x } = twins();
    const b = a.clone().to("reference");
    const { agrees, layers } = nn.compare(a, b, [x, x.to("reference")]);
    const shares = layers.map(({ relative, tolerance }) => relative / tolerance);
    expect(agrees).toBe(true);
    expect(Math.max(...shares)).toBeGreaterThan(0.1);
    expect(layers.map(({ tolerance }) => tolerance)).toEqual(
      layers.map((_, i) => roundingBound(i + 1)),
    );
  });

  test("is relative to the finite elements", () => {
    const values = (...items: readonly number[]) => ({ shape: [items.length], values: items });
    const { NaN: nan } = Number;
    expect(differenceOf(values(3, nan, -3), values(3, nan, -3.5))).toMatchObject({
      largest: 0.5,
      relative: 0.5 / 3,
    });
    expect(differenceOf(values(0, 0), values(0, 2)).relative).toBeCloseTo(Math.SQRT2);
  });

  test("can be set for all layers", () => {
    const { a, b, x } = smallTwins();
    b.bn.eps = 0.1;
    expect(nn.compare(a, b, x, { tolerance: 2 }).agrees).toBe(true);
  });

  test("must be a number above 0, and layers must know their sizes", () => {
    const { a, b, x } = smallTwins();
    expect(() => nn.compare(a, b, x, { tolerance: 0 })).toThrow(/tolerance.*got 0/);
    b.bn = new nn.LazyBatchNorm2d();
    expect(() => nn.compare(a, b, x)).toThrow(/bn \(LazyBatchNorm2d\)/);
  });
});

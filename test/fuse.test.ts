import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  getRngState,
  manualSeed,
  models,
  nn,
  noGrad,
  randn,
  type Tensor,
  tensor,
} from "../src/index.ts";
import { fold } from "../src/nn/fold.ts";
import { internals } from "../src/nn/internals.ts";
import { expectClose, expectSameBytes, tolerance } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";
import { distinct } from "./support/random.ts";

const { fuseConvBatchNorm } = nn;
const exact = { rtol: 1e-12, atol: 1e-12 };

function read(t: Tensor | null): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

interface Case {
  readonly name: string;
  readonly kind: "Conv1d" | "Conv2d" | "Conv3d" | "Linear" | "ConvTranspose1d";
  readonly args: readonly [number, number, number];
  readonly options: { readonly bias?: boolean };
  readonly bn: nn.BatchNormLayerOptions;
  readonly requiresGrad: readonly [boolean, boolean] | null;
}

const fixture = new Fixture("fusion");
const cases = readCases<Case>("fusion");

/** The pair of a case with PyTorch's values, in evaluation mode. */
function pairOf({ name, kind, args, options, bn: bnOptions }: Case, dtype: "float32" | "float64") {
  const [channels, features] = [args[0], args[1]];
  const layer =
    kind === "Linear"
      ? new nn.Linear(channels, features, options)
      : new nn[kind](args[0], args[1], args[2], options);
  const norms = { 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d };
  const spatial = kind === "Linear" ? 1 : (Number(kind.at(-2)) as 1 | 2 | 3);
  const bn = new norms[spatial](features, bnOptions);
  const device = dtype === "float64" ? "reference" : "cpu";
  const place = { device, dtype } as const;
  const model = new nn.Sequential(layer, bn).to(device).to(dtype).eval();
  const entries = fixture
    .keys()
    .filter((key) => /\/(layer|bn)\./.test(key) && key.startsWith(`${name}/`))
    .map((key) => {
      const path = key
        .slice(name.length + 1)
        .replace(/^layer\./, "0.")
        .replace(/^bn\./, "1.");
      return [path, fixture.tensor(key, place)] as const;
    });
  model.loadStateDict(Object.fromEntries([...entries, ["1.num_batches_tracked", 0]]));
  return { model, layer, bn, x: fixture.tensor(`${name}/x`, place) };
}

describe("as PyTorch folds, in float64", () => {
  const known = cases.filter(({ requiresGrad }) => requiresGrad !== null);

  test.each(known)("$name: $kind $args $options $bn", async (row) => {
    const { layer, bn } = pairOf(row, "float64");
    const folded = await fold(layer, bn);
    expectClose(read(folded.weight), fixture.values(`${row.name}/folded.weight`), exact);
    expectClose(read(folded.bias), fixture.values(`${row.name}/folded.bias`), exact);
    expect([folded.weight.requiresGrad, folded.bias.requiresGrad]).toEqual(row.requiresGrad);
  });
});

describe("the folded model gives what the pair gives in PyTorch", () => {
  test.each(cases)("$name: $kind $args $options $bn", async (row) => {
    const wide = pairOf(row, "float64");
    const { model, refused } = await fuseConvBatchNorm(wide.model, { example: wide.x });
    expect(refused).toEqual([]);
    expect(String(model.at(1))).toBe("Identity()");
    expectClose(read(model(wide.x)), fixture.values(`${row.name}/y`), { rtol: 1e-9, atol: 1e-9 });

    const narrow = pairOf(row, "float32");
    const fused = await fuseConvBatchNorm(narrow.model, { example: narrow.x });
    const y = fixture.values(`${row.name}/y`);
    const largest = Math.max(...Array.from(y, Math.abs));
    expectClose(read(fused.model(narrow.x)), y, { rtol: 0, atol: 1e-6 * largest });
  });

  test("the weights that PyTorch leaves out are those of transposed convolutions with groups", () => {
    expect(
      cases.filter(({ requiresGrad }) => requiresGrad === null).map(({ kind }) => kind),
    ).toEqual(["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose2d", "ConvTranspose3d"]);
  });
});

/** Statistics and weights unlike those of a new model, then evaluation mode. */
function settled<M extends nn.Module>(model: M): M {
  let seed = 1;
  for (const bn of model.modules().filter(nn.isBatchNorm)) {
    const C = bn.numFeatures;
    const values = (low: number, high: number) => tensor(distinct(C, { seed: seed++, low, high }));
    bn.loadStateDict(
      { running_mean: values(-0.3, 0.3), running_var: values(0.5, 1.5), weight: values(0.5, 1.5) },
      { strict: false },
    );
    bn.loadStateDict({ bias: values(-0.3, 0.3) }, { strict: false });
  }
  return model.eval();
}

describe.each([
  ["resnet18", models.resnet18, 20, { rtol: 0, atol: 1e-5 }],
  ["mobilenetV2", models.mobilenetV2, 52, { rtol: 0, atol: 1e-5 }],
] as const)("%s", (_, make, pairs, { atol }) => {
  test("loses all its batch norms and keeps its outputs and paths", async () => {
    const model = settled(make({ numClasses: 10 }));
    const x = randn([2, 3, 64, 64]);
    const before = read(noGrad(() => model(x)));
    const {
      model: fused,
      folded,
      refused,
      outputError,
    } = await fuseConvBatchNorm(model, {
      example: x,
    });
    expect([folded.length, refused.length]).toEqual([pairs, 0]);
    expect(fused.modules().filter(nn.isBatchNorm)).toEqual([]);
    expect(fused.namedModules().map(([name]) => name)).toEqual(
      model.namedModules().map(([name]) => name),
    );
    const largest = Math.max(...before.map(Math.abs));
    expectClose(read(noGrad(() => fused(x))), before, { rtol: 0, atol: atol * largest });
    expect(outputError).toBeGreaterThan(0);
    expect(outputError).toBeLessThan(atol);
    // The model that was given is as it was.
    expectSameBytes(read(noGrad(() => model(x))), before);
  });
});

const image = () => tensor(distinct(2 * 2 * 4 * 4, { seed: 9 }), { shape: [2, 2, 4, 4] });

/** A convolution and a batch norm behind it. */
class Pair extends nn.Module {
  static override readonly kind: string = "Pair";
  readonly conv = new nn.Conv2d(2, 2, 3, { padding: 1, bias: false });
  readonly bn = new nn.BatchNorm2d(2);
  readonly other = new nn.ReLU();
  forward(x: Tensor): Tensor {
    return this.bn(this.conv(x));
  }
}

function variant(forward: (net: Pair, x: Tensor) => Tensor): Pair {
  class Variant extends Pair {
    static override readonly kind = "Variant";
    override forward(x: Tensor): Tensor {
      return forward(this, x);
    }
  }
  return settled(new Variant());
}

describe("what stays, and why", () => {
  test.each([
    ["it did not run on the example", variant((net, x) => net.conv(x))],
    [
      "it is shared: it runs twice or has two places",
      variant((net, x) => net.bn(net.bn(net.conv(x)))),
    ],
    [
      "conv is shared: it runs twice or has two places",
      variant((net, x) => net.bn(net.conv(net.conv(x)))),
    ],
    [
      "the output of conv goes to other, too",
      variant((net, x) => {
        const y = net.conv(x);
        return net.bn(y).add(net.other(y));
      }),
    ],
    [
      "it stands before a convolution or linear layer, not right behind one",
      variant((net, x) => net.conv(net.bn(x))),
    ],
    [
      "its input does not come straight from a convolution or linear layer",
      variant((net, x) => net.bn(net.conv(x).relu())),
    ],
    [
      "the model's output would change: something that is no module uses the output of conv, too",
      variant((net, x) => {
        const y = net.conv(x);
        return net.bn(y).add(y);
      }),
    ],
  ])("%s", async (reason, model) => {
    const before = read(model(image()));
    const fusion = await fuseConvBatchNorm(model, { example: image() });
    expect(fusion.refused).toEqual([{ batchNorm: "bn", reason }]);
    expect(fusion.folded).toEqual([]);
    expectSameBytes(read(fusion.model(image())), before);
    expect(String(fusion)).toContain(`bn stays: ${reason}`);
  });

  test.each(["bn", "conv"] as const)("a pair with a hook on its %s", async (name) => {
    const model = settled(new Pair());
    model[name].registerForwardHook(() => undefined);
    const { refused } = await fuseConvBatchNorm(model, { example: image() });
    expect(refused).toEqual([{ batchNorm: "bn", reason: "it or the layer before it has hooks" }]);
  });

  test("a layer with two places, though it runs once", async () => {
    const model = settled(Object.assign(new Pair(), { again: null as nn.Module | null }));
    model.again = model.bn;
    const { refused } = await fuseConvBatchNorm(model, { example: image() });
    expect(refused[0].reason).toBe("it is shared: it runs twice or has two places");
  });

  test("a batch norm without running statistics", async () => {
    const bn = new nn.BatchNorm2d(2, { trackRunningStats: false });
    const model = new nn.Sequential(new nn.Conv2d(2, 2, 3), bn).eval();
    const { refused } = await fuseConvBatchNorm(model, { example: image() });
    expect(refused[0].reason).toBe("it has no running statistics");
  });

  test("a linear layer whose channels are not on axis 1, though the sizes fit", async () => {
    const model = new nn.Sequential(new nn.Linear(4, 3), new nn.BatchNorm1d(3)).eval();
    const x = tensor(distinct(24, { seed: 4 }), { shape: [2, 3, 4] });
    const { refused } = await fuseConvBatchNorm(model, { example: x });
    expect(refused[0].reason).toBe("axis 1, which it normalises, does not hold the channels of 0");
  });

  test("a layer whose forward is another: the trial beside the original shows it", async () => {
    class Doubled extends nn.Conv2d {
      static override readonly kind = "Doubled";
      override forward(x: Tensor): Tensor {
        return super.forward(x).mul(2);
      }
    }
    const model = settled(new nn.Sequential(new Doubled(2, 2, 3), new nn.BatchNorm2d(2)));
    const { refused } = await fuseConvBatchNorm(model, { example: image() });
    expect(refused[0].reason).toBe("the folded 0 gives other outputs than the pair");
  });

  test("one culprit does not keep the other pairs from being folded", async () => {
    const culprit = variant((net, x) => {
      const y = net.conv(x);
      return net.bn(y).add(y);
    });
    const model = new nn.Sequential(settled(new Pair()), culprit).eval();
    const { folded, refused } = await fuseConvBatchNorm(model, { example: image() });
    expect(folded.map(({ batchNorm }) => batchNorm)).toEqual(["0.bn"]);
    expect(refused.map(({ batchNorm }) => batchNorm)).toEqual(["1.bn"]);
  });
});

test("a model or layer in training mode is refused", async () => {
  const model = settled(new Pair());
  model.bn.train();
  await expect(fuseConvBatchNorm(model, { example: image() })).rejects.toThrow(
    "fuseConvBatchNorm: expected a model in evaluation mode, got bn (BatchNorm2d) in training mode; call model.eval() first",
  );
  await expect(
    fuseConvBatchNorm(model.eval(), { example: image(), tolerance: -1 }),
  ).rejects.toThrow("expected tolerance >= 0, got -1");
});

test("a preview reports the same and changes nothing; inPlace changes the model itself", async () => {
  const model = settled(new Pair());
  const [text, before] = [String(model), read(model(image()))];
  const preview = await fuseConvBatchNorm(model, {
    example: image(),
    preview: true,
    inPlace: true,
  });
  expect(preview.model).toBe(model);
  expect(String(model)).toBe(text);
  expectSameBytes(read(model(image())), before);
  const real = await fuseConvBatchNorm(model, { example: [image()], inPlace: true });
  expect(real.model).toBe(model);
  expect(real.folded).toEqual(preview.folded);
  expect(model.modules().some(nn.isBatchNorm)).toBe(false);
  expectClose(read(model(image())), before, tolerance.float32);
});

test("the report says how far each pair is off", async () => {
  const model = settled(new Pair());
  const { folded, outputError, ...fusion } = await fuseConvBatchNorm(model, { example: image() });
  const y = read(model(image()));
  const largest = Math.max(...y.map(Math.abs));
  expect(folded).toEqual([{ layer: "conv", batchNorm: "bn", error: folded[0].error, largest }]);
  const differences = read(fusion.model(image())).map((value, i) => Math.abs(value - y[i]));
  expect(folded[0].error).toBe(Math.fround(Math.max(...differences)));
  expect(outputError).toBe(Math.max(...differences) / largest);
  expect(fusion.toString().split("\n")[0]).toMatch(
    /^batch norm +folded into +error +largest output$/,
  );
});

test("no hook stays behind, and a bias that was not there does not learn", async () => {
  const model = settled(new Pair());
  const { model: fused } = await fuseConvBatchNorm(model, { example: image() });
  const hooks = [...model.modules(), ...fused.modules()].map((module) => [
    ...module[internals].hooks,
    ...module[internals].preHooks,
  ]);
  expect(hooks.flat()).toEqual([]);
  expect([fused.conv.weight.requiresGrad, fused.conv.bias?.requiresGrad]).toEqual([true, false]);
});

describe("without an example", () => {
  test("an image model is tried on random images, and the generator goes on as before", async () => {
    manualSeed(3);
    const model = models.resnet18({ numClasses: 4 }).eval();
    const state = getRngState().data();
    const { model: folded, folded: pairs, outputError } = await nn.fuseConvBatchNorm(model);
    expect(getRngState().data()).toEqual(state);
    expect(folded.modules().filter(nn.isBatchNorm)).toEqual([]);
    expect(pairs).toHaveLength(20);
    expect(outputError).toBeLessThan(1e-5);
  });

  test("sizes are tried until the forward takes one; a linear model gets its features", async () => {
    const flat = (side: number) => {
      const conv = new nn.Conv2d(3, 2, 3);
      const head = new nn.Linear(2 * (side - 2) ** 2, 3);
      return new nn.Sequential(conv, new nn.BatchNorm2d(2), new nn.Flatten(), head);
    };
    const linear = new nn.Sequential(new nn.Linear(5, 2), new nn.BatchNorm1d(2));
    for (const model of [flat(28), flat(16), linear]) {
      expect((await nn.fuseConvBatchNorm(model.eval())).folded).toHaveLength(1);
    }
  });

  test("a model that takes none of the guesses needs one", async () => {
    const odd = new nn.Sequential(
      new nn.Conv2d(3, 2, 3),
      new nn.BatchNorm2d(2),
      new nn.Flatten(),
      new nn.Linear(50, 1),
    );
    await expect(nn.fuseConvBatchNorm(odd.eval())).rejects.toThrow(/pass \{ example: x \}/);
    const none = new nn.Sequential(new nn.BatchNorm1d(2));
    await expect(nn.fuseConvBatchNorm(none.eval())).rejects.toThrow(ArgumentError);
  });
});

import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test, vi } from "vitest";
import {
  ArgumentError,
  manualSeed,
  memory,
  models,
  nn,
  noGrad,
  randn,
  ShapeError,
  type Tensor,
} from "../src/index.ts";

/** A residual block written with the function. */
class Block extends nn.Module {
  static override readonly kind = "Block";
  bn1: nn.Layer = new nn.BatchNorm2d(6);
  bn2: nn.Layer = new nn.BatchNorm2d(6);
  relu: nn.Layer = new nn.ReLU();
  forward(x: Tensor): Tensor {
    const y = nn.batchNormRelu(this.bn1, this.relu, x);
    return nn.batchNormRelu(this.bn2, this.relu, y, { residual: x });
  }
}

type Model = nn.Layer;

/** A model that runs in as few passes as it can, and its copy in which hooks keep every call apart. */
function twins<M extends Model>(make: () => M): readonly [M, M] {
  manualSeed(5);
  const model = make();
  for (const module of model.modules()) {
    if (!(nn.isBatchNorm(module) && module.weight && module.bias)) continue;
    nn.init.normal(module.weight);
    nn.init.normal(module.bias);
  }
  const apart = model.clone();
  for (const module of apart.modules()) module.registerForwardHook(() => undefined);
  return [model, apart];
}

/** How many batch norms of the model run in one pass with what follows. */
function fusions(model: Model, shape: readonly number[]): number {
  return nn.summary(model, shape).rows.filter(({ fusedWith }) => fusedWith !== null).length;
}

/** Stands for the values of a tensor, to the bit. */
function bits(tensor: Tensor | null): string {
  const values = tensor?.dataSync() ?? new Float32Array(0);
  return createHash("sha1").update(new Uint8Array(values.buffer)).digest("hex");
}

/** Everything that a forward and backward leave behind, to the bit. */
function trace(model: Model, x: Tensor, call: (x: Tensor) => Tensor = model) {
  const input = x.detach().clone();
  input.requiresGrad = true;
  const y = call(input);
  manualSeed(9);
  y.backward(randn(y.shape, { device: y.device }).to(y.dtype));
  return {
    y: bits(y),
    dx: bits(input.grad),
    gradients: model.namedParameters().map(([name, { grad }]) => [name, bits(grad)]),
    buffers: model
      .namedBuffers()
      .map(([name, value]) => [name, typeof value === "number" ? value : bits(value)]),
  };
}

const sequential = () =>
  new nn.Sequential(
    ...[new nn.BatchNorm2d(6), new nn.ReLU(), new nn.Conv2d(6, 6, 3), new nn.BatchNorm2d(6)],
    ...[new nn.ReLU(), new nn.ReLU(), new nn.BatchNorm2d(6), new nn.Tanh()],
  );

let x: Tensor;
beforeEach(() => {
  manualSeed(2);
  x = randn([3, 6, 5, 7]);
});

describe("one pass gives the bits of two", () => {
  const layers: Record<string, () => Model> = {
    "a Sequential": sequential,
    "a block of one's own": () => new Block(),
    "running statistics": () => new Block().eval(),
    "layers without weights": () =>
      new nn.Sequential(new nn.BatchNorm2d(6, { affine: false }), new nn.ReLU()),
    "layers without statistics": () =>
      new nn.Sequential(new nn.BatchNorm2d(6, { trackRunningStats: false }), new nn.ReLU()),
    "frozen layers": () => {
      const block = new Block();
      nn.freezeBatchNorm(block);
      return block;
    },
    "layers frozen by their class": () => nn.convertFrozenBatchNorm(new Block()),
    "several batches an update": () =>
      new nn.Sequential(new nn.BatchNorm2d(6, { batchesPerUpdate: 2 }), new nn.ReLU()),
    "a cumulative average": () =>
      new nn.Sequential(new nn.BatchNorm2d(6, { momentum: null }), new nn.ReLU()),
  };
  test.each(Object.entries(layers))("%s", (_name, make) => {
    const [fused, apart] = twins(make);
    expect(fusions(fused, x.shape)).toBeGreaterThan(0);
    expect(fusions(apart, x.shape)).toBe(0);
    for (let step = 0; step < 3; step++) expect(trace(fused, x)).toEqual(trace(apart, x));
  });

  test("in float16, where nothing is rounded in between", () => {
    const [fused, apart] = twins(() => sequential().half());
    expect(trace(fused, x.half())).toEqual(trace(apart, x.half()));
    const [block, blockApart] = twins(() => new Block().half());
    expect(trace(block, x.half())).toEqual(trace(blockApart, x.half()));
    expect(fusions(block, x.shape)).toBe(1);
  });

  test("on the reference device", () => {
    const [fused, apart] = twins(() => sequential().to("reference"));
    const there = x.to("reference");
    expect(trace(fused, there)).toEqual(trace(apart, there));
  });

  test("under recompute, and when hooks come between forward and backward", () => {
    const [fused, apart] = twins(() => new Block());
    const again = (model: Model) => (input: Tensor) => nn.recompute(model, input);
    expect(trace(fused, x, again(fused))).toEqual(trace(apart, x, again(apart)));
    const [late, plain] = twins(() => new Block());
    let calls = 0;
    const hookedLater = (input: Tensor) => {
      const y = nn.recompute(late, input);
      for (const layer of [late.bn1, late.bn2]) layer.registerForwardHook(() => void calls++);
      return y;
    };
    expect(trace(late, x, hookedLater)).toEqual(trace(plain, x));
    expect(calls).toBe(0); // the second run is the first one again
  });

  test("also for NaN and infinities, which onNonFinite keeps out of the statistics", () => {
    const bn = new nn.BatchNorm2d(6, { onNonFinite: "skip" });
    const [fused, apart] = twins(() => new nn.Sequential(bn, new nn.ReLU()));
    vi.spyOn(process, "emitWarning").mockReturnValue();
    const broken = x.mul(1 / 0);
    expect(trace(fused, broken)).toEqual(trace(apart, broken));
    expect(bn.skippedBatches?.count).toBe(1);
    vi.restoreAllMocks();
  });
});

test("the networks of `models` run the batch norms of their blocks in one pass", () => {
  const input = randn([2, 3, 32, 32]);
  const [small, smallApart] = twins(() => models.resnet18({ numClasses: 3 }));
  expect(fusions(small, input.shape)).toBe(17); // of 20: three stand on the way around
  expect(trace(small, input)).toEqual(trace(smallApart, input));
  expect(fusions(models.resnet50({ numClasses: 3 }), input.shape)).toBe(49);
});

describe("what looks at the calls sees what it always saw", () => {
  /** What a hook of a layer was given, in both models. */
  function seenBy(name: string, watch: (layer: nn.Module, seen: string[]) => void): string[][] {
    return twins(() => new Block()).map((model) => {
      const seen: string[] = [];
      const layer = new Map(model.namedModules()).get(name);
      if (layer) watch(layer, seen);
      model(x);
      return seen;
    });
  }

  test.each(["bn1", "bn2", "relu"] as const)("hooks of %s", (name) => {
    const inputs = seenBy(name, (layer, seen) => {
      layer.registerForwardPreHook((_module, [input]) => void seen.push(bits(input as Tensor)));
    });
    const outputs = seenBy(name, (layer, seen) => {
      layer.registerForwardHook((_module, _args, y) => void seen.push(bits(y as Tensor)));
    });
    for (const [fused, apart] of [inputs, outputs]) {
      expect(fused.length).toBe(name === "relu" ? 2 : 1);
      expect(fused).toEqual(apart);
    }
  });

  test("capture", () => {
    const block = new Block();
    const { bn1, bn2 } = nn.capture(block, ["bn1", "bn2"], x);
    expect(Math.min(...bn1.dataSync(), ...bn2.dataSync())).toBeLessThan(0);
    expect(fusions(block, x.shape)).toBe(2);
  });

  test("a forward of one's own, by class, by instance and by prototype", () => {
    class Doubled extends nn.BatchNorm2d {
      override forward(input: Tensor): Tensor {
        return super.forward(input).mul(2);
      }
    }
    class Leaky extends nn.ReLU {
      override forward(input: Tensor): Tensor {
        return nn.functional.leakyRelu(input, 0.5);
      }
    }
    const plain = new nn.Sequential(new nn.BatchNorm2d(6), new nn.ReLU())(x);
    const doubled = new nn.Sequential(new Doubled(6), new nn.ReLU())(x);
    expect(bits(doubled)).toEqual(bits(plain.mul(2)));
    const leaky = new nn.Sequential(new nn.BatchNorm2d(6), new Leaky())(x);
    expect(Math.min(...leaky.dataSync())).toBeLessThan(0);

    const layers = [new nn.BatchNorm2d(6), new nn.ReLU()] as const;
    const replaced = vi.spyOn(layers[0], "forward").mockReturnValue(x.neg());
    expect(bits(new nn.Sequential(...layers)(x))).toEqual(bits(x.neg().relu()));
    replaced.mockRestore();
    const counted = vi.spyOn(nn.ReLU.prototype, "forward");
    new nn.Sequential(new nn.BatchNorm2d(6), new nn.ReLU())(x);
    expect(counted).toHaveBeenCalledTimes(1);
    counted.mockRestore();
  });

  test("a lazy layer, whose first call is its own", () => {
    const model = new nn.Sequential(new nn.LazyBatchNorm2d(), new nn.ReLU());
    expect(Math.min(...model(x).dataSync())).toBe(0);
    expect(fusions(model, x.shape)).toBe(1);
  });
});

test("a residual of another shape is broadcast as by the sum", () => {
  const [bn, relu] = [new nn.BatchNorm2d(6), new nn.ReLU()];
  const residual = randn([6, 1, 1]);
  const y = nn.batchNormRelu(bn.eval(), relu, x, { residual });
  expect(bits(y)).toEqual(bits(relu(bn(x).add(residual))));
  expect(() => nn.batchNormRelu(bn, relu, x, { residual: randn([5, 7, 2]) })).toThrow(/add/);
});

test("errors are those of the layer, and count the batch as it does", () => {
  const bn = new nn.BatchNorm2d(6, { onNonFinite: "throw" });
  const relu = new nn.ReLU();
  expect(() => nn.batchNormRelu(bn, relu, randn([2, 6]))).toThrow(ShapeError);
  expect(() => nn.batchNormRelu(bn, relu, randn([2, 5, 2, 2]))).toThrow(/channels/);
  const before = bn.numBatchesTracked;
  const net = new nn.Sequential(bn, relu);
  expect(() => net(x.mul(1 / 0))).toThrow(ArgumentError);
  expect(() => net(x.mul(1 / 0))).toThrow(/channel 0 of 0 \(BatchNorm2d\)/);
  expect(bn.numBatchesTracked).toBe(before);
});

test("summary shows it in the row of the batch norm", () => {
  const text = String(nn.summary(new Block(), [1, 6, 2, 2]));
  expect(text).toContain("  bn1 (BatchNorm2d + ReLU)        (1, 6, 2, 2)");
  expect(text).toContain("  bn2 (BatchNorm2d + sum + ReLU)  (1, 6, 2, 2)");
  expect(text).toContain("  relu (ReLU)                     (1, 6, 2, 2)");
  expect(text).toContain('batch norms that run in one pass with what follows their "+": 2');
});

test("what is between batch norm and ReLU takes no memory", () => {
  const input = randn([4, 6, 64, 64]);
  const models = twins(
    () => new nn.Sequential(new nn.BatchNorm2d(6), new nn.ReLU(), new nn.Identity()),
  );
  const made = models.map((model) => {
    const before = memory().liveBytes;
    let after = before;
    model.at(2).registerForwardPreHook(() => {
      after = memory().liveBytes;
    });
    noGrad(() => model(input)).dispose();
    return (after - before) / (input.size * 4);
  });
  expect(made).toEqual([1, 2]);
});

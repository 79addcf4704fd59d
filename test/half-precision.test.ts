/** float16 tensors through operations, losses, optimizers and files. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { widenFloat16 } from "../src/core/half.ts";
import {
  arange,
  checkpoint,
  DTypeError,
  full,
  memory,
  nn,
  ones,
  optim,
  rand,
  randn,
  Tensor,
  tensor,
  where,
  zeros,
} from "../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "./support/close.ts";
import { distinct } from "./support/random.ts";

const dtype = "float16";
const { batchNorm, conv2d, conv3d, convTranspose2d, linear, maxPool2d, avgPool2d } = nn.functional;
const { crossEntropy, mseLoss, binaryCrossEntropyWithLogits, huberLoss } = nn.functional;

describe("a float16 tensor", () => {
  test("takes and gives numbers, each rounded once", async () => {
    const x = tensor([1 + 2 ** -11 + 2 ** -40, 0.1, 65520, 2 ** -25], { dtype });
    const expected = Float32Array.of(1 + 2 ** -10, 0.0999755859375, Infinity, 0);
    expect(x.dtype).toBe("float16");
    expect(x.dataSync()).toEqual(expected);
    expect(await x.data()).toEqual(expected);
    expect(await x.array()).toEqual([...expected]);
    expect(String(x)).toBe("tensor([1.001, 0.099976, Infinity, 0], shape (4,), float16, cpu)");
  });

  test("is what every constructor gives when asked", () => {
    const made = [zeros, ones, randn, rand].map((make) => make([2, 3], { dtype }));
    made.push(full([2], 0.1, { dtype }), arange(0, 3, 1, { dtype }));
    expect(made.map((t) => t.dtype)).toEqual(new Array(6).fill("float16"));
    expect([...full([1], 0.1, { dtype }).dataSync()]).toEqual([0.0999755859375]);
  });

  test("takes half the memory of float32", () => {
    const bytes = (make: () => Tensor) => {
      const before = memory().liveBytes;
      const made = make().keep();
      const after = memory().liveBytes;
      made.dispose();
      return after - before;
    };
    expect(bytes(() => zeros([4096], { dtype }))).toBe(8192);
    const x = zeros([4, 3, 32, 32]);
    const conv = new nn.Conv2d(3, 8, 3, { padding: 1 });
    const wide = bytes(() => conv(x));
    const [half, h] = [conv.half(), x.half()];
    const narrow = bytes(() => half(h));
    expect(narrow * 2).toBe(wide);
  });

  test("converts to and from every dtype and device, with gradients in the dtype of what they belong to", () => {
    const x = tensor([0.1, -2.5, 3], { requiresGrad: true });
    const h = x.half();
    h.mul(2).float().sum().backward();
    expect([h.dtype, x.grad?.dtype]).toEqual(["float16", "float32"]);
    expect(x.grad?.dataSync()).toEqual(Float32Array.of(2, 2, 2));
    expect(h.half()).toBe(h);
    expect([...h.to("int32").dataSync()]).toEqual([0, -2, 3]);
    expect([...h.to("reference").to("float64").dataSync()]).toEqual([0.0999755859375, -2.5, 3]);
    expect([...tensor([true, false]).half().dataSync()]).toEqual([1, 0]);
  });

  test("counts numbers in float32 in arithmetic, and rounds them in comparisons and choices", () => {
    const x = tensor([1000, 0.1], { dtype });
    const scaled = x.mul(1e-9).div(1e-9);
    // 1e-9 alone would be 0; 1e-6 and 1e-10 are the products to be rounded.
    expectClose(scaled.dataSync(), [1013.2789611816406, 0], tolerance.float16);
    expect([...x.eq(0.1).dataSync(), ...x.lt(0.1).dataSync()]).toEqual([0, 1, 0, 0]);
    expect([...full([1], 2, { dtype }).pow(0.5).dataSync()]).toEqual([1.4140625]);
    expect(where(x.gt(1), x, 0.1).dtype).toBe("float16");
    expect(where(x.gt(1), 0.1, x).dtype).toBe("float16");
    const reversed = [tensor([4], { dtype })].map((t) => [
      ones([1], { dtype }).sub(t),
      t.clamp({ min: 5 }),
    ]);
    expect(reversed.flat().map((t) => [t.dtype, ...t.dataSync()])).toEqual([
      ["float16", -3],
      ["float16", 5],
    ]);
  });

  test("does not mix with float32", () => {
    const x = ones([2], { dtype });
    expect(() => x.add(ones([2]))).toThrow(DTypeError);
    expect(() => mseLoss(x, ones([2]))).toThrow(/one dtype/);
    expect(() => linear(ones([1, 2]), ones([3, 2], { dtype }))).toThrow(DTypeError);
  });
});

interface Sketch {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly compute: (...inputs: Tensor[]) => Tensor;
}

const labels = tensor(Int32Array.of(2, 0, 4, -100));
const operations: readonly Sketch[] = [
  {
    name: "conv2d",
    shapes: [[2, 3, 6, 5], [4, 3, 3, 3], [4]],
    compute: (x, weight, bias) => conv2d(x, weight, { bias, padding: 1 }),
  },
  {
    name: "conv3d",
    shapes: [[1, 2, 4, 5, 3], [3, 2, 2, 3, 2], [3]],
    compute: (x, weight, bias) => conv3d(x, weight, { bias }),
  },
  {
    name: "convTranspose2d",
    shapes: [[2, 3, 4, 5], [3, 2, 3, 3], [2]],
    compute: (x, weight, bias) => convTranspose2d(x, weight, { bias, stride: 2 }),
  },
  {
    name: "linear",
    shapes: [[4, 9], [5, 9], [5]],
    compute: (x, weight, bias) => linear(x, weight, bias),
  },
  {
    name: "matmul",
    shapes: [
      [3, 4, 7],
      [7, 5],
    ],
    compute: (a, b) => a.matmul(b),
  },
  {
    name: "batchNorm in training",
    shapes: [[4, 3, 5], [3], [3]],
    compute: (x, weight, bias) => batchNorm(x, null, null, { weight, bias, training: true }),
  },
  {
    name: "batchNorm in evaluation",
    shapes: [[4, 3, 5], [3], [3]],
    compute: (x, weight, bias) =>
      batchNorm(x, zeros([3], { dtype: x.dtype }), full([3], 2, { dtype: x.dtype }), {
        ...{ weight, bias },
      }),
  },
  { name: "maxPool2d", shapes: [[2, 3, 6, 5]], compute: (x) => maxPool2d(x, 2) },
  { name: "avgPool2d", shapes: [[2, 3, 6, 5]], compute: (x) => avgPool2d(x, 2) },
  { name: "sum over two axes apart", shapes: [[4, 5, 6]], compute: (x) => x.sum([0, 2]) },
  { name: "mean", shapes: [[40, 5]], compute: (x) => x.mean() },
  { name: "std", shapes: [[40, 5]], compute: (x) => x.std(0) },
  { name: "logSoftmax", shapes: [[4, 7]], compute: (x) => x.logSoftmax(1) },
  { name: "gelu", shapes: [[33]], compute: (x) => x.gelu() },
  {
    name: "crossEntropy",
    shapes: [[4, 5], [5]],
    compute: (x, weight) =>
      crossEntropy(x, labels, { weight: weight.detach().abs(), labelSmoothing: 0.1 }),
  },
  {
    name: "crossEntropy of probabilities",
    shapes: [
      [4, 5],
      [4, 5],
    ],
    compute: (x, t) => crossEntropy(x, t),
  },
  {
    name: "mseLoss",
    shapes: [
      [4, 5],
      [4, 5],
    ],
    compute: (x, t) => mseLoss(x, t),
  },
  {
    name: "huberLoss",
    shapes: [
      [4, 5],
      [4, 5],
    ],
    compute: (x, t) => huberLoss(x, t),
  },
  {
    name: "binaryCrossEntropyWithLogits",
    shapes: [
      [4, 5],
      [4, 5],
    ],
    compute: (x, t) => binaryCrossEntropyWithLogits(x, t),
  },
];

/** Output and gradients of one call on float16 values, held in `type`. */
function run({ shapes, compute }: Sketch, type: "float16" | "float32"): Tensor[] {
  const inputs = shapes.map((shape, i) => {
    const size = shape.reduce((product, n) => product * n, 1);
    const values = tensor(distinct(size, { seed: i + 1 }), { shape, dtype });
    const leaf = values.to(type).detach();
    leaf.requiresGrad = true;
    return leaf;
  });
  const y = compute(...inputs);
  const cotangent = tensor(distinct(y.size, { seed: 9 }), { shape: y.shape, dtype }).to(type);
  y.backward(cotangent);
  return [y, ...inputs.flatMap(({ grad }) => grad ?? [])];
}

describe("output and gradients are those of float32 on the same values, rounded once", () => {
  test.each(operations)("$name", (sketch) => {
    const [narrow, wide] = (["float16", "float32"] as const).map((type) => run(sketch, type));
    expect(narrow.length).toBe(wide.length);
    for (const [i, t] of narrow.entries()) {
      expect(t.dtype).toBe("float16");
      expectClose(t.dataSync(), wide[i].half().dataSync(), tolerance.float16, `result ${i}`);
    }
  });

  test("sums of many elements neither overflow nor stall on the way", () => {
    const x = full([70_000], 100, { dtype });
    expect([...x.mean().dataSync()]).toEqual([100]);
    expect([...full([4096], 1, { dtype }).sum().dataSync()]).toEqual([4096]);
    expect([...mseLoss(x, zeros([70_000], { dtype })).dataSync()]).toEqual([10_000]);
    const logits = zeros([70_000, 2], { dtype, requiresGrad: true });
    const target = zeros([70_000], { dtype: "int32" });
    const loss = crossEntropy(logits, target, { weight: ones([2], { dtype }) });
    expectClose(loss.dataSync(), [Math.LN2], tolerance.float16);
  });
});

describe("batch norm of float16", () => {
  const x = tensor(distinct(60, { seed: 1 }), { shape: [4, 3, 5], dtype });
  const vector = (type: "float16" | "float32", value = 1) => full([3], value, { dtype: type });

  test("beside float32 vectors: float16 out, float32 gradients of weight and bias, float32 statistics", () => {
    const bn = new nn.BatchNorm1d(3);
    const y = bn(x);
    y.sum().backward();
    const { weight, bias, runningMean, runningVar } = bn;
    const parts = [y, weight?.grad, bias?.grad, runningMean, runningVar];
    expect(parts.map((t) => t?.dtype)).toEqual(["float16", ...new Array(4).fill("float32")]);
    const like = new nn.BatchNorm1d(3);
    like(x.float());
    expectSameBytes(
      runningMean?.dataSync() ?? new Float32Array(),
      like.runningMean?.dataSync() ?? new Float32Array(1),
    );
  });

  test("float32 statistics keep steps that float16 ones lose", () => {
    const [kept, lost] = (["float32", "float16"] as const).map((type) => {
      const mean = vector(type, 1);
      const options = { training: true, momentum: 1e-4 };
      for (let i = 0; i < 10; i++) batchNorm(x.add(2), mean, vector(type), options);
      return mean.dataSync()[0];
    });
    expect(lost).toBe(1);
    expect(kept).toBeGreaterThan(1.0005);
  });

  test("variances beyond 65504 are no matter for float32 statistics", () => {
    const bn = new nn.BatchNorm1d(3);
    const y = bn(x.mul(10_000));
    expectClose(y.dataSync(), new nn.BatchNorm1d(3)(x).dataSync(), { rtol: 1e-3, atol: 2e-3 });
    expect(bn.runningVar?.dataSync()[0]).toBeGreaterThan(1e6);
  });

  test("refuses float32 x beside float16 vectors, and vectors of two dtypes", () => {
    const [narrow, wide] = [vector("float16"), vector("float32")];
    const training = true;
    expect(() => batchNorm(x.float(), null, null, { weight: narrow, training })).toThrow(
      /weight of x's dtype float32, got float16/,
    );
    expect(() => batchNorm(x, narrow, narrow, { weight: wide, training })).toThrow(
      /runningMean of the other vectors' dtype float32, got float16/,
    );
    expect(() => batchNorm(x, wide, wide, { weight: narrow, training })).toThrow(
      /runningMean of x's dtype float16, got float32/,
    );
    expect(() =>
      batchNorm(x.to("reference").to("float64"), null, null, {
        training,
        weight: ones([3], { device: "reference" }),
      }),
    ).toThrow(DTypeError);
  });
});

describe("training in float16", () => {
  test.each([
    ["SGD", (p: nn.Parameter[]) => new optim.SGD(p, { lr: 0.1, momentum: 0.9 }), "momentum_buffer"],
    ["Adam", (p: nn.Parameter[]) => new optim.Adam(p, { lr: 0.01, eps: 1e-4 }), "exp_avg"],
    ["RMSprop", (p: nn.Parameter[]) => new optim.RMSprop(p, { lr: 0.01, eps: 1e-4 }), "square_avg"],
  ] as const)("%s steps, keeps its state in float16, and lowers the loss", (_, make, key) => {
    const model = new nn.Sequential(
      new nn.Linear(6, 16),
      new nn.ReLU(),
      new nn.Linear(16, 3),
    ).half();
    const opt = make(model.parameters());
    const inputs = tensor(distinct(48, { seed: 2 }), { shape: [8, 6], dtype });
    const target = tensor(Int32Array.of(0, 1, 2, 0, 1, 2, 0, 1));
    const losses = Array.from({ length: 30 }, () => {
      const loss = crossEntropy(model(inputs), target);
      opt.zeroGrad();
      loss.backward();
      opt.step();
      return loss.dataSync()[0];
    });
    expect(losses[29]).toBeLessThan(0.7 * losses[0]);
    const [state] = Object.values(opt.stateDict().state);
    expect(state[key]).toMatchObject({ dtype: "float16" });
  });

  test("gradients below 2 ** -25 vanish unless the loss is scaled", () => {
    const gradient = (scale: number) => {
      const x = ones([1], { dtype, requiresGrad: true });
      x.float()
        .mul(1e-8 * scale)
        .sum()
        .backward();
      return (x.grad?.float().dataSync()[0] ?? 0) / scale;
    };
    expect(gradient(1)).toBe(0);
    expectClose([gradient(65536)], [1e-8], { rtol: 1e-3, atol: 0 });
  });

  test("recomputes, clones and averages", () => {
    const model = new nn.Sequential(new nn.Linear(3, 3), new nn.Tanh()).half();
    const x = tensor(distinct(6, { seed: 3 }), { shape: [2, 3], dtype });
    const gradients = [(t: Tensor) => model(t), (t: Tensor) => nn.recompute(model, t)].map((f) => {
      model.zeroGrad();
      f(x).sum().backward();
      return model.parameters()[0].grad?.dataSync();
    });
    expect(gradients[1]).toEqual(gradients[0]);
    expect(model.clone().parameters()[0].dtype).toBe("float16");
    const averaged = new optim.AveragedModel(model);
    averaged.updateParameters(model);
    expect(averaged.module(x).dataSync()).toEqual(model(x).dataSync());
  });
});

describe("float16 in files", () => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const entry = { dtype, shape: [65536], data: () => bits } as const;

  class Holder extends nn.Module {
    static override readonly kind = "Holder";
    readonly weight: nn.Parameter;
    constructor(type: "float16" | "float32") {
      super();
      this.weight = new nn.Parameter(zeros([65536], { dtype: type }));
    }
    forward(): void {}
  }

  test("all bit patterns go through loadStateDict and a safetensors file unchanged", async () => {
    const holder = new Holder("float16");
    holder.loadStateDict(new Map([["weight", entry]]));
    const path = join(mkdtempSync(join(tmpdir(), "evenkeel-half-")), "half.safetensors");
    await checkpoint.write(path, holder.stateDict());
    const read = await checkpoint.read(path);
    expect(read.get("weight")?.dtype).toBe("float16");
    expectSameBytes(read.get("weight")?.data() ?? bits.slice(1), bits);
    const again = new Holder("float16");
    again.loadStateDict(read);
    expectSameBytes(again.weight.dataSync(), widenFloat16(bits));
  });

  test("loads into float32, and float32 and bfloat16 into float16, with conversion", () => {
    const wide = new Holder("float32");
    wide.loadStateDict(new Map([["weight", entry]]));
    expectSameBytes(wide.weight.dataSync(), widenFloat16(bits));
    const narrow = new Holder("float16");
    narrow.loadStateDict(wide.stateDict());
    expectClose(narrow.weight.dataSync(), widenFloat16(bits), { rtol: 0, atol: 0 });
    const brain = {
      dtype: "bfloat16",
      shape: [65536],
      data: () => new Uint16Array(65536).fill(0x3f81),
    } as const;
    narrow.loadStateDict(new Map([["weight", brain]]));
    wide.loadStateDict(new Map([["weight", brain]]));
    expect([narrow.weight.dataSync()[7], wide.weight.dataSync()[7]]).toEqual([
      1.0078125, 1.0078125,
    ]);
    expect(narrow.weight).toBeInstanceOf(Tensor);
  });
});

import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  arange,
  DTypeError,
  nn,
  optim,
  randn,
  ShapeError,
  Tensor,
  tensor,
} from "../src/index.ts";

class Net extends nn.Module {
  static override readonly kind = "Net";
  readonly convStem = new nn.Conv2d(1, 4, 3, { bias: false });
  readonly bn1 = new nn.BatchNorm2d(4);
  readonly blocks = [new nn.Linear(4, 4), new nn.Linear(4, 4)];
  readonly scale = new nn.Parameter(tensor([2]));
  readonly plain = tensor([1]);

  forward(x: Tensor, times = 1): Tensor {
    return this.bn1(this.convStem(x)).mul(times);
  }
}

describe("a module", () => {
  test("is called like a function, typed from its forward", () => {
    const net = new Net();
    const y = net(randn([2, 1, 5, 5]), 3);
    const shape: readonly number[] = y.shape;
    expect(shape).toEqual([2, 4, 3, 3]);
    expect(net).toBeInstanceOf(nn.Module);
    // @ts-expect-error a string is no tensor
    expect(() => net("x")).toThrow();
  });

  test("leaves name and length to its user", () => {
    class Named extends nn.Module {
      static override readonly kind = "Named";
      override readonly name = "mine";
      override readonly length = 7;
      forward(x: Tensor): Tensor {
        return x;
      }
    }
    const named = new Named();
    expect([named.name, named.length]).toEqual(["mine", 7]);
    expect(Object.hasOwn(new Net(), "name")).toBe(false);
  });

  test("finds parameters, buffers and modules in properties and arrays, under PyTorch's keys", () => {
    expect([...new Net().stateDict().keys()]).toEqual([
      "scale",
      "conv_stem.weight",
      "bn1.weight",
      "bn1.bias",
      "bn1.running_mean",
      "bn1.running_var",
      "bn1.num_batches_tracked",
      "blocks.0.weight",
      "blocks.0.bias",
      "blocks.1.weight",
      "blocks.1.bias",
    ]);
  });

  test("keeps its kind when a minifier has renamed its class", () => {
    const Renamed = { q: class extends nn.BatchNorm2d {} }.q;
    expect(new Renamed(3).kind).toBe("BatchNorm2d");
    expect(nn.isBatchNorm(new Renamed(3))).toBe(true);
    class Own extends nn.BatchNorm1d {
      static override readonly kind = "Own";
    }
    expect(nn.isBatchNorm(new Own(3))).toBe(true);
    expect(nn.isBatchNorm(new nn.Linear(1, 1))).toBe(false);
    expect(nn.isBatchNorm({ kind: "BatchNorm2d" })).toBe(false);
  });

  test("prints as PyTorch's tree", () => {
    expect(
      String(new nn.Sequential(new nn.Conv2d(1, 8, 3, { padding: 1, bias: false }), new nn.ReLU())),
    ).toBe(
      "Sequential(\n" +
        "  (0): Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)\n" +
        "  (1): ReLU()\n" +
        ")",
    );
  });

  test("hooks replace arguments and outputs until they are removed", () => {
    const layer = new nn.ReLU();
    const pre = layer.registerForwardPreHook((_module, [x]) => (x instanceof Tensor ? x.neg() : x));
    const post = layer.registerForwardHook((_module, _args, y) =>
      y instanceof Tensor ? y.add(1) : y,
    );
    expect(Array.from(layer(tensor([-2, 3])).dataSync())).toEqual([3, 1]);
    pre.remove();
    post.remove();
    expect(Array.from(layer(tensor([-2, 3])).dataSync())).toEqual([0, 3]);
  });

  test("moves between devices keeping the identity of parameters, so that optimizers stay valid", () => {
    const layer = new nn.Linear(2, 1);
    const opt = new optim.SGD(layer.parameters(), { lr: 1 });
    const { weight } = layer;
    layer.to("reference").to("float64");
    expect(layer.weight).toBe(weight);
    expect([weight.device, weight.dtype]).toEqual(["reference", "float64"]);
    const before = Array.from(weight.dataSync());
    const x = tensor([[1, 2]], { device: "reference", dtype: "float64" });
    layer(x).sum().backward();
    opt.step();
    expect(Array.from(weight.dataSync())).toEqual([before[0] - 1, before[1] - 2]);
    expect(() => layer.to("cpu")).toThrow(DTypeError);
    expect(weight.device).toBe("reference");
  });

  test("takes only fitting values in registered places", () => {
    const bn = new nn.BatchNorm1d(2);
    expect(() => Reflect.set(bn, "weight", tensor([1, 1]))).toThrow(/new nn.Parameter/);
    expect(() => Reflect.set(bn, "numBatchesTracked", tensor([1]))).toThrow(TypeError);
    bn.weight = null;
    expect([...bn.stateDict().keys()][0]).toBe("bias");
  });
});

test("a buffer that is not persistent is moved and copied, but in no state dict", () => {
  class Masked extends nn.Module {
    static override readonly kind = "Masked";
    declare mask: Tensor;
    constructor() {
      super();
      this.registerBuffer("mask", tensor([1, 0]), { persistent: false });
    }
    forward(x: Tensor): Tensor {
      return x.mul(this.mask);
    }
  }
  const model = new Masked();
  expect([...model.stateDict().keys()]).toEqual([]);
  expect(model.namedBuffers().map(([name]) => name)).toEqual(["mask"]);
  expect(model.loadStateDict({})).toEqual({ missingKeys: [], unexpectedKeys: [] });
  expect(() => model.loadStateDict({ mask: tensor([1, 1]) })).toThrow(/unexpected mask/);
  expect([...model.clone().stateDict().keys()]).toEqual([]);
  expect(model.to("reference").mask.device).toBe("reference");
});

test("zeroGrad drops the gradients of every parameter", () => {
  const layer = new nn.Linear(2, 1);
  layer(tensor([[1, 2]])).backward();
  expect(layer.parameters().every(({ grad }) => grad !== null)).toBe(true);
  layer.zeroGrad();
  expect(layer.parameters().every(({ grad }) => grad === null)).toBe(true);
});

describe("loadStateDict", () => {
  const ended = tensor([7]);
  ended.dispose();
  const entry = (values: number[]) => ({
    ...({ dtype: "float32", shape: [1], data: () => Float32Array.from(values) } as const),
  });
  test.each<[string, unknown, string]>([
    ["a tensor that has ended", ended, "given back by dispose()"],
    ["an entry with too many values", entry([1, 2]), "expected 1 values in an entry of shape (1,)"],
    ["an entry with too few", entry([]), "got 0"],
    ["an array", [7], "a file's entry for bias, got an array"],
    ["text", "7", "a file's entry for bias, got string"],
  ])("%s is an error, and nothing is written", (_, bias, message) => {
    const layer = new nn.Linear(1, 1);
    const before = layer.weight.dataSync();
    const load = () => Reflect.apply(layer.loadStateDict, layer, [{ weight: tensor([[9]]), bias }]);
    expect(load).toThrow(message);
    expect(layer.weight.dataSync()).toEqual(before);
  });

  test.each([[null], [7], ["state.pth"]])("takes no %s", (source) => {
    const layer = new nn.Linear(1, 1);
    expect(() => Reflect.apply(layer.loadStateDict, layer, [source])).toThrow(
      /loadStateDict: expected a Map or an object of entries by key, got (null|number|string)/,
    );
  });

  test("suggests the key that was meant", () => {
    const net = new nn.Sequential(new nn.BatchNorm1d(1));
    const dict = Object.fromEntries(net.stateDict());
    const { "0.running_mean": mean, ...rest } = dict;
    expect(() => net.loadStateDict({ ...rest, "0.runing_mean": mean })).toThrow(
      /missing 0.running_mean \(1,\) \(there is 0.runing_mean \(1,\)\); unexpected 0.runing_mean .*the model has 0.running_mean/,
    );
  });

  test("converts float16, bfloat16 and int64 entries exactly", () => {
    const bn = new nn.BatchNorm1d(2);
    bn.loadStateDict({
      weight: { dtype: "float16", shape: [2], data: () => Uint16Array.of(0x3c01, 0x0001) },
      bias: { dtype: "bfloat16", shape: [2], data: () => Uint16Array.of(0xc040, 0x3f80) },
      running_mean: tensor([1, 2]),
      running_var: tensor([3, 4]),
      num_batches_tracked: { dtype: "int64", shape: [], data: () => BigInt64Array.of(7n) },
    });
    expect(Array.from(bn.weight?.dataSync() ?? [])).toEqual([1 + 1 / 1024, 2 ** -24]);
    expect(Array.from(bn.bias?.dataSync() ?? [])).toEqual([-3, 1]);
    expect(bn.numBatchesTracked).toBe(7);
  });
});

test("arange counts in float32 unless told otherwise", () => {
  expect([arange(3).dtype, arange(0, 3, 1, { dtype: "int32" }).dtype]).toEqual([
    "float32",
    "int32",
  ]);
  expect(Array.from(arange(1, 2, 0.25).dataSync())).toEqual([1, 1.25, 1.5, 1.75]);
});

describe("constructors refuse", () => {
  test.each([
    ["Linear with a negative size", () => new nn.Linear(-1, 2)],
    ["Conv2d with groups that do not divide", () => new nn.Conv2d(3, 4, 3, { groups: 2 })],
    ["Conv2d with an empty kernel", () => new nn.Conv2d(3, 4, 0)],
    ["MaxPool2d with a fractional kernel", () => new nn.MaxPool2d(1.5)],
    ["Dropout with p above 1", () => new nn.Dropout(1.5)],
    [
      "BatchNorm with a policy that does not exist",
      () => new nn.BatchNorm1d(1, JSON.parse('{"onNonFinite":"ignore"}')),
    ],
    ["SGD without parameters", () => new optim.SGD([])],
    ["SGD with a negative rate", () => new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: -1 })],
    [
      "SGD with Nesterov but no momentum",
      () => new optim.SGD(new nn.Linear(1, 1).parameters(), { nesterov: true }),
    ],
    [
      "Adam with a beta of 1",
      () => new optim.Adam(new nn.Linear(1, 1).parameters(), { betas: [1, 0.9] }),
    ],
    [
      "SGD on the result of an operation",
      () => new optim.SGD([tensor([1], { requiresGrad: true }).mul(2)]),
    ],
    ["a ModuleList that is called", () => new nn.ModuleList([new nn.ReLU()])()],
    ["Sequential.at beyond its end", () => new nn.Sequential(new nn.ReLU()).at(1)],
  ])("%s", (_name, construct) => {
    expect(construct).toThrow(ArgumentError);
  });
});

describe("operations refuse", () => {
  const x = randn([2, 3, 4, 4]);
  test.each([
    [
      "shapes that do not broadcast",
      () => tensor([1, 2]).add(tensor([1, 2, 3])),
      /broadcast|equal or 1/,
    ],
    ["inner sizes that differ", () => randn([2, 3]).matmul(randn([2, 3])), /matmul/],
    ["channels last", () => nn.functional.conv2d(randn([2, 4, 4, 3]), randn([5, 3, 3, 3])), /NHWC/],
    ["a kernel larger than the image", () => nn.functional.conv2d(x, randn([5, 3, 7, 7])), /fits/],
    ["a reshape to another count", () => x.reshape([5, -1]), /96 elements/],
    ["an axis that is not there", () => x.sum(4), /axis/],
    ["an axis named twice", () => x.sum([1, -3]), /distinct/],
    ["ragged arrays", () => tensor([[1, 2], [3]]), /nested evenly/],
    [
      "logits and labels that do not fit",
      () => nn.functional.crossEntropy(randn([2, 3]), tensor(Int32Array.of(1))),
      /labels/,
    ],
    ["an axis of reduce for argmax that is empty", () => tensor([]).argmax(0), /at least one/],
    ["features on another axis", () => nn.functional.linear(x, randn([2, 3])), /flatten/],
  ])("%s", (_name, run, message) => {
    expect(run).toThrow(ShapeError);
    expect(run).toThrow(message);
  });

  test("what is no tensor, naming what it is", () => {
    const nothing: unknown = undefined;
    expect(() => Reflect.apply(nn.functional.relu, null, [nothing])).toThrow(
      "relu: expected a tensor, got undefined",
    );
    expect(() => Reflect.apply(tensor([1]).add, tensor([1]), [null])).toThrow(
      "add: expected a tensor, got null",
    );
    expect(() => Reflect.apply(new nn.BatchNorm1d(1), null, ["x"])).toThrow(
      "BatchNorm1d: expected a tensor, got string",
    );
  });

  test("more memory than there is, naming the tensor and the way out", () => {
    expect(() => tensor([1]).expand([100_000, 100_000])).toThrow(
      /room for float32 of shape \(100000, 100000\), 40000000000 bytes.*scope/,
    );
  });

  test("a label outside the classes, by position", () => {
    const labels = tensor(Int32Array.of(0, 3));
    expect(() => nn.functional.crossEntropy(randn([2, 3]), labels)).toThrow(/3 at position 1/);
  });

  test("mixed dtypes and devices, naming the conversion", () => {
    const ints = tensor(Int32Array.of(1, 2));
    expect(() => ints.add(tensor([1, 2]))).toThrow(DTypeError);
    expect(() => ints.add(0.5)).toThrow(/to\("float32"\)/);
    expect(() => ints.exp()).toThrow(DTypeError);
    expect(() => tensor([1, 2], { device: "reference" }).add(tensor([1, 2]))).toThrow(
      /to\("reference"\)/,
    );
    expect(() => tensor([1], { dtype: "float64" })).toThrow(/reference/);
  });
});

import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  DTypeError,
  manualSeed,
  nn,
  ones,
  randn,
  ShapeError,
  type Tensor,
  zeros,
} from "../src/index.ts";
import { expectClose, expectSameBytes } from "./support/close.ts";
import { type Inputs, testOperations } from "./support/op-fixtures.ts";

const { conv1d, conv2d, conv3d, convTranspose1d, convTranspose2d, convTranspose3d } = nn.functional;

type One = readonly [number];
type Two = readonly [number, number];
type Three = readonly [number, number, number];

/** A case has the sizes of its own number of axes. */
interface Options {
  readonly stride: One & Two & Three;
  readonly padding: One & Two & Three;
  readonly outputPadding: One & Two & Three;
  readonly dilation: One & Two & Three;
  readonly groups: number;
  readonly kernelSize: One & Two & Three;
  readonly kind: keyof typeof layers;
  readonly channels: readonly [number, number];
  readonly bias: boolean;
  readonly text: string;
  readonly outputSize: readonly number[];
}

const layers = {
  Conv1d: nn.Conv1d,
  Conv2d: nn.Conv2d,
  Conv3d: nn.Conv3d,
  ConvTranspose1d: nn.ConvTranspose1d,
  ConvTranspose2d: nn.ConvTranspose2d,
  ConvTranspose3d: nn.ConvTranspose3d,
};

/** The layer with the case's weights, and its printed form along the way. */
function callLayer({ x, ...state }: Inputs, options: Options): Tensor {
  const { kind, channels, kernelSize, outputSize, text } = options;
  const layer = new layers[kind](...channels, kernelSize, options).to(x.device).to(x.dtype);
  layer.loadStateDict(state);
  expect(String(layer)).toBe(text);
  layer.setRequiresGrad(false);
  return layer(x, outputSize);
}

testOperations<Options>("convolutions", {
  conv1d: ({ x, weight, bias }, options) => conv1d(x, weight, { ...options, bias }),
  conv2d: ({ x, weight, bias }, options) => conv2d(x, weight, { ...options, bias }),
  conv3d: ({ x, weight, bias }, options) => conv3d(x, weight, { ...options, bias }),
  convTranspose1d: ({ x, weight, bias }, o) => convTranspose1d(x, weight, { ...o, bias }),
  convTranspose2d: ({ x, weight, bias }, o) => convTranspose2d(x, weight, { ...o, bias }),
  convTranspose3d: ({ x, weight, bias }, o) => convTranspose3d(x, weight, { ...o, bias }),
  layer: callLayer,
});

describe("a convolution of one axis, and of one image", () => {
  test("is that of two axes with a height of 1", () => {
    const [x, weight] = [randn([2, 3, 9]), randn([4, 3, 3])];
    const y = conv1d(x, weight, { stride: 2, padding: 1 });
    const plane = conv2d(x.reshape([2, 3, 1, 9]), weight.reshape([4, 3, 1, 3]), {
      stride: [1, 2],
      padding: [0, 1],
    });
    expectSameBytes(y.dataSync(), plane.dataSync());
  });

  test("needs no axis N, and neither do its gradients", () => {
    const x = randn([2, 4, 5]);
    x.requiresGrad = true;
    const y = new nn.Conv2d(2, 3, 3)(x);
    expect(y.shape).toEqual([3, 2, 3]);
    y.sum().backward();
    expect(x.grad?.shape).toEqual([2, 4, 5]);
  });

  test("no images at all give no output and gradients of zero", () => {
    const [x, weight, bias] = [zeros([0, 2, 5, 5]), ones([4, 2, 3, 3]), ones([4])];
    for (const t of [x, weight, bias]) t.requiresGrad = true;
    const y = conv2d(x, weight, { bias });
    expect(y.shape).toEqual([0, 4, 3, 3]);
    y.sum().backward();
    expect([weight, bias].map((t) => Math.max(...(t.grad?.dataSync() ?? [1])))).toEqual([0, 0]);
  });
});

describe("a transposed convolution", () => {
  test("is the gradient of the convolution with the same weight", () => {
    const x = randn([2, 4, 7, 6]);
    x.requiresGrad = true;
    const [weight, dy] = [randn([6, 2, 3, 2]), randn([2, 6, 4, 4])];
    const options = { stride: [2, 1], padding: [1, 0], dilation: [1, 2], groups: 2 } as const;
    conv2d(x, weight, options).backward(dy);
    const y = convTranspose2d(dy, weight, options);
    expectSameBytes(y.dataSync(), x.grad?.dataSync() ?? new Float32Array(0));
  });

  test("gives the bias alone where no element of x reaches", () => {
    const bias = ones([1]);
    const y = convTranspose1d(ones([1, 2]), ones([1, 1, 1]), { stride: 3, outputPadding: 2, bias });
    expect(Array.from(y.dataSync())).toEqual([2, 1, 1, 2, 1, 1]);
  });

  test("undoes the shape of a convolution, whatever its remainder, when given the size", () => {
    const options = { stride: 3, padding: 1 };
    const [down, up] = [new nn.Conv2d(1, 1, 4, options), new nn.ConvTranspose2d(1, 1, 4, options)];
    for (const size of [9, 10, 11, 12, 13]) {
      const x = randn([1, 1, size, 12]);
      expect(up(down(x), x.shape).shape).toEqual(x.shape);
      expect(up(down(x), [size, 12]).shape).toEqual(x.shape);
    }
  });
});

describe("weights begin as PyTorch's do: uniform up to 1 / sqrt(fan-in)", () => {
  test.each([
    ["Conv1d", new nn.Conv1d(64, 32, 5, { groups: 2 }), [32, 32, 5], 160],
    ["Conv2d", new nn.Conv2d(32, 64, [3, 2]), [64, 32, 3, 2], 192],
    ["Conv3d", new nn.Conv3d(8, 32, [3, 1, 3]), [32, 8, 3, 1, 3], 72],
    // What lies behind axis 0 counts, although the inputs are that axis.
    ["ConvTranspose1d", new nn.ConvTranspose1d(64, 8, 5), [64, 8, 5], 40],
    ["ConvTranspose2d", new nn.ConvTranspose2d(64, 16, 3, { groups: 4 }), [64, 4, 3, 3], 36],
  ])("%s", (_, layer, shape, fanIn) => {
    expect(layer.weight.shape).toEqual(shape);
    expect([...layer.stateDict().keys()]).toEqual(["weight", "bias"]);
    const values = layer.weight.dataSync();
    const bound = 1 / Math.sqrt(fanIn);
    expect(Math.max(...values)).toBeLessThanOrEqual(bound);
    expect(Math.max(...values)).toBeGreaterThan(0.98 * bound);
    expect(Math.min(...values)).toBeLessThan(-0.98 * bound);
    const biases = layer.bias?.dataSync() ?? [];
    expect(Math.max(...Array.from(biases, Math.abs))).toBeLessThanOrEqual(bound);
    expect(layer.bias?.shape).toEqual([layer.outChannels]);
  });

  test("the same seed gives the same layer", () => {
    const draw = () => {
      manualSeed(3);
      return new nn.ConvTranspose1d(2, 3, 3).weight.dataSync();
    };
    expectSameBytes(draw(), draw());
  });
});

test("three axes: many images at once give what they give in two halves, gradients too", () => {
  // A million elements each once the depth is unfolded: 16 make a pass.
  const shape = [20, 4, 20, 48, 48];
  const weight = randn([2, 4, 11, 3, 3]);
  const [all, ...halves] = [
    [0, 20],
    [0, 10],
    [10, 20],
  ].map(([first, last]) => {
    manualSeed(4);
    const [x, w] = [randn(shape).slice(first, last).clone(), weight.clone()];
    for (const t of [x, w]) t.requiresGrad = true;
    const y = conv3d(x, w, { padding: [0, 1, 0] });
    // Small, so that the sums over millions of products are about 1.
    y.backward(y.detach().mul(2 ** -20));
    return [y, x.grad, w.grad].map((t) => t?.dataSync() ?? new Float32Array(0));
  });
  for (const result of [0, 1]) {
    const { length } = halves[0][result];
    expectSameBytes(all[result].subarray(0, length), halves[0][result]);
    expectSameBytes(all[result].subarray(length), halves[1][result]);
  }
  expectClose(
    all[2],
    halves[0][2].map((g, i) => g + halves[1][2][i]),
  );
});

describe("errors say what was expected", () => {
  const x = randn([2, 3, 6, 6]);
  const weight = randn([4, 3, 3, 3]);
  test.each<[string, () => unknown, new (...args: never[]) => Error, RegExp]>([
    [
      "an axis too few",
      () => conv2d(randn([6, 6]), weight),
      ShapeError,
      /4 axes \(N, C, H, W\) or 3/,
    ],
    ["a weight of other rank", () => conv2d(x, randn([4, 3, 3])), ShapeError, /weight of 4 axes/],
    [
      "other channels",
      () => conv1d(randn([2, 4, 6]), randn([2, 3, 1])),
      ShapeError,
      /C = 3.*axis 1/,
    ],
    [
      "other channels, one image",
      () => conv1d(randn([4, 6]), randn([2, 3, 1])),
      ShapeError,
      /axis 0/,
    ],
    ["a bias of other length", () => conv2d(x, weight, { bias: ones([3]) }), ShapeError, /\(4,\)/],
    [
      "a kernel too large",
      () => conv3d(randn([1, 2, 2, 2]), randn([1, 1, 3, 1, 1])),
      ShapeError,
      /fits/,
    ],
    [
      "integers",
      () => conv2d(zeros([1, 3, 6, 6], { dtype: "int32" }), weight),
      DTypeError,
      /floating/,
    ],
    [
      "groups that do not divide",
      () => conv2d(x, weight, { groups: 3 }),
      ArgumentError,
      /divides the 4/,
    ],
    ["no groups", () => conv2d(x, weight, { groups: 0 }), ArgumentError, /groups/],
    ["a stride of 0", () => conv2d(x, weight, { stride: 0 }), ArgumentError, /stride.*>= 1/],
    ["padding below 0", () => conv2d(x, weight, { padding: -1 }), ArgumentError, /padding.*>= 0/],
    [
      '"same" with a stride',
      () => conv2d(x, weight, { padding: "same", stride: [1, 2] }),
      ArgumentError,
      /stride 1 with padding "same", got stride \(1, 2\)/,
    ],
    [
      "more output padding than stride and dilation",
      () => convTranspose1d(randn([3, 4]), randn([3, 2, 2]), { stride: 2, outputPadding: 2 }),
      ArgumentError,
      /outputPadding smaller than stride or dilation/,
    ],
    [
      "other channels, transposed",
      () => convTranspose2d(x, randn([4, 3, 3, 3])),
      ShapeError,
      /C = 4 channels/,
    ],
    [
      "groups that do not divide, transposed",
      () => convTranspose2d(x, randn([3, 3, 1, 1]), { groups: 2 }),
      ArgumentError,
      /divides the 3/,
    ],
    [
      "nothing left by the padding",
      () => convTranspose1d(randn([1, 1]), randn([1, 1, 2]), { padding: 1 }),
      ShapeError,
      /at least one place.*\(0,\)/,
    ],
  ])("%s", (_, run, kind, message) => {
    expect(run).toThrow(kind);
    expect(run).toThrow(message);
  });

  const transposed = new nn.ConvTranspose2d(3, 2, 3, { stride: 2 });
  test.each<[string, () => unknown, new (...args: never[]) => Error, RegExp]>([
    [
      "a size that x cannot give",
      () => transposed(x, [13, 15]),
      ShapeError,
      /\(13, 13\) to \(14, 14\)/,
    ],
    ["a size of one axis", () => transposed(x, [13]), ShapeError, /2 or 4 numbers/],
    ["channels below 1", () => new nn.Conv1d(0, 2, 3), ArgumentError, /Conv1d.*channels/],
    [
      "groups",
      () => new nn.ConvTranspose2d(3, 4, 3, { groups: 2 }),
      ArgumentError,
      /dividing both/,
    ],
    ["an empty kernel", () => new nn.Conv3d(1, 1, [1, 0, 1]), ArgumentError, /kernelSize.*>= 1/],
    [
      '"same" with a stride',
      () => new nn.Conv1d(1, 1, 3, { stride: 2, padding: "same" }),
      ArgumentError,
      /Conv1d.*stride 1/,
    ],
    [
      "another word for padding",
      () => new nn.Conv2d(1, 1, 3, JSON.parse('{"padding":"full"}')),
      ArgumentError,
      /"same" or "valid", got "full"/,
    ],
    [
      "another padding mode",
      () => new nn.Conv2d(1, 1, 3, JSON.parse('{"paddingMode":"wrap"}')),
      ArgumentError,
      /zeros, reflect, replicate, circular, got "wrap"/,
    ],
    [
      "more reflection than there is",
      () => new nn.Conv2d(3, 1, 3, { padding: 6, paddingMode: "reflect" })(x),
      ShapeError,
      /reflect/,
    ],
  ])("layer: %s", (_, run, kind, message) => {
    expect(run).toThrow(kind);
    expect(run).toThrow(message);
  });
});

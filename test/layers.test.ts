/** What holds for every layer that `nn` exports, whatever it computes. */
import { describe, expect, test } from "vitest";
import { manualSeed, nn, randn, Tensor, tensor } from "../src/index.ts";

interface LayerCase {
  readonly make: () => nn.Module;
  /** Arguments of a call: shapes of floats drawn at random, or tensors. */
  readonly input: readonly (readonly number[] | Tensor)[];
}

const line = [4, 3, 8];
const plane = [4, 3, 8, 8];
const volume = [2, 3, 4, 5, 6];
const labels = tensor(Int32Array.of(0, 2, 1, 1));

const layers: Readonly<Record<string, LayerCase>> = {
  AdaptiveAvgPool1d: { make: () => new nn.AdaptiveAvgPool1d(3), input: [line] },
  AdaptiveAvgPool2d: { make: () => new nn.AdaptiveAvgPool2d([3, 2]), input: [plane] },
  AdaptiveAvgPool3d: { make: () => new nn.AdaptiveAvgPool3d(2), input: [volume] },
  AdaptiveMaxPool1d: { make: () => new nn.AdaptiveMaxPool1d(3), input: [line] },
  AdaptiveMaxPool2d: { make: () => new nn.AdaptiveMaxPool2d(3), input: [plane] },
  AdaptiveMaxPool3d: { make: () => new nn.AdaptiveMaxPool3d(2), input: [volume] },
  AvgPool1d: { make: () => new nn.AvgPool1d(2), input: [line] },
  AvgPool2d: { make: () => new nn.AvgPool2d(2), input: [plane] },
  AvgPool3d: { make: () => new nn.AvgPool3d(2), input: [volume] },
  BatchNorm1d: { make: () => new nn.BatchNorm1d(3), input: [line] },
  BatchNorm2d: { make: () => new nn.BatchNorm2d(3), input: [plane] },
  BatchNorm3d: { make: () => new nn.BatchNorm3d(3), input: [volume] },
  BCEWithLogitsLoss: { make: () => new nn.BCEWithLogitsLoss(), input: [line, line] },
  Conv1d: { make: () => new nn.Conv1d(3, 2, 3, { padding: 1 }), input: [line] },
  Conv2d: { make: () => new nn.Conv2d(3, 2, 3, { stride: 2 }), input: [plane] },
  Conv3d: { make: () => new nn.Conv3d(3, 2, 2), input: [volume] },
  ConvTranspose1d: { make: () => new nn.ConvTranspose1d(3, 2, 3), input: [line] },
  ConvTranspose2d: { make: () => new nn.ConvTranspose2d(3, 2, 3), input: [plane] },
  ConvTranspose3d: { make: () => new nn.ConvTranspose3d(3, 2, 2), input: [volume] },
  CrossEntropyLoss: { make: () => new nn.CrossEntropyLoss(), input: [[4, 3], labels] },
  Dropout: { make: () => new nn.Dropout(), input: [line] },
  Dropout1d: { make: () => new nn.Dropout1d(), input: [line] },
  Dropout2d: { make: () => new nn.Dropout2d(), input: [plane] },
  Dropout3d: { make: () => new nn.Dropout3d(), input: [volume] },
  FrozenBatchNorm2d: { make: () => new nn.FrozenBatchNorm2d(3), input: [plane] },
  GroupNorm: { make: () => new nn.GroupNorm(3, 3), input: [plane] },
  InstanceNorm1d: { make: () => new nn.InstanceNorm1d(3), input: [line] },
  InstanceNorm2d: { make: () => new nn.InstanceNorm2d(3), input: [plane] },
  InstanceNorm3d: { make: () => new nn.InstanceNorm3d(3), input: [volume] },
  LayerNorm: { make: () => new nn.LayerNorm(8), input: [line] },
  Flatten: { make: () => new nn.Flatten(), input: [plane] },
  GELU: { make: () => new nn.GELU(), input: [line] },
  HuberLoss: { make: () => new nn.HuberLoss(), input: [line, line] },
  Identity: { make: () => new nn.Identity(), input: [line] },
  L1Loss: { make: () => new nn.L1Loss(), input: [line, line] },
  LazyBatchNorm1d: { make: () => new nn.LazyBatchNorm1d(), input: [line] },
  LazyBatchNorm2d: { make: () => new nn.LazyBatchNorm2d(), input: [plane] },
  LazyBatchNorm3d: { make: () => new nn.LazyBatchNorm3d(), input: [volume] },
  LeakyReLU: { make: () => new nn.LeakyReLU(0.2), input: [line] },
  Linear: { make: () => new nn.Linear(8, 2), input: [line] },
  LogSoftmax: { make: () => new nn.LogSoftmax(1), input: [line] },
  MaxPool1d: { make: () => new nn.MaxPool1d(2), input: [line] },
  MaxPool2d: { make: () => new nn.MaxPool2d(2), input: [plane] },
  MaxPool3d: { make: () => new nn.MaxPool3d(2), input: [volume] },
  MSELoss: { make: () => new nn.MSELoss(), input: [line, line] },
  NLLLoss: { make: () => new nn.NLLLoss(), input: [[4, 3], labels] },
  ReLU: { make: () => new nn.ReLU(), input: [line] },
  ReLU6: { make: () => new nn.ReLU6(), input: [line] },
  Sequential: {
    make: () => new nn.Sequential(new nn.Linear(8, 8), new nn.BatchNorm1d(3)),
    input: [line],
  },
  Sigmoid: { make: () => new nn.Sigmoid(), input: [line] },
  SiLU: { make: () => new nn.SiLU(), input: [line] },
  SmoothL1Loss: { make: () => new nn.SmoothL1Loss(), input: [line, line] },
  Softmax: { make: () => new nn.Softmax(1), input: [line] },
  Softplus: { make: () => new nn.Softplus(), input: [line] },
  Tanh: { make: () => new nn.Tanh(), input: [line] },
};

/** Module classes that cannot be called, or not on their own. */
const notLayers = ["Module", "ModuleList"];

function isModuleClass(value: unknown): boolean {
  return (
    typeof value === "function" && (value === nn.Module || value.prototype instanceof nn.Module)
  );
}

test("the table has every module that nn exports", () => {
  const exported = Object.entries(nn).flatMap(([name, value]) =>
    isModuleClass(value) ? [name] : [],
  );
  expect(exported.sort()).toEqual([...Object.keys(layers), ...notLayers].sort());
});

function draw(input: LayerCase["input"], requiresGrad: boolean): Tensor[] {
  manualSeed(5);
  return input.map((item) => {
    const given = item instanceof Tensor ? item : randn(item);
    if (requiresGrad && given.dtype === "float32") given.requiresGrad = true;
    return given;
  });
}

/** Output, gradients and state after one call and its backward. */
function trace(layer: nn.Module, input: LayerCase["input"]): unknown {
  const args = draw(input, true);
  manualSeed(6);
  const y = layer.invoke(args) as Tensor;
  y.backward(randn(y.shape));
  const gradients = [...args, ...layer.parameters()].map(
    (t) => t.grad && Array.from(t.grad.dataSync()),
  );
  const state = [...layer.stateDict()].map(([key, value]) => [
    key,
    typeof value === "number" ? value : Array.from(value.dataSync()),
  ]);
  return { y: Array.from(y.dataSync()), gradients, state };
}

describe.each(Object.entries(layers))("nn.%s", (name, { make, input }) => {
  test("has its exported name as its kind, which survives minifiers, and prints it", () => {
    const layer = make();
    expect(layer.kind).toBe(name);
    expect(String(layer).startsWith(`${name}(`)).toBe(true);
    expect(Object.hasOwn(layer.constructor, "kind")).toBe(true);
  });

  test("computes the same as a clone and recomputed, forward and backward", () => {
    const layer = make();
    const copies = [layer.clone(), layer.clone()];
    const expected = trace(layer, input);
    expect(trace(copies[0], input)).toEqual(expected);
    const wrapped = new Recomputed(copies[1]);
    const { y, gradients } = trace(wrapped, input) as { y: unknown; gradients: unknown };
    expect({ y, gradients }).toEqual({ y, gradients, ...pick(expected) });
  });

  test("refuses what is no tensor, by name", () => {
    const layer = make();
    expect(() => layer.invoke(["x", "x"])).toThrow(/expected (a|x|an|input|logits)/i);
  });
});

class Recomputed extends nn.Module {
  static override readonly kind = "Recomputed";
  readonly inner: nn.Module;
  constructor(inner: nn.Module) {
    super();
    this.inner = inner;
  }
  forward(...args: unknown[]): unknown {
    return nn.recompute((...again: unknown[]) => this.inner.invoke(again), ...args);
  }
}

function pick(traced: unknown): object {
  const { y, gradients } = traced as { y: unknown; gradients: unknown };
  return { y, gradients };
}

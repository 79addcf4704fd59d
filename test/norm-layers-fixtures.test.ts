/** Replays what PyTorch's normalization layers were put through: outputs, gradients, and running statistics after every call. */
import { describe, expect, test } from "vitest";
import { nn, type Tensor } from "../src/index.ts";
import { expectClose, tolerance } from "./support/close.ts";
import { Fixture, type Placement, readCases } from "./support/fixtures.ts";

const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;

/** Gradients of parameters add up a sample's worth of products: their roundings are those of the terms. */
const pairs = { float32: { rtol: 1e-5, atol: 2e-5 }, float64: tolerance.float64 };

interface Step {
  readonly training: boolean;
  readonly trackRunningStats?: boolean;
}

interface Case {
  readonly name: string;
  readonly module: Kind;
  readonly args: readonly (number | readonly number[])[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly weightNorm?: { readonly dim: number | null };
  readonly printed: string;
  readonly steps: readonly Step[];
}

const kinds = [
  ...(["LayerNorm", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"] as const),
  ...(["Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d"] as const),
] as const;
type Kind = (typeof kinds)[number];
type AnyLayer = nn.Module & ((x: Tensor) => Tensor);

const fixture = new Fixture("norm-layers");
const cases = readCases<Case>("norm-layers");

function build({ module, args, options, weightNorm }: Case): AnyLayer {
  const layer: AnyLayer = Reflect.construct(nn[module], [...args, options]);
  return weightNorm === undefined ? layer : nn.weightNorm(layer, "weight", weightNorm.dim);
}

function startOf(name: string, place: Placement): Map<string, Tensor> {
  const prefix = `${name}/start/`;
  const keys = fixture.keys().filter((key) => key.startsWith(prefix));
  return new Map(keys.map((key) => [key.slice(prefix.length), fixture.tensor(key, place)]));
}

test("the fixtures hold every kind of layer", () => {
  expect(new Set(cases.map(({ module }) => module))).toEqual(new Set(kinds));
});

test.each(cases)("$name prints as PyTorch prints it and holds the same keys", (item) => {
  const layer = build(item);
  expect(String(layer)).toBe(item.printed);
  const start = startOf(item.name, { device: "cpu", dtype: "float32" });
  expect([...layer.stateDict().keys()].sort()).toEqual([...start.keys()].sort());
});

describe.each(placements)("$dtype on $device follows PyTorch through", (place) => {
  const pair = pairs[place.dtype];
  async function expectSame(actual: Tensor | null, key: string): Promise<void> {
    const { shape, values } = fixture.get(key);
    expect(actual?.shape, `shape of ${key}`).toEqual(shape);
    expectClose((await actual?.data()) ?? [], values, pair, key);
  }

  test.each(cases)("$name", async (item) => {
    const layer = build(item).to(place.device).to(place.dtype);
    layer.loadStateDict(startOf(item.name, place));
    for (const [at, step] of item.steps.entries()) {
      const key = `${item.name}/${at}`;
      Object.assign(layer, step);
      layer.zeroGrad();
      const x = fixture.tensor(`${key}/x`, { ...place, requiresGrad: true });
      const y = layer(x);
      y.backward(fixture.tensor(`${key}/cotangent`, place));
      await expectSame(y, `${key}/y`);
      await expectSame(x.grad, `${key}/dx`);
      for (const [name, parameter] of layer.namedParameters()) {
        await expectSame(parameter.grad, `${key}/d_${name}`);
      }
      const tensors = layer.namedBuffers().filter(([name]) => name !== "num_batches_tracked");
      for (const [name, buffer] of tensors) await expectSame(buffer as Tensor, `${key}/${name}`);
      expect(layer.stateDict().get("num_batches_tracked") ?? 0).toBe(0);
    }
  });
});

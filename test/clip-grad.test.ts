import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  DeviceError,
  DTypeError,
  memory,
  nn,
  ones,
  randn,
  type Tensor,
  tensor,
  zeros,
} from "../src/index.ts";
import { expectClose, tolerance } from "./support/close.ts";
import { Fixture, type Placement, readCases } from "./support/fixtures.ts";
import { onWaitingDevice } from "./support/waiting-device.ts";

const { clipGradNorm, clipGradValue } = nn.utils;

interface Case {
  readonly name: string;
  readonly op: "clipGradNorm" | "clipGradValue";
  readonly count: number;
  readonly limit: number;
  readonly order: number | "Infinity" | null;
}

const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;

const fixture = new Fixture("clip_grad");
const cases = readCases<Case>("clip_grad");
const ofNorm = cases.filter(({ op }) => op === "clipGradNorm");
const ofValue = cases.filter(({ op }) => op === "clipGradValue");

/** A parameter of zeros with that gradient. */
function withGrad(grad: Tensor): nn.Parameter {
  const parameter = new nn.Parameter(zeros(grad.shape, { device: grad.device, dtype: grad.dtype }));
  parameter.grad = grad;
  return parameter;
}

function parametersOf({ name, count }: Case, placement: Placement): nn.Parameter[] {
  return Array.from({ length: count }, (_, i) =>
    withGrad(fixture.tensor(`${name}/before${i}`, placement)),
  );
}

async function expectClipped(
  parameters: readonly Tensor[],
  { name }: Case,
  { dtype }: { readonly dtype: "float32" | "float64" },
): Promise<void> {
  for (const [i, { grad }] of parameters.entries()) {
    const { shape, values } = fixture.get(`${name}/after${i}`);
    expect(grad?.shape).toEqual(shape);
    expectClose((await grad?.data()) ?? [], values, tolerance[dtype], `${name}/after${i}`);
  }
}

describe.each(placements)("$dtype on $device agrees with PyTorch", (placement) => {
  test.each(ofNorm)("$name: order $order, limit $limit", async (one) => {
    const parameters = parametersOf(one, placement);
    const total = clipGradNorm(parameters, one.limit, { normType: Number(one.order) });
    const { values } = fixture.get(`${one.name}/norm`);
    expect(total.shape).toEqual([]);
    expect(total.dtype).toBe(placement.dtype);
    expectClose(await total.data(), values, tolerance[placement.dtype], `${one.name}/norm`);
    await expectClipped(parameters, one, placement);
  });

  test.each(ofValue)("$name: limit $limit", async (one) => {
    const parameters = parametersOf(one, placement);
    clipGradValue(parameters, one.limit);
    await expectClipped(parameters, one, placement);
  });
});

describe("clipGradNorm", () => {
  test("leaves the norm at the limit or where it was, and the direction alone", () => {
    const numbers = fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1 });
    const limits = fc.float({ min: Math.fround(0.1), max: 200, noNaN: true });
    fc.assert(
      fc.property(numbers, limits, (values, limit) => {
        const p = withGrad(tensor(values));
        const [total] = clipGradNorm(p, limit).dataSync();
        const factor = Math.min(1, limit / (total + 1e-6));
        const after = Array.from(p.grad?.dataSync() ?? []);
        expectClose([total], [Math.hypot(...values)]);
        expectClose(
          after,
          values.map((v) => v * factor),
          { rtol: 2e-6, atol: 1e-30 },
        );
      }),
    );
  });

  test("does not tell gradients from one vector of all of them", () => {
    const [a, b] = [withGrad(randn([3, 4])), withGrad(randn([5]))];
    const values = [...(a.grad?.dataSync() ?? []), ...(b.grad?.dataSync() ?? [])];
    const whole = withGrad(tensor(values));
    expectClose(clipGradNorm([a, b], 1).dataSync(), clipGradNorm(whole, 1).dataSync());
    expectClose([...(a.grad?.dataSync() ?? [])], [...(whole.grad?.dataSync() ?? [])].slice(0, 12));
  });

  test("changes the gradient's own memory: views of it see the new values", () => {
    const p = withGrad(tensor([3, 4]));
    const view = p.grad?.detach();
    const { grad } = p;
    clipGradNorm(p, 1);
    expect(p.grad).toBe(grad);
    expectClose(view?.dataSync() ?? [], [0.6, 0.8]);
  });

  test("takes an iterator, passes over parameters without a gradient, and gives 0 for none", () => {
    const model = new nn.Linear(3, 2);
    expect(clipGradNorm(model.parameters(), 1).dataSync()).toEqual(Float32Array.of(0));
    model(ones([1, 3]))
      .sum()
      .backward();
    model.bias?.grad?.dispose();
    if (model.bias) model.bias.grad = null;
    expectClose(clipGradNorm(model.parameters().values(), 1).dataSync(), [Math.sqrt(6)]);
    expectClose(model.weight.grad?.dataSync() ?? [], new Array(6).fill(1 / Math.sqrt(6)));
  });

  test("counts a parameter that is listed twice twice, as PyTorch does", () => {
    const p = withGrad(tensor([3, 4]));
    expectClose(clipGradNorm([p, p], 1).dataSync(), [Math.sqrt(50)]);
  });

  test("leaves nothing behind but the norm", () => {
    const parameters = [withGrad(randn([50, 20])), withGrad(randn([7]))];
    const before = memory().tensors;
    const total = clipGradNorm(parameters, 1);
    expect(memory().tensors).toBe(before + 1);
    total.dispose();
  });

  test("throws for a non-finite norm when asked to, and scales nothing then", () => {
    const p = withGrad(tensor([1, Number.NaN]));
    expect(() => clipGradNorm(p, 1, { errorIfNonFinite: true })).toThrow(ArgumentError);
    expect(p.grad?.dataSync()).toEqual(Float32Array.of(1, Number.NaN));
    expect(() => clipGradNorm([], 1, { errorIfNonFinite: true })).not.toThrow();
  });

  test("does not read unless asked to, and refuses to where it would have to wait", async () => {
    const place = { shape: [2], dtype: "float32" } as const;
    const p = new nn.Parameter(onWaitingDevice(new Float32Array(2), place));
    p.grad = onWaitingDevice(Float32Array.of(3, 4), place);
    expect(() => clipGradNorm(p, 1, { errorIfNonFinite: true })).toThrow(DeviceError);
    const total = clipGradNorm(p, 1);
    expectClose(await total.data(), [5]);
    expectClose(await p.grad.data(), [0.6, 0.8]);
  });

  test("refuses orders and limits that mean nothing", () => {
    const p = withGrad(tensor([3, 4]));
    for (const normType of [0, -1, Number.NEGATIVE_INFINITY, Number.NaN]) {
      expect(() => clipGradNorm(p, 1, { normType })).toThrow(/normType above 0/);
    }
    expect(() => clipGradNorm(p, Number.NaN)).toThrow(ArgumentError);
    expect(p.grad?.dataSync()).toEqual(Float32Array.of(3, 4));
  });

  test("refuses gradients of several kinds", () => {
    const reference = { device: "reference" } as const;
    const one = withGrad(ones([2], reference));
    const doubled = withGrad(ones([2], { ...reference, dtype: "float64" }));
    expect(() => clipGradNorm([one, doubled], 1)).toThrow(DTypeError);
    expect(() => clipGradNorm([one, withGrad(ones([2]))], 1)).toThrow(DeviceError);
  });
});

describe("clipGradValue", () => {
  test("refuses a limit below 0", () => {
    for (const limit of [-1, Number.NaN]) {
      expect(() => clipGradValue(withGrad(tensor([1])), limit)).toThrow(ArgumentError);
    }
  });

  test("changes the gradient's own memory", () => {
    const p = withGrad(tensor([3, -4]));
    const view = p.grad?.detach();
    clipGradValue(p, 2);
    expect(view?.dataSync()).toEqual(Float32Array.of(2, -2));
  });
});

describe("both", () => {
  test("write over gradients as others may see: backward through a saved gradient notices", () => {
    const p = withGrad(tensor([3, 4]));
    const x = tensor([1, 1], { requiresGrad: true });
    const { grad } = p;
    const y = x.mul(grad ?? x).sum();
    clipGradNorm(p, 1);
    expect(() => y.backward()).toThrow(/overwritten by clipGradNorm/);
  });
});

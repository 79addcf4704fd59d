import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ArgumentError, DTypeError, nn, Tensor, tensor } from "../src/index.ts";
import { expectClose } from "./support/close.ts";
import { expectGradients } from "./support/gradcheck.ts";

const { functional } = nn;

const floats = fc.float32Array({ min: -30, max: 30, noNaN: true, minLength: 1, maxLength: 40 });

function valuesOf(t: Tensor): number[] {
  return Array.from(t.dataSync());
}

describe("gradients equal numeric derivatives in float64", () => {
  const functions: Readonly<Record<string, (x: Tensor) => Tensor>> = {
    relu6: (x) => x.mul(4).relu6(),
    gelu: (x) => x.gelu(),
    "gelu, approximate": (x) => x.gelu({ approximate: "tanh" }),
    silu: (x) => x.silu(),
    softplus: (x) => x.softplus(),
    "softplus with beta": (x) => x.softplus({ beta: 2.5 }),
    "softplus, mostly linear": (x) => x.softplus({ beta: -0.5, threshold: -3 }),
    rsqrt: (x) => x.mul(x).add(0.1).rsqrt(),
  };
  test.each(Object.entries(functions))("%s", (_name, f) => {
    for (const seed of [1, 2, 3]) expectGradients(f, [{ shape: [5, 7] }], seed);
    expectGradients(f, [{ shape: [40], range: [-5, 5] }]);
  });
});

describe("what holds for every input", () => {
  test.each([
    ["gelu", (x: Tensor) => x.gelu()],
    ["the approximate gelu", (x: Tensor) => x.gelu({ approximate: "tanh" })],
    ["silu", (x: Tensor) => x.silu()],
    ["softplus", (x: Tensor) => x.softplus({ threshold: 1000 })],
    ["relu", (x: Tensor) => x.relu()],
  ])("%s(x) - %s(-x) is x", (_name, f) => {
    fc.assert(
      fc.property(floats, (values) => {
        const x = tensor(values);
        expectClose(f(x).sub(f(x.neg())).dataSync(), values);
      }),
    );
  });

  test("the approximate gelu is within 5e-4 of the exact one", () => {
    fc.assert(
      fc.property(floats, (values) => {
        const x = tensor(values);
        const exact = x.gelu().dataSync();
        const bound = { rtol: 0, atol: 5e-4 };
        expectClose(x.gelu({ approximate: "tanh" }).dataSync(), exact, bound);
      }),
    );
  });

  test("relu6 is clamp from 0 to 6, gradients included", () => {
    fc.assert(
      fc.property(floats, (values) => {
        const [x, z] = [0, 1].map(() => tensor(values, { requiresGrad: true }));
        const [y, clamped] = [x.relu6(), z.clamp({ min: 0, max: 6 })];
        y.sum().backward();
        clamped.sum().backward();
        expect(valuesOf(y.add(0))).toEqual(valuesOf(clamped.add(0)));
        expect(valuesOf(x.grad ?? x)).toEqual(valuesOf(z.grad ?? z));
      }),
    );
  });
});

describe("special values", () => {
  const { NaN: nan } = Number;

  test("NaN stays NaN", () => {
    const x = tensor([nan]);
    const results = [x.relu6(), x.gelu(), x.gelu({ approximate: "tanh" }), x.silu(), x.softplus()];
    expect(results.map((y) => valuesOf(y)[0])).toEqual([nan, nan, nan, nan, nan]);
  });

  test("softplus gives x itself above the threshold, also where beta * x overflows", () => {
    const x = tensor([3e38, 1.5, 1.25, -3e38], { requiresGrad: true });
    const y = x.softplus({ beta: 4, threshold: 5 });
    expectClose(y.dataSync(), [3e38, 1.5, Math.log1p(Math.exp(5)) / 4, 0]);
    y.sum().backward();
    expectClose(x.grad?.dataSync() ?? [], [1, 1, 1 / (1 + Math.exp(-5)), 0]);
  });

  test("gelu keeps the digits of small results, where 1 + erf has none left", () => {
    // x * normal cdf of x, from 30 digits.
    const exact = [-4.04969409e-3, -1.433257859e-6, -7.619853024e-23];
    const relative = { rtol: 1.3e-6, atol: 0 };
    expectClose(tensor([-3, -5, -10]).gelu().dataSync(), exact, relative);
  });

  test("slopes of gelu and silu are 1 and 0 far out, and 1/2 at 0", () => {
    for (const f of [functional.gelu, functional.silu]) {
      const x = tensor([1e20, -1e20, 0], { requiresGrad: true });
      f(x).sum().backward();
      expect(valuesOf(x.grad ?? x).map((slope) => slope + 0)).toEqual([1, 0, 0.5]);
    }
  });
});

describe("layers", () => {
  const layers: readonly (readonly [string, nn.Layer, (x: Tensor) => Tensor])[] = [
    ["ReLU6()", new nn.ReLU6(), (x) => x.relu6()],
    ["GELU(approximate='none')", new nn.GELU(), (x) => x.gelu()],
    [
      "GELU(approximate='tanh')",
      new nn.GELU({ approximate: "tanh" }),
      (x) => x.gelu({ approximate: "tanh" }),
    ],
    ["SiLU()", new nn.SiLU(), (x) => x.silu()],
    ["Softplus(beta=1.0, threshold=20.0)", new nn.Softplus(), (x) => x.softplus()],
    [
      "Softplus(beta=2.5, threshold=1e-05)",
      new nn.Softplus({ beta: 2.5, threshold: 1e-5 }),
      (x) => x.softplus({ beta: 2.5, threshold: 1e-5 }),
    ],
    ["Softmax(dim=1)", new nn.Softmax(1), (x) => x.softmax(1)],
    ["Softmax(dim=-2)", new nn.Softmax(-2), (x) => x.softmax(0)],
    ["LogSoftmax(dim=-1)", new nn.LogSoftmax(-1), (x) => x.logSoftmax(1)],
  ];
  test.each(layers)(
    "%s is printed as by PyTorch and does what its function does",
    (text, layer, f) => {
      const x = tensor([
        [0.5, -1, 7],
        [2, 0, -3],
      ]);
      const y = layer(x);
      expect(String(layer)).toBe(text);
      expect(y).toBeInstanceOf(Tensor);
      expect([y].filter((t) => t instanceof Tensor).map(valuesOf)).toEqual([valuesOf(f(x))]);
    },
  );
});

describe("errors", () => {
  const integers = tensor(Int32Array.of(1, 2));
  test.each([
    ["relu6", () => integers.relu6()],
    ["gelu", () => integers.gelu()],
    ["silu", () => integers.silu()],
    ["softplus", () => integers.softplus({ beta: 2 })],
  ])("%s of integers is a DTypeError", (op, run) => {
    expect(run).toThrow(DTypeError);
    expect(run).toThrow(`${op}: expected a floating tensor, got int32`);
  });

  test("gelu and GELU name the approximations that exist", () => {
    const options = JSON.parse('{"approximate":"erf"}');
    for (const run of [() => tensor([1]).gelu(options), () => new nn.GELU(options)]) {
      expect(run).toThrow(ArgumentError);
      expect(run).toThrow('expected approximate "none" or "tanh", got "erf"');
    }
  });
});

test("activations on the reference device keep float64", () => {
  const x = tensor([-0.5], { device: "reference", dtype: "float64" });
  const results = [x.gelu(), x.gelu({ approximate: "tanh" }), x.silu(), x.softplus()];
  // From 30 digits.
  const exact = [-0.154268769362993, -0.154285990174856, -0.188770334399073, 0.474076984180107];
  expectClose(
    results.map((y) => valuesOf(y)[0]),
    exact,
    { rtol: 1e-13, atol: 0 },
  );
});

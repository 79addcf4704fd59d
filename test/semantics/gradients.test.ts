/** Gradients as PyTorch's tests and traps describe them. Numeric checks of every option are in gradcheck.test.ts. */
import { describe, expect, test } from "vitest";
import { AutogradError, nn, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct, normals } from "../support/random.ts";
import { type Place, placements } from "./coverage.ts";

const { batchNorm } = nn.functional;
const shape = [4, 3, 5];
const [N, C, S] = shape;
const x = distinct(N * C * S, { seed: 1, low: -3, high: 5 });
const g = normals(N * C * S, 2);
const weight = [1.5, -0.5, 2];
const bias = [0.25, 0, -1];
const runningMean = [0.5, -1, 2];
const runningVar = [0.25, 3, 1.5];

const modes = [{ training: true }, { training: false }] as const;

describe.each(placements)("$dtype on $device", (place) => {
  const near = tolerance[place.dtype];
  const exact = { float64: { rtol: 1e-8, atol: 1e-8 }, float32: tolerance.float32 }[place.dtype];
  const leaf = (values: ArrayLike<number>, of: readonly number[] = [C]) =>
    tensor(Float64Array.from(values), { ...place, shape: of, requiresGrad: true });
  const plain = (values: ArrayLike<number>, of: readonly number[] = [C]) =>
    tensor(Float64Array.from(values), { ...place, shape: of });

  test.each(modes)("B-02 gradients are the closed form's (training $training)", ({ training }) => {
    const [input, w, b] = [leaf(x, shape), leaf(weight), leaf(bias)];
    const options = { weight: w, bias: b, training, eps: 1e-3 };
    batchNorm(input, plain(runningMean), plain(runningVar), options).backward(plain(g, shape));
    const expected = closedForm(training, 1e-3);
    expectClose(read(input.grad), expected.dx, exact, "dx");
    expectClose(read(w.grad), expected.dWeight, exact, "dWeight");
    expectClose(read(b.grad), expected.dBias, exact, "dBias");
  });

  test("B-03 the sum of a train output has gradient 0", () => {
    const input = leaf(x, shape);
    batchNorm(input, null, null, { weight: plain(weight), training: true })
      .sum()
      .backward();
    const allowed = { float64: { rtol: 0, atol: 1e-12 }, float32: tolerance.float32 }[place.dtype];
    expectClose(read(input.grad), Array(60).fill(0), allowed);
  });

  test("B-04 eval: parameters get gradients, dx is g * weight / sqrt(runningVar + eps)", () => {
    const bn = layer(place).eval();
    const input = leaf(x, shape);
    bn(input).backward(plain(g, shape));
    const invStd = runningVar.map((v) => 1 / Math.sqrt(v + 1e-5));
    const channel = (i: number) => Math.floor(i / S) % C;
    const dx = g.map((v, i) => v * weight[channel(i)] * invStd[channel(i)]);
    const centred = g.map((v, i) => v * (x[i] - runningMean[channel(i)]));
    const dWeight = perChannel(centred).map((sum, c) => sum * invStd[c]);
    expectClose(read(input.grad), dx, near, "dx");
    expectClose(read(bn.weight?.grad), dWeight, near, "dWeight");
    expectClose(read(bn.bias?.grad), perChannel(g), near, "dBias");
  });

  test("B-05 a frozen weight gets no gradient, the bias beside it does", () => {
    const [w, b] = [plain(weight), leaf(bias)];
    batchNorm(plain(x, shape), null, null, { weight: w, bias: b, training: true }).sum().backward();
    expect(w.grad).toBeNull();
    expectClose(read(b.grad), [20, 20, 20], near);
  });

  test.each(modes)(
    "B-06 nothing that requires grad: neither does the output (training $training)",
    ({ training }) => {
      const bn = layer(place).train(training).setRequiresGrad(false);
      const y = bn(plain(x, shape));
      expect(y.requiresGrad).toBe(false);
      expect(() => y.sum().backward()).toThrow(AutogradError);
    },
  );

  test.each(modes)(
    "B-07 weight without bias and bias without weight (training $training)",
    ({ training }) => {
      const [w, b] = [leaf(weight), leaf(bias)];
      const [withWeight, withBias] = [leaf(x, shape), leaf(x, shape)];
      const statistics = () => [plain(runningMean), plain(runningVar)] as const;
      batchNorm(withWeight, ...statistics(), { weight: w, training }).backward(plain(g, shape));
      batchNorm(withBias, ...statistics(), { bias: b, training }).backward(plain(g, shape));
      const { dx, dWeight, dBias } = closedForm(training, 1e-5);
      const unweighted = dx.map((v, i) => v / weight[Math.floor(i / S) % C]);
      expectClose(read(withWeight.grad), dx, near, "dx with a weight");
      expectClose(read(w.grad), dWeight, near, "dWeight");
      expectClose(read(withBias.grad), unweighted, near, "dx with a bias");
      expectClose(read(b.grad), dBias, near, "dBias");
    },
  );

  test.each(modes)(
    "B-08 an empty batch: zero vectors for the parameters, an empty dx (training $training)",
    ({ training }) => {
      const bn = layer(place).train(training);
      const input = leaf([], [0, C, S]);
      bn(input).sum().backward();
      expect([...read(bn.weight?.grad)]).toEqual([0, 0, 0]);
      expect([...read(bn.bias?.grad)]).toEqual([0, 0, 0]);
      expect(input.grad?.shape).toEqual([0, C, S]);
    },
  );

  test("B-09 two train forwards, then one backward over both", () => {
    const halves = [x.slice(0, 30), x.slice(30)];
    const together = layer(place);
    const inputs = halves.map((half) => leaf(half, [2, C, S]));
    const [first, second] = inputs.map((input) =>
      together(input)
        .mul(plain(g.slice(0, 30), [2, C, S]))
        .sum(),
    );
    first.add(second).backward();
    const apart = layer(place);
    const alone = halves.map((half) => {
      const input = leaf(half, [2, C, S]);
      apart(input).backward(plain(g.slice(0, 30), [2, C, S]));
      return input;
    });
    for (const [i, input] of inputs.entries())
      expectClose(read(input.grad), read(alone[i].grad), near);
    expectClose(read(together.weight?.grad), read(apart.weight?.grad), near);
  });

  // Unlike PyTorch, whose CPU kernel reads the buffers again in backward.
  test("B-10 eval forward, train forward, backward of the first: its own statistics count", () => {
    const bn = layer(place).eval();
    const input = leaf(x, shape);
    const y = bn(input);
    bn.train()(
      plain(
        x.map((v) => 3 * v + 7),
        shape,
      ),
    );
    expect([...read(bn.runningVar)]).not.toEqual(runningVar);
    y.backward(plain(g, shape));
    const { dx, dWeight } = closedForm(false, 1e-5);
    expectClose(read(input.grad), dx, near);
    expectClose(read(bn.weight?.grad), dWeight, near);
  });

  test.each(modes)(
    "B-11 backward twice through a retained graph doubles gradients (training $training)",
    ({ training }) => {
      const bn = layer(place).train(training);
      const input = leaf(x, shape);
      const y = bn(input);
      y.backward(plain(g, shape), { retainGraph: true });
      const once = [input.grad, bn.weight?.grad, bn.bias?.grad].map(read);
      y.backward(plain(g, shape));
      const twice = [input.grad, bn.weight?.grad, bn.bias?.grad].map(read);
      for (const [i, values] of once.entries())
        expectSameBytes(
          twice[i],
          values.map((v) => 2 * v),
        );
      expect(() => y.backward(plain(g, shape))).toThrow(AutogradError);
    },
  );

  test.each([
    ["runningMean", true],
    ["runningMean", false],
    ["runningVar", true],
    ["runningVar", false],
  ] as const)("B-12 %s that requires grad is an error (training %s)", (name, training) => {
    const [mean, variance] = [plain(runningMean), plain(runningVar)];
    ({ runningMean: mean, runningVar: variance })[name].requiresGrad = true;
    const call = () => batchNorm(plain(x, shape), mean, variance, { training });
    expect(call).toThrow(AutogradError);
    expect(call).toThrow(`expected a ${name} that does not require grad`);
  });

  test.each(modes)(
    "B-14 a gradient of a gradient is refused, not wrong (training $training)",
    ({ training }) => {
      const [input, w] = [leaf(x, shape), leaf(weight)];
      const statistics = [plain(runningMean), plain(runningVar)] as const;
      batchNorm(input, ...statistics, { weight: w, training }).backward(plain(g, shape));
      for (const first of [input.grad, w.grad]) {
        expect(first?.requiresGrad).toBe(false);
        expect(() => first?.mul(first).sum().backward()).toThrow(/first-order only/);
        expect(() => first?.mul(first).sum().backward()).toThrow(AutogradError);
      }
    },
  );

  test("B-15 the way to a third order, through a cotangent that requires grad, is refused too", () => {
    const [input, cotangent] = [leaf(x, shape), leaf(g, shape)];
    batchNorm(input, null, null, { training: true }).backward(cotangent);
    const dx = input.grad;
    expect(() => dx?.mul(dx).mul(dx).sum().backward()).toThrow(AutogradError);
    expect(cotangent.grad).toBeNull();
  });
});

describe.each(modes)("float64, training $training", ({ training }) => {
  const place = { device: "reference", dtype: "float64" } as const;
  const count = (length: number, at: (i: number) => number) =>
    Float64Array.from({ length }, (_, i) => at(i));
  const statistics = () =>
    [count(5, (c) => 1 - c), count(5, (c) => 2 * c)].map((values) => tensor(values, place));
  const start = [count(120, (i) => i), count(5, (c) => c + 1), count(5, (c) => c)];
  const forward = ([input, w, b]: readonly Tensor[]) => {
    const [mean, variance] = statistics();
    return batchNorm(input, mean, variance, { weight: w, bias: b, training, eps: 1e-4 });
  };
  const tensors = (values: readonly Float64Array[]) =>
    values.map((v, i) =>
      tensor(v, { ...place, shape: i === 0 ? [4, 5, 6] : [5], requiresGrad: true }),
    );

  test("B-01 its gradients agree with central differences, also over a variance of 0", () => {
    const cotangent = normals(120, 3);
    const inputs = tensors(start);
    forward(inputs).backward(tensor(cotangent, { ...place, shape: [4, 5, 6] }));
    const loss = (values: readonly Float64Array[]) =>
      inner(read(forward(tensors(values))), cotangent);
    for (const [which, input] of inputs.entries()) {
      const direction = normals(start[which].length, 4 + which);
      const moved = (h: number) =>
        start.map((v, i) => (i === which ? v.map((value, j) => value + h * direction[j]) : v));
      const numeric = (loss(moved(1e-5)) - loss(moved(-1e-5))) / 2e-5;
      // Numerics: where the variance is 0 outputs reach 1e4, whose rounding counts 1 / h = 1e5 times.
      expectClose([inner(read(input.grad), direction)], [numeric], { rtol: 1e-6, atol: 1e-6 });
    }
  });
});

function read(t: Tensor | null | undefined): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

function layer(place: Place): nn.BatchNorm1d {
  const bn = new nn.BatchNorm1d(C);
  const state = { weight, bias, running_mean: runningMean, running_var: runningVar };
  bn.loadStateDict(new Map(Object.entries(state).map(([key, values]) => [key, tensor(values)])), {
    strict: false,
  });
  return bn.to(place.device).to(place.dtype);
}

function inner(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

/** Sums over samples and positions. */
function perChannel(values: ArrayLike<number>): number[] {
  const sums = Array(C).fill(0);
  for (let i = 0; i < values.length; i++) sums[Math.floor(i / S) % C] += values[i];
  return sums;
}

/** The three gradients for cotangent g, as the formulas say. */
function closedForm(training: boolean, eps: number) {
  const n = N * S;
  const mean = training ? perChannel(x).map((sum) => sum / n) : runningMean;
  const channel = (i: number) => Math.floor(i / S) % C;
  const centred = Float64Array.from(x, (v, i) => v - mean[channel(i)]);
  const variance = training
    ? perChannel(centred.map((v) => v * v)).map((sum) => sum / n)
    : runningVar;
  const s = variance.map((v) => 1 / Math.sqrt(v + eps));
  const s1 = perChannel(g);
  const s2 = perChannel(g.map((v, i) => v * centred[i]));
  const through = (i: number, c: number) => s1[c] / n + (centred[i] * s[c] ** 2 * s2[c]) / n;
  return {
    dx: g.map((v, i) => {
      const c = channel(i);
      return weight[c] * s[c] * (v - (training ? through(i, c) : 0));
    }),
    dWeight: s2.map((sum, c) => s[c] * sum),
    dBias: s1,
  };
}

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DeviceError,
  DTypeError,
  manualSeed,
  memory,
  nn,
  ones,
  rand,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../src/index.ts";
import { expectClose } from "./support/close.ts";
import { settled } from "./support/collector.ts";
import { expectGradients } from "./support/gradcheck.ts";
import { onWaitingDevice } from "./support/waiting-device.ts";

const { crossEntropy, nllLoss, mseLoss, l1Loss, smoothL1Loss, huberLoss } = nn.functional;
const { binaryCrossEntropyWithLogits, logSoftmax } = nn.functional;

const onReference = { device: "reference", dtype: "float64" } as const;
const labelsOf = (...values: number[]) => tensor(Int32Array.from(values));
const values = (t: Tensor | null | undefined) => t?.dataSync() ?? [];

describe("gradients equal numeric derivatives", () => {
  const labels = tensor(Int32Array.of(2, 0, -100, 1, 3, 3), { shape: [3, 2], device: "reference" });
  const weight = tensor(Float64Array.of(0.5, 2, 1, 1.5), onReference);
  const logits = { shape: [3, 4, 2] };
  const targets = rand([3, 4], onReference);
  const pair = [{ shape: [3, 4] }, { shape: [3, 4] }];
  const options = { labelSmoothing: 0.2, weight };

  test.each(["mean", "sum", "none"] as const)("of crossEntropy and nllLoss, %s", (reduction) => {
    expectGradients((x) => crossEntropy(x, labels, { reduction }), [logits]);
    expectGradients((x) => crossEntropy(x, labels, { ...options, reduction }), [logits]);
    expectGradients((x) => crossEntropy(x, labels, { labelSmoothing: 0.5, reduction }), [logits]);
    expectGradients((x) => nllLoss(x, labels, { weight, reduction }), [logits]);
    expectGradients((x, p) => crossEntropy(x, p, { ...options, reduction }), pair);
    expectGradients(
      (x, p, w) => crossEntropy(x, p, { weight: w, reduction }),
      [...pair, { shape: [4] }],
    );
  });

  test.each(["mean", "sum", "none"] as const)("of losses of pairs, %s", (reduction) => {
    expectGradients((x, t) => mseLoss(x, t, { reduction }), pair);
    expectGradients((x, t) => l1Loss(x, t, { reduction }), pair);
    expectGradients((x, t) => smoothL1Loss(x, t, { reduction, beta: 0.7 }), pair);
    expectGradients((x, t) => huberLoss(x, t, { reduction, delta: 0.7 }), pair);
    expectGradients((x, t) => binaryCrossEntropyWithLogits(x, t, { reduction }), pair);
    const factors = { weight: targets, posWeight: weight };
    expectGradients((x, t) => binaryCrossEntropyWithLogits(x, t, { reduction, ...factors }), pair);
  });
});

describe("crossEntropy", () => {
  test("of labels equals that of their one-hot probabilities", () => {
    const cases = fc.record({
      rows: fc.integer({ min: 1, max: 5 }),
      classes: fc.integer({ min: 1, max: 6 }),
      inner: fc.integer({ min: 1, max: 3 }),
      labelSmoothing: fc.double({ min: 0, max: 1, noNaN: true }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(cases, ({ rows, classes, inner, labelSmoothing, seed }) => {
        manualSeed(seed);
        const logits = randn([rows, classes, inner], onReference);
        const labels = rand([rows, inner], onReference).mul(classes).to("int32");
        const classNumbers = Int32Array.from({ length: classes }, (_, c) => c);
        const column = tensor(classNumbers, { shape: [classes, 1], device: "reference" });
        const oneHot = labels.reshape([rows, 1, inner]).eq(column).to("float64");
        for (const reduction of ["mean", "sum", "none"] as const) {
          const options = { reduction, labelSmoothing };
          expectClose(
            values(crossEntropy(logits, labels, options)),
            values(crossEntropy(logits, oneHot, options)),
            { rtol: 1e-12, atol: 1e-12 },
          );
        }
      }),
    );
  });

  test("is nllLoss of logSoftmax, also for the kinds of input that nllLoss takes", () => {
    const weight = rand([5]);
    const x = randn([3, 5, 2]);
    const labels = tensor(Int32Array.of(0, 4, 2, -1, 1, 1), { shape: [3, 2] });
    const options = { weight, ignoreIndex: -1 };
    expectClose(
      values(crossEntropy(x, labels, options)),
      values(nllLoss(logSoftmax(x, 1), labels, options)),
    );
    const one = randn([5]);
    const label = tensor(Int32Array.of(3), { shape: [] });
    expectClose(values(crossEntropy(one, label)), values(nllLoss(logSoftmax(one, 0), label)));
  });

  test("the mean leaves ignored labels out of the sum and of the count", () => {
    const logits = randn([4, 3]);
    const some = crossEntropy(logits, labelsOf(1, -100, 2, -100));
    const kept = crossEntropy(
      tensor(
        [...logits.dataSync()].filter((_, i) => i < 3 || (i >= 6 && i < 9)),
        { shape: [2, 3] },
      ),
      labelsOf(1, 2),
    );
    expectClose(values(some), values(kept));
  });

  test("an ignored class gets no gradient, whatever its row holds", () => {
    const x = tensor([1, 2, Number.NEGATIVE_INFINITY, 0, 3, 1], {
      shape: [2, 3],
      requiresGrad: true,
    });
    const loss = nllLoss(x, labelsOf(2, 1), { ignoreIndex: 2, weight: tensor([1, 1, Number.NaN]) });
    expect(values(loss)).toEqual(Float32Array.of(-3));
    loss.backward();
    expect(values(x.grad)).toEqual(Float32Array.of(0, 0, 0, 0, -1, 0));
  });

  test("is NaN when every label is ignored, with a gradient of 0, and 0 as a sum", () => {
    const x = randn([2, 3], { requiresGrad: true });
    const labels = labelsOf(-100, -100);
    const loss = crossEntropy(x, labels);
    expect(values(loss)).toEqual(Float32Array.of(Number.NaN));
    loss.backward();
    expect(values(x.grad)).toEqual(new Float32Array(6));
    expect(values(crossEntropy(x, labels, { reduction: "sum" }))).toEqual(Float32Array.of(0));
  });

  test("on a device that cannot be read at once: NaN for what is no class, 0 for what is ignored", async () => {
    const place = { shape: [3, 2], dtype: "float32" } as const;
    const x = onWaitingDevice(Float32Array.of(1, 2, 3, 5, 8, 1), place);
    const labels = (...all: number[]) =>
      onWaitingDevice(Int32Array.from(all), { shape: [3], dtype: "int32" });
    const none = { reduction: "none" } as const;
    const [a, , c] = await crossEntropy(x, labels(1, 1, 0), none).data();
    expect(await crossEntropy(x, labels(1, 2, 0), none).data()).toEqual(
      Float32Array.of(a, Number.NaN, c),
    );
    expect(await crossEntropy(x, labels(1, -100, 0), none).data()).toEqual(
      Float32Array.of(a, 0, c),
    );
    expectClose(await crossEntropy(x, labels(1, -100, 0)).data(), [(a + c) / 2]);
  });

  test("keeps one tensor of the shape of logits until backward, and nothing after it", () => {
    const [N, C] = [64, 1000];
    const x = randn([N, C], { requiresGrad: true });
    const labels = tensor(new Int32Array(N));
    const before = memory().liveBytes;
    const loss = crossEntropy(x, labels, { labelSmoothing: 0.1, weight: null });
    expect(memory().liveBytes - before).toBeLessThan(4 * N * C + 4096);
    loss.backward();
    loss.dispose();
    expect(memory().liveBytes - before).toBe(4 * N * C);
  });

  test("the collector can take a graph that nobody ran backward through", async () => {
    const x = randn([4, 3], { requiresGrad: true });
    const labels = labelsOf(0, 1, 2, 0);
    const half = ones([4, 3]).mul(0.5);
    await settled();
    const before = memory().tensors;
    for (let i = 0; i < 20; i++) {
      crossEntropy(x, labels, { labelSmoothing: 0.1, ignoreIndex: 0 });
      crossEntropy(x, half);
      mseLoss(x, half, { reduction: "none" });
      binaryCrossEntropyWithLogits(x, half, { reduction: "none" });
    }
    await settled();
    expect(memory().tensors - before).toBeLessThan(8);
  });
});

describe("binaryCrossEntropyWithLogits", () => {
  test("keeps the relative precision of small losses and gradients on both sides", () => {
    const far = [20, 50, 80];
    const small = far.map((x) => Math.exp(-x));
    const tight = { rtol: 1e-6, atol: 0 };
    const none = { reduction: "none" } as const;
    for (const [sign, target] of [
      [1, 1],
      [-1, 0],
    ]) {
      const x = tensor(
        far.map((v) => sign * v),
        { requiresGrad: true },
      );
      const loss = binaryCrossEntropyWithLogits(x, ones([3]).mul(target), none);
      // log(1 + e) and e / (1 + e) for these e, which are too small to show in 1 + e.
      expectClose(values(loss), small.map(Math.log1p), tight);
      loss.backward(ones([3]));
      expectClose(
        values(x.grad),
        small.map((e) => (-sign * e) / (1 + e)),
        tight,
      );
    }
  });

  test("leaves nothing out in float64", () => {
    const x = tensor(Float64Array.of(22, -22), onReference);
    const loss = binaryCrossEntropyWithLogits(x, zeros([2], onReference), { reduction: "none" });
    const exact = [22 + Math.log1p(Math.exp(-22)), Math.log1p(Math.exp(-22))];
    expectClose(values(loss), exact, { rtol: 1e-15, atol: 0 });
  });

  test("is finite and has a finite gradient wherever the logits are", () => {
    const numbers = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1 });
    fc.assert(
      fc.property(numbers, fc.float({ min: 0, max: 1, noNaN: true }), (logits, target) => {
        const x = tensor(logits, { requiresGrad: true });
        const t = ones([logits.length]).mul(target);
        const loss = binaryCrossEntropyWithLogits(x, t, { reduction: "none" });
        expect(values(loss).every((v) => v >= 0 && v < Number.POSITIVE_INFINITY)).toBe(true);
        loss.backward(ones([logits.length]));
        expect(values(x.grad).every((v) => v >= -1 && v <= 1)).toBe(true);
      }),
    );
  });

  test("equals crossEntropy of two classes", () => {
    const x = randn([6]);
    const yes = labelsOf(1, 0, 0, 1, 1, 0);
    const logits = x.reshape([6, 1]).mul(tensor([0, 1]));
    expectClose(
      values(binaryCrossEntropyWithLogits(x, yes.to("float32"))),
      values(crossEntropy(logits, yes)),
    );
  });
});

describe("losses of pairs", () => {
  test("huberLoss is smoothL1Loss times delta, and both are l1Loss far away and mseLoss / 2 near", () => {
    const [x, t] = [randn([50]), randn([50])];
    const scaled = smoothL1Loss(x, t, { beta: 0.6 }).mul(0.6);
    expectClose(values(huberLoss(x, t, { delta: 0.6 })), values(scaled));
    expectClose(values(huberLoss(x, t, { delta: 100 })), values(mseLoss(x, t).div(2)));
    expectClose(values(smoothL1Loss(x, t, { beta: 0 })), values(l1Loss(x, t)));
  });

  test("give no gradient where input and target are equal", () => {
    for (const f of [mseLoss, l1Loss, smoothL1Loss, huberLoss]) {
      const x = tensor([1, -2], { requiresGrad: true });
      f(x, tensor([1, -2])).backward();
      expect(values(x.grad).map(Math.abs)).toEqual(new Float32Array(2));
    }
  });

  test("do not promote or broadcast", () => {
    for (const f of [mseLoss, l1Loss, smoothL1Loss, huberLoss, binaryCrossEntropyWithLogits]) {
      expect(() => f(zeros([3, 1]), zeros([3]))).toThrow(ShapeError);
      expect(() => f(zeros([3, 1]), zeros([3]))).toThrow(/do not broadcast/);
      expect(() => f(zeros([2]), labelsOf(0, 1))).toThrow(DTypeError);
      expect(() => f(labelsOf(0, 1), labelsOf(0, 1))).toThrow(DTypeError);
      expect(() => f(zeros([2]), zeros([2], { device: "reference" }))).toThrow(DeviceError);
    }
  });
});

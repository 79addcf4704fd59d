import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  DTypeError,
  data,
  EvenkeelError,
  nn,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from "../../src/index.ts";
import { placements } from "./coverage.ts";

const { batchNorm } = nn.functional;
const vectorNames = ["runningMean", "runningVar", "weight", "bias"] as const;

/** What `call` throws. */
function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Fails unless `call` throws exactly this class, with one sentence that says all of `parts`. */
function expectError(
  call: () => unknown,
  type: abstract new (...args: never[]) => Error,
  ...parts: string[]
): void {
  const error = thrownBy(call);
  expect(error).toBeInstanceOf(type);
  for (const part of parts) expect(error).toHaveProperty("message", expect.stringContaining(part));
}

describe.each(placements)("$dtype on $device", (place) => {
  const input = (...shape: number[]) => zeros(shape, place);

  test.each([
    { Layer: nn.BatchNorm1d, bad: [5], ranks: "2 or 3 axes" },
    { Layer: nn.BatchNorm1d, bad: [2, 5, 2, 2], ranks: "2 or 3 axes" },
    { Layer: nn.BatchNorm2d, bad: [2, 5, 2], ranks: "4 axes" },
    { Layer: nn.BatchNorm3d, bad: [2, 5, 2, 2], ranks: "5 axes" },
  ])("E-01 $bad has the wrong rank: expected and actual are named", ({ Layer, bad, ranks }) => {
    const bn = new Layer(5).to(place.device).to(place.dtype);
    const actual = `got ${bad.length} axes, shape (${bad.join(", ")}`;
    expectError(() => bn(input(...bad)), ShapeError, bn.kind, ranks, actual);
    expect(bn.numBatchesTracked).toBe(0);
  });

  test.each([
    { Layer: nn.BatchNorm1d, bad: [1, 10, 1] },
    { Layer: nn.BatchNorm1d, bad: [1, 10] },
    { Layer: nn.BatchNorm2d, bad: [1, 10, 1, 1] },
  ])("E-02 one value per channel in training, $bad", ({ Layer, bad }) => {
    const bn = new Layer(10).to(place.device).to(place.dtype);
    const gist = "more than one value per channel";
    expectError(() => bn(input(...bad)), ShapeError, gist, `shape (${bad.join(", ")})`);
    expect(bn.eval()(input(...bad)).shape).toEqual(bad);
  });

  test.each(vectorNames.flatMap((name) => [9, 11].map((size) => [name, size] as const)))(
    "E-03 %s of %s elements beside 10 channels",
    (name, size) => {
      const sizes = { runningMean: 10, runningVar: 10, weight: 10, bias: 10, [name]: size };
      const [mean, variance, weight, bias] = vectorNames.map((key) => input(sizes[key]));
      const call = () => batchNorm(input(2, 10), mean, variance, { weight, bias });
      expectError(call, ShapeError, `${name} to hold 10 elements`, `got ${size} elements`);
    },
  );

  test("E-03 of several wrong sizes the first is named, in the order of the arguments", () => {
    for (const [i, name] of vectorNames.entries()) {
      const [mean, variance, weight, bias] = vectorNames.map((_, j) => input(j < i ? 10 : 9));
      const call = () => batchNorm(input(2, 10), mean, variance, { weight, bias });
      expectError(call, ShapeError, `${name} to hold`);
    }
  });

  test("E-04 eval without running statistics", () => {
    const gist = "runningMean to be given in evaluation mode";
    expectError(() => batchNorm(input(2, 3), null, null), ArgumentError, gist);
    const variance = "runningVar to be given in evaluation mode";
    expectError(() => batchNorm(input(2, 3), input(3), null), ArgumentError, variance);
  });

  test("E-05 a layer of 5 channels on 3: the first vector is named; without vectors it is no error", () => {
    const layer = (options: nn.BatchNormLayerOptions) =>
      new nn.BatchNorm1d(5, options).to(place.device).to(place.dtype);
    const x = input(4, 3);
    const gist = (name: string) => `${name} to hold 3 elements`;
    expectError(() => layer({})(x), ShapeError, gist("runningMean"), "got 5", "(4, 3)");
    expectError(() => layer({ trackRunningStats: false })(x), ShapeError, gist("weight"), "got 5");
    expect(layer({ trackRunningStats: false, affine: false })(x).shape).toEqual([4, 3]);
  });

  test("E-05 channels on the last axis get a hint", () => {
    const bn = new nn.BatchNorm1d(5).to(place.device).to(place.dtype);
    expectError(() => bn(input(4, 3, 5)), ShapeError, "did you pass them last?");
    expect(thrownBy(() => bn(input(4, 3, 7)))).toHaveProperty(
      "message",
      expect.not.stringContaining("last?"),
    );
  });

  test.each([
    { Layer: nn.BatchNorm1d, shape: [2, 10] },
    { Layer: nn.BatchNorm2d, shape: [2, 10, 5, 5] },
    { Layer: nn.BatchNorm3d, shape: [2, 10, 4, 4, 4] },
  ])("E-06 eps must be positive in training and at least 0 in eval, $shape", ({ Layer, shape }) => {
    for (const eps of [-1, 0, Number.NaN]) {
      const bn = new Layer(10, { eps }).to(place.device).to(place.dtype);
      expectError(() => bn(input(...shape)), ArgumentError, "positive eps", `got ${eps}`);
    }
    const negative = new Layer(10, { eps: -1 }).to(place.device).to(place.dtype).eval();
    expectError(() => negative(input(...shape)), ArgumentError, "eps >= 0", "got -1");
    const zero = new Layer(10, { eps: 0 }).to(place.device).to(place.dtype).eval();
    expect(zero(input(...shape)).shape).toEqual(shape);
  });

  test.each(["int32", "uint8", "bool"] as const)(
    "E-07 %s input, in training and in eval",
    (dtype) => {
      const bn = new nn.BatchNorm1d(3).to(place.device).to(place.dtype);
      const x = zeros([2, 3], { ...place, dtype });
      expectError(() => bn(x), DTypeError, "a floating tensor", `got ${dtype}`);
      expectError(() => bn.eval()(x), DTypeError, "a floating tensor", `got ${dtype}`);
    },
  );

  test("E-09 a negative or fractional channel count; no channels at all only without affine", () => {
    for (const C of [-1, 1.5]) {
      expectError(() => new nn.BatchNorm1d(C), ArgumentError, "BatchNorm1d", `got ${C}`);
    }
    const empty = (affine: boolean) =>
      new nn.BatchNorm1d(0, { affine }).to(place.device).to(place.dtype);
    expectError(() => empty(true)(input(2, 0)), ShapeError, "at least one channel");
    expect(empty(false)(input(2, 0)).shape).toEqual([2, 0]);
  });
});

test.each([
  ["float64", "float32"],
  ["float32", "float64"],
] as const)("E-08 %s input and a %s layer: nothing is promoted", (inputType, layerType) => {
  const bn = new nn.BatchNorm1d(3).to("reference").to(layerType);
  const x = zeros([2, 3], { device: "reference", dtype: inputType });
  expectError(() => bn(x), DTypeError, `runningMean of x's dtype ${inputType}`, `got ${layerType}`);
  const untracked = new nn.BatchNorm1d(3, { trackRunningStats: false });
  expectError(
    () => untracked.to("reference").to(layerType)(x),
    DTypeError,
    "weight",
    `got ${layerType}`,
  );
});

test("E-10 a number for a tensor buffer, a plain tensor for a parameter", () => {
  const bn = new nn.BatchNorm1d(3);
  const assign = (name: string, value: unknown) => () => Reflect.set(bn, name, value);
  expectError(assign("runningMean", 1), TypeError, "runningMean", "a tensor or null", "number 1");
  expectError(assign("numBatchesTracked", zeros([])), TypeError, "numBatchesTracked", "a number");
  expectError(assign("weight", zeros([3])), TypeError, "weight", "nn.Parameter", "plain tensor");
  bn.weight = null;
  bn.runningMean = null;
  expect([bn.weight, bn.runningMean]).toEqual([null, null]);
});

test.each([1, "yes", null])("E-11 train(%s) is a TypeError that leaves the mode", (mode) => {
  const bn = new nn.BatchNorm1d(3).eval();
  expectError(() => Reflect.apply(bn.train, bn, [mode]), TypeError, "train", "true or false");
  expect(bn.training).toBe(false);
});

test("momentum of another type than a number or null", () => {
  const options = (momentum: unknown) => ({ momentum }) as nn.BatchNormLayerOptions;
  expectError(() => new nn.BatchNorm1d(3, options("0.1")), TypeError, "momentum", "number or null");
  const vectors = [zeros([3]), zeros([3])] as const;
  const call = () =>
    Reflect.apply(batchNorm, null, [
      zeros([2, 3]),
      ...vectors,
      { training: true, momentum: "0.1" },
    ]);
  expectError(call, TypeError, "momentum", "number or null");
});

test("momentum null in the function needs the count of batches", () => {
  const x = tensor([[1], [2]]);
  const call = () => batchNorm(x, zeros([1]), zeros([1]), { training: true, momentum: null });
  expectError(call, ArgumentError, "batches", "momentum null");
});

test("a residual of another shape, dtype or device", () => {
  const x = zeros([2, 3, 4]);
  const call = (residual: Tensor) => () => batchNorm(x, null, null, { training: true, residual });
  expectError(call(zeros([2, 3])), ShapeError, "residual of x's shape (2, 3, 4)", "got (2, 3)");
  expectError(call(zeros([2, 3, 4], { dtype: "int32" })), DTypeError, "int32");
  expectError(
    call(zeros([2, 3, 4], { device: "reference" })),
    EvenkeelError,
    '"reference"',
    '"cpu"',
  );
});

test("the error for a last batch of one names the loader option that cures it, and it does", async () => {
  const x = tensor([1, 2, 3, 4, 5], { shape: [5, 1] });
  const dataset = new data.TensorDataset(x);
  const train = async (dropLast: boolean) => {
    const bn = new nn.BatchNorm1d(1);
    for await (const [batch] of new data.DataLoader(dataset, { batchSize: 2, dropLast })) bn(batch);
    return bn.numBatchesTracked;
  };
  await expect(train(false)).rejects.toThrow(
    /one value per channel.*dropLast: true to the DataLoader/,
  );
  expect(await train(true)).toBe(2);
});

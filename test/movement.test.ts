/** Joining, cutting, picking, padding and matrix products: against PyTorch, and as properties; movement-errors.test.ts has what they refuse. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  arange,
  cat,
  chunk,
  matmul,
  memory,
  nn,
  randn,
  ShapeError,
  split,
  stack,
  type Tensor,
  tensor,
  zeros,
} from "../src/index.ts";
import type { PadMode } from "../src/ops/pad.ts";
import { testOperations } from "./support/op-fixtures.ts";

const { pad } = nn.functional;

/** Every option that some case has; a case has those of its operation. */
interface Options {
  readonly axis: number;
  readonly axes: number[] | null;
  readonly sizeOrSizes: number | readonly number[];
  readonly chunks: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
  readonly length: number;
  readonly index: number;
  readonly padding: readonly number[];
  readonly mode: PadMode;
  readonly value?: number;
}

/** One vector of all parts, each times its number, as the fixtures' maker has it. */
function weighted(parts: readonly Tensor[]): Tensor {
  return cat(parts.map((part, i) => part.reshape([part.size]).mul(i + 1)));
}

testOperations<Options>("movement", {
  cat: (inputs, { axis }) => cat(Object.values(inputs), axis),
  stack: (inputs, { axis }) => stack(Object.values(inputs), axis),
  split: ({ x }, { sizeOrSizes, axis }) => weighted(x.split(sizeOrSizes, axis)),
  chunk: ({ x }, { chunks, axis }) => weighted(x.chunk(chunks, axis)),
  slice: ({ x }, { start, end, axis, step }) => x.slice(start, end, { axis, step }),
  narrow: ({ x }, { axis, start, length }) => x.narrow(axis, start, length),
  select: ({ x }, { axis, index }) => x.select(axis, index),
  squeeze: ({ x }, { axes }) => x.squeeze(axes ?? undefined),
  unsqueeze: ({ x }, { axis }) => x.unsqueeze(axis),
  flip: ({ x }, { axes }) => x.flip(axes ?? []),
  indexSelect: ({ x, index }, { axis }) => x.indexSelect(axis, index),
  gather: ({ x, index }, { axis }) => x.gather(axis, index),
  pad: ({ x }, { padding, ...options }) => pad(x, padding, options),
  matmul: ({ a, b }) => matmul(a, b),
  bmm: ({ a, b }) => a.bmm(b),
});

const values = (t: Tensor) => Array.from(t.dataSync());
const indices = (...list: number[]) => tensor(Int32Array.from(list));

describe("positions", () => {
  test("slice takes what Array.prototype.slice takes, for any start and end", () => {
    const position = fc.integer({ min: -12, max: 12 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), position, position, (length, start, end) => {
        const x = arange(length);
        expect(values(x.slice(start, end))).toEqual(values(x).slice(start, end));
        expect(values(x.slice(start))).toEqual(values(x).slice(start));
      }),
    );
  });

  test("slice by a step keeps every step-th of what the range holds", () => {
    const step = fc.integer({ min: 1, max: 5 });
    fc.assert(
      fc.property(fc.nat({ max: 9 }), fc.nat({ max: 9 }), step, (start, end, by) => {
        const whole = [0, 1, 2, 3, 4, 5, 6, 7].slice(start, end);
        const picked = whole.filter((_, i) => i % by === 0);
        expect(values(arange(8).slice(start, end, { step: by }))).toEqual(picked);
      }),
    );
  });

  test("slice shares memory where elements are neighbours and copies elsewhere", () => {
    const x = randn([1, 4, 3]);
    const sharesMemory = (t: Tensor) => t.holding.storage === x.holding.storage;
    expect(sharesMemory(x.slice(0, 1))).toBe(true);
    expect(sharesMemory(x.slice(1, 3, { axis: 1 }))).toBe(true);
    expect(sharesMemory(x.narrow(1, 1, 2))).toBe(true);
    expect(sharesMemory(x.select(1, -1))).toBe(true);
    expect(sharesMemory(x.squeeze())).toBe(true);
    expect(sharesMemory(x.unsqueeze(0))).toBe(true);
    expect(x.chunk(2, 1).every(sharesMemory)).toBe(true);
    expect(sharesMemory(x.slice(1, 3, { axis: 1, step: 2 }))).toBe(false);
    expect(sharesMemory(x.slice(1, 3, { axis: 2 }))).toBe(false);
    expect(sharesMemory(x.flip(1))).toBe(false);
  });
});

/** A shape of one to four axes and one of these, positive or not. */
const shapeAndAxis = fc
  .array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })
  .chain((shape) =>
    fc.tuple(fc.constant(shape), fc.integer({ min: -shape.length, max: shape.length - 1 })),
  );

describe("parts and the whole", () => {
  test("cat puts together what split and chunk took apart", () => {
    fc.assert(
      fc.property(shapeAndAxis, fc.integer({ min: 1, max: 6 }), ([shape, axis], n) => {
        const x = randn(shape);
        expect(values(cat(split(x, n, axis), axis))).toEqual(values(x));
        expect(values(cat(chunk(x, n, axis), axis))).toEqual(values(x));
      }),
    );
  });

  test("stack puts together what select took apart", () => {
    fc.assert(
      fc.property(shapeAndAxis, ([shape, axis]) => {
        const x = randn(shape);
        const count = shape.at(axis) ?? 0;
        const slices = Array.from({ length: count }, (_, i) => x.select(axis, i));
        expect(values(stack(slices, axis))).toEqual(values(x));
      }),
    );
  });

  test("chunk gives fewer parts where PyTorch does", () => {
    expect(chunk(zeros([5]), 4).map(({ shape }) => shape)).toEqual([[2], [2], [1]]);
    expect(chunk(zeros([0, 2]), 3).map(({ shape }) => shape)).toEqual([
      [0, 2],
      [0, 2],
      [0, 2],
    ]);
  });

  test("split of an empty axis is one empty part, and of no sizes nothing", () => {
    expect(split(zeros([0]), 0).map(({ shape }) => shape)).toEqual([[0]]);
    expect(split(zeros([0]), 3).map(({ shape }) => shape)).toEqual([[0]]);
    expect(split(zeros([0]), [])).toEqual([]);
  });

  test("cat of a tensor with itself adds up both gradients", () => {
    const x = tensor([1, 2], { requiresGrad: true });
    cat([x, x]).backward(tensor([1, 10, 100, 1000]));
    expect(x.grad?.dataSync()).toEqual(Float32Array.of(101, 1010));
  });

  test("cat joins integers and booleans", () => {
    const flags = cat([tensor([true, false]), tensor([true])]);
    expect([flags.dtype, values(flags)]).toEqual(["bool", [1, 0, 1]]);
    const counts = cat([indices(1, 2).unsqueeze(1), indices(3, 4).unsqueeze(1)], 1);
    expect([counts.dtype, values(counts)]).toEqual(["int32", [1, 3, 2, 4]]);
  });

  test("a tensor of shape (0,) fits beside any other", () => {
    expect(cat([zeros([0]), zeros([2, 3])], 1).shape).toEqual([2, 3]);
    expect(cat([zeros([2, 3]), zeros([0])], -2).shape).toEqual([2, 3]);
    expect(cat([zeros([0]), zeros([0])]).shape).toEqual([0]);
  });
});

describe("picking", () => {
  test("indexSelect repeats and reorders, and its gradient counts the repeats", () => {
    const x = tensor(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      { requiresGrad: true },
    );
    const y = x.indexSelect(0, indices(2, 0, 2));
    expect(values(y)).toEqual([5, 6, 1, 2, 5, 6]);
    y.backward(
      tensor([
        [1, 2],
        [10, 20],
        [100, 200],
      ]),
    );
    expect(x.grad?.dataSync()).toEqual(Float32Array.of(10, 20, 0, 0, 101, 202));
  });

  test("flip twice is nothing, and over no axes neither", () => {
    fc.assert(
      fc.property(shapeAndAxis, ([shape, axis]) => {
        const x = randn(shape);
        expect(values(x.flip(axis).flip([axis]))).toEqual(values(x));
        expect(values(x.flip([]))).toEqual(values(x));
      }),
    );
  });

  test("a scalar counts as one element on axis 0", () => {
    const x = tensor(7);
    expect(x.indexSelect(0, indices(0)).shape).toEqual([]);
    expect(x.gather(0, tensor(0, { dtype: "int32" })).shape).toEqual([]);
    expect(x.squeeze(0).shape).toEqual([]);
    expect(values(x.flip(0))).toEqual([7]);
    expect([x.sum(0), x.mean([0]), x.softmax(0)].map(values)).toEqual([[7], [7], [1]]);
  });

  test("a scalar takes axis -1 like 0", () => {
    const x = tensor(7);
    const index = tensor(0, { dtype: "int32" });
    const results = [
      ...[x.sum(-1), x.mean(-1), x.max(-1).values, x.gather(-1, index), x.flip(-1)],
      ...[x.indexSelect(-1, index), x.squeeze(-1), x.transpose(0, -1), x.flatten(-1, 0)],
    ];
    expect(results.map(values)).toEqual(results.map(() => [7]));
    expect(results.map(({ shape }) => shape.length)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect([x.softmax(-1), x.logSoftmax(-1), x.argmax(-1)].map(values)).toEqual([[1], [0], [0]]);
    expect(() => x.flatten(-2, 0)).toThrow("an axis in [-1, 0] of a tensor with 0 axes, got -2");
    expect(() => x.sum([0, -1])).toThrow("distinct axes");
  });
});

describe("nothing but the result is left to the collector", () => {
  const first = indices(0).reshape([1, 1, 1]);
  const weight = randn([5, 4]);
  const bias = randn([5]);
  const matrix = randn([4, 5]);
  test.each<[string, (x: Tensor) => Tensor]>([
    ["select", (x) => x.select(1, 2)],
    ["stack", (x) => stack([x, x], 1)],
    ["flip", (x) => x.flip([0, 2])],
    ["gather", (x) => x.gather(1, first)],
    ["pad", (x) => pad(x, [1, 2])],
    ["pad that repeats", (x) => pad(x, [1, 2, 0, 1], { mode: "replicate" })],
    ["matmul by a matrix", (x) => x.matmul(matrix)],
    ["linear", (x) => nn.functional.linear(x, weight, bias)],
  ])("%s", (_, run) => {
    const x = randn([2, 3, 4], { requiresGrad: true });
    const { tensors } = memory();
    const y = run(x);
    expect(memory().tensors - tensors).toBe(1);
    y.dispose();
    expect(memory().tensors - tensors).toBe(0);
  });
});

describe("expand", () => {
  test("-1 keeps the size of an axis that is there", () => {
    const x = tensor([[1], [2]], { requiresGrad: true });
    const wide = x.expand([3, -1, 2]);
    expect(wide.shape).toEqual([3, 2, 2]);
    expect(values(wide)).toEqual([1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2]);
    wide.sum().backward();
    expect(values(x.grad ?? x)).toEqual([6, 6]);
  });

  test("-1 for a new axis, and other sizes below 0, are errors", () => {
    expect(() => tensor([1]).expand([-1, 1])).toThrow("expected sizes that are integers >= 0");
    expect(() => tensor([1]).expand([-2])).toThrow(ShapeError);
  });
});

describe("pad", () => {
  test("padding and cropping the same cancel out", () => {
    const size = fc.integer({ min: 0, max: 4 });
    fc.assert(
      fc.property(fc.array(size, { minLength: 6, maxLength: 6 }), (padding) => {
        const x = randn([2, 3, 4]);
        const back = pad(
          pad(x, padding, { value: 9 }),
          padding.map((n) => -n),
        );
        expect([back.shape, values(back)]).toEqual([x.shape, values(x)]);
      }),
    );
  });

  test("numbers go to the last axis first", () => {
    expect(pad(zeros([2, 3]), [1, 2, 3, 4]).shape).toEqual([9, 6]);
  });

  test("integers and booleans are padded as they are", () => {
    expect(values(pad(indices(5, 6), [1, 1], { value: -1 }))).toEqual([-1, 5, 6, -1]);
    expect(values(pad(tensor([false]), [1, 0], { value: 1 }))).toEqual([1, 0]);
  });

  test("Unlike PyTorch: circular is an error where too little is left to wrap round", () => {
    expect(() => pad(zeros([1, 5]), [-3, 3], { mode: "circular" })).toThrow(
      "pad: expected to wrap round at most the 2 elements left on axis 1, got -3 before and 3 after",
    );
    expect(pad(tensor([[true, false]]), [0, 1], { mode: "circular" }).dtype).toBe("bool");
  });
});

describe("matmul", () => {
  test("a batch is the single products, one behind the other", () => {
    const [a, b] = [randn([3, 4, 5]), randn([3, 5, 2])];
    const single = [0, 1, 2].map((i) => a.select(0, i).matmul(b.select(0, i)));
    expect(values(a.matmul(b))).toEqual(values(stack(single)));
    expect(values(a.bmm(b))).toEqual(values(a.matmul(b)));
  });

  test("shapes follow PyTorch's rule for vectors and batches", () => {
    const shapeOf = (a: number[], b: number[]) => matmul(zeros(a), zeros(b)).shape;
    expect(shapeOf([3], [3])).toEqual([]);
    expect(shapeOf([3], [3, 2])).toEqual([2]);
    expect(shapeOf([2, 3], [3])).toEqual([2]);
    expect(shapeOf([3], [5, 3, 2])).toEqual([5, 2]);
    expect(shapeOf([5, 2, 3], [3])).toEqual([5, 2]);
    expect(shapeOf([7, 1, 2, 3], [5, 3, 4])).toEqual([7, 5, 2, 4]);
    expect(shapeOf([0], [0])).toEqual([]);
    expect(shapeOf([0, 2, 3], [0, 3, 2])).toEqual([0, 2, 2]);
    expect(shapeOf([2, 0, 3], [3, 2])).toEqual([2, 0, 2]);
  });

  test("a sum over nothing is 0", () => {
    expect(values(matmul(zeros([2, 1, 2, 0]), zeros([3, 0, 1])))).toEqual(new Array(12).fill(0));
  });
});

/** What joining, cutting, picking, padding and matrix products refuse, as PyTorch does. */
import { describe, expect, test } from "vitest";
import {
  ArgumentError,
  cat,
  chunk,
  DeviceError,
  DTypeError,
  nn,
  ShapeError,
  split,
  stack,
  tensor,
  zeros,
} from "../src/index.ts";

const { pad } = nn.functional;
const indices = (...list: number[]) => tensor(Int32Array.from(list));
const circular = { mode: "circular" } as const;
const reflect = { mode: "reflect" } as const;

const refused: readonly (readonly [
  name: string,
  run: () => unknown,
  error: typeof ShapeError | typeof ArgumentError | typeof DTypeError,
  message: string,
])[] = [
  [
    "cat of nothing",
    () => cat([]),
    ArgumentError,
    "cat: expected an array of at least one tensor, got none",
  ],
  [
    "cat of scalars",
    () => cat([tensor(1)]),
    ShapeError,
    "cat: expected tensors with an axis, got () at position 0; stack",
  ],
  ["cat of a scalar later", () => cat([zeros([2]), tensor(1)]), ShapeError, "got () at position 1"],
  [
    "cat of sizes that differ",
    () => cat([zeros([2, 3]), zeros([2, 4])]),
    ShapeError,
    "cat: expected shapes like (2, 3), except on axis 0, got (2, 4) at position 1",
  ],
  [
    "cat of ranks that differ",
    () => cat([zeros([2, 3]), zeros([2])]),
    ShapeError,
    "got (2,) at position 1",
  ],
  [
    "cat along no axis",
    () => cat([zeros([2, 3])], 2),
    ShapeError,
    "cat: expected an axis in [-2, 1]",
  ],
  [
    "cat of types that differ",
    () => cat([zeros([2]), indices(1)]),
    DTypeError,
    "cat: expected tensors of one dtype",
  ],
  [
    "stack of nothing",
    () => stack([]),
    ArgumentError,
    "stack: expected an array of at least one tensor",
  ],
  [
    "stack of shapes that differ",
    () => stack([zeros([2]), zeros([3])]),
    ShapeError,
    "stack: expected tensors of one shape, that of the first (2,), got (3,) at position 1",
  ],
  [
    "stack beyond the axes",
    () => stack([zeros([2])], 2),
    ShapeError,
    "stack: expected an axis in [-2, 1]",
  ],
  [
    "split of sizes that do not add up",
    () => split(zeros([5]), [2, 2]),
    ArgumentError,
    "split: expected sizes >= 0 that add up to the 5 of axis 0, or one size >= 1, got [2,2]",
  ],
  ["split of a negative size", () => split(zeros([5]), [-1, 6]), ArgumentError, "got [-1,6]"],
  ["split by 0", () => split(zeros([5]), 0), ArgumentError, "got 0"],
  ["split by -1", () => split(zeros([0]), -1), ArgumentError, "got -1"],
  [
    "split of a scalar",
    () => split(tensor(1), 1),
    ShapeError,
    "split: expected a tensor with an axis, got a scalar",
  ],
  [
    "chunk by 0",
    () => chunk(zeros([5]), 0),
    ArgumentError,
    "chunk: expected a number of chunks that is an integer >= 1, got 0",
  ],
  [
    "chunk of a scalar",
    () => chunk(tensor(1), 1),
    ShapeError,
    "chunk: expected a tensor with an axis",
  ],
  [
    "slice of a scalar",
    () => tensor(1).slice(0),
    ShapeError,
    "slice: expected a tensor with an axis, got a scalar",
  ],
  [
    "slice by step 0",
    () => zeros([5]).slice(0, 5, { step: 0 }),
    ArgumentError,
    "slice: expected a step that is an integer >= 1, got 0",
  ],
  [
    "slice backwards",
    () => zeros([5]).slice(0, 5, { step: -1 }),
    ArgumentError,
    "flip(axis) reverses an axis",
  ],
  [
    "slice between positions",
    () => zeros([5]).slice(0.5),
    ArgumentError,
    "slice: expected positions that are integers, got 0.5",
  ],
  [
    "slice along no axis",
    () => zeros([5]).slice(0, 1, { axis: 1 }),
    ShapeError,
    "slice: expected an axis in [-1, 0]",
  ],
  [
    "narrow beyond the end",
    () => zeros([5]).narrow(0, 3, 3),
    ArgumentError,
    "narrow: expected a start and a length within axis 0 of shape (5,), got start 3, length 3",
  ],
  [
    "narrow before the start",
    () => zeros([5]).narrow(0, -6, 1),
    ArgumentError,
    "got start -6, length 1",
  ],
  [
    "narrow by a negative length",
    () => zeros([5]).narrow(0, 2, -1),
    ArgumentError,
    "got start 2, length -1",
  ],
  [
    "narrow of a scalar",
    () => tensor(1).narrow(0, 0, 1),
    ShapeError,
    "narrow: expected a tensor with an axis",
  ],
  [
    "select beyond the end",
    () => zeros([2, 5]).select(1, 5),
    ArgumentError,
    "select: expected an index in [-5, 5) on axis 1 of shape (2, 5), got 5",
  ],
  ["select before the start", () => zeros([5]).select(0, -6), ArgumentError, "got -6"],
  [
    "select of a scalar",
    () => tensor(1).select(0, 0),
    ShapeError,
    "select: expected a tensor with an axis",
  ],
  [
    "squeeze of no axis",
    () => zeros([1, 2]).squeeze(2),
    ShapeError,
    "squeeze: expected an axis in [-2, 1]",
  ],
  [
    "squeeze twice",
    () => zeros([1, 2]).squeeze([0, -2]),
    ShapeError,
    "squeeze: expected distinct axes",
  ],
  [
    "unsqueeze beyond the axes",
    () => zeros([2]).unsqueeze(2),
    ShapeError,
    "unsqueeze: expected an axis in [-2, 1]",
  ],
  ["flip twice", () => zeros([2]).flip([0, 0]), ShapeError, "flip: expected distinct axes"],
  [
    "indexSelect beyond the end",
    () => zeros([5]).indexSelect(0, indices(1, 5)),
    ArgumentError,
    "indexSelect: expected indices in [0, 5), got 5 at position 1",
  ],
  [
    "indexSelect before the start",
    () => zeros([5]).indexSelect(0, indices(-1)),
    ArgumentError,
    "got -1 at position 0",
  ],
  [
    "indexSelect by floats",
    () => zeros([5]).indexSelect(0, zeros([1])),
    DTypeError,
    "indexSelect: expected an index of int32",
  ],
  [
    "indexSelect by a matrix",
    () => zeros([5]).indexSelect(0, indices(1).unsqueeze(0)),
    ShapeError,
    "indexSelect: expected an index with one axis, got (1, 1)",
  ],
  [
    "indexSelect of a scalar twice",
    () => tensor(1).indexSelect(0, indices(0, 0)),
    ShapeError,
    "with one axis and one element, got (2,)",
  ],
  [
    "indexSelect along no axis",
    () => zeros([5]).indexSelect(1, indices(0)),
    ShapeError,
    "indexSelect: expected an axis in [-1, 0]",
  ],
  [
    "gather beyond the end",
    () => zeros([2, 3]).gather(1, indices(0, 3).unsqueeze(1)),
    ArgumentError,
    "gather: expected indices in [0, 3), got 3 at position 1",
  ],
  [
    "gather before the start",
    () => zeros([2]).gather(0, indices(-1)),
    ArgumentError,
    "gather: expected indices in [0, 2), got -1 at position 0",
  ],
  [
    "gather by a longer index",
    () => zeros([2, 3]).gather(1, zeros([3, 1], { dtype: "int32" })),
    ShapeError,
    "gather: expected an index no longer than x (2, 3), except on axis 1, got (3, 1)",
  ],
  ["gather by another rank", () => zeros([2, 3]).gather(1, indices(0)), ShapeError, "got (1,)"],
  [
    "pad by half a pair",
    () => pad(zeros([5]), [1]),
    ArgumentError,
    "pad: expected a padding of [before, after] integers for each axis, the last one first, got [1]",
  ],
  [
    "pad of more axes than there are",
    () => pad(zeros([5]), [1, 1, 1, 1]),
    ShapeError,
    "pad: expected at most 1 pairs for shape (5,), got 2 pairs",
  ],
  [
    "pad that crops too much",
    () => pad(zeros([5]), [-3, -3]),
    ShapeError,
    "pad: expected to crop at most the 5 elements of axis 0, got -3 before and -3 after",
  ],
  [
    "pad that crops what it adds",
    () => pad(zeros([5]), [-6, 2]),
    ShapeError,
    "got -6 before and 2 after",
  ],
  [
    "pad with a value beside reflect",
    () => pad(zeros([1, 5]), [1, 1], { ...reflect, value: 1 }),
    ArgumentError,
    'pad: expected no value beside mode "reflect", got 1',
  ],
  [
    "reflect of as much as there is",
    () => pad(zeros([1, 5]), [5, 0], reflect),
    ShapeError,
    "pad: expected to reflect less than the 5 elements of axis 1, got 5 before and 0 after",
  ],
  [
    "reflect that leaves nothing",
    () => pad(zeros([1, 5]), [-5, 0], reflect),
    ShapeError,
    "pad: expected to leave at least one of the 5 elements of axis 1",
  ],
  [
    "reflect of all axes",
    () => pad(zeros([5]), [1, 1], reflect),
    ShapeError,
    'pad: expected 1 to 3 pairs, and one or two axes before those they are for, in mode "reflect", got 1 pairs for shape (5,)',
  ],
  [
    "reflect below three axes",
    () => pad(zeros([2, 2, 2, 5]), [1, 1], reflect),
    ShapeError,
    "got 1 pairs for shape (2, 2, 2, 5)",
  ],
  [
    "reflect of nothing",
    () => pad(zeros([0, 5]), [1, 1], reflect),
    ShapeError,
    'pad: expected no empty axis besides the batch in mode "reflect", got (0, 5)',
  ],
  [
    "circular twice round",
    () => pad(zeros([1, 5]), [6, 0], circular),
    ShapeError,
    "pad: expected to wrap round at most the 5 elements left on axis 1, got 6 before and 0 after",
  ],
  [
    "matmul of a scalar",
    () => tensor(1).matmul(zeros([2])),
    ShapeError,
    "matmul: expected tensors with at least one axis, got () and (2,)",
  ],
  [
    "matmul of vectors that differ",
    () => zeros([2]).matmul(zeros([3])),
    ShapeError,
    "matmul: expected the last axis of the first to equal the last but one of the second",
  ],
  [
    "matmul of inner sizes that differ",
    () => zeros([2, 3]).matmul(zeros([4, 2])),
    ShapeError,
    "got (2, 3) and (4, 2)",
  ],
  [
    "matmul of batches that differ",
    () => zeros([2, 2, 3]).matmul(zeros([3, 3, 2])),
    ShapeError,
    "matmul: expected shapes equal or 1 on each axis",
  ],
  [
    "matmul of integers",
    () => indices(1).matmul(indices(1)),
    DTypeError,
    "matmul: expected a floating tensor",
  ],
  [
    "bmm of matrices",
    () => zeros([2, 3]).bmm(zeros([2, 3, 4])),
    ShapeError,
    "bmm: expected 3 axes (B, M, K), got 2 axes",
  ],
  [
    "bmm of batches that differ",
    () => zeros([1, 3, 4]).bmm(zeros([2, 4, 2])),
    ShapeError,
    "bmm: expected as many matrices in the first as in the second, got (1, 3, 4) and (2, 4, 2)",
  ],
  [
    "bmm of inner sizes that differ",
    () => zeros([2, 3, 4]).bmm(zeros([2, 3, 2])),
    ShapeError,
    "bmm: expected the last axis",
  ],
];

describe("what PyTorch refuses is an error", () => {
  test.each(refused)("%s", (_name, run, error, message) => {
    expect(run).toThrow(error);
    expect(run).toThrow(message);
  });

  test("tensors on two devices", () => {
    const there = zeros([2], { device: "reference" });
    expect(() => cat([zeros([2]), there])).toThrow(DeviceError);
    expect(() => stack([zeros([2]), there])).toThrow("stack: expected tensors on one device");
    expect(() => there.indexSelect(0, indices(0))).toThrow(DeviceError);
    expect(() => there.gather(0, indices(0))).toThrow(DeviceError);
  });

  test("an unknown mode", () => {
    // @ts-expect-error no such mode
    expect(() => pad(zeros([5]), [1, 1], { mode: "zero" })).toThrow(
      'pad: expected mode "constant", "reflect", "replicate" or "circular", got "zero"',
    );
  });
});

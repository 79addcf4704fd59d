import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Generator } from "../src/core/random.ts";
import { ArgumentError, DTypeError, data, manualSeed, ShapeError } from "../src/index.ts";
import { expectClose } from "./support/close.ts";

const { centerCrop, compose, normalize, randomCrop } = data.transforms;
const { randomHorizontalFlip, randomResizedCrop, resize } = data.transforms;

/** (C, H, W) with every value different and none zero. */
function numbered(...shape: [number, number, number]): data.HostTensor {
  const length = shape.reduce((product, size) => product * size, 1);
  return { data: Float32Array.from({ length }, (_, i) => i + 1), shape };
}

/** Rows of the first channel. */
function rowsOf({ data: values, shape: [, rows, columns] }: data.HostTensor): number[][] {
  return Array.from({ length: rows }, (_, y) =>
    Array.from(values.subarray(y * columns, (y + 1) * columns)),
  );
}

/** Rows as columns, of one channel. */
function turned({ data: values, shape: [, rows, columns] }: data.HostTensor): data.HostTensor {
  const data = values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]);
  return { data, shape: [1, columns, rows] };
}

/** Draws these, one after the other. */
const fixed = (...draws: number[]) => {
  const generator = new Generator(1);
  generator.uniform = () => draws.shift() ?? Number.NaN;
  return generator;
};

describe("randomCrop", () => {
  test("cuts where it drew: rows first, then columns, in every channel", () => {
    const cut = randomCrop(2)(numbered(2, 3, 4), fixed(0.99, 0.34));
    expect(cut.shape).toEqual([2, 2, 2]);
    expect(Array.from(cut.data)).toEqual([6, 7, 10, 11, 18, 19, 22, 23]);
  });

  test.each<[string, data.transforms.RandomCropOptions, number[][]]>([
    [
      "all sides",
      { padding: 1 },
      [
        [0, 0, 0],
        [0, 1, 2],
      ],
    ],
    [
      "left and right, top and bottom",
      { padding: [1, 0] },
      [
        [0, 1, 2],
        [0, 3, 4],
      ],
    ],
    [
      "left, top, right, bottom",
      { padding: [0, 1, 2, 0] },
      [
        [0, 0, 0],
        [1, 2, 0],
      ],
    ],
  ])("puts zeros around: %s", (_, options, expected) => {
    expect(rowsOf(randomCrop([2, 3], options)(numbered(1, 2, 2), fixed(0, 0)))).toEqual(expected);
  });

  test("reaches every place, and none beside the padded image", () => {
    const random = new Generator(3);
    const crop = randomCrop(2, { padding: 1 });
    const seen = new Set<string>();
    for (let i = 0; i < 400; i++) seen.add(String(rowsOf(crop(numbered(1, 2, 3), random))));
    // (2 + 2 - 2 + 1) x (3 + 2 - 2 + 1) places.
    expect(seen.size).toBe(12);
  });

  test("draws nothing where there is one place only", () => {
    const image = numbered(3, 4, 5);
    expect(randomCrop([4, 5])(image, fixed())).toEqual({ ...image, dtype: image.dtype });
    const around = randomCrop(4, { padding: 1 })(numbered(1, 2, 2), fixed());
    expect(rowsOf(around)[1]).toEqual([0, 1, 2, 0]);
  });

  test("an image that is too small is refused", () => {
    const crop = () => randomCrop(5, { padding: 1 })(numbered(3, 3, 2));
    expect(crop).toThrow(ShapeError);
    expect(crop).toThrow(/at least \(5, 5\).*\(3, 3, 2\)/);
  });

  test.each([[-1], [0.5], [[1, 2, 3]], ["4"], [[]]])("padding %j is refused", (padding) => {
    expect(() => randomCrop(2, { padding: padding as number })).toThrow(ArgumentError);
  });
});

describe("centerCrop", () => {
  // As int(round((5 - part) / 2)) in Python: 0.5 gives 0, 1.5 gives 2.
  test.each([
    [5, [1, 2, 3, 4, 5]],
    [4, [1, 2, 3, 4]],
    [3, [2, 3, 4]],
    [2, [3, 4]],
    [1, [3]],
    [6, [1, 2, 3, 4, 5, 0]],
    [7, [0, 1, 2, 3, 4, 5, 0]],
    [8, [0, 1, 2, 3, 4, 5, 0, 0]],
  ])("of width %i from five pixels", (width, expected) => {
    expect(rowsOf(centerCrop([1, width])(numbered(1, 1, 5)))).toEqual([expected]);
  });

  test("keeps channels apart and the type", () => {
    const bytes = { data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), shape: [2, 2, 3] };
    const cut = centerCrop([2, 1])(bytes);
    expect(cut).toEqual({ data: Uint8Array.of(2, 5, 8, 11), shape: [2, 2, 1] });
  });
});

describe("randomHorizontalFlip", () => {
  test("mirrors columns below p and leaves the image that was given", () => {
    const image = numbered(2, 2, 3);
    const flipped = randomHorizontalFlip()(image, fixed(0.4999));
    expect(Array.from(flipped.data)).toEqual([3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]);
    expect(image).toEqual(numbered(2, 2, 3));
    expect(randomHorizontalFlip()(image, fixed(0.5))).toEqual(image);
  });

  test("never flips at 0 and always at 1", () => {
    const random = new Generator(5);
    const image = numbered(1, 1, 2);
    for (let i = 0; i < 50; i++) {
      expect(rowsOf(randomHorizontalFlip(0)(image, random))).toEqual([[1, 2]]);
      expect(rowsOf(randomHorizontalFlip(1)(image, random))).toEqual([[2, 1]]);
    }
  });

  test.each([[-0.1], [1.1], [Number.NaN]])("p = %s is refused", (p) => {
    expect(() => randomHorizontalFlip(p)).toThrow(ArgumentError);
  });
});

describe("normalize", () => {
  test("gives every channel its own mean and std, or all the same", () => {
    const image = { data: Float32Array.of(1, 2, 3, 5), shape: [2, 2, 1] };
    expect(normalize([1, 3], [2, 4])(image).data).toEqual(Float32Array.of(0, 0.5, 0, 0.5));
    expect(normalize(1, 2)(image).data).toEqual(Float32Array.of(0, 0.5, 1, 2));
    expect(image.data).toEqual(Float32Array.of(1, 2, 3, 5));
  });

  test("computes in float64 for an image of that", () => {
    const image = { data: Float64Array.of(0.3), shape: [1, 1, 1] };
    expect(normalize(0.1, 0.7)(image).data).toEqual(Float64Array.of((0.3 - 0.1) / 0.7));
  });

  test.each([[0], [1e-60], [Number.NaN], [Number.POSITIVE_INFINITY]])(
    "std %s is refused",
    (std) => {
      expect(() => normalize(0, [1, std])).toThrow(ArgumentError);
    },
  );

  test("another number of channels, bytes and batches are refused", () => {
    expect(() => normalize([0, 0], 1)(numbered(3, 1, 1))).toThrow(ShapeError);
    expect(() => normalize(0, [1, 1, 1])(numbered(2, 1, 1))).toThrow(/each of 2 channels.*got 3/);
    const bytes = { data: Uint8Array.of(1), shape: [1, 1, 1] };
    expect(() => normalize(0, 1)(bytes)).toThrow(DTypeError);
    const batch = { data: new Float32Array(4), shape: [1, 1, 2, 2] };
    expect(() => normalize(0, 1)(batch)).toThrow(/\(C, H, W\).*\(1, 1, 2, 2\).*data\.map/);
  });
});

describe("resize", () => {
  // As torchvision: int(size * long / short).
  test.each([
    [[3, 4, 7], 2, [3, 2, 3]],
    [[3, 7, 4], 2, [3, 3, 2]],
    [[1, 5, 5], 8, [1, 8, 8]],
    [[1, 480, 640], 224, [1, 224, 298]],
  ])("%j with %i for the shorter side is %j", (shape, size, expected) => {
    const image = numbered(...(shape as [number, number, number]));
    expect(resize(size)(image).shape).toEqual(expected);
  });

  test("a constant stays what it is, at any size", () => {
    const side = fc.integer({ min: 1, max: 12 });
    fc.assert(
      fc.property(side, side, side, side, (rows, columns, height, width) => {
        const image = {
          data: new Float32Array(rows * columns).fill(0.3),
          shape: [1, rows, columns],
        };
        const scaled = resize([height, width])(image);
        expect(scaled.shape).toEqual([1, height, width]);
        for (const x of scaled.data) expect(Math.abs(x - 0.3)).toBeLessThan(1e-6);
      }),
    );
  });

  test("does to columns what it does to rows", () => {
    const side = fc.integer({ min: 1, max: 12 });
    fc.assert(
      fc.property(side, side, side, side, (rows, columns, height, width) => {
        const scaled = resize([height, width])(numbered(1, rows, columns));
        const other = resize([width, height])(turned(numbered(1, rows, columns)));
        expectClose(turned(other).data, scaled.data);
      }),
    );
  });

  test.each([[0], [1.5], [[3]], [[3, 0]], [[1, 2, 3]], ["8"]])("size %j is refused", (size) => {
    for (const make of [resize, centerCrop, randomCrop, randomResizedCrop]) {
      expect(() => make(size as number)).toThrow(ArgumentError);
    }
  });

  test("bytes are refused", () => {
    const bytes = { data: new Uint8Array(4), shape: [1, 2, 2] };
    expect(() => resize(1)(bytes)).toThrow(DTypeError);
    expect(() => randomResizedCrop(1)(bytes)).toThrow(DTypeError);
  });
});

describe("randomResizedCrop", () => {
  test("cuts the part that was drawn: area, ratio, row, column", () => {
    // Half of 64 with ratio 1 / 2: 4 wide, 8 high; then top 0 of 1, left 3 of 5.
    const [least, most] = [1 / 2, 2];
    const crop = randomResizedCrop([8, 4], { scale: [0.25, 0.75], ratio: [least, most] });
    const cut = crop(numbered(1, 8, 8), fixed(0.5, 0, 0.9, 0.61));
    expect(rowsOf(cut)[0]).toEqual([4, 5, 6, 7]);
    expect(rowsOf(cut)[7]).toEqual([60, 61, 62, 63]);
  });

  test.each<[string, [number, number, number], number[][]]>([
    [
      "wide",
      [1, 2, 9],
      [
        [4, 5],
        [13, 14],
      ],
    ],
    [
      "high",
      [1, 9, 2],
      [
        [7, 8],
        [9, 10],
      ],
    ],
  ])("after ten tries in vain takes the middle of a %s image", (_, shape, middle) => {
    // Areas of ten times the image never fit.
    const crop = randomResizedCrop(2, { scale: [10, 10], ratio: [1, 1] });
    expect(rowsOf(crop(numbered(...shape), new Generator(1)))).toEqual(middle);
  });

  test("always gives the size, from values within the image", () => {
    const side = fc.integer({ min: 1, max: 20 });
    fc.assert(
      fc.property(side, side, fc.nat(), (rows, columns, seed) => {
        const image = numbered(2, rows, columns);
        const cut = randomResizedCrop([3, 5])(image, new Generator(seed));
        expect(cut.shape).toEqual([2, 3, 5]);
        expect(Math.min(...cut.data)).toBeGreaterThan(0.999);
        expect(Math.max(...cut.data)).toBeLessThan(2 * rows * columns + 0.001);
      }),
    );
  });

  test.each<[string, data.transforms.RandomResizedCropOptions]>([
    ["scale", { scale: [0, 1] }],
    ["scale", { scale: [0.5, 0.1] }],
    ["ratio", { ratio: [Number.NaN, 1] }],
  ])("%s out of range is refused: %j", (name, options) => {
    const make = () => randomResizedCrop(4, options);
    expect(make).toThrow(ArgumentError);
    expect(make).toThrow(name);
  });
});

describe("compose", () => {
  test("runs one after the other on one stream of draws", () => {
    const both = compose([randomCrop([2, 1]), randomHorizontalFlip(), normalize(1, 2)]);
    expect(both(numbered(1, 2, 3), fixed(0, 0.7, 0.1)).data).toEqual(Float32Array.of(1, 2.5));
  });

  test("without a generator follows manualSeed", () => {
    const crop = compose([randomCrop(2)]);
    const draw = () => Array.from({ length: 8 }, () => crop(numbered(1, 6, 6)).data[0]);
    manualSeed(4);
    const first = draw();
    manualSeed(4);
    expect(draw()).toEqual(first);
    expect(new Set(first).size).toBeGreaterThan(1);
  });
});

/** Transforms of single images (C, H, W) in ordinary memory, as torchvision.transforms has them. */
import { dtypeOf, hostArray, type TypedArray } from "../core/dtype.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { defaultGenerator, type Random } from "../core/random.ts";
import { formatShape } from "../core/shape.ts";
import type { HostTensor } from "./dataset.ts";
import {
  checkFloats,
  checkRange,
  cut,
  type Part,
  readSize,
  roundHalfEven,
  type Size,
  shapeOf,
} from "./image.ts";
import { resizePlanes } from "./resize.ts";

/**
 * Makes an image of an image; the one that is given stays as it is. `random` is where it draws from: hand on what `data.map` gives,
 * so that a run can be repeated and resumed. Left out, draws follow `manualSeed`.
 */
export type Transform = (image: HostTensor, random?: Random) => HostTensor;

/**
 * One transform after the other, as torchvision's Compose.
 *
 * @example
 * const augment = compose([randomCrop(32, { padding: 4 }), randomHorizontalFlip()]);
 */
export function compose(transforms: readonly Transform[]): Transform {
  return (image, random = defaultGenerator) =>
    transforms.reduce((changed, transform) => transform(changed, random), image);
}

/** What is put around the image first. */
export interface RandomCropOptions {
  /** Zeros around the image: one number for all sides, [left and right, top and bottom], or [left, top, right, bottom]. Default 0. */
  readonly padding?:
    | number
    | readonly [number, number]
    | readonly [left: number, top: number, right: number, bottom: number];
}

/**
 * Cuts out a part of this size at a random place, all places being as likely, as torchvision's RandomCrop.
 *
 * Shapes: (C, H, W) to (C, height, width).
 * Throws: ArgumentError for a size or padding out of range; ShapeError if the padded image is smaller than the part.
 */
export function randomCrop(size: Size, options: RandomCropOptions = {}): Transform {
  const [height, width] = readSize("randomCrop", size);
  const [left, top, right, bottom] = readPadding(options.padding ?? 0);
  return (image, random = defaultGenerator) => {
    const [, rows, columns] = shapeOf("randomCrop", image);
    const spareRows = rows + top + bottom - height;
    const spareColumns = columns + left + right - width;
    if (spareRows < 0 || spareColumns < 0) {
      throw new ShapeError({
        op: "randomCrop",
        expected: `an image of at least (${height}, ${width}) with its padding`,
        actual: formatShape(image.shape),
        hint: "resize the image, or give more padding",
      });
    }
    if (spareRows === 0 && spareColumns === 0)
      return cut(image, { top: -top, left: -left, height, width });
    const from = random.integer(spareRows + 1) - top;
    return cut(image, { top: from, left: random.integer(spareColumns + 1) - left, height, width });
  };
}

/**
 * Cuts out the middle, with zeros around an image that is smaller, as torchvision's CenterCrop.
 *
 * Shapes: (C, H, W) to (C, height, width).
 * Throws: ArgumentError for a size out of range.
 */
export function centerCrop(size: Size): Transform {
  const [height, width] = readSize("centerCrop", size);
  return (image) => {
    const [, rows, columns] = shapeOf("centerCrop", image);
    return cut(image, { top: middle(rows, height), left: middle(columns, width), height, width });
  };
}

/** First row of the middle part: half the surplus, halves to the even side as Python rounds; half the lack, rounded down. */
function middle(length: number, part: number): number {
  return part > length ? -Math.floor((part - length) / 2) : roundHalfEven((length - part) / 2);
}

/**
 * Mirrors left and right with probability `p`, as torchvision's RandomHorizontalFlip.
 * Throws: ArgumentError for a p outside [0, 1].
 */
export function randomHorizontalFlip(p = 0.5): Transform {
  if (!(p >= 0 && p <= 1)) {
    throw new ArgumentError({
      op: "randomHorizontalFlip",
      expected: "a probability from 0 to 1",
      actual: String(p),
    });
  }
  return (image, random = defaultGenerator) => {
    const [, , columns] = shapeOf("randomHorizontalFlip", image);
    if (random.uniform() >= p) return image;
    const data = image.data.slice();
    for (let from = 0; from < data.length; from += columns)
      data.subarray(from, from + columns).reverse();
    return { ...image, data };
  };
}

/**
 * (x - mean) / std, each channel with its own, as torchvision's Normalize.
 *
 * Numerics: in the image's own type, step by step as PyTorch.
 * Throws: ArgumentError for a std that is 0 or no number; ShapeError if there are neither one nor C values; DTypeError for an image of
 * whole numbers.
 *
 * @example
 * const imagenet = normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
 */
export function normalize(
  mean: number | readonly number[],
  std: number | readonly number[],
): Transform {
  const means = [mean].flat();
  const stds = [std].flat();
  if (![...means, ...stds].every(Number.isFinite) || stds.some((value) => !Math.fround(value))) {
    throw new ArgumentError({
      op: "normalize",
      expected: "numbers, and none of std 0",
      actual: `mean ${means}, std ${stds}`,
    });
  }
  return (image) => {
    const [channels, rows, columns] = shapeOf("normalize", image);
    checkFloats("normalize", image);
    for (const { length } of [means, stds]) {
      if (length === 1 || length === channels) continue;
      throw new ShapeError({
        op: "normalize",
        expected: `one mean and std for each of ${channels} channels, or one for all`,
        actual: `${length}`,
      });
    }
    const data = image.data.slice();
    const size = rows * columns;
    for (let c = 0; c < channels; c++) {
      standardize(data.subarray(c * size, (c + 1) * size), {
        mean: means[c % means.length],
        std: stds[c % stds.length],
      });
    }
    return { ...image, data };
  };
}

/** In place and in the array's own precision, constants included, as PyTorch computes. */
function standardize(
  plane: TypedArray,
  constants: { readonly mean: number; readonly std: number },
) {
  const [mean, std] = hostArray(dtypeOf(plane), 2)
    .fill(constants.mean, 0, 1)
    .fill(constants.std, 1);
  for (let i = 0; i < plane.length; i++) {
    plane[i] -= mean;
    plane[i] /= std;
  }
}

/**
 * Scales an image; a single number is what its shorter side becomes, and the longer side keeps the proportion (rounded down), as
 * torchvision's Resize with antialiasing.
 *
 * Shapes: (C, H, W) to (C, height, width).
 * Numerics: bilinear; when it shrinks, every pixel averages all that it covers. As torchvision does for tensors: for 8-bit images it
 * rounds to 1/255 in between.
 * Throws: ArgumentError for a size out of range; DTypeError for an image of whole numbers.
 */
export function resize(size: Size): Transform {
  const [height, width] = readSize("resize", size);
  return (image) => {
    const [, rows, columns] = shapeOf("resize", image);
    checkFloats("resize", image);
    if (typeof size !== "number") return resizePlanes(image, [height, width]);
    const long = (side: number, short: number) => Math.trunc((size * side) / short);
    const target =
      columns <= rows
        ? ([long(rows, columns), size] as const)
        : ([size, long(columns, rows)] as const);
    return resizePlanes(image, target);
  };
}

/** How large the part is, and of what shape. */
export interface RandomResizedCropOptions {
  /** Share of the image's area that the part has, least and most. Default [0.08, 1]. */
  readonly scale?: readonly [number, number];
  /** Width over height of the part, least and most. Default [3 / 4, 4 / 3]. */
  readonly ratio?: readonly [number, number];
}

/**
 * Cuts out a part of random size, shape and place and scales it to `size`, as torchvision's RandomResizedCrop: the usual augmentation
 * for training on photographs.
 *
 * Shapes: (C, H, W) to (C, height, width).
 * Throws: ArgumentError for options out of range; DTypeError for an image of whole numbers.
 */
export function randomResizedCrop(size: Size, options: RandomResizedCropOptions = {}): Transform {
  const op = "randomResizedCrop";
  const { scale = [0.08, 1], ratio = [3 / 4, 4 / 3] } = options;
  const target = readSize(op, size);
  checkRange(op, "scale", scale);
  checkRange(op, "ratio", ratio);
  return (image, random = defaultGenerator) => {
    const [, rows, columns] = shapeOf(op, image);
    checkFloats(op, image);
    const part =
      drawPart([rows, columns], { scale, ratio, random }) ?? middlePart([rows, columns], ratio);
    return resizePlanes(cut(image, part), target);
  };
}

/** Ten tries to find a part that lies within the image, or null. */
function drawPart(
  [rows, columns]: readonly [number, number],
  draw: Required<RandomResizedCropOptions> & { readonly random: Random },
): Part | null {
  const { scale, ratio, random } = draw;
  const between = (least: number, most: number) => least + (most - least) * random.uniform();
  for (let tries = 0; tries < 10; tries++) {
    const area = rows * columns * between(scale[0], scale[1]);
    const aspect = Math.exp(between(Math.log(ratio[0]), Math.log(ratio[1])));
    const width = roundHalfEven(Math.sqrt(area * aspect));
    const height = roundHalfEven(Math.sqrt(area / aspect));
    if (width < 1 || width > columns || height < 1 || height > rows) continue;
    const top = random.integer(rows - height + 1);
    return { top, left: random.integer(columns - width + 1), height, width };
  }
  return null;
}

/** The largest middle part whose ratio is allowed. */
function middlePart(
  [rows, columns]: readonly [number, number],
  [least, most]: readonly [number, number],
): Part {
  const aspect = columns / rows;
  const height = aspect < least ? Math.min(rows, roundHalfEven(columns / least)) : rows;
  const width = aspect > most ? Math.min(columns, roundHalfEven(rows * most)) : columns;
  const top = Math.floor((rows - height) / 2);
  return { top, left: Math.floor((columns - width) / 2), height, width };
}

function readPadding(padding: NonNullable<RandomCropOptions["padding"]>) {
  const all = [padding].flat();
  const isRight = [1, 2, 4].includes(all.length);
  if (!isRight || !all.every((side) => Number.isSafeInteger(side) && side >= 0)) {
    throw new ArgumentError({
      op: "randomCrop",
      expected: "padding as one, two or four whole numbers of at least 0",
      actual: JSON.stringify(padding),
    });
  }
  const [left, top = left, right = left, bottom = top] = all;
  return [left, top, right, bottom] as const;
}

/** How convolutions read images: the host's side of kernels/conv-image.ts, which draws the layout. Sizes are in floats. */
import type { Conv2dLayout } from "../backend.ts";
import { evenly, roundUp } from "./job.ts";
import { memoize } from "./memoize.ts";

/** Height or width of a convolution: which places of a source make each place of an output. */
export interface Axis {
  /** Places in the source. */
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  /** Zeros before the first place; negative where the first output begins inside the source. */
  readonly padding: number;
  /** Phases the source is split into. */
  readonly phases: number;
  /** Places computed; number i is place outFirst + i * outStep of the output. */
  readonly outSize: number;
  readonly outFirst: number;
  readonly outStep: number;
  readonly taps: readonly Tap[];
}

/** A place of the kernel: output number i meets place i + `at` of phase `phase`. */
export interface Tap {
  readonly kernel: number;
  readonly phase: number;
  readonly at: number;
}

/** What of a source is read: some channels of each group, along two axes. */
export interface Reading {
  readonly groups: number;
  /** Of one group. */
  readonly channels: number;
  readonly vertical: Axis;
  readonly horizontal: Axis;
}

/** An image in scratch. */
export interface Image {
  readonly planeRows: number;
  readonly pitch: number;
  readonly floats: number;
}

export interface ConvSize {
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly outSize: number;
}

/** Height and width of a layout, in this order. */
export function sizesOf(layout: Conv2dLayout): readonly [ConvSize, ConvSize] {
  return [
    {
      size: layout.H,
      kernel: layout.kernelH,
      stride: layout.strideH,
      padding: layout.paddingH,
      dilation: layout.dilationH,
      outSize: layout.outH,
    },
    {
      size: layout.W,
      kernel: layout.kernelW,
      stride: layout.strideW,
      padding: layout.paddingW,
      dilation: layout.dilationW,
      outSize: layout.outW,
    },
  ];
}

const keyOf = ({ size, kernel, stride, padding, dilation, outSize }: ConvSize): number[] => {
  return [size, kernel, stride, padding, dilation, outSize];
};
/** From x to y. Taps share a phase when the stride divides their distance. */
export const forwardAxis = memoize(keyOf, forwardAxisOf);
/**
 * From dy to dx, as `stride` convolutions of stride 1. Place h of x meets place (h + padding - i * dilation) / stride of y
 * through tap i where that is whole, so the places with the same h % stride share their taps; there may be none.
 */
export const gradientAxes = memoize(keyOf, gradientAxesOf);

function forwardAxisOf(conv: ConvSize): Axis {
  const { kernel, stride, dilation } = conv;
  const phases = Math.min(kernel, stride / greatestCommonDivisor(stride, dilation));
  const taps = Array.from({ length: kernel }, (_, i) => ({
    kernel: i,
    phase: i % phases,
    at: Math.floor((i * dilation) / stride),
  }));
  return { ...conv, phases, outFirst: 0, outStep: 1, taps };
}

function gradientAxesOf(conv: ConvSize): readonly Axis[] {
  return Array.from({ length: Math.min(conv.stride, conv.size) }, (_, outFirst) =>
    gradientAxis(conv, outFirst),
  );
}

function gradientAxis(conv: ConvSize, outFirst: number): Axis {
  const { size, kernel, stride, padding, dilation } = conv;
  const met = Array.from({ length: kernel }, (_, i) => ({
    kernel: i,
    place: (outFirst + padding - i * dilation) / stride,
  })).filter(({ place }) => Number.isInteger(place));
  const nearest = met.reduce(
    (least, { place }) => Math.min(least, place),
    Number.POSITIVE_INFINITY,
  );
  return {
    size: conv.outSize,
    stride: 1,
    dilation: 1,
    padding: met.length === 0 ? 0 : -nearest,
    phases: 1,
    outSize: Math.ceil((size - outFirst) / stride),
    outFirst,
    outStep: stride,
    taps: met.map((tap) => ({ kernel: tap.kernel, phase: 0, at: tap.place - nearest })),
  };
}

/** An image of `rows` output rows and the rows that their taps reach. */
export function imageOf(reading: Reading, rows: number): Image {
  const { channels, vertical, horizontal } = reading;
  const pitch = pitchOf(horizontal);
  const planeRows = rows + reachOf(vertical);
  const planes = channels * vertical.phases * horizontal.phases;
  // Behind the last pixel tiles of 16 read on, and the last row has no row after it to end it with zeros.
  const behind = reachOf(horizontal) + 16;
  return { planeRows, pitch, floats: roundUp(planes * planeRows * pitch + behind, 16) };
}

/** How many output rows an image of at most `floats` holds; at least one. */
export function rowsWithin(floats: number, reading: Reading): number {
  const { channels, vertical, horizontal } = reading;
  const rowFloats = channels * vertical.phases * horizontal.phases * pitchOf(horizontal);
  const rows = Math.floor(floats / rowFloats) - reachOf(vertical);
  return Math.min(Math.max(rows, 1), vertical.outSize);
}

/** How many output columns an image of about `floats` holds: all of them unless one row alone would be several times as much. */
export function columnsWithin(floats: number, reading: Reading): number {
  const { channels, vertical, horizontal } = reading;
  const { outSize } = horizontal;
  const columnFloats = channels * vertical.phases * horizontal.phases * (1 + reachOf(vertical));
  if (columnFloats * outSize <= 4 * floats) return outSize;
  const columns = Math.max(64, Math.floor(floats / columnFloats) - reachOf(horizontal));
  return Math.min(outSize, roundUp(evenly(outSize, columns), 16));
}

interface Grid {
  readonly images: number;
  readonly rows: number;
  readonly columns: number;
}

export type Passes = ReturnType<typeof passesOf>;

/** Passes over the pixels of images, each over some rows and columns of one or over some whole ones: about `pixels` of them. */
export function passesOf(grid: Grid, pixels: number) {
  // Sequences have long rows.
  const columns = evenly(grid.columns, pixels);
  const rows = evenly(grid.rows, Math.floor(pixels / columns));
  const columnPasses = Math.ceil(grid.columns / columns);
  const rowPasses = Math.ceil(grid.rows / rows);
  const isWhole = columnPasses * rowPasses === 1;
  // One pass without images, if there are none.
  const allImages = Math.max(grid.images, 1);
  const images = isWhole ? evenly(allImages, Math.floor(pixels / (rows * columns))) : 1;
  const count = Math.ceil(allImages / images) * rowPasses * columnPasses;
  return { rows, columns, images, rowPasses, columnPasses, count };
}

/** The fields of the kernels' ImagePlan, in order. */
export function imagePlan(reading: Reading, image: Image): number[] {
  const { groups, channels, vertical, horizontal } = reading;
  return [
    ...[groups, channels, vertical.size, horizontal.size],
    ...[vertical.stride, horizontal.stride],
    ...[vertical.dilation, horizontal.dilation],
    ...[vertical.padding, horizontal.padding],
    ...[vertical.phases, horizontal.phases],
    ...[image.planeRows, image.pitch, image.floats],
  ];
}

/** Bytes from an output pixel to what each tap meets, in the order [channel][kernel row][kernel column]. */
export function tapOffsets(reading: Reading, image: Image): Int32Array {
  const { channels, vertical, horizontal } = reading;
  const planeBytes = image.planeRows * image.pitch * 4;
  const offsets = new Int32Array(channels * vertical.taps.length * horizontal.taps.length);
  let t = 0;
  for (let c = 0; c < channels; c++) {
    for (const v of vertical.taps) {
      for (const h of horizontal.taps) {
        const plane = (c * vertical.phases + v.phase) * horizontal.phases + h.phase;
        offsets[t++] = plane * planeBytes + (v.at * image.pitch + h.at) * 4;
      }
    }
  }
  return offsets;
}

/** Places behind an output's own that its taps reach. */
function reachOf(axis: Axis): number {
  return axis.taps.reduce((most, tap) => Math.max(most, tap.at), 0);
}

/**
 * Floats from a row to the next. The zeros before a row also stand behind the row before it, so a row needs no zeros of its
 * own at its end as far as those go.
 */
function pitchOf(axis: Axis): number {
  const { size, stride, padding, outSize } = axis;
  const needed = outSize + reachOf(axis);
  const zeros = Math.max(0, Math.floor(padding / stride));
  const pixelsEnd = Math.min(needed, Math.ceil((padding + size) / stride));
  return Math.max(outSize, needed - zeros, pixelsEnd);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

import { bytes } from "./floats";
import { loadPart, storePart } from "./simd";
import { gradientStrip2x2, inputStrip2x2 } from "./winograd-2x2";
import { inputStrip4x4 } from "./winograd-4x4";
import { gradientStrip4x4 } from "./winograd-4x4-weight";
import { narrowGradientStrip, narrowInputStrip } from "./winograd-narrow";
import { usesPoint } from "./winograd-points";

/**
 * How Winograd's convolutions read images: a region of every plane, the whole of it or what one size of tiles covers, and its
 * blocks of tiles. Tiles are numbered through all images, row by row, and taken in panels of eight.
 *
 * A transform goes down the columns first, which neighbouring tiles share: it takes a row of tiles at a time, straight from the
 * image, to a strip in scratch, which has a row for each point and a column for each of the image and of its padding. A tile
 * stands at the same place in it for all channels.
 */
export class WinogradTiles {
  /** Of the source. */
  channels: i32;
  H: i32;
  W: i32;
  paddingH: i32;
  paddingW: i32;
  /** Outputs of the largest tile each way, 2 or 4; elements that its inputs become, 16 or 36. */
  tile: i32;
  elements: i32;
  /** Outputs of the region's tiles, and where it begins in the plane of outputs. */
  tileH: i32;
  tileW: i32;
  firstH: i32;
  firstW: i32;
  tileColumns: i32;
  /** Of one image. */
  tileRows: i32;
  tiles: i32;
  /** Of one element of a block, and a cache line so that elements keep out of each other's way. */
  inputFloats: i32;
  /** Floats from one row of a strip to the next. */
  pitch: i32;
  /** Of one channel's strips. */
  stripFloats: i32;
  /** Where in a thread's scratch stand the places of a block's tiles: bytes from the strips. */
  placesAt: usize;

  /** Rows of a strip. */
  points(): i32 {
    return this.tile + 2;
  }

  /** Where in a thread's scratch the strips begin: behind a row of zeros and what short rows take. */
  stripsIn(own: usize): usize {
    return own + bytes(this.pitch + shortFloats);
  }

  /** Whether its tiles are the largest, which use all elements. */
  isWhole(): bool {
    return this.tileH === this.tile && this.tileW === this.tile;
  }

  /** Whether its tiles have something to multiply at an element. */
  uses(element: i32): bool {
    if (this.isWhole()) return true;
    return usesPoint(this.tileH, element / 6) && usesPoint(this.tileW, element % 6);
  }
}

/** Six vectors of image and six of a strip: see `transformShort`. */
const shortFloats = 48;

/** Where the n-th of so many blocks begins, which are as even as can be. */
export function cutAt(n: i32, blocks: i32, total: i32): i32 {
  return <i32>((<i64>n * <i64>total) / <i64>blocks);
}

/** Clears the strips of some channels and writes the places of their tiles; the last tile stands in for those that are missing. */
export function placeTiles(
  plan: WinogradTiles,
  channels: i32,
  first: i32,
  tiles: i32,
  own: usize,
): void {
  memory.fill(own, 0, bytes(channels * plan.stripFloats + plan.pitch + shortFloats));
  const firstRow = first / plan.tileColumns;
  const firstColumn = first % plan.tileColumns;
  const places = own + plan.placesAt;
  for (let i = 0; i < tiles; i++) {
    const tile = min(first + i, plan.tiles - 1);
    const strip = tile / plan.tileColumns - firstRow;
    const column = (tile % plan.tileColumns) - (strip === 0 ? firstColumn : 0);
    store<usize>(
      places + bytes(i),
      bytes(plan.points() * strip * plan.pitch + plan.tileW * column),
    );
  }
}

/**
 * The strips of some channels: B' d of every column, or A dy for the gradient of a weight. Only columns inside the image are
 * written: the others stay zero.
 */
export function transformStrips(
  plan: WinogradTiles,
  source: usize,
  isGradient: bool,
  channel: i32,
  channels: i32,
  first: i32,
  tiles: i32,
  own: usize,
): void {
  const last = min(first + tiles, plan.tiles) - 1;
  const firstRow = first / plan.tileColumns;
  const endRow = last / plan.tileColumns + 1;
  const plane = bytes(plan.H * plan.W);
  const n = firstRow / plan.tileRows;
  let image = source + <usize>(n * plan.channels + channel) * plane;
  let rowOfImage = firstRow % plan.tileRows;
  let shift = plan.firstW + plan.tileW * (first % plan.tileColumns) - plan.paddingW;
  let strip = plan.stripsIn(own);
  for (let row = firstRow; row < endRow; row++, strip += bytes(plan.points() * plan.pitch)) {
    const h = plan.firstH + plan.tileH * rowOfImage - plan.paddingH;
    transformStrip(plan, image, isGradient, channels, h, shift, strip, own);
    shift = plan.firstW - plan.paddingW;
    if (++rowOfImage === plan.tileRows) {
      rowOfImage = 0;
      image += <usize>plan.channels * plane;
    }
  }
}

/** From row h of an image's channels on; column w of the strip is column w + shift of the image. */
function transformStrip(
  plan: WinogradTiles,
  image: usize,
  isGradient: bool,
  channels: i32,
  h: i32,
  shift: i32,
  strip: usize,
  zeros: usize,
): void {
  const left = max(0, -shift);
  const count = min(plan.pitch, plan.W - shift) - left;
  if (count <= 0) return;
  const end = min(plan.H, h + plan.tileH + (isGradient ? 0 : 2));
  const row = bytes(plan.W);
  let d = image + bytes(h * plan.W + left + shift);
  let to = strip + bytes(left);
  for (let i = 0; i < channels; i++) {
    const r0 = <u32>h < <u32>end ? d : zeros;
    const r1 = <u32>(h + 1) < <u32>end ? d + row : zeros;
    const r2 = <u32>(h + 2) < <u32>end ? d + 2 * row : zeros;
    const r3 = <u32>(h + 3) < <u32>end ? d + 3 * row : zeros;
    const r4 = <u32>(h + 4) < <u32>end ? d + 4 * row : zeros;
    const r5 = <u32>(h + 5) < <u32>end ? d + 5 * row : zeros;
    if (count < 4) {
      const short = zeros + bytes(plan.pitch);
      transformShort(plan, isGradient, r0, r1, r2, r3, r4, r5, count, short, to);
    } else {
      transformRows(plan, isGradient, r0, r1, r2, r3, r4, r5, count, to, bytes(plan.pitch));
    }
    d += bytes(plan.H * plan.W);
    to += bytes(plan.stripFloats);
  }
}

/** Fewer columns than a vector has, with zeros behind them. */
function transformShort(
  plan: WinogradTiles,
  isGradient: bool,
  r0: usize,
  r1: usize,
  r2: usize,
  r3: usize,
  r4: usize,
  r5: usize,
  count: i32,
  short: usize,
  to: usize,
): void {
  v128.store(short, loadPart(r0, count, 0));
  v128.store(short, loadPart(r1, count, 0), 16);
  v128.store(short, loadPart(r2, count, 0), 32);
  v128.store(short, loadPart(r3, count, 0), 48);
  v128.store(short, loadPart(r4, count, 0), 64);
  v128.store(short, loadPart(r5, count, 0), 80);
  r1 = short + 16;
  r2 = short + 32;
  r3 = short + 48;
  transformRows(plan, isGradient, short, r1, r2, r3, short + 64, short + 80, 4, short + 96, 16);
  let from = short + 96;
  for (let point = 0; point < plan.points(); point++, from += 16, to += bytes(plan.pitch)) {
    storePart(to, count, v128.load(from));
  }
}

/** At least four columns, of as many rows as a tile has. */
function transformRows(
  plan: WinogradTiles,
  isGradient: bool,
  r0: usize,
  r1: usize,
  r2: usize,
  r3: usize,
  r4: usize,
  r5: usize,
  count: i32,
  to: usize,
  pitch: usize,
): void {
  const tileH = plan.tileH;
  if (isGradient) {
    if (plan.tile === 2) gradientStrip2x2(r0, r1, count, to, pitch);
    else if (tileH === 4) gradientStrip4x4(r0, r1, r2, r3, count, to, pitch);
    else narrowGradientStrip(r0, r1, r2, r3, tileH, count, to, pitch);
  } else {
    if (plan.tile === 2) inputStrip2x2(r0, r1, r2, r3, count, to, pitch);
    else if (tileH === 4) inputStrip4x4(r0, r1, r2, r3, r4, r5, count, to, pitch);
    else narrowInputStrip(r0, r1, r2, r3, r4, r5, tileH, count, to, pitch);
  }
}

/** Copies floats; the last vector overlaps the one before it. */
export function copyRun(from: usize, to: usize, count: i32): void {
  if (count < 4) {
    for (let i = 0; i < count; i++) store<f32>(to + bytes(i), load<f32>(from + bytes(i)));
    return;
  }
  const last = bytes(count - 4);
  for (let at: usize = 0; at < last; at += 16) v128.store(to + at, v128.load(from + at));
  v128.store(to + last, v128.load(from + last));
}

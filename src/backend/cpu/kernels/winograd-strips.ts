import { bytes } from "./floats";
import { loadPart, storePart } from "./simd";
import { gradientStrip2x2, inputStrip2x2 } from "./winograd-2x2";
import { gradientStrip3x3 } from "./winograd-3x3";
import { inputStrip4x4 } from "./winograd-4x4";
import { gradientStrip4x4 } from "./winograd-4x4-weight";
import { narrowGradientStrip, narrowInputStrip } from "./winograd-narrow";
import { usesPoint } from "./winograd-points";
import { factorOf, spreadStrip, stridedStrip, usesStridedPoint } from "./winograd-strided";
import { stridedGradientStrip } from "./winograd-strided-weight";

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
  /** Outputs of the largest tile each way: 2, 3 or 4. */
  tile: i32;
  /** Of the kernel each way: 4 with tiles of 3, else 3. */
  taps: i32;
  /** That a tile's inputs become: 16, 36 or 81. */
  elements: i32;
  /** Of the convolution, 1 or 2; and whether the source is a gradient of outputs, of which a stride of 2 leaves out nothing. */
  stride: i32;
  isGradient: i32;
  /** Outputs of the region's tiles, and where it begins in the plane of outputs. */
  tileH: i32;
  tileW: i32;
  firstH: i32;
  firstW: i32;
  tileColumns: i32;
  /** Of one image. */
  tileRows: i32;
  tiles: i32;
  /** Of one element of a block, and some so that elements keep out of each other's way. */
  elementFloats: i32;
  /** Floats from one row of a strip to the next. */
  pitch: i32;
  /** Of one channel's strips. */
  stripFloats: i32;
  /** Where in a thread's scratch stand the places of a block's tiles: bytes from the strips. */
  placesAt: usize;

  /** Of an element along a side: rows of a strip. */
  points(): i32 {
    return this.stride === 2 ? 9 : this.tile + this.taps - 1;
  }

  /** The factor of the kernel that an element is multiplied with. */
  factorOf(element: i32): i32 {
    if (this.stride === 1) return element;
    return 6 * factorOf(element / 9) + factorOf(element % 9);
  }

  /** Whether it is the first of the elements with its factor. */
  isFirstOf(element: i32): bool {
    if (this.stride === 1) return true;
    const point = element / 9;
    const other = element % 9;
    return (point === 0 || point > 3) && (other === 0 || other > 3);
  }

  /** What so many outputs are in the source. */
  inSource(outputs: i32): i32 {
    return this.stride === 2 && this.isGradient === 0 ? 2 * outputs : outputs;
  }

  /** What they are where outputs go: dx is larger than the dy it comes from. */
  inOutput(outputs: i32): i32 {
    return this.stride === 2 && this.isGradient !== 0 ? 2 * outputs : outputs;
  }

  /** Where in a thread's scratch the strips begin: behind a row of zeros and what short rows take. */
  stripsIn(own: usize): usize {
    return own + bytes(this.pitch + shortFloats);
  }

  /** From this tile to the end of its row. */
  tilesInRow(tile: i32): i32 {
    return this.tileColumns - (tile % this.tileColumns);
  }

  /** Whether its tiles are the largest, which use all elements. */
  isWhole(): bool {
    return this.tileH === this.tile && this.tileW === this.tile;
  }

  /** Whether its tiles have something to multiply at an element. */
  uses(element: i32): bool {
    if (this.isWhole()) return true;
    if (this.stride === 1) {
      return usesPoint(this.tileH, element / 6) && usesPoint(this.tileW, element % 6);
    }
    return usesStridedPoint(this.tileH, element / 9) && usesStridedPoint(this.tileW, element % 9);
  }
}

/** Nine addresses of rows; the same, nine vectors of image and nine of a strip for `transformShort`. */
const shortFloats = 96;

/** Where the n-th of so many blocks begins, which are as even as can be. */
export function cutAt(n: i32, blocks: i32, total: i32): i32 {
  return <i32>((<i64>n * <i64>total) / <i64>blocks);
}

/** The row of zeros that strips take for rows outside the image. */
export function clearRow(plan: WinogradTiles, own: usize): void {
  memory.fill(own, 0, bytes(plan.pitch));
}

/** Writes the places of a block's tiles among its strips; the last tile stands in for those that are missing. */
export function placeTiles(plan: WinogradTiles, first: i32, tiles: i32, own: usize): void {
  const firstRow = first / plan.tileColumns;
  const firstColumn = first % plan.tileColumns;
  const places = own + plan.placesAt;
  for (let i = 0; i < tiles; i++) {
    const tile = min(first + i, plan.tiles - 1);
    const strip = tile / plan.tileColumns - firstRow;
    const column = (tile % plan.tileColumns) - (strip === 0 ? firstColumn : 0);
    store<usize>(
      places + bytes(i),
      bytes(plan.points() * strip * plan.pitch + plan.inSource(plan.tileW) * column),
    );
  }
}

/** The strips of some channels, for the tiles of a block. Needs `clearRow`. */
export function transformStrips(
  plan: WinogradTiles,
  source: usize,
  channel: i32,
  channels: i32,
  first: i32,
  tiles: i32,
  own: usize,
): void {
  const end = min(first + tiles, plan.tiles);
  let strip = plan.stripsIn(own);
  while (first < end) {
    const count = min(plan.tilesInRow(first), end - first);
    transformStrip(plan, source, false, channel, channels, first, count, strip, own);
    strip += bytes(plan.points() * plan.pitch);
    first += count;
  }
}

/**
 * The strip of some channels for tiles of one row: B' d of every column, or A dy for the gradient of a weight, where tiles read no
 * more than their outputs. Columns outside the image are zeros. Needs `clearRow`.
 */
export function transformStrip(
  plan: WinogradTiles,
  source: usize,
  isForWeight: bool,
  channel: i32,
  channels: i32,
  first: i32,
  tiles: i32,
  strip: usize,
  own: usize,
): void {
  const rowOfTiles = first / plan.tileColumns;
  const n = rowOfTiles / plan.tileRows;
  const firstH = plan.firstH + plan.tileH * (rowOfTiles - n * plan.tileRows);
  const firstW = plan.firstW + plan.tileW * (first - rowOfTiles * plan.tileColumns);
  const h = plan.inSource(firstH) - plan.paddingH;
  const w = plan.inSource(firstW) - plan.paddingW;
  const columns = plan.inSource(plan.tileW) * tiles + plan.taps - 1;
  const left = min(max(0, -w), columns);
  const count = max(0, min(columns, plan.W - w) - left);
  const end = min(plan.H, h + plan.inSource(plan.tileH) + (isForWeight ? 0 : plan.taps - 1));
  const rows = own + bytes(plan.pitch);
  let d = source + bytes(((n * plan.channels + channel) * plan.H + h) * plan.W + w + left);
  for (let i = 0; i < channels; i++, strip += bytes(plan.stripFloats)) {
    let at = d;
    for (let point = 0; point < plan.points(); point++, at += bytes(plan.W)) {
      store<usize>(rows + bytes(point), <u32>(h + point) < <u32>end ? at : own);
    }
    const to = strip + bytes(left);
    clearColumns(plan, strip, left);
    if (count >= 4) transformRows(plan, isForWeight, rows, count, to, bytes(plan.pitch));
    else if (count > 0) transformShort(plan, isForWeight, rows, count, to);
    clearColumns(plan, to + bytes(count), columns - left - count);
    d += bytes(plan.H * plan.W);
  }
}

function clearColumns(plan: WinogradTiles, strip: usize, count: i32): void {
  for (; count > 0; count--, strip += 4) {
    for (let point = 0, at = strip; point < plan.points(); point++, at += bytes(plan.pitch)) {
      store<f32>(at, 0);
    }
  }
}

/** Fewer columns than a vector has, with zeros behind them. */
function transformShort(
  plan: WinogradTiles,
  isForWeight: bool,
  rows: usize,
  count: i32,
  to: usize,
): void {
  const ownRows = rows + bytes(12);
  const vectors = rows + bytes(24);
  const results = rows + bytes(60);
  for (let point = 0; point < plan.points(); point++) {
    const vector = vectors + ((<usize>point) << 4);
    v128.store(vector, loadPart(load<usize>(rows + bytes(point)), count, 0));
    store<usize>(ownRows + bytes(point), vector);
  }
  transformRows(plan, isForWeight, ownRows, 4, results, 16);
  for (let point: usize = 0; point < <usize>plan.points(); point++, to += bytes(plan.pitch)) {
    storePart(to, count, v128.load(results + 16 * point));
  }
}

/** At least four columns of the rows that a tile has, whose addresses stand at `rows`. */
function transformRows(
  plan: WinogradTiles,
  isForWeight: bool,
  rows: usize,
  count: i32,
  to: usize,
  pitch: usize,
): void {
  const tileH = plan.tileH;
  if (plan.stride === 2) {
    if (isForWeight) stridedGradientStrip(rows, tileH, count, to, pitch);
    else if (plan.isGradient !== 0) spreadStrip(rows, tileH, count, to, pitch);
    else stridedStrip(rows, tileH, count, to, pitch);
  } else if (isForWeight) {
    if (plan.tile === 2) gradientStrip2x2(rows, count, to, pitch);
    else if (plan.tile === 3) gradientStrip3x3(rows, count, to, pitch);
    else if (tileH === 4) gradientStrip4x4(rows, count, to, pitch);
    else narrowGradientStrip(rows, tileH, count, to, pitch);
  } else {
    if (plan.tile === 2) inputStrip2x2(rows, count, to, pitch);
    else if (tileH === plan.tile) inputStrip4x4(rows, count, to, pitch);
    else narrowInputStrip(rows, tileH, count, to, pitch);
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

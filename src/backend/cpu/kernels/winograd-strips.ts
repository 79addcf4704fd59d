import { bytes } from "./floats";
import { usesPoint } from "./winograd-points";

/**
 * How Winograd's convolutions read images: a region of every plane, the whole of it or what one size of tiles covers, and its
 * blocks of tiles. Tiles are numbered through all images, row by row, and taken in panels of eight. The
 * rows of tiles that a block touches are copied to scratch as strips, with their padding: all rows of floats that the tiles read,
 * so that neighbouring strips share none, and a tile stands at the same place for all channels.
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
  /** Rows of a strip, and floats from one to the next. */
  stripRows: i32;
  pitch: i32;
  /** Of one channel's strips. */
  stripFloats: i32;
  /** Where in a thread's scratch stand the places of a block's tiles: bytes from the strips. */
  placesAt: usize;

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
  memory.fill(own, 0, bytes(channels * plan.stripFloats));
  const firstRow = first / plan.tileColumns;
  const firstColumn = first % plan.tileColumns;
  const places = own + plan.placesAt;
  for (let i = 0; i < tiles; i++) {
    const tile = min(first + i, plan.tiles - 1);
    const strip = tile / plan.tileColumns - firstRow;
    const column = (tile % plan.tileColumns) - (strip === 0 ? firstColumn : 0);
    store<usize>(
      places + bytes(i),
      bytes(plan.stripRows * strip * plan.pitch + plan.tileW * column),
    );
  }
}

/** Copies the strips of some channels. Only floats inside the image are written: the others stay zero. */
export function copyStrips(
  plan: WinogradTiles,
  source: usize,
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
  for (let row = firstRow; row < endRow; row++, own += bytes(plan.stripRows * plan.pitch)) {
    copyStrip(
      plan,
      image,
      channels,
      plan.firstH + plan.tileH * rowOfImage - plan.paddingH,
      shift,
      own,
    );
    shift = plan.firstW - plan.paddingW;
    if (++rowOfImage === plan.tileRows) {
      rowOfImage = 0;
      image += <usize>plan.channels * plane;
    }
  }
}

/** The rows of an image's channels from row h on; column w of the strip is column w + shift of the image. */
function copyStrip(
  plan: WinogradTiles,
  image: usize,
  channels: i32,
  h: i32,
  shift: i32,
  strip: usize,
): void {
  const left = max(0, -shift);
  const count = min(plan.pitch, plan.W - shift) - left;
  if (count <= 0) return;
  const top = max(0, -h);
  const bottom = min(plan.stripRows - plan.tile + plan.tileH, plan.H - h);
  let from = image + bytes((h + top) * plan.W + left + shift);
  let to = strip + bytes(top * plan.pitch + left);
  for (let i = 0; i < channels; i++) {
    let source = from;
    let target = to;
    for (let row = top; row < bottom; row++) {
      copyRun(source, target, count);
      source += bytes(plan.W);
      target += bytes(plan.pitch);
    }
    from += bytes(plan.H * plan.W);
    to += bytes(plan.stripFloats);
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

import { bytes } from "./floats";

/**
 * How Winograd's convolutions read images. Tiles are numbered through all images, row by row, and taken in panels of eight. The
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
  /** Outputs of a tile each way, 2 or 4; elements that its inputs become, 16 or 36. */
  tile: i32;
  elements: i32;
  tileColumns: i32;
  /** Of one image. */
  tileRows: i32;
  tiles: i32;
  tileBlocks: i32;
  /** Of one element of a block, and a cache line so that elements keep out of each other's way. */
  inputFloats: i32;
  /** Rows of a strip, and floats from one to the next. */
  stripRows: i32;
  pitch: i32;
  /** Of one channel's strips. */
  stripFloats: i32;
  /** Where in a thread's scratch stand the places of a block's tiles: bytes from the strips. */
  placesAt: usize;

  /** Blocks are as even as can be. */
  firstPanel(block: i32): i32 {
    const panels = (this.tiles + 7) >> 3;
    return <i32>((<i64>block * <i64>panels) / <i64>this.tileBlocks);
  }
}

/** Clears the strips of some channels and writes the places of their tiles; the last tile stands in for those that are missing. */
export function placeTiles(
  plan: WinogradTiles,
  channels: i32,
  firstPanel: i32,
  panels: i32,
  own: usize,
): void {
  memory.fill(own, 0, bytes(channels * plan.stripFloats));
  const first = 8 * firstPanel;
  const firstRow = first / plan.tileColumns;
  const firstColumn = first % plan.tileColumns;
  const places = own + plan.placesAt;
  for (let i = 0; i < 8 * panels; i++) {
    const tile = min(first + i, plan.tiles - 1);
    const strip = tile / plan.tileColumns - firstRow;
    const column = (tile % plan.tileColumns) - (strip === 0 ? firstColumn : 0);
    store<usize>(
      places + bytes(i),
      bytes(plan.stripRows * strip * plan.pitch + plan.tile * column),
    );
  }
}

/** Copies the strips of some channels. Only floats inside the image are written: the others stay zero. */
export function copyStrips(
  plan: WinogradTiles,
  source: usize,
  channel: i32,
  channels: i32,
  firstPanel: i32,
  panels: i32,
  own: usize,
): void {
  const first = 8 * firstPanel;
  const last = min(first + 8 * panels, plan.tiles) - 1;
  const firstRow = first / plan.tileColumns;
  const endRow = last / plan.tileColumns + 1;
  const plane = bytes(plan.H * plan.W);
  for (let i = 0; i < channels; i++) {
    let strip = own + bytes(i * plan.stripFloats);
    const n = firstRow / plan.tileRows;
    let h = plan.tile * (firstRow % plan.tileRows) - plan.paddingH;
    let image = source + <usize>(n * plan.channels + channel + i) * plane;
    let shift = plan.tile * (first % plan.tileColumns) - plan.paddingW;
    for (let row = firstRow; row < endRow; row++) {
      copyStrip(plan, image, h, shift, strip);
      strip += bytes(plan.stripRows * plan.pitch);
      shift = -plan.paddingW;
      h += plan.tile;
      if (h + plan.paddingH >= plan.tileRows * plan.tile) {
        h = -plan.paddingH;
        image += <usize>plan.channels * plane;
      }
    }
  }
}

/** The rows of an image from row h on; column w of the strip is column w + shift of the image. */
function copyStrip(plan: WinogradTiles, image: usize, h: i32, shift: i32, strip: usize): void {
  const left = max(0, -shift);
  const count = min(plan.pitch, plan.W - shift) - left;
  if (count <= 0) return;
  const bottom = min(plan.stripRows, plan.H - h);
  for (let row = max(0, -h); row < bottom; row++) {
    const from = image + bytes((h + row) * plan.W + left + shift);
    copyRun(from, strip + bytes(row * plan.pitch + left), count);
  }
}

/** The last vector overlaps the one before it. */
function copyRun(from: usize, to: usize, count: i32): void {
  if (count < 4) {
    for (let i = 0; i < count; i++) store<f32>(to + bytes(i), load<f32>(from + bytes(i)));
    return;
  }
  const last = bytes(count - 4);
  for (let at: usize = 0; at < last; at += 16) v128.store(to + at, v128.load(from + at));
  v128.store(to + last, v128.load(from + last));
}

import { bytes } from "./floats";
import { loadPart, storePart } from "./simd";

/**
 * Adds columns `lane` to `lane` + `lanes` of a tile of eight columns to rows of `out`, which lie `next` bytes apart, or stores
 * them where they are the first.
 */
export function addTile(
  tile: usize,
  rows: i32,
  lane: i32,
  lanes: i32,
  out: usize,
  next: usize,
  isFirst: bool,
): void {
  tile += bytes(lane);
  if (lanes === 8 && !isFirst) {
    for (const end = tile + bytes(8 * rows); tile < end; tile += 32, out += next) {
      v128.store(out, f32x4.add(v128.load(out), v128.load(tile)));
      v128.store(out, f32x4.add(v128.load(out, 16), v128.load(tile, 16)), 16);
    }
    return;
  }
  for (let row = 0; row < rows; row++, tile += 32, out += next) {
    addPart(tile, min(4, lanes), out, isFirst);
    if (lanes > 4) addPart(tile + 16, lanes - 4, out + 16, isFirst);
  }
}

function addPart(from: usize, lanes: i32, out: usize, isFirst: bool): void {
  const values = loadPart(from, lanes, 0);
  storePart(out, lanes, isFirst ? values : f32x4.add(loadPart(out, lanes, 0), values));
}

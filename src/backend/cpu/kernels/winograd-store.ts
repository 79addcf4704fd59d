import { bytes } from "./floats";
import { storePart } from "./simd";
import { transformOutput2x2 } from "./winograd-2x2";
import { transformOutput3x3 } from "./winograd-3x3";
import { transformOutput4x4 } from "./winograd-4x4";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { WinogradPlan } from "./winograd-kernels";
import { transformNarrowOutput } from "./winograd-narrow";
import { transformSpreadOutput, transformStridedOutput } from "./winograd-strided-output";

/**
 * Writes where the outputs of a block's tiles go, in bytes from the first image's plane, and how many rows and columns of them; for the
 * first of each four tiles, whether nothing of the four hangs over an edge.
 */
export function placeOutputs(plan: WinogradPlan, first: i32, tiles: i32, own: usize): void {
  const tileH = plan.inOutput(plan.tileH);
  const tileW = plan.inOutput(plan.tileW);
  const firstH = plan.inOutput(plan.firstH);
  const firstW = plan.inOutput(plan.firstW);
  let place = own + plan.placesAt;
  for (let tile = first; tile < first + tiles; tile++, place += placeBytes) {
    const row = tile / plan.tileColumns;
    const image = row / plan.tileRows;
    const h = firstH + (row - image * plan.tileRows) * tileH;
    const w = firstW + (tile - row * plan.tileColumns) * tileW;
    const rowInAll = image * plan.outChannels * plan.outH + h;
    const rows = tile < plan.tiles ? min(tileH, plan.outH - h) : 0;
    store<usize>(place, bytes(rowInAll * plan.outW + w));
    store<i32>(place, rows, 4);
    store<i32>(place, min(tileW, plan.outW - w), 8);
    const isWhole = rows === tileH && w + tileW <= plan.outW;
    const four = own + plan.placesAt + <usize>((tile - first) & ~3) * placeBytes;
    store<i32>(four, i32(isWhole && ((tile & 3) === 0 || load<i32>(four, 12) !== 0)), 12);
  }
}

const placeBytes: usize = 16;
/** Where in the work of the transforms tiles at the edges go first: behind what the transforms of outputs need. */
const edgesAt: usize = 1408;

/** The outputs of a block's tiles for one output channel, whose plane in the first image is `out`, from their products. */
export function storeTiles(
  plan: WinogradPlan,
  products: usize,
  out: usize,
  tiles: i32,
  bias: v128,
  own: usize,
): void {
  const row = bytes(plan.outW);
  const work = own + plan.workAt;
  // Four tiles of up to eight columns side by side.
  const edges = work + edgesAt;
  // Tiles of 2 and narrow ones are written in vectors of four columns.
  const isDirect = plan.tile > 2 && plan.isWhole();
  let place = own + plan.placesAt;
  for (let tile = 0; tile < tiles; tile += 4, place += 4 * placeBytes) {
    if (isDirect && load<i32>(place, 12) !== 0) {
      const y0 = out + load<usize>(place);
      const y1 = out + load<usize>(place + placeBytes);
      const y2 = out + load<usize>(place + 2 * placeBytes);
      const y3 = out + load<usize>(place + 3 * placeBytes);
      transformOutput(plan, products, bias, work, y0, y1, y2, y3, row);
    } else {
      transformOutput(plan, products, bias, work, edges, edges + 32, edges + 64, edges + 96, 128);
      for (let i: usize = 0; i < 4; i++)
        storeTile(edges + 32 * i, out, row, place + placeBytes * i);
    }
    products += (tile & 4) === 0 ? 16 : bytes(8 * plan.elements) - 16;
  }
}

/** Those of four tiles: to y0 ... y3, in rows `pitch` bytes apart. */
function transformOutput(
  plan: WinogradPlan,
  products: usize,
  bias: v128,
  work: usize,
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  pitch: usize,
): void {
  const tileH = plan.tileH;
  const tileW = plan.tileW;
  if (plan.stride === 2 && plan.isGradient !== 0) {
    transformSpreadOutput(products, tileH, tileW, work, y0, y1, y2, y3, pitch);
  } else if (plan.stride === 2) {
    transformStridedOutput(products, bias, tileH, tileW, work, y0, y1, y2, y3, pitch);
  } else if (plan.tile === 2) {
    transformOutput2x2(products, bias, work, y0, y1, y2, y3, pitch);
  } else if (plan.tile === 3) {
    transformOutput3x3(products, bias, work, y0, y1, y2, y3, pitch);
  } else if (plan.isWhole()) {
    transformOutput4x4(products, bias, work, y0, y1, y2, y3, pitch);
  } else {
    transformNarrowOutput(products, bias, tileH, tileW, work, y0, y1, y2, y3, pitch);
  }
}

/** The rows and columns of a tile that are inside the plane. */
function storeTile(from: usize, out: usize, row: usize, place: usize): void {
  const rows = load<i32>(place, 4);
  const columns = load<i32>(place, 8);
  let to = out + load<usize>(place);
  for (let i = 0; i < rows; i++, from += 128, to += row) {
    storePart(to, columns, v128.load(from));
    if (columns > 4) storePart(to + 16, columns - 4, v128.load(from, 16));
  }
}

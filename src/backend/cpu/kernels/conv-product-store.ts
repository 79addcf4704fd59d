// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Pass, ProductPlan, variantAt } from "./conv-product-plan";
import { bytes } from "./floats";
import { addTile } from "./matmul-tile";
import { loadPart, storePart } from "./simd";

/** Of a tile of six by eight, in bytes. Those of all variants lie one behind the other. */
export const tileBytes: usize = 192;

/** Stores a tile whose pixels are runs, one in each image. */
export function storeRuns(
  plan: ProductPlan,
  pass: Pass,
  channel: i32,
  channels: i32,
  pixel: i32,
  lanes: i32,
): void {
  const plane = plan.outRows * plan.outColumns;
  const imagePixels = pass.rows * pass.columns;
  const tile = pass.scratch + plan.tilesAt;
  let image = pixel / imagePixels;
  let inImage = pixel - image * imagePixels;
  for (let lane = 0; lane < lanes; image++) {
    const run = min(lanes - lane, imagePixels - inImage);
    const row = (image * plan.groups * plan.outChannels + channel) * plane;
    const first = pass.firstRow * plan.outColumns + pass.firstColumn + inImage;
    const at = pass.out + bytes(row + first);
    addTile(tile, channels, lane, run, at, bytes(plane), pass.firstIn === 0);
    lane += run;
    inImage = 0;
  }
}

/** Stores the tiles of all variants, whose pixels take turns in rows and columns, row by row of the grid. */
export function scatter(
  plan: ProductPlan,
  pass: Pass,
  channel: i32,
  channels: i32,
  pixel: i32,
  lanes: i32,
): void {
  const plane = plan.outRows * plan.outColumns;
  for (let lane = 0; lane < lanes; ) {
    const gridRow = (pixel + lane) / pass.columns;
    const column = pixel + lane - gridRow * pass.columns;
    const run = min(lanes - lane, pass.columns - column);
    const image = gridRow / pass.rows;
    const row = (pass.firstRow + gridRow - image * pass.rows) * plan.outStepH;
    const place = row * plan.outColumns + (pass.firstColumn + column) * plan.outStepW;
    const first = (image * plan.groups * plan.outChannels + channel) * plane + place;
    const room = plan.outColumns - (pass.firstColumn + column) * plan.outStepW;
    scatterRun(plan, pass, pass.out + bytes(first), channels, lane, run, plan.outRows - row, room);
    lane += run;
  }
}

/** The same for `run` pixels of one row, for as many rows and columns of the output as there are from `to` on. */
function scatterRun(
  plan: ProductPlan,
  pass: Pass,
  to: usize,
  channels: i32,
  lane: i32,
  run: i32,
  rows: i32,
  columns: i32,
): void {
  const next = bytes(plan.outRows * plan.outColumns);
  const isFirst = pass.firstIn === 0;
  const isPaired = plan.outStepW === 2 && plan.variantColumns === 2;
  let tile = pass.scratch + plan.tilesAt + bytes(lane);
  for (let v = 0; v < plan.variants; v += plan.variantColumns) {
    const row = variantAt(plan, v).row0;
    if (row >= rows) return;
    const at = to + bytes(row * plan.outColumns);
    if (isPaired) storePairs(tile, channels, run, at, next, columns, isFirst);
    else storeApart(plan, tile, channels, run, at, next, columns, isFirst);
    tile += <usize>plan.variantColumns * tileBytes;
  }
}

/** The pixels of two variants in turns, as long as there is room. */
function storePairs(
  tile: usize,
  channels: i32,
  run: i32,
  to: usize,
  next: usize,
  room: i32,
  isFirst: bool,
): void {
  const count = min(2 * run, room);
  for (let i = 0; i < channels; i++, tile += 32, to += next) {
    for (let first = 0; first < count; first += 8) {
      const even = v128.load(tile + bytes(first >> 1));
      const odd = v128.load(tile + bytes(first >> 1) + tileBytes);
      const left = count - first;
      const at = to + bytes(first);
      put(v128.shuffle<f32>(even, odd, 0, 4, 1, 5), at, min(4, left), isFirst);
      if (left > 4)
        put(v128.shuffle<f32>(even, odd, 2, 6, 3, 7), at + 16, min(4, left - 4), isFirst);
    }
  }
}

function put(values: v128, to: usize, lanes: i32, isFirst: bool): void {
  storePart(to, lanes, isFirst ? values : f32x4.add(loadPart(to, lanes, 0), values));
}

/** The pixels of the variants of a row, one by one. */
function storeApart(
  plan: ProductPlan,
  tile: usize,
  channels: i32,
  run: i32,
  to: usize,
  next: usize,
  room: i32,
  isFirst: bool,
): void {
  for (let b = 0; b < plan.variantColumns; b++, tile += tileBytes) {
    for (let i = 0; i < channels; i++) {
      let at = to + <usize>i * next + bytes(b);
      const end = at + bytes(min(run * plan.outStepW, room - b));
      for (let from = tile + 32 * i; at < end; from += 4, at += bytes(plan.outStepW)) {
        const value = load<f32>(from);
        store<f32>(at, isFirst ? value : load<f32>(at) + value);
      }
    }
  }
}

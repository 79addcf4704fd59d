import { bytes } from "./floats";
import { panelOfRow, placeInPanels, rowsOfPanel, storeHalves } from "./panels";
import { transformGradient2x2, transformInput2x2 } from "./winograd-2x2";
import { transformGradient3x3 } from "./winograd-3x3";
import { transformInput4x4 } from "./winograd-4x4";
import { transformGradient4x4 } from "./winograd-4x4-weight";
import { transformNarrowGradient, transformNarrowInput } from "./winograd-narrow";
import { transformStrided } from "./winograd-strided";
import { transformStridedGradient } from "./winograd-strided-weight";
import { clearRow, cutAt, transformStrip, WinogradTiles } from "./winograd-strips";

/**
 * How a region of the gradient of a weight is cut; those of all regions stand one behind the other. Every region is cut into as
 * many blocks: a block is a part of each, so that there are products enough to add up. Written by the host
 * (../winograd-weight.ts) as 32-bit words in the order of the fields.
 */
export class WinogradWeightPlan extends WinogradTiles {
  regions: i32;
  tileBlocks: i32;
  /** Channels that are the rows of the products; those of the tiles are the columns. */
  outChannels: i32;
  parts: i32;
  /** A multiple of 8. */
  channelsPerBlock: i32;
  channelBlocks: i32;
  /** Panels of output channels (panels.ts) make a block, the first ones of six. */
  outPerBlock: i32;
  outBlocks: i32;
  outPanels: i32;
  sixes: i32;
  /** Of one element of the rows' transform, as `elementFloats` of the columns'. */
  leftFloats: i32;
  /** Sums of a pair of channels, one for each factor of its kernel; floats of those of a unit. */
  factors: i32;
  sumFloats: i32;
  /** Whether blocks are transformed once, for all threads. */
  shares: i32;
  /** Floats of dWeight from one column to the next, and from one row to the next. */
  kernelStep: i32;
  outKernelStep: i32;
  /** Where in a thread's scratch the parts begin. */
  workAt: usize;
  rightAt: usize;
  leftAt: usize;
  sumsAt: usize;

  region(i: i32): WinogradWeightPlan {
    const first = changetype<usize>(this);
    return changetype<WinogradWeightPlan>(first + <usize>i * offsetof<WinogradWeightPlan>());
  }

  firstTile(block: i32): i32 {
    return cutAt(block, this.tileBlocks, this.tiles);
  }

  /** Where the transforms of a block begin among those that all threads share, in floats: first all columns, then the rows. */
  rightOf(block: i32, channelBlock: i32): i32 {
    return (block * this.channelBlocks + channelBlock) * this.elements * this.elementFloats;
  }

  leftOf(block: i32, outBlock: i32): i32 {
    const n = block * this.outBlocks + outBlock;
    return this.rightOf(this.tileBlocks, 0) + n * this.elements * this.leftFloats;
  }

  /** Of this region. */
  tilesIn(block: i32): i32 {
    return this.firstTile(block + 1) - this.firstTile(block);
  }

  /** Of all regions in front of one; `region` of the first. */
  tilesBefore(region: i32, block: i32): i32 {
    let tiles = 0;
    for (let i = 0; i < region; i++) tiles += this.region(i).tilesIn(block);
    return tiles;
  }
}

/** The transform of a block of tiles for a block of the channels that are the columns of the products. */
export function transformRight(
  plan: WinogradWeightPlan,
  source: usize,
  channelBlock: i32,
  block: i32,
  right: usize,
  own: usize,
): void {
  const depth = plan.tilesBefore(plan.regions, block);
  for (let i = 0; i < plan.regions; i++) {
    const region = plan.region(i);
    transformRegion(region, source, channelBlock, block, depth, right, own);
    right += bytes(8 * region.tilesIn(block));
  }
}

/** That of one region, where `depth` tiles of all regions lie one behind the other. */
function transformRegion(
  plan: WinogradWeightPlan,
  source: usize,
  channelBlock: i32,
  block: i32,
  depth: i32,
  right: usize,
  own: usize,
): void {
  const next = bytes(plan.elementFloats);
  const first = plan.firstTile(block);
  const tiles = plan.tilesIn(block);
  const start = channelBlock * plan.channelsPerBlock;
  const end = min(start + plan.channelsPerBlock, plan.channels);
  const strip = plan.stripsIn(own);
  clearRow(plan, own);
  for (let c = start; c < end; c += 8, right += bytes(8 * depth)) {
    const channels = min(8, end - c);
    let to = right;
    for (let tile = first; tile < first + tiles; ) {
      const count = min(plan.tilesInRow(tile), first + tiles - tile);
      transformStrip(plan, source, plan.isGradient !== 0, c, channels, tile, count, strip, own);
      tile += count;
      let d = strip;
      for (let i = 0; i < count; i++, to += 32, d += bytes(plan.inSource(plan.tileW))) {
        transformTile(plan, d, to, next);
        transformTile(plan, d + bytes(4 * plan.stripFloats), to + 16, next);
      }
    }
  }
}

/** The same of the channels that are the rows. `reading` has a `WinogradTiles` for each region. */
export function transformLeft(
  plan: WinogradWeightPlan,
  reading: usize,
  source: usize,
  outBlock: i32,
  block: i32,
  left: usize,
  own: usize,
): void {
  const depth = plan.tilesBefore(plan.regions, block);
  const start = outBlock * plan.outPerBlock;
  const channels = min(plan.outPerBlock, plan.outChannels - start);
  let before = 0;
  for (let i = 0; i < plan.regions; i++, reading += offsetof<WinogradTiles>()) {
    const region = plan.region(i);
    const tiles = changetype<WinogradTiles>(reading);
    const isGradient = tiles.isGradient !== 0;
    const strip = tiles.stripsIn(own);
    const end = region.firstTile(block + 1);
    clearRow(tiles, own);
    for (let k = 0; k < channels; k += 4) {
      const four = min(4, channels - k);
      let at = before;
      for (let tile = region.firstTile(block); tile < end; ) {
        const count = min(tiles.tilesInRow(tile), end - tile);
        transformStrip(tiles, source, isGradient, start + k, four, tile, count, strip, own);
        transformFour(region, tiles, k, count, depth, at, left, own);
        tile += count;
        at += count;
      }
    }
    before += region.tilesIn(block);
  }
}

/** Tiles of a strip of four channels from k of the block on, which stand in one panel or half in one and half in the next. */
function transformFour(
  plan: WinogradWeightPlan,
  reading: WinogradTiles,
  k: i32,
  tiles: i32,
  depth: i32,
  before: i32,
  left: usize,
  own: usize,
): void {
  const work = own + plan.workAt;
  const next = bytes(plan.leftFloats);
  // Where there is no second half, it goes where the first one goes.
  const other = k + 2 < plan.outPerBlock ? k + 2 : k;
  const step = bytes(rowsOfPanel(panelOfRow(k, plan.sixes), plan.sixes));
  const otherStep = bytes(rowsOfPanel(panelOfRow(other, plan.sixes), plan.sixes));
  let to = left + bytes(placeInPanels(k, plan.sixes, depth)) + <usize>before * step;
  let second = left + bytes(placeInPanels(other, plan.sixes, depth)) + <usize>before * otherStep;
  const isWhole = second === to + 8;
  const tile = bytes(reading.inSource(reading.tileW));
  let d = reading.stripsIn(own);
  for (let i = 0; i < tiles; i++, to += step, second += otherStep, d += tile) {
    if (isWhole) {
      transformTile(reading, d, to, next);
    } else {
      transformTile(reading, d, work, 16);
      storeHalves(work, plan.elements, to, second, next);
    }
  }
}

/** One tile of four channels from their strips: B' d B of x, or A dy A'. */
function transformTile(reading: WinogradTiles, d0: usize, to: usize, next: usize): void {
  const plane = bytes(reading.stripFloats);
  const d1 = d0 + plane;
  const d2 = d1 + plane;
  const d3 = d2 + plane;
  if (reading.isGradient !== 0) transformGradient(reading, d0, d1, d2, d3, to, next);
  else transformInput(reading, d0, d1, d2, d3, to, next);
}

function transformInput(
  reading: WinogradTiles,
  d0: usize,
  d1: usize,
  d2: usize,
  d3: usize,
  to: usize,
  next: usize,
): void {
  const pitch = bytes(reading.pitch);
  if (reading.stride === 2) {
    transformStrided(d0, d1, d2, d3, pitch, reading.tileH, reading.tileW, to, next);
  } else if (reading.tile === 2) transformInput2x2(d0, d1, d2, d3, pitch, to, next);
  else if (reading.isWhole()) transformInput4x4(d0, d1, d2, d3, pitch, to, next);
  else transformNarrowInput(d0, d1, d2, d3, pitch, reading.tileH, reading.tileW, to, next);
}

function transformGradient(
  reading: WinogradTiles,
  y0: usize,
  y1: usize,
  y2: usize,
  y3: usize,
  to: usize,
  next: usize,
): void {
  const pitch = bytes(reading.pitch);
  if (reading.stride === 2) {
    transformStridedGradient(y0, y1, y2, y3, pitch, reading.tileH, reading.tileW, to, next);
  } else if (reading.tile === 2) transformGradient2x2(y0, y1, y2, y3, pitch, to, next);
  else if (reading.tile === 3) transformGradient3x3(y0, y1, y2, y3, pitch, to, next);
  else if (reading.isWhole()) transformGradient4x4(y0, y1, y2, y3, pitch, to, next);
  else transformNarrowGradient(y0, y1, y2, y3, pitch, reading.tileH, reading.tileW, to, next);
}

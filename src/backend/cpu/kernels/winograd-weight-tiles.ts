import { bytes } from "./floats";
import { panelOfRow, placeInPanels, rowsOfPanel, storeHalves } from "./panels";
import { transformGradient2x2, transformInput2x2 } from "./winograd-2x2";
import { transformInput4x4 } from "./winograd-4x4";
import { transformGradient4x4 } from "./winograd-4x4-weight";
import { transformNarrowGradient, transformNarrowInput } from "./winograd-narrow";
import { transformStrided } from "./winograd-strided";
import { transformStridedGradient } from "./winograd-strided-weight";
import { cutAt, placeTiles, transformStrips, WinogradTiles } from "./winograd-strips";

/**
 * How a region of the gradient of a weight is cut; those of all regions stand one behind the other. Every region is cut into as
 * many blocks: a block is a part of each, so that there are products enough to add up. Written by the host
 * (../winograd-weight.ts) as 32-bit words in the order of the fields.
 */
export class WinogradWeightPlan extends WinogradTiles {
  regions: i32;
  tileBlocks: i32;
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
  /** Of one element of dy's transform, as `inputFloats`. */
  gradientFloats: i32;
  /** Sums of a pair of channels, one for each factor of its kernel; floats of those of a unit. */
  factors: i32;
  sumFloats: i32;
  /** Whether blocks are transformed once, for all threads. */
  shares: i32;
  /** Where in a thread's scratch the parts begin. */
  workAt: usize;
  inputsAt: usize;
  gradientsAt: usize;
  sumsAt: usize;

  region(i: i32): WinogradWeightPlan {
    const first = changetype<usize>(this);
    return changetype<WinogradWeightPlan>(first + <usize>i * offsetof<WinogradWeightPlan>());
  }

  firstTile(block: i32): i32 {
    return cutAt(block, this.tileBlocks, this.tiles);
  }

  /** Where the transforms of a block begin among those that all threads share, in floats: first all of x, then those of dy. */
  inputsOf(block: i32, channelBlock: i32): i32 {
    return (block * this.channelBlocks + channelBlock) * this.elements * this.inputFloats;
  }

  gradientsOf(block: i32, outBlock: i32): i32 {
    const n = block * this.outBlocks + outBlock;
    return this.inputsOf(this.tileBlocks, 0) + n * this.elements * this.gradientFloats;
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

/** B' d B of a block of tiles, for a block of channels. */
export function transformInputs(
  plan: WinogradWeightPlan,
  x: usize,
  channelBlock: i32,
  block: i32,
  inputs: usize,
  own: usize,
): void {
  const depth = plan.tilesBefore(plan.regions, block);
  for (let i = 0; i < plan.regions; i++) {
    const region = plan.region(i);
    transformRegion(region, x, channelBlock, block, depth, inputs, own);
    inputs += bytes(8 * region.tilesIn(block));
  }
}

/** Those of one region, where `depth` tiles of all regions lie one behind the other. */
function transformRegion(
  plan: WinogradWeightPlan,
  x: usize,
  channelBlock: i32,
  block: i32,
  depth: i32,
  inputs: usize,
  own: usize,
): void {
  const first = plan.firstTile(block);
  const tiles = plan.tilesIn(block);
  const start = channelBlock * plan.channelsPerBlock;
  const end = min(start + plan.channelsPerBlock, plan.channels);
  placeTiles(plan, 8, first, tiles, own);
  for (let c = start; c < end; c += 8, inputs += bytes(8 * depth)) {
    transformStrips(plan, x, false, c, min(8, end - c), first, tiles, own);
    let to = inputs;
    for (let i = 0; i < tiles; i++, to += 32) {
      const d = plan.stripsIn(own) + load<usize>(own + plan.placesAt + bytes(i));
      transformPixels(plan, d, to);
      transformPixels(plan, d + bytes(4 * plan.stripFloats), to + 16);
    }
  }
}

/** One tile of four channels. */
function transformPixels(plan: WinogradTiles, d0: usize, to: usize): void {
  const plane = bytes(plan.stripFloats);
  const pitch = bytes(plan.pitch);
  const next = bytes(plan.inputFloats);
  const d1 = d0 + plane;
  const d2 = d1 + plane;
  const d3 = d2 + plane;
  if (plan.stride === 2) {
    transformStrided(d0, d1, d2, d3, pitch, plan.tileH, plan.tileW, to, next);
  } else if (plan.tile === 2) transformInput2x2(d0, d1, d2, d3, pitch, to, next);
  else if (plan.isWhole()) transformInput4x4(d0, d1, d2, d3, pitch, to, next);
  else transformNarrowInput(d0, d1, d2, d3, pitch, plan.tileH, plan.tileW, to, next);
}

/** A dy A' of a block of tiles, for a block of output channels. `reading` has a `WinogradTiles` for dy per region. */
export function transformGradients(
  plan: WinogradWeightPlan,
  reading: usize,
  dy: usize,
  outBlock: i32,
  block: i32,
  gradients: usize,
  own: usize,
): void {
  const depth = plan.tilesBefore(plan.regions, block);
  const start = outBlock * plan.outPerBlock;
  const channels = min(plan.outPerBlock, plan.outChannels - start);
  let before = 0;
  for (let i = 0; i < plan.regions; i++, reading += offsetof<WinogradTiles>()) {
    const region = plan.region(i);
    const tiles = changetype<WinogradTiles>(reading);
    const first = region.firstTile(block);
    const count = region.tilesIn(block);
    placeTiles(tiles, 4, first, count, own);
    for (let k = 0; k < channels; k += 4) {
      transformStrips(tiles, dy, true, start + k, min(4, channels - k), first, count, own);
      transformFour(region, tiles, k, count, depth, before, gradients, own);
    }
    before += count;
  }
}

/** Tiles of four output channels from k of the block on, which stand in one panel or half in one and half in the next. */
function transformFour(
  plan: WinogradWeightPlan,
  reading: WinogradTiles,
  k: i32,
  tiles: i32,
  depth: i32,
  before: i32,
  gradients: usize,
  own: usize,
): void {
  const work = own + plan.workAt;
  const next = bytes(plan.gradientFloats);
  // Where there is no second half, it goes where the first one goes.
  const other = k + 2 < plan.outPerBlock ? k + 2 : k;
  const step = bytes(rowsOfPanel(panelOfRow(k, plan.sixes), plan.sixes));
  const otherStep = bytes(rowsOfPanel(panelOfRow(other, plan.sixes), plan.sixes));
  let to = gradients + bytes(placeInPanels(k, plan.sixes, depth)) + <usize>before * step;
  let second =
    gradients + bytes(placeInPanels(other, plan.sixes, depth)) + <usize>before * otherStep;
  const isWhole = second === to + 8;
  for (let i = 0; i < tiles; i++, to += step, second += otherStep) {
    const y = reading.stripsIn(own) + load<usize>(own + reading.placesAt + bytes(i));
    if (isWhole) {
      transformGradient(reading, y, to, next);
    } else {
      transformGradient(reading, y, work, 16);
      storeHalves(work, plan.elements, to, second, next);
    }
  }
}

/** One tile of four output channels. */
function transformGradient(reading: WinogradTiles, y0: usize, to: usize, next: usize): void {
  const plane = bytes(reading.stripFloats);
  const pitch = bytes(reading.pitch);
  const y1 = y0 + plane;
  const y2 = y1 + plane;
  const y3 = y2 + plane;
  if (reading.stride === 2) {
    transformStridedGradient(y0, y1, y2, y3, pitch, reading.tileH, reading.tileW, to, next);
  } else if (reading.tile === 2) transformGradient2x2(y0, y1, y2, y3, pitch, to, next);
  else if (reading.isWhole()) transformGradient4x4(y0, y1, y2, y3, pitch, to, next);
  else transformNarrowGradient(y0, y1, y2, y3, pitch, reading.tileH, reading.tileW, to, next);
}

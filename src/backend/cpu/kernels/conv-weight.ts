import { dot1x4 } from "./conv-dots";
import { copyImage, ImagePlan } from "./conv-image";
import { packTaps } from "./conv-panels";
import { tile4x8, tile6x8 } from "./conv-tiles";
import { bytes, copyEvery } from "./floats";
import { addTile } from "./matmul-tile";
import { packRuns, rowOfPanel, rowsOfPanel } from "./panels";

/**
 * One run of `convGradWeight`, written by the host (../conv-weight.ts) as 32-bit words in the order of the fields. Sizes are
 * in floats.
 *
 * A unit of work is one part of the passes, one group, one block of its output channels and one of its input channels. A pass
 * takes some rows and columns of an image, or some whole images. Each part has a dWeight of its own.
 */
class WeightPlan extends ImagePlan {
  images: i32;
  /** Of one group; `channels` is a block of them. */
  inChannels: i32;
  outChannels: i32;
  outRows: i32;
  outColumns: i32;
  tapsPerChannel: i32;
  /** Bytes from a pixel of dy to what each tap of a block of input channels meets, and the last one seven times more. */
  tapOffsets: usize;
  /** Whether images are read where they lie, because a copy would be the same. */
  isInPlace: i32;
  rowsPerPass: i32;
  columnsPerPass: i32;
  imagesPerPass: i32;
  rowPasses: i32;
  columnPasses: i32;
  passes: i32;
  passesPerPart: i32;
  inBlocks: i32;
  outPerBlock: i32;
  outBlocks: i32;
  /** Of a block of output channels (panels.ts). */
  sixes: i32;
  panels: i32;
  /** Bytes from a packed panel of taps to each of its pixels. */
  pixelOffsets: usize;
  /** One dWeight. */
  weightFloats: i32;
  /** In a thread's scratch, behind the images: bytes to where packed dy, a packed panel of taps and a tile begin. */
  gradientsAt: usize;
  panelAt: usize;
  tileAt: usize;
  units: i32;
  unitsPerChunk: i32;
}

/** What a thread works on: the first 64 bytes of its scratch. */
class Pass {
  /** Channels of x and of dy. */
  ins: i32;
  outs: i32;
  rows: i32;
  columns: i32;
  images: i32;
  /** The first pixel of the first of them, and bytes from one image to the next. */
  dy: usize;
  x: usize;
  xStep: usize;
  /** The same for what the taps meet: copies in scratch, or x itself. */
  image: usize;
  imageStep: usize;
  scratch: usize;
  /** Of the first channels. Sums of the part's first pass are stored there, others are added. */
  dWeight: usize;
  isFirst: i32;
}

/**
 * The gradient of the weight as a matrix product: dy (output channels, pixels) times what the taps meet (pixels, taps). Both are
 * packed into panels, pass by pass; a panel of taps stays in the first-level cache for all output channels.
 *
 * Numerics: float32 sums over the pixels of a pass, passes added in float32, parts by `matmulSumSplits`.
 */
export function convGradWeight(
  plan: usize,
  dy: usize,
  x: usize,
  parts: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<WeightPlan>(plan);
  const pass = changetype<Pass>(scratch + <usize>thread * <usize>scratchBytes);
  pass.scratch = changetype<usize>(pass) + 64;
  const first = chunk * conv.unitsPerChunk;
  const end = min(first + conv.unitsPerChunk, conv.units);
  for (let unit = first; unit < end; unit++) sumUnit(conv, pass, dy, x, parts, unit);
}

function sumUnit(plan: WeightPlan, pass: Pass, dy: usize, x: usize, parts: usize, unit: i32): void {
  const firstIn = (unit % plan.inBlocks) * plan.channels;
  const firstOut = ((unit / plan.inBlocks) % plan.outBlocks) * plan.outPerBlock;
  const partAndGroup = unit / (plan.inBlocks * plan.outBlocks);
  const group = partAndGroup % plan.groups;
  const part = partAndGroup / plan.groups;
  const k = group * plan.outChannels + firstOut;
  x += bytes((group * plan.inChannels + firstIn) * plan.H * plan.W);
  dy += bytes(k * plan.outRows * plan.outColumns);
  const weight = (k * plan.inChannels + firstIn) * plan.tapsPerChannel;
  pass.dWeight = parts + bytes(part * plan.weightFloats + weight);
  pass.ins = min(plan.channels, plan.inChannels - firstIn);
  pass.outs = min(plan.outPerBlock, plan.outChannels - firstOut);
  const first = part * plan.passesPerPart;
  const end = min(first + plan.passesPerPart, plan.passes);
  for (let p = first; p < end; p++) {
    pass.isFirst = p === first ? 1 : 0;
    takePass(plan, pass, dy, x, p);
    if (plan.outChannels === 1) sumDots(plan, pass);
    else sumProducts(plan, pass);
  }
}

/** Sets the bounds of a pass and copies its images. */
function takePass(plan: WeightPlan, pass: Pass, dy: usize, x: usize, index: i32): void {
  const firstColumn = (index % plan.columnPasses) * plan.columnsPerPass;
  const firstRow = ((index / plan.columnPasses) % plan.rowPasses) * plan.rowsPerPass;
  const firstImage = (index / (plan.columnPasses * plan.rowPasses)) * plan.imagesPerPass;
  pass.rows = min(plan.rowsPerPass, plan.outRows - firstRow);
  pass.columns = min(plan.columnsPerPass, plan.outColumns - firstColumn);
  pass.images = min(plan.imagesPerPass, plan.images - firstImage);
  const row = firstImage * plan.groups * plan.outChannels * plan.outRows + firstRow;
  pass.dy = dy + bytes(row * plan.outColumns + firstColumn);
  pass.xStep = bytes(plan.groups * plan.inChannels * plan.H * plan.W);
  pass.x = x + <usize>firstImage * pass.xStep;
  if (plan.isInPlace) {
    pass.image = pass.x + bytes(firstRow * plan.W + firstColumn);
    pass.imageStep = pass.xStep;
    return;
  }
  pass.image = pass.scratch;
  pass.imageStep = bytes(plan.imageFloats);
  for (let i = 0; i < pass.images; i++) {
    const image = pass.image + <usize>i * pass.imageStep;
    copyImage(plan, pass.x + <usize>i * pass.xStep, image, pass.ins, firstRow, firstColumn);
  }
}

function sumProducts(plan: WeightPlan, pass: Pass): void {
  packGradients(plan, pass);
  const panel = pass.scratch + plan.panelAt;
  const taps = pass.ins * plan.tapsPerChannel;
  for (let t = 0; t < taps; t += 8) {
    let to = panel;
    for (let i = 0; i < pass.images; i++) {
      const image = pass.image + <usize>i * pass.imageStep;
      packTaps(image, plan.tapOffsets + bytes(t), pass.rows, pass.columns, plan.pitch, to);
      to += bytes(8 * pass.rows * pass.columns);
    }
    addTaps(plan, pass, t, min(8, taps - t));
  }
}

/** Packs dy into panels of output channels, as tile6x8 reads them: [panel][start, then pixel][channel]. */
function packGradients(plan: WeightPlan, pass: Pass): void {
  const plane = plan.outRows * plan.outColumns;
  const isWhole = pass.columns === plan.outColumns;
  const run = isWhole ? pass.rows * pass.columns : pass.columns;
  const runStride = isWhole ? plan.groups * plan.outChannels * plane : plan.outColumns;
  const depth = pass.rows * pass.columns * pass.images;
  for (let p = 0; p < plan.panels; p++) {
    const first = rowOfPanel(p, plan.sixes);
    const width = rowsOfPanel(p, plan.sixes);
    const lanes = min(width, pass.outs - first);
    const to = pass.scratch + plan.gradientsAt + bytes(first * (depth + 1));
    memory.fill(to, 0, bytes(width));
    const from = pass.dy + bytes(first * plane);
    packRuns(from, plane, 1, runStride, run, 0, lanes, depth, width, to + bytes(width));
  }
}

/** Adds the products of all output channels and the packed panel of `lanes` taps. */
function addTaps(plan: WeightPlan, pass: Pass, firstTap: i32, lanes: i32): void {
  const panel = pass.scratch + plan.panelAt;
  const gradients = pass.scratch + plan.gradientsAt;
  const tile = pass.scratch + plan.tileAt;
  const depth = pass.rows * pass.columns * pass.images;
  const next = bytes(plan.inChannels * plan.tapsPerChannel);
  const dWeight = pass.dWeight + bytes(firstTap);
  const isFirst = pass.isFirst !== 0;
  for (let p = 0; p < plan.panels; p++) {
    const first = rowOfPanel(p, plan.sixes);
    const height = rowsOfPanel(p, plan.sixes);
    const rows = min(height, pass.outs - first);
    const from = gradients + bytes(first * (depth + 1));
    const at = dWeight + <usize>first * next;
    const isDirect = isFirst && lanes === 8 && rows === height;
    const to = isDirect ? at : tile;
    const toNext: usize = isDirect ? next : 32;
    if (height === 6) tile6x8(panel, plan.pixelOffsets, from, depth, to, toNext);
    else tile4x8(panel, plan.pixelOffsets, from, depth, to, toNext);
    if (!isDirect) addTile(tile, rows, 0, lanes, at, next, isFirst);
  }
}

/** The same for one output channel, as dot products over rows of `pitch` floats, those of dy with zeros between them. */
function sumDots(plan: WeightPlan, pass: Pass): void {
  const gradients = pass.scratch + plan.gradientsAt;
  const imageFloats = (pass.rows * plan.pitch + 3) & ~3;
  const tile = pass.scratch + plan.tileAt;
  memory.fill(gradients, 0, bytes(pass.images * imageFloats));
  for (let i = 0; i < pass.images; i++) {
    let from = pass.dy + bytes(i * plan.groups * plan.outRows * plan.outColumns);
    let to = gradients + bytes(i * imageFloats);
    for (let row = 0; row < pass.rows; row++) {
      copyEvery(from, 1, to, pass.columns);
      from += bytes(plan.outColumns);
      to += bytes(plan.pitch);
    }
  }
  const taps = pass.ins * plan.tapsPerChannel;
  const length = bytes(imageFloats);
  const isFirst = pass.isFirst !== 0;
  for (let t = 0; t < taps; t += 4) {
    const offsets = plan.tapOffsets + bytes(t);
    dot1x4(gradients, pass.image, offsets, length, pass.images, pass.imageStep, tile);
    addTile(tile, 1, 0, min(4, taps - t), pass.dWeight + bytes(t), 0, isFirst);
  }
}

import { copyImage, ImagePlan } from "./conv-image";
import { tile1x16, tile4x8, tile6x8 } from "./conv-tiles";
import { bytes, copyEvery } from "./floats";
import { rowOfPanel, rowsOfPanel } from "./panels";

/** One run of `convolve`, written by the host (../conv.ts) as 32-bit words in the order of the fields. Sizes are in floats. */
class ConvPlan extends ImagePlan {
  /** Of one group. */
  outChannels: i32;
  outRows: i32;
  outColumns: i32;
  /** One channel of y, in which element (row, column) lies at outFirst + row * outStepH + column * outStepW. */
  outPlane: i32;
  outFirst: i32;
  outStepH: i32;
  outStepW: i32;
  taps: i32;
  /** (taps) bytes from an output pixel to what the tap meets. */
  offsets: usize;
  /** Of the output channels (panels.ts). */
  sixes: i32;
  panels: i32;
  /** A unit of work is one image, group, block of output rows, of columns, and of panels of output channels. */
  rowsPerBlock: i32;
  rowBlocks: i32;
  columnsPerBlock: i32;
  columnBlocks: i32;
  panelsPerBlock: i32;
  panelBlocks: i32;
  units: i32;
  unitsPerChunk: i32;
  /** One output channel of a unit in scratch, a multiple of 16. */
  resultFloats: i32;
}

/**
 * y = x * weights, the weights packed by `convPackWeights`. Also the gradient of x, as convolutions of dy (../conv.ts).
 *
 * Numerics: one float32 sum over the taps in order, starting from the bias.
 */
export function convolve(
  plan: usize,
  x: usize,
  weights: usize,
  y: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<ConvPlan>(plan);
  const image = scratch + <usize>thread * <usize>scratchBytes;
  const first = chunk * conv.unitsPerChunk;
  const end = min(first + conv.unitsPerChunk, conv.units);
  for (let unit = first; unit < end; unit++) convolveUnit(conv, x, weights, y, image, unit);
}

function convolveUnit(
  plan: ConvPlan,
  x: usize,
  weights: usize,
  y: usize,
  image: usize,
  unit: i32,
): void {
  const firstPanel = (unit % plan.panelBlocks) * plan.panelsPerBlock;
  const place = unit / plan.panelBlocks;
  const firstColumn = (place % plan.columnBlocks) * plan.columnsPerBlock;
  const firstRow = ((place / plan.columnBlocks) % plan.rowBlocks) * plan.rowsPerBlock;
  const imageAndGroup = place / (plan.columnBlocks * plan.rowBlocks);
  const columns = min(plan.columnsPerBlock, plan.outColumns - firstColumn);
  const rows = min(plan.rowsPerBlock, plan.outRows - firstRow);
  x += bytes(imageAndGroup * plan.channels * plan.H * plan.W);
  copyImage(plan, x, image, plan.channels, firstRow, firstColumn);

  const results = image + bytes(plan.imageFloats);
  const packedFloats = rowOfPanel(plan.panels, plan.sixes) * (plan.taps + 1);
  weights += bytes((imageAndGroup % plan.groups) * packedFloats);
  y += bytes(imageAndGroup * plan.outChannels * plan.outPlane);
  y += bytes(plan.outFirst + firstRow * plan.outStepH + firstColumn * plan.outStepW);
  const end = min(firstPanel + plan.panelsPerBlock, plan.panels);
  for (let panel = firstPanel; panel < end; panel++) {
    const channel = rowOfPanel(panel, plan.sixes);
    const channels = rowsOfPanel(panel, plan.sixes);
    const packed = weights + bytes(channel * (plan.taps + 1));
    convolveTiles(plan, image, packed, channels, results, (rows - 1) * plan.pitch + columns);
    let plane = y + bytes(channel * plan.outPlane);
    for (let i = 0; i < min(channels, plan.outChannels - channel); i++) {
      storeRows(plan, results + bytes(i * plan.resultFloats), plane, rows, columns);
      plane += bytes(plan.outPlane);
    }
  }
}

/** So many pixels of a panel's output channels into `results`, or of the only one. */
function convolveTiles(
  plan: ConvPlan,
  image: usize,
  weights: usize,
  channels: i32,
  results: usize,
  pixels: i32,
): void {
  const end = image + bytes(pixels);
  const next = bytes(plan.resultFloats);
  if (plan.outChannels === 1) {
    for (let p = image; p < end; p += 64, results += 64) {
      tile1x16(p, plan.offsets, weights, plan.taps, results);
    }
  } else if (channels === 6) {
    for (let p = image; p < end; p += 32, results += 32) {
      tile6x8(p, plan.offsets, weights, plan.taps, results, next);
    }
  } else {
    for (let p = image; p < end; p += 32, results += 32) {
      tile4x8(p, plan.offsets, weights, plan.taps, results, next);
    }
  }
}

/** Copies the pixels that are wanted out of scratch rows of `pitch` floats. */
function storeRows(plan: ConvPlan, results: usize, y: usize, rows: i32, columns: i32): void {
  for (let row = 0; row < rows; row++) {
    if (plan.outStepW === 1) copyEvery(results, 1, y, columns);
    else spread(results, y, plan.outStepW, columns);
    results += bytes(plan.pitch);
    y += bytes(plan.outStepH);
  }
}

function spread(from: usize, to: usize, step: i32, count: i32): void {
  for (let i = 0; i < count; i++, from += 4, to += bytes(step)) store<f32>(to, load<f32>(from));
}

/**
 * Lays weights out as `convolve` reads them: for each group and panel of output channels their biases, then for each tap their
 * weights; missing channels are zero. Weight (group, channel, tap) is at group * groupStride + channel * channelStride
 * + sources[tap].
 */
export function convPackWeights(
  weight: usize,
  bias: usize,
  sources: usize,
  taps: i32,
  channels: i32,
  channelStride: i32,
  groupStride: i32,
  sixes: i32,
  panels: i32,
  packed: usize,
  chunk: i32,
  _thread: i32,
): void {
  const group = chunk / panels;
  const panel = chunk % panels;
  const first = rowOfPanel(panel, sixes);
  const rows = rowsOfPanel(panel, sixes);
  packed += bytes((group * rowOfPanel(panels, sixes) + first) * (taps + 1));
  for (let i = 0; i < rows; i++, packed += 4) {
    const k = first + i;
    const isMissing = k >= channels;
    const hasBias = !isMissing && bias !== 0;
    store<f32>(packed, hasBias ? load<f32>(bias + bytes(group * channels + k)) : 0);
    const from = weight + bytes(group * groupStride + k * channelStride);
    for (let t = 0, to = packed; t < taps; t++) {
      to += bytes(rows);
      store<f32>(to, isMissing ? 0 : load<f32>(from + bytes(load<i32>(sources + bytes(t)))));
    }
  }
}

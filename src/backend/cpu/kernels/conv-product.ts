import { copyImage } from "./conv-image";
import { packPixels } from "./conv-panels";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Pass, ProductPlan, variantAt, weightsBefore } from "./conv-product-plan";
import { scatter, storeRuns, tileBytes } from "./conv-product-store";
import { tile4x8, tile6x8 } from "./conv-tiles";
import { bytes } from "./floats";
import { rowOfPanel, rowsOfPanel } from "./panels";

/**
 * y = x * weights, or the gradient of x, as a matrix product: weights (output channels, taps) times what the taps meet (taps,
 * pixels), which is packed into panels of eight pixels, block by block of channels; a panel stays in the first-level cache for all
 * output channels.
 *
 * Numerics: float32 sums over the taps of a block, starting from the bias; blocks added in float32.
 */
export function convProduct(
  plan: usize,
  source: usize,
  out: usize,
  scratch: usize,
  scratchBytes: i32,
  chunk: i32,
  thread: i32,
): void {
  const conv = changetype<ProductPlan>(plan);
  const pass = changetype<Pass>(scratch + <usize>thread * <usize>scratchBytes);
  pass.scratch = changetype<usize>(pass) + 64;
  const first = chunk * conv.unitsPerChunk;
  const end = min(first + conv.unitsPerChunk, conv.units);
  for (let unit = first; unit < end; unit++) {
    takePass(conv, pass, source, out, unit);
    multiplyPass(conv, pass);
  }
}

function takePass(plan: ProductPlan, pass: Pass, source: usize, out: usize, unit: i32): void {
  pass.firstPanel = (unit % plan.panelBlocks) * plan.panelsPerBlock;
  pass.endPanel = min(pass.firstPanel + plan.panelsPerBlock, plan.panels);
  pass.group = (unit / plan.panelBlocks) % plan.groups;
  const index = unit / (plan.panelBlocks * plan.groups);
  pass.firstColumn = (index % plan.columnPasses) * plan.columnsPerPass;
  pass.firstRow = ((index / plan.columnPasses) % plan.rowPasses) * plan.rowsPerPass;
  const firstImage = (index / (plan.columnPasses * plan.rowPasses)) * plan.imagesPerPass;
  pass.images = min(plan.imagesPerPass, plan.images - firstImage);
  pass.rows = min(plan.rowsPerPass, plan.gridRows - pass.firstRow);
  pass.columns = min(plan.columnsPerPass, plan.gridColumns - pass.firstColumn);
  const group = firstImage * plan.groups + pass.group;
  pass.source = source + bytes(group * plan.inChannels * plan.H * plan.W);
  pass.out = out + bytes(group * plan.outChannels * plan.outRows * plan.outColumns);
}

function multiplyPass(plan: ProductPlan, pass: Pass): void {
  const panel = pass.scratch + plan.panelAt;
  const pixels = pass.images * pass.rows * pass.columns;
  pass.firstIn = 0;
  // At least once, so that a sum over nothing is stored too.
  do {
    pass.ins = min(plan.channels, plan.inChannels - pass.firstIn);
    copyImages(plan, pass);
    const places = pass.ins * plan.placesPerChannel;
    for (let pixel = 0; pixel < pixels; pixel += 8) {
      packPixels(
        pass.scratch,
        bytes(plan.imageFloats),
        bytes(plan.pitch),
        pass.rows,
        pass.columns,
        pixel,
        pixels,
        plan.placeOffsets,
        places,
        panel,
      );
      multiplyPanel(plan, pass, pixel, min(8, pixels - pixel));
    }
    pass.firstIn += plan.channels;
  } while (pass.firstIn < plan.inChannels);
}

function copyImages(plan: ProductPlan, pass: Pass): void {
  const plane = plan.H * plan.W;
  let from = pass.source + bytes(pass.firstIn * plane);
  let to = pass.scratch;
  for (let i = 0; i < pass.images; i++) {
    copyImage(plan, from, to, pass.ins, pass.firstRow, pass.firstColumn);
    from += bytes(plan.groups * plan.inChannels * plane);
    to += bytes(plan.imageFloats);
  }
}

/** All output channels of `lanes` packed pixels. */
function multiplyPanel(plan: ProductPlan, pass: Pass, pixel: i32, lanes: i32): void {
  const panel = pass.scratch + plan.panelAt;
  const isDense = plan.outStepH * plan.outStepW === 1;
  const imagePixels = pass.rows * pass.columns;
  const image = pixel / imagePixels;
  const inImage = pixel - image * imagePixels;
  const isWhole = isDense && pass.firstIn === 0 && lanes === 8 && inImage + 8 <= imagePixels;
  const place = pass.firstRow * plan.outColumns + pass.firstColumn + inImage;
  const plane = plan.outRows * plan.outColumns;
  for (let p = pass.firstPanel; p < pass.endPanel; p++) {
    const channel = rowOfPanel(p, plan.sixes);
    const height = rowsOfPanel(p, plan.sixes);
    const channels = min(height, plan.outChannels - channel);
    if (isWhole && channels === height) {
      const row = (image * plan.groups * plan.outChannels + channel) * plane;
      const to = pass.out + bytes(row + place);
      multiplyTiles(plan, pass, panel, channel, height, to, bytes(plane));
      continue;
    }
    multiplyTiles(plan, pass, panel, channel, height, pass.scratch + plan.tilesAt, 32);
    if (isDense) storeRuns(plan, pass, channel, channels, pixel, lanes);
    else scatter(plan, pass, channel, channels, pixel, lanes);
  }
}

/** A tile of each variant. */
function multiplyTiles(
  plan: ProductPlan,
  pass: Pass,
  panel: usize,
  channel: i32,
  height: i32,
  to: usize,
  next: usize,
): void {
  for (let v = 0; v < plan.variants; v++, to += tileBytes) {
    const variant = variantAt(plan, v);
    const depth = pass.ins * variant.taps;
    const before = weightsBefore(plan, variant, pass.group, pass.firstIn);
    const weights = variant.weights + bytes(before + channel * (depth + 1));
    if (height === 6) tile6x8(panel, variant.offsets, weights, depth, to, next);
    else tile4x8(panel, variant.offsets, weights, depth, to, next);
  }
}

import { ImagePlan } from "./conv-image";
import { rowOfPanel } from "./panels";

/**
 * One run of `convProduct`, written by the host (../conv-product.ts) as 32-bit words in the order of the fields. Sizes are in floats.
 *
 * Output pixels lie on a grid; `variants` of them at each of its places. Forward there is one. The gradient of x has one for
 * each way in which windows of a stride lie over a pixel, and the grid is that of dy.
 *
 * A unit of work is one pass, one group and one block of panels of output channels. A pass takes some rows and columns of the grid
 * of an image, or the grids of some whole images. `channels` are taken at a time.
 */
export class ProductPlan extends ImagePlan {
  images: i32;
  /** Of one group. */
  inChannels: i32;
  outChannels: i32;
  gridRows: i32;
  gridColumns: i32;
  rowsPerPass: i32;
  columnsPerPass: i32;
  imagesPerPass: i32;
  rowPasses: i32;
  columnPasses: i32;
  /** Places that the variants of a pixel meet in each channel, and bytes from a pixel to all those of a block of channels. */
  placesPerChannel: i32;
  placeOffsets: usize;
  variants: i32;
  /** How many of them, one behind the other, share their row. */
  variantColumns: i32;
  variantList: usize;
  outRows: i32;
  outColumns: i32;
  outStepH: i32;
  outStepW: i32;
  /** Of the output channels (panels.ts). */
  sixes: i32;
  panels: i32;
  panelsPerBlock: i32;
  panelBlocks: i32;
  /** In a thread's scratch, behind the images: bytes to where a packed panel of places and tiles begin. */
  panelAt: usize;
  tilesAt: usize;
  units: i32;
  unitsPerChunk: i32;
}

/** Output pixel (row, column) of this kind is at row * outStepH + row0, column * outStepW + column0. */
export class Variant {
  /** Of one channel, and bytes from a packed panel to what those of all channels meet. */
  taps: i32;
  offsets: usize;
  /** Packed by `convPackProduct`. */
  weights: usize;
  row0: i32;
  column0: i32;
  /** (taps) from the first weight of a channel to those of the taps. */
  kernel: usize;
}

/** What a thread works on: the first 64 bytes of its scratch. */
export class Pass {
  images: i32;
  rows: i32;
  columns: i32;
  firstRow: i32;
  firstColumn: i32;
  group: i32;
  firstPanel: i32;
  endPanel: i32;
  /** The first of `channels` channels that are in scratch, and how many they are. */
  firstIn: i32;
  ins: i32;
  /** Of the pass's first image and group. */
  source: usize;
  out: usize;
  scratch: usize;
}

/** Floats in front of a variant's packed weights of the block of channels that begins with `firstIn`. */
export function weightsBefore(plan: ProductPlan, variant: Variant, group: i32, firstIn: i32): i32 {
  const rows = rowOfPanel(plan.panels, plan.sixes);
  const blocks = max(1, (plan.inChannels + plan.channels - 1) / plan.channels);
  const perGroup = plan.inChannels * variant.taps + blocks;
  return rows * (group * perGroup + firstIn * variant.taps + firstIn / plan.channels);
}

/** The variant of this number. */
export function variantAt(plan: ProductPlan, index: i32): Variant {
  return changetype<Variant>(plan.variantList + index * offsetof<Variant>());
}

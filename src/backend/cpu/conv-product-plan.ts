/** How convolutions are cut into matrix products: the host's side of kernels/conv-product-plan.ts. */
import {
  type Axis,
  type ConvSize,
  forwardAxis,
  gradientAxes,
  imageOf,
  imagePlan,
  type Passes,
  passesOf,
  tapOffsets,
} from "./conv-plan.ts";
import { evenly, roundUp } from "./job.ts";
import { panelsOf } from "./panels.ts";

/** Pixels that weights are read for: enough to make up for that, few enough to leave many passes. */
const enoughPixels = 256;
/** Places that eight pixels meet: what is packed of these should stay in a first-level cache. */
const enoughPlaces = 640;
/** What a thread copies of a source at a time, in floats; it should stay in a second-level cache. */
const mostImageFloats = 131072;
/** Work is cut into this many units where there is enough of it, but none has fewer panels of output channels. */
const enoughUnits = 16;
const fewestPanels = 22;
/** Multiply-adds that are worth a chunk of their own. */
const chunkWork = 1 << 18;
/** Input channels whose weights are packed in one chunk. */
const enoughToPack = 16;
/** Of the description of a pass and of a tile of the product, in bytes. */
const passBytes = 64;
const tileBytes = 192;

/** Of what is written about each variant. */
export const variantWords = 6;

/** Height or width: what output pixels of all kinds read, and how the kinds differ. */
interface Side {
  readonly reading: Axis;
  readonly outSize: number;
  readonly outStep: number;
  readonly kinds: readonly Kind[];
}

interface Kind {
  /** The first place of the output. */
  readonly first: number;
  /** Numbers in the kernel, and in the taps of the reading. */
  readonly taps: readonly { readonly kernel: number; readonly place: number }[];
}

/** A product of weights and what output pixels meet; channels and strides as in a group. */
export interface Multiplication {
  readonly N: number;
  readonly groups: number;
  readonly vertical: Side;
  readonly horizontal: Side;
  readonly kernelW: number;
  readonly inChannels: number;
  readonly outChannels: number;
  /** From the weight of one channel to that of the next. */
  readonly inStride: number;
  readonly outStride: number;
}

export function forwardSide(size: ConvSize): Side {
  const reading = forwardAxis(size);
  const taps = reading.taps.map(({ kernel }, place) => ({ kernel, place }));
  return { reading, outSize: size.outSize, outStep: 1, kinds: [{ first: 0, taps }] };
}

/** The pixels of x that have the same place in a window are of one kind (conv-plan.ts); one reading of dy serves all kinds. */
export function gradientSide(size: ConvSize): Side {
  const axes = gradientAxes(size);
  const met = axes.flatMap((axis) => axis.taps.map(({ at }) => at - axis.padding));
  const places = [...new Set(met)].sort((a, b) => a - b);
  const [nearest = 0] = places;
  const taps = places.map((place, kernel) => ({ kernel, phase: 0, at: place - nearest }));
  const kinds = axes.map((axis) => ({
    first: axis.outFirst,
    taps: axis.taps.map(({ kernel, at }) => ({ kernel, place: places.indexOf(at - axis.padding) })),
  }));
  const reading = { ...axes[0], padding: -nearest, taps };
  return { reading, outSize: size.size, outStep: size.stride, kinds };
}

export type Cut = ReturnType<typeof cutOf>;

/** How the work is cut, by shapes only. */
export function cutOf(of: Multiplication) {
  const { groups, vertical, horizontal, inChannels } = of;
  const rows = Math.ceil(vertical.outSize / vertical.outStep);
  const columns = Math.ceil(horizontal.outSize / horizontal.outStep);
  const passes = passesOf({ images: of.N, rows, columns }, enoughPixels);
  const axes = {
    ...{ groups, vertical: { ...vertical.reading, outSize: rows } },
    horizontal: { ...horizontal.reading, outSize: passes.columns },
  };
  const placesPerChannel = vertical.reading.taps.length * horizontal.reading.taps.length;
  const channelFloats = passes.images * imageOf({ ...axes, channels: 1 }, passes.rows).floats;
  const room = Math.min(
    mostImageFloats / channelFloats,
    enoughPlaces / Math.max(1, placesPerChannel),
  );
  const channels = evenly(Math.max(1, inChannels), Math.floor(room));
  const reading = { ...axes, channels };
  const image = imageOf(reading, passes.rows);
  const placeOffsets = tapOffsets(reading, image);
  const variants = variantsOf(of, channels);
  const total = (size: (variant: Variant) => number) =>
    variants.reduce((sum, variant) => sum + size(variant), 0);
  const lists = total(({ offsets, kernel }) => offsets.length + kernel.length);
  const panelAt = 4 * passes.images * image.floats;
  const tilesAt = panelAt + 32 * channels * placesPerChannel;
  // Vectors that begin in the last tile may end behind it.
  const scratchBytes = passBytes + tilesAt + tileBytes * variants.length + 16;
  return {
    ...{ rows, columns, passes, reading, image, placesPerChannel, variants },
    placeOffsets,
    packedFloats: total((variant) => variant.packedFloats),
    tableWords: variantWords * variants.length + lists + placeOffsets.length,
    ...unitsOf(of, passes, placesPerChannel),
    ...{ panelAt, tilesAt, scratchBytes: roundUp(scratchBytes, 64) },
    // Chunks of channels must not lie across blocks of them.
    channelsPerPacking: channels % enoughToPack === 0 ? enoughToPack : channels,
  };
}

type Variant = ReturnType<typeof variantsOf>[number];

/** One for each pair of kinds. */
function variantsOf(of: Multiplication, channels: number) {
  const { vertical, horizontal, inChannels } = of;
  const rowPlaces = horizontal.reading.taps.length;
  const placesPerChannel = vertical.reading.taps.length * rowPlaces;
  const packedRows = of.groups * panelsOf(of.outChannels).rows;
  const blocks = Math.max(1, Math.ceil(inChannels / channels));
  return vertical.kinds.flatMap((v) =>
    horizontal.kinds.map((h) => {
      const taps = v.taps.flatMap((i) => h.taps.map((j) => ({ i, j })));
      const places = taps.map(({ i, j }) => i.place * rowPlaces + j.place);
      return {
        first: [v.first, h.first],
        kernel: taps.map(({ i, j }) => i.kernel * of.kernelW + j.kernel),
        // A packed panel has eight pixels of each place of each channel.
        offsets: Int32Array.from({ length: channels * taps.length }, (_, i) => {
          const channel = Math.floor(i / taps.length);
          return 32 * (channel * placesPerChannel + places[i % taps.length]);
        }),
        packedFloats: packedRows * (inChannels * taps.length + blocks),
      };
    }),
  );
}

function unitsOf(of: Multiplication, passes: Passes, placesPerChannel: number) {
  const panels = panelsOf(of.outChannels);
  const places = passes.count * of.groups;
  const wanted = Math.ceil(enoughUnits / Math.max(1, places));
  const panelsPerBlock = Math.max(fewestPanels, Math.ceil(panels.count / wanted));
  const panelBlocks = Math.ceil(panels.count / panelsPerBlock);
  const pixels = passes.images * passes.rows * passes.columns;
  const rows = Math.min(6 * panelsPerBlock, of.outChannels);
  const unitWork = pixels * rows * of.inChannels * placesPerChannel;
  return {
    ...{ panels, panelsPerBlock, panelBlocks },
    units: of.N === 0 ? 0 : places * panelBlocks,
    unitsPerChunk: Math.max(1, Math.floor(chunkWork / Math.max(1, unitWork))),
  };
}

/** The words of `ProductPlan` in kernels/conv-product-plan.ts. */
export function productWords(
  of: Multiplication,
  cut: Cut,
  at: { readonly placeOffsets: number; readonly variantList: number },
): number[] {
  const { vertical, horizontal } = of;
  const { passes } = cut;
  return [
    ...imagePlan(cut.reading, cut.image),
    ...[of.N, of.inChannels, of.outChannels, cut.rows, cut.columns],
    ...[passes.rows, passes.columns, passes.images, passes.rowPasses, passes.columnPasses],
    ...[cut.placesPerChannel, at.placeOffsets],
    ...[cut.variants.length, horizontal.kinds.length, at.variantList],
    ...[vertical.outSize, horizontal.outSize, vertical.outStep, horizontal.outStep],
    ...[cut.panels.sixes, cut.panels.count, cut.panelsPerBlock, cut.panelBlocks],
    ...[cut.panelAt, cut.tilesAt, cut.units, cut.unitsPerChunk],
  ];
}

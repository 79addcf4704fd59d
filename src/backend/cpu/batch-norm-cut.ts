/**
 * How batch norm's work is cut into units, by shape alone, like everything that decides in which order numbers are added. A unit is some
 * channels of some images, of whole planes or of one segment of them.
 */
import type { ChannelLayout } from "../backend.ts";
import { chunkElements, evenly, groupUnits } from "./job.ts";
import { memoize } from "./memoize.ts";

export interface ChannelCut {
  readonly images: number;
  readonly segmentLength: number;
  /** Of a plane. */
  readonly segments: number;
  /** Of a channel: segments of planes of some images. Where there is one, a unit holds whole channels. */
  readonly parts: number;
  readonly channels: number;
  readonly channelBlocks: number;
  readonly chunks: number;
  /** Units. */
  readonly perChunk: number;
}

/** Rows of (N, C) that a unit sums. */
const mostRows = 256;
/** Columns that lie together in each row of a unit, where C has several times as many. */
const runColumns = 256;
/** Units that large tensors are cut into: more would only be shorter runs of memory, and of sums more to join. */
const enoughUnits = 64;
/** Images that kernels go through side by side. */
const imagesTogether = 4;
/** Elements that an entry of sums, one for a channel of a unit, should at least stand for. */
const entryElements = 1024;
/** Elements of a channel that a core's own cache holds. */
const cachedElements = 1 << 19;
/**
 * Blocks of whole channels, or chunks of several, that keep enough threads busy. More blocks make longer chunks: in all but its last unit a
 * chunk writes one unit while it reads the next.
 */
const enoughBlocks = 16;
/** Elements that lie together in each image of a block of whole channels: shorter runs of memory are read and written slowly. */
const runElements = 3072;

type Sizes = Pick<ChannelCut, "images" | "segmentLength" | "channels">;

const keyOf = ({ N, C, S }: ChannelLayout): number[] => [N, C, S];
/** Of sums over channels. */
export const cutSums = memoize(keyOf, (layout) => sumsOf(layout, runElements));
/** Of the backward's. */
export const cutGradSums = memoize(keyOf, (layout) => sumsOf(layout, gradRun(layout)));
/** Of a pass that needs nothing but its own element and coefficients. */
export const cutPass = memoize(keyOf, passOf);

function sumsOf(layout: ChannelLayout, run: number): ChannelCut {
  if (layout.S === 1) return cut(layout, cutColumns(layout));
  return holdsChannels(layout) ? cutChannels(layout, run) : cut(layout, cutPlanes(layout));
}

function passOf(layout: ChannelLayout): ChannelCut {
  const { N, C, S } = layout;
  if (S === 1) {
    return cut(layout, { images: Math.ceil(chunkElements / C), segmentLength: 1, channels: C });
  }
  const elements = unitElements(layout);
  const together = Math.min(N, imagesTogether);
  if (together * C * S <= elements) {
    const groups = Math.floor(elements / (together * C * S));
    const images = together * evenly(Math.ceil(N / together), groups);
    return cut(layout, { images, segmentLength: S, channels: C });
  }
  const segmentLength = evenly(S, elements / together);
  const channels = Math.min(Math.ceil(elements / together / segmentLength), C);
  return cut(layout, { images: together, segmentLength, channels });
}

/** Of long runs of memory. */
function unitElements({ N, C, S }: ChannelLayout): number {
  return Math.max(chunkElements, Math.ceil((N * C * S) / enoughUnits));
}

function cut({ N, C, S }: ChannelLayout, sizes: Sizes): ChannelCut {
  const segments = Math.ceil(S / sizes.segmentLength);
  const parts = Math.ceil(N / sizes.images) * segments;
  const channelBlocks = Math.ceil(C / sizes.channels);
  const perUnit = sizes.images * sizes.segmentLength * sizes.channels;
  return {
    ...{ ...sizes, segments, parts, channelBlocks },
    ...groupUnits(parts * channelBlocks, perUnit),
  };
}

function cutColumns({ N, C }: ChannelLayout): Sizes {
  const images = evenly(N, mostRows);
  const least = Math.min(runColumns, Math.floor(C / 4));
  // Whole cache lines of channels.
  const channels = Math.max(1, Math.floor(Math.max(chunkElements / images, least) / 16)) * 16;
  return { images, segmentLength: 1, channels: Math.min(channels, C) };
}

/** Whether a unit can be all of some channels: they fit into a cache, and are enough to share among threads. */
function holdsChannels({ N, C, S }: ChannelLayout): boolean {
  const elements = N * S;
  return elements * C <= chunkElements || (elements <= cachedElements && C >= enoughBlocks);
}

/** Where the backward's chunks have several units, the present one and the next, of two tensors each, and dx must fit into a core's cache. */
function gradRun({ C, S }: ChannelLayout): number {
  return C * S > enoughBlocks * runElements ? runElements / 2 : runElements;
}

/** Blocks of whole channels, several to a chunk. */
function cutChannels(layout: ChannelLayout, run: number): ChannelCut {
  const { N, C, S } = layout;
  const elements = N * C * S;
  const channels = elements <= chunkElements ? C : Math.min(C, Math.ceil(run / S));
  const blocks = Math.ceil(C / channels);
  const leastPerChunk = Math.ceil((chunkElements * blocks) / elements);
  const perChunk = Math.max(leastPerChunk, Math.floor(blocks / enoughBlocks));
  const sizes = { images: N, segmentLength: S, channels };
  return { ...cut(layout, sizes), chunks: Math.ceil(blocks / perChunk), perChunk };
}

/**
 * Units are runs of memory as far as possible: planes of one channel alone, image after image, were read 2.5 times slower from
 * a tensor of 100 MB. But an entry must stand for enough elements to be worth joining.
 */
function cutPlanes(layout: ChannelLayout): Sizes {
  const { N, C, S } = layout;
  const elements = unitElements(layout);
  if (S > elements) return { images: 1, segmentLength: evenly(S, elements), channels: 1 };
  const images = Math.max(Math.ceil(entryElements / S), Math.floor(elements / (C * S)));
  const channels = Math.max(1, Math.floor(elements / (Math.min(images, N) * S)));
  return { images: evenly(N, images), segmentLength: S, channels: Math.min(channels, C) };
}

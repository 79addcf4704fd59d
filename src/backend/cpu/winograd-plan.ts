/** How Winograd's convolutions read images: the host's side of kernels/winograd-strips.ts. Sizes are in floats. */

import { roundUp } from "./job.ts";

/** A side of a tile of outputs. */
export type TileSize = 2 | 3 | 4;

/** A part of every plane of outputs that tiles of one size cover. */
export interface Region {
  readonly rows: Span;
  readonly columns: Span;
  /** Of all images. */
  readonly tiles: number;
  /** Of eight tiles. */
  readonly panels: number;
}

/** `count` tiles of `size` outputs along one side, from output `first` on; the last may hang over the edge. */
interface Span {
  readonly first: number;
  readonly count: number;
  readonly size: number;
}

export interface Tiling {
  readonly tile: TileSize;
  /** Of a side of the kernel. */
  readonly taps: 3 | 4;
  /** Of the convolution. */
  readonly stride: 1 | 2;
  /** What the inputs of a tile are transformed to: as many matrix products. */
  readonly elements: number;
  /** What a kernel is transformed to, which elements may share. */
  readonly factors: number;
  readonly regions: readonly Region[];
  readonly tiles: number;
  readonly panels: number;
  /** Of a channel and an output channel, all images together. */
  readonly products: number;
}

type TileSizes = Pick<Tiling, "tile" | "taps" | "stride">;

/** How a region's tiles are read in blocks. */
export interface Reading extends Region {
  readonly pitch: number;
  /** Rows of tiles that a block may touch. */
  readonly strips: number;
}

export interface Source {
  readonly channels: number;
  readonly H: number;
  readonly W: number;
  readonly paddingH: number;
  readonly paddingW: number;
  /** Whether it is dy. */
  readonly isGradient: boolean;
}

/** The tiles of the outputs of all images, of a convolution of stride 1; of 4 x 4 for tiles of 3. */
export function tilingOf(images: number, outH: number, outW: number, tile: TileSize): Tiling {
  const taps = tile === 3 ? 4 : 3;
  const elements = (tile + taps - 1) ** 2;
  const sizes = { tile, taps, stride: 1, elements, factors: elements } as const;
  return { ...sizes, ...regionsOf(images, [outH, outW], sizes) };
}

/** The same of stride 2. */
export function stridedTilingOf(images: number, outH: number, outW: number): Tiling {
  const sizes = { tile: 4, taps: 3, stride: 2, elements: 81, factors: 36 } as const;
  return { ...sizes, ...regionsOf(images, [outH, outW], sizes) };
}

/**
 * One region, or up to four where smaller tiles at the edges save products. Those of whole
 * rows and columns lie between those that narrow ones share with them: regions that use an element lie side by side.
 */
function regionsOf(
  images: number,
  [outH, outW]: readonly [number, number],
  sizes: TileSizes,
): Pick<Tiling, "regions" | "tiles" | "panels" | "products"> {
  const across = (rows: readonly Span[], columns: readonly Span[]): Region[] =>
    columns.flatMap((c, i) =>
      (i === 0 ? [...rows].reverse() : rows).map((r) => regionOf(images, r, c)),
    );
  const { tile } = sizes;
  const whole = across([spanOf(outH, tile)], [spanOf(outW, tile)]);
  const cut = tile === 4 ? across(spansOf(outH), spansOf(outW)) : whole;
  const regions = productsOf(cut, sizes) < productsOf(whole, sizes) ? cut : whole;
  const sum = (of: "tiles" | "panels"): number => regions.reduce((n, each) => n + each[of], 0);
  const products = productsOf(regions, sizes);
  return { regions, tiles: sum("tiles"), panels: sum("panels"), products };
}

function regionOf(images: number, rows: Span, columns: Span): Region {
  const tiles = images * rows.count * columns.count;
  return { rows, columns, tiles, panels: Math.ceil(tiles / 8) };
}

function spanOf(outputs: number, size: number): Span {
  return { first: 0, count: Math.ceil(outputs / size), size };
}

/** Tiles of 4, and one of the last 2 or 3 outputs. */
function spansOf(outputs: number): Span[] {
  const rest = outputs % 4;
  if (rest < 2) return [spanOf(outputs, 4)];
  const first = outputs - rest;
  return [spanOf(first, 4), { first, count: 1, size: rest }];
}

function productsOf(regions: readonly Region[], { taps, stride }: TileSizes): number {
  const points = ({ size }: Span): number => (stride === 1 ? size + taps - 1 : 2 * size + 1);
  const products = ({ panels, rows, columns }: Region): number =>
    8 * panels * points(rows) * points(columns);
  return regions.reduce((sum, region) => sum + products(region), 0);
}

/** A region to be read in blocks of at most `most` tiles, where `step` elements of the source lie between two outputs. */
export function readingOf(
  region: Region,
  { taps, step, most }: Pick<Tiling, "taps"> & { readonly step: 1 | 2; readonly most: number },
): Reading {
  const { count, size } = region.columns;
  const pitch = step * size * Math.min(count, most) + taps - 1;
  return { ...region, pitch, strips: Math.ceil((most - 1) / count) + 1 };
}

/**
 * The fields of the kernels' WinogradTiles, in order, for a region: `at` says how many floats one element's factors take, and where
 * in scratch the places of tiles stand.
 */
export function tilesPlan(
  source: Source,
  { tile, taps, elements, stride }: TileSizes & Pick<Tiling, "elements">,
  { rows, columns, tiles, pitch, strips }: Reading,
  at: { readonly elementFloats: number; readonly places: number },
): number[] {
  return [
    ...[source.channels, source.H, source.W, source.paddingH, source.paddingW],
    ...[tile, taps, elements, stride, Number(source.isGradient)],
    ...[rows.size, columns.size, rows.first, columns.first],
    ...[columns.count, rows.count, tiles, at.elementFloats],
    ...[pitch, Math.sqrt(elements) * pitch * strips, 4 * at.places],
  ];
}

/** What the strips of so many channels take, with the rows in front of them. */
export function stripFloatsOf(
  readings: readonly Reading[],
  { elements }: Pick<Tiling, "elements">,
  channels: number,
): number {
  const points = Math.sqrt(elements);
  const most = Math.max(
    ...readings.map(({ pitch, strips }) => (channels * points * strips + 1) * pitch),
  );
  return roundUp(most + shortFloats, 16);
}

/** As kernels/winograd-strips.ts has them. */
const shortFloats = 96;

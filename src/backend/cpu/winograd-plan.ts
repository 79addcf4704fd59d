/** How Winograd's convolutions read images: the host's side of kernels/winograd-strips.ts. Sizes are in floats. */

/** A side of a tile of outputs. */
export type TileSize = 2 | 4;

export interface Tiling {
  readonly tile: TileSize;
  /** What the inputs of a tile are transformed to: as many matrix products. */
  readonly elements: number;
  readonly tileColumns: number;
  /** Of one image. */
  readonly tileRows: number;
  readonly tiles: number;
  /** Of eight tiles. */
  readonly panels: number;
}

/** Work of one thread with the tiles of a block. */
export interface Blocks {
  readonly tileBlocks: number;
  /** At most; blocks are as even as can be. */
  readonly panelsPerBlock: number;
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
}

/** The tiles of the outputs of all images. */
export function tilingOf(images: number, outH: number, outW: number, tile: TileSize): Tiling {
  const [tileRows, tileColumns] = [Math.ceil(outH / tile), Math.ceil(outW / tile)];
  const tiles = images * tileRows * tileColumns;
  const elements = (tile + 2) ** 2;
  return { tile, elements, tileColumns, tileRows, tiles, panels: Math.ceil(tiles / 8) };
}

/** Cuts tiles into blocks of at most `mostPanels`. */
export function blocksOf({ tile, tileColumns, panels }: Tiling, mostPanels: number): Blocks {
  const tileBlocks = Math.max(1, Math.ceil(panels / Math.max(1, Math.floor(mostPanels))));
  const panelsPerBlock = Math.ceil(panels / tileBlocks);
  const pitch = tile * Math.min(tileColumns, 8 * panelsPerBlock) + 2;
  const strips = Math.ceil((8 * panelsPerBlock - 1) / tileColumns) + 1;
  return { tileBlocks, panelsPerBlock, pitch, strips };
}

/** The fields of the kernels' WinogradTiles, in order. `places` is where in scratch the places of tiles stand. */
export function tilesPlan(
  source: Source,
  tiling: Tiling & Blocks,
  strip: {
    readonly rows: number;
    readonly floats: number;
    readonly elementFloats: number;
    readonly places: number;
  },
): number[] {
  return [
    ...[source.channels, source.H, source.W, source.paddingH, source.paddingW],
    ...[tiling.tile, tiling.elements, tiling.tileColumns, tiling.tileRows, tiling.tiles],
    ...[tiling.tileBlocks, strip.elementFloats],
    ...[strip.rows, tiling.pitch, strip.floats, 4 * strip.places],
  ];
}

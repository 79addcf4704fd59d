/**
 * How the work over channels is cut, by shape only (../batch-norm.ts). A part is some whole images, or one segment of the planes
 * of some images; a unit is one block of channels of one part; a chunk is some units.
 */
export class ChannelWork {
  N: i32;
  C: i32;
  S: i32;
  imagesPerPart: i32;
  segmentLength: i32;
  segments: i32;
  parts: i32;
  channelsPerBlock: i32;
  channelBlocks: i32;
  unitsPerChunk: i32;
  /** Entries [part][channel] of sums; a unit leaves those of its own. */
  entries: usize;
  /** Float32 vectors (C), one behind the other, of what a pass needs of each channel. */
  coefficients: usize;
  x: usize;
  /** float64 (C). */
  mean: usize;
  variance: usize;
  /** (C), or 0 for 1 and 0. */
  weight: usize;
  bias: usize;

  /** Address of element (n, c, s) of a float32 tensor. */
  at(x: usize, n: i32, c: i32, s: i32): usize {
    return x + ((<usize>((n * this.C + c) * this.S + s)) << 2);
  }

  /** From an image, or from a plane, to the next. */
  imageBytes(): usize {
    return (<usize>(this.C * this.S)) << 2;
  }

  planeBytes(): usize {
    return (<usize>this.S) << 2;
  }

  entry(part: i32, c: i32): usize {
    return this.entries + <usize>(part * this.C + c) * entryBytes;
  }

  /** Address of coefficient number `index` of channel c. */
  coefficient(index: i32, c: i32): usize {
    return this.coefficients + ((<usize>(index * this.C + c)) << 2);
  }

  firstUnit(chunk: i32): i32 {
    return chunk * this.unitsPerChunk;
  }

  /** Behind the chunk's last unit. */
  endUnit(chunk: i32): i32 {
    return min(this.firstUnit(chunk) + this.unitsPerChunk, this.parts * this.channelBlocks);
  }

  part(unit: i32): i32 {
    return unit / this.channelBlocks;
  }

  firstChannel(unit: i32): i32 {
    return (unit % this.channelBlocks) * this.channelsPerBlock;
  }

  endChannel(unit: i32): i32 {
    return min(this.firstChannel(unit) + this.channelsPerBlock, this.C);
  }

  channels(unit: i32): i32 {
    return this.endChannel(unit) - this.firstChannel(unit);
  }

  firstImage(part: i32): i32 {
    return (part / this.segments) * this.imagesPerPart;
  }

  endImage(part: i32): i32 {
    return min(this.firstImage(part) + this.imagesPerPart, this.N);
  }

  /** The part's first place in a plane. */
  place(part: i32): i32 {
    return (part % this.segments) * this.segmentLength;
  }

  /** Places of a plane in the part. */
  length(part: i32): i32 {
    return min(this.segmentLength, this.S - this.place(part));
  }

  /** Elements of a channel in the part. */
  count(part: i32): f64 {
    return <f64>(this.endImage(part) - this.firstImage(part)) * <f64>this.length(part);
  }
}

/**
 * Rows of (N, C) that a pass goes through together, four columns at a time, so that coefficients are read once for all. A first-level
 * cache must keep the rows' lines for the columns beside, and in rows a page apart lines share its places.
 */
export const rowsTogether: i32 = 4;
/** The same for sums, which are read and written once for all rows. */
export const rowsSummedTogether: i32 = 16;

/** Two vectors of two float64, which become two float64 in the end, and a float64. */
export const entryBytes: usize = 48;

/** Two float32 from memory, in double precision. */
export function loadTwo(at: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(at));
}

/** The two behind them. */
export function loadNextTwo(at: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(at, 8));
}

/** One float32 from each of four places. */
export function gather(a: usize, b: usize, c: usize, d: usize): v128 {
  const two = v128.load32_lane(b, v128.load32_zero(a), 1);
  return v128.load32_lane(d, v128.load32_lane(c, two, 2), 3);
}

/** The lanes to four places. */
export function scatter(v: v128, a: usize, b: usize, c: usize, d: usize): void {
  v128.store32_lane(a, v, 0);
  v128.store32_lane(b, v, 1);
  v128.store32_lane(c, v, 2);
  v128.store32_lane(d, v, 3);
}

/** a * b + c in both float64 lanes: one rounding in the relaxed build, two in the plain one. */
export function maddDouble(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f64x2.relaxed_madd(a, b, c);
  return f64x2.add(f64x2.mul(a, b), c);
}

/** Neither infinite nor NaN. */
export function isNumber(value: f64): bool {
  return value - value === 0;
}

/** Lanes 0 and 1 together. */
export function sumHalves(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/** A float64 from each of two adjacent entries. */
export function loadPair(at: usize): v128 {
  return v128.load64_lane(at, v128.load64_zero(at), 1, 48);
}

/** Lanes of two vectors, at most `count`, one to each of adjacent entries. */
export function storeSums(entry: usize, count: i32, low: v128, high: v128): void {
  v128.store64_lane(entry, low, 0);
  if (count > 1) v128.store64_lane(entry, low, 1, 48);
  if (count > 2) v128.store64_lane(entry, high, 0, 96);
  if (count > 3) v128.store64_lane(entry, high, 1, 144);
}

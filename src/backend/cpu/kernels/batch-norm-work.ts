/**
 * How sums over channels are cut, by shape only (../batch-norm.ts). A part is some whole images, or one segment of the planes
 * of one image; a unit of work is one block of channels of one part. A unit leaves an entry for each of its channels; another
 * kernel joins the entries [part][channel] in order.
 */
export class ChannelSums {
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
  entries: usize;

  /** Address of element (n, c, s) of a float32 tensor. */
  at(x: usize, n: i32, c: i32, s: i32): usize {
    return x + ((<usize>((n * this.C + c) * this.S + s)) << 2);
  }

  /** Address of an entry: two float64, or two vectors of two while the unit runs. */
  entry(part: i32, c: i32): usize {
    return this.entries + ((<usize>(part * this.C + c)) << 5);
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
 * How passes over whole tensors are cut. A unit is a plane, for S = 1 a row: one place of all channels. A chunk is some units or one
 * segment of one.
 */
export class ChannelPass {
  C: i32;
  S: i32;
  units: i32;
  segmentLength: i32;
  segments: i32;
  unitsPerChunk: i32;
  /** Float32 vectors (C), one behind the other, of what the pass needs of each channel. */
  coefficients: usize;

  /** Address of coefficient number `index` of channel c. */
  coefficient(index: i32, c: i32): usize {
    return this.coefficients + ((<usize>(index * this.C + c)) << 2);
  }

  first(chunk: i32): i32 {
    return (chunk / this.segments) * this.unitsPerChunk;
  }

  /** Behind the chunk's last unit. */
  end(chunk: i32): i32 {
    return min(this.first(chunk) + this.unitsPerChunk, this.units);
  }

  /** Where in each plane the chunk's segment begins. */
  place(chunk: i32): i32 {
    return (chunk % this.segments) * this.segmentLength;
  }

  /** Elements of each plane in the chunk. */
  length(chunk: i32): i32 {
    return min(this.segmentLength, this.S - this.place(chunk));
  }
}

/** From one entry to the next. */
export const entryBytes: usize = 32;

/** Two float32 from memory, in double precision. */
export function loadTwo(at: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(at));
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

/** Lanes of two vectors, at most `count`, one to each of adjacent entries. */
export function storeSums(entry: usize, count: i32, low: v128, high: v128): void {
  v128.store64_lane(entry, low, 0);
  if (count > 1) v128.store64_lane(entry, low, 1, 32);
  if (count > 2) v128.store64_lane(entry, high, 0, 64);
  if (count > 3) v128.store64_lane(entry, high, 1, 96);
}

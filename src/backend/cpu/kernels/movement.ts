/** Kernels that move elements without computing on them: fill, copy, strided copy and write. */

export function fillBytes(
  out: usize,
  count: usize,
  perChunk: usize,
  value: i32,
  chunk: i32,
  thread: i32,
): void {
  const first = <usize>chunk * perChunk;
  memory.fill(out + first, <u8>value, min(perChunk, count - first));
}

/** `bits` are those of a float32 or an int32. */
export function fillWords(
  out: usize,
  count: usize,
  perChunk: usize,
  bits: i32,
  chunk: i32,
  thread: i32,
): void {
  const first = <usize>chunk * perChunk;
  let at = out + (first << 2);
  const end = at + (min(perChunk, count - first) << 2);
  const four = i32x4.splat(bits);
  for (; at + 16 <= end; at += 16) v128.store(at, four);
  for (; at < end; at += 4) store<i32>(at, bits);
}

export function fillDoubles(
  out: usize,
  count: usize,
  perChunk: usize,
  value: f64,
  chunk: i32,
  thread: i32,
): void {
  const first = <usize>chunk * perChunk;
  const end = min(first + perChunk, count);
  for (let i = first; i < end; i++) store<f64>(out + (i << 3), value);
}

export function copyBytes(
  x: usize,
  out: usize,
  count: usize,
  perChunk: usize,
  chunk: i32,
  thread: i32,
): void {
  const first = <usize>chunk * perChunk;
  memory.copy(out + first, x + first, min(perChunk, count - first));
}

// ---- strided copy and write -------------------------------------------------------------------------------------------

/**
 * The dense side's last two axes, how many come before them, and where in the strided side each element lies: x is the strided
 * side of a copy, out that of a write. Strides in elements.
 */
class Strided {
  x: usize;
  out: usize;
  count: usize;
  perChunk: usize;
  inner: usize;
  innerStride: usize;
  middle: usize;
  middleStride: usize;
  /** Of `out` and for `transposeWords` alone, where out's rows need not follow each other. */
  outMiddle: usize;
  outerAxes: usize;
  // Then, for each outer axis from the last: size, stride in the strided side, stride in the other.
}

/** Where outer index `row` begins in the strided side (0) or in the other (1), in elements. */
function outerOffset(job: Strided, row: usize, side: usize): usize {
  let axis = changetype<usize>(job) + offsetof<Strided>();
  let offset: usize = 0;
  for (let i: usize = 0; i < job.outerAxes; i++, axis += 12) {
    const size = load<usize>(axis);
    offset += (row % size) * load<usize>(axis + 4 + (side << 2));
    row /= size;
  }
  return offset;
}

function copyRow<T>(x: usize, xStep: usize, out: usize, count: usize): void {
  if (xStep === 1) {
    memory.copy(out, x, count * sizeof<T>());
    return;
  }
  for (let i: usize = 0; i < count; i++) {
    store<T>(out + i * sizeof<T>(), load<T>(x + i * xStep * sizeof<T>()));
  }
}

/** Output elements chunk * perChunk and on, row by row; the first and the last row of a chunk may be parts. */
function stridedCopy<T>(job: Strided, chunk: i32): void {
  let at = <usize>chunk * job.perChunk;
  const end = min(at + job.perChunk, job.count);
  let column = at % job.inner;
  let middle = (at / job.inner) % job.middle;
  for (let outer = at / job.inner / job.middle; at < end; outer++, middle = 0) {
    const x = outerOffset(job, outer, 0);
    for (; middle < job.middle && at < end; middle++, column = 0) {
      const count = min(job.inner - column, end - at);
      const from = x + middle * job.middleStride + column * job.innerStride;
      copyRow<T>(job.x + from * sizeof<T>(), job.innerStride, job.out + at * sizeof<T>(), count);
      at += count;
    }
  }
}

export function stridedCopyBytes(job: Strided, chunk: i32, thread: i32): void {
  stridedCopy<u8>(job, chunk);
}

export function stridedCopyWords(job: Strided, chunk: i32, thread: i32): void {
  stridedCopy<u32>(job, chunk);
}

export function stridedCopyDoubles(job: Strided, chunk: i32, thread: i32): void {
  stridedCopy<u64>(job, chunk);
}

function writeRow<T>(x: usize, out: usize, step: usize, count: usize): void {
  if (step === 1) {
    memory.copy(out, x, count * sizeof<T>());
    return;
  }
  for (let i: usize = 0; i < count; i++) {
    store<T>(out + i * step * sizeof<T>(), load<T>(x + i * sizeof<T>()));
  }
}

function addRow<T>(x: usize, out: usize, step: usize, count: usize): void {
  let i: usize = 0;
  if (step === 1) {
    for (; i + 4 <= count; i += 4) {
      const at = out + (i << 2);
      v128.store(at, v128.add<T>(v128.load(at), v128.load(x + (i << 2))));
    }
  }
  for (; i < count; i++) {
    const at = out + i * step * sizeof<T>();
    store<T>(at, load<T>(at) + load<T>(x + i * sizeof<T>()));
  }
}

/** Elements chunk * perChunk of x and on, row by row; the first and the last row of a chunk may be parts. */
function stridedWrite<T>(job: Strided, chunk: i32, accumulate: bool): void {
  let at = <usize>chunk * job.perChunk;
  const end = min(at + job.perChunk, job.count);
  let column = at % job.inner;
  let middle = (at / job.inner) % job.middle;
  for (let outer = at / job.inner / job.middle; at < end; outer++, middle = 0) {
    const out = outerOffset(job, outer, 0);
    for (; middle < job.middle && at < end; middle++, column = 0) {
      const count = min(job.inner - column, end - at);
      const to =
        job.out + (out + middle * job.middleStride + column * job.innerStride) * sizeof<T>();
      const from = job.x + at * sizeof<T>();
      if (sizeof<T>() === 4 && accumulate) addRow<T>(from, to, job.innerStride, count);
      else writeRow<T>(from, to, job.innerStride, count);
      at += count;
    }
  }
}

export function stridedWriteBytes(job: Strided, chunk: i32, thread: i32): void {
  stridedWrite<u8>(job, chunk, false);
}

export function stridedWriteWords(job: Strided, chunk: i32, thread: i32): void {
  stridedWrite<u32>(job, chunk, false);
}

export function stridedWriteDoubles(job: Strided, chunk: i32, thread: i32): void {
  stridedWrite<u64>(job, chunk, false);
}

export function stridedAddFloats(job: Strided, chunk: i32, thread: i32): void {
  stridedWrite<f32>(job, chunk, true);
}

export function stridedAddInts(job: Strided, chunk: i32, thread: i32): void {
  stridedWrite<i32>(job, chunk, true);
}

/** Rows and columns of a tile: 16 words are a cache line, so each line of x is read once. */
const tileSide: usize = 16;

/** Four columns of x, `xStep` bytes apart, to four rows of out, `outStep` bytes apart. */
function transposeFour(x: usize, xStep: usize, out: usize, outStep: usize): void {
  const a = v128.load(x);
  const b = v128.load(x + xStep);
  const c = v128.load(x + 2 * xStep);
  const d = v128.load(x + 3 * xStep);
  const abLow = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cdLow = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(abLow, cdLow, 0, 2));
  v128.store(out + outStep, v128.shuffle<i64>(abLow, cdLow, 1, 3));
  v128.store(out + 2 * outStep, v128.shuffle<i64>(abHigh, cdHigh, 0, 2));
  v128.store(out + 3 * outStep, v128.shuffle<i64>(abHigh, cdHigh, 1, 3));
}

/** `rows` x `columns` of out from x; x runs along out's rows axis with step 1. Steps in bytes. */
function transposeTile(
  x: usize,
  xStep: usize,
  out: usize,
  outStep: usize,
  rows: usize,
  columns: usize,
): void {
  let column: usize = 0;
  for (; column + 4 <= columns; column += 4) {
    const from = x + column * xStep;
    const to = out + (column << 2);
    let row: usize = 0;
    for (; row + 4 <= rows; row += 4) {
      transposeFour(from + (row << 2), xStep, to + row * outStep, outStep);
    }
    for (; row < rows; row++) {
      for (let i: usize = 0; i < 4; i++) {
        store<u32>(to + row * outStep + (i << 2), load<u32>(from + i * xStep + (row << 2)));
      }
    }
  }
  for (; column < columns; column++) {
    for (let row: usize = 0; row < rows; row++) {
      store<u32>(out + row * outStep + (column << 2), load<u32>(x + column * xStep + (row << 2)));
    }
  }
}

/** Columns of a unit of work. */
const stripe: usize = 512;

/**
 * The case of x running along middle with stride 1, along inner with a greater one: a transpose of (inner, middle) to (middle, inner) for each outer index. A unit of work
 * is 16 middles by 512 inners; `count` counts units.
 */
export function transposeWords(job: Strided, chunk: i32, thread: i32): void {
  const bands = (job.middle + tileSide - 1) / tileSide;
  const stripes = (job.inner + stripe - 1) / stripe;
  let unit = <usize>chunk * job.perChunk;
  const end = min(unit + job.perChunk, job.count);
  for (; unit < end; unit++) {
    const outer = unit / stripes / bands;
    const row = ((unit / stripes) % bands) * tileSide;
    const x = job.x + ((outerOffset(job, outer, 0) + row) << 2);
    const out = job.out + ((outerOffset(job, outer, 1) + row * job.outMiddle) << 2);
    const rows = min(tileSide, job.middle - row);
    const first = (unit % stripes) * stripe;
    const last = min(first + stripe, job.inner);
    for (let column = first; column < last; column += tileSide) {
      const from = x + ((column * job.innerStride) << 2);
      const columns = min(tileSide, last - column);
      transposeTile(
        from,
        job.innerStride << 2,
        out + (column << 2),
        job.outMiddle << 2,
        rows,
        columns,
      );
    }
  }
}

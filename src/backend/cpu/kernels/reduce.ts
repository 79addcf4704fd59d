/**
 * Reductions of the middle axis of (outer, length, inner). All accumulate in double precision. An axis that is long is cut
 * into blocks by its length alone; their results are joined in order by a second kernel, so that no thread count shows.
 */

/** What the reducing kernels work on. An output is one (outer, inner) pair. */
class Reduction {
  x: usize;
  out: usize;
  /** float64 [blocks][outputs], used when there is more than one block. */
  partials: usize;
  outputs: usize;
  length: usize;
  inner: usize;
  blockLength: usize;
  blocks: usize;
  /** Outputs of one row that are reduced side by side, and how many such tiles a row has; 1 and 1 when inner is 1. */
  tile: usize;
  tiles: usize;
  /** A unit is (outer, block, tile), or (output, block). */
  units: usize;
  perChunk: usize;
  isMean: usize;
  /** float64 [tile] for each thread. */
  scratch: usize;
}

class Sum {
  start(): f64 {
    return 0;
  }

  two(a: v128, b: v128): v128 {
    return f64x2.add(a, b);
  }
}

class Max {
  start(): f64 {
    return -Infinity;
  }

  two(a: v128, b: v128): v128 {
    return f64x2.max(a, b);
  }
}

class Min {
  start(): f64 {
    return Infinity;
  }

  two(a: v128, b: v128): v128 {
    return f64x2.min(a, b);
  }
}

/** Two elements, widened. */
function loadTwo<T>(at: usize): v128 {
  if (isFloat<T>()) return f64x2.promote_low_f32x4(v128.load64_zero(at));
  return f64x2.convert_low_i32x4_s(v128.load64_zero(at));
}

function one<Op>(a: f64, b: f64): f64 {
  return f64x2.extract_lane(changetype<Op>(0).two(f64x2.splat(a), f64x2.splat(b)), 0);
}

function joinLanes<Op>(v: v128): f64 {
  return one<Op>(f64x2.extract_lane(v, 0), f64x2.extract_lane(v, 1));
}

/** `count` adjacent elements, in eight interleaved sums. */
function span<Op, T>(x: usize, count: usize): f64 {
  const op = changetype<Op>(0);
  const start = f64x2.splat(op.start());
  let a = start;
  let b = start;
  let c = start;
  let d = start;
  const end = x + (count << 2);
  for (; x + 32 <= end; x += 32) {
    a = op.two(a, loadTwo<T>(x));
    b = op.two(b, loadTwo<T>(x + 8));
    c = op.two(c, loadTwo<T>(x + 16));
    d = op.two(d, loadTwo<T>(x + 24));
  }
  let result = joinLanes<Op>(op.two(op.two(a, b), op.two(c, d)));
  for (; x < end; x += 4) result = one<Op>(result, <f64>load<T>(x));
  return result;
}

function storeResult<T>(job: Reduction, output: usize, value: f64): void {
  const result = job.isMean ? value / <f64>job.length : value;
  // Through 64 bits, so that an integer sum wraps around.
  if (isFloat<T>()) store<T>(job.out + (output << 2), <T>result);
  else store<T>(job.out + (output << 2), <T>(<i64>result));
}

function put<T>(job: Reduction, block: usize, output: usize, value: f64): void {
  if (job.blocks === 1) storeResult<T>(job, output, value);
  else store<f64>(job.partials + ((block * job.outputs + output) << 3), value);
}

/** inner = 1. */
function reduceRows<Op, T>(job: Reduction, chunk: i32): void {
  let unit = <usize>chunk * job.perChunk;
  const end = min(unit + job.perChunk, job.units);
  for (; unit < end; unit++) {
    const output = unit / job.blocks;
    const block = unit % job.blocks;
    const first = block * job.blockLength;
    const count = min(job.blockLength, job.length - first);
    const x = job.x + ((output * job.length + first) << 2);
    put<T>(job, block, output, span<Op, T>(x, count));
  }
}

/** sums[i] = op(sums[i], x[i]) for one row of a tile. */
function joinRow<Op, T>(sums: usize, x: usize, count: usize): void {
  const op = changetype<Op>(0);
  let i: usize = 0;
  for (; i + 4 <= count; i += 4) {
    const at = sums + (i << 3);
    const from = x + (i << 2);
    v128.store(at, op.two(v128.load(at), loadTwo<T>(from)));
    v128.store(at, op.two(v128.load(at, 16), loadTwo<T>(from + 8)), 16);
  }
  for (; i < count; i++) {
    const at = sums + (i << 3);
    store<f64>(at, one<Op>(load<f64>(at), <f64>load<T>(x + (i << 2))));
  }
}

/** inner > 1: row after row is added to a tile of sums that stays in the first-level cache. */
function reduceColumns<Op, T>(job: Reduction, chunk: i32, thread: i32): void {
  const sums = job.scratch + <usize>thread * (job.tile << 3);
  let unit = <usize>chunk * job.perChunk;
  const end = min(unit + job.perChunk, job.units);
  for (; unit < end; unit++) {
    const column = (unit % job.tiles) * job.tile;
    const block = (unit / job.tiles) % job.blocks;
    const outer = unit / job.tiles / job.blocks;
    const count = min(job.tile, job.inner - column);
    for (let i: usize = 0; i < count; i++) store<f64>(sums + (i << 3), changetype<Op>(0).start());

    const last = min((block + 1) * job.blockLength, job.length);
    for (let l = block * job.blockLength; l < last; l++) {
      joinRow<Op, T>(sums, job.x + (((outer * job.length + l) * job.inner + column) << 2), count);
    }
    for (let i: usize = 0; i < count; i++) {
      put<T>(job, block, outer * job.inner + column + i, load<f64>(sums + (i << 3)));
    }
  }
}

function reduce<Op, T>(job: Reduction, chunk: i32, thread: i32): void {
  if (job.inner === 1) reduceRows<Op, T>(job, chunk);
  else reduceColumns<Op, T>(job, chunk, thread);
}

/** Joins the blocks of each output in order. */
function joinBlocks<Op, T>(job: Reduction, perChunk: usize, chunk: i32): void {
  let output = <usize>chunk * perChunk;
  const end = min(output + perChunk, job.outputs);
  for (; output < end; output++) {
    let result = changetype<Op>(0).start();
    for (let block: usize = 0; block < job.blocks; block++) {
      const value = load<f64>(job.partials + ((block * job.outputs + output) << 3));
      result = one<Op>(result, value);
    }
    storeResult<T>(job, output, result);
  }
}

export function sumFloat(job: Reduction, chunk: i32, thread: i32): void {
  reduce<Sum, f32>(job, chunk, thread);
}

export function sumFloatBlocks(job: Reduction, perChunk: usize, chunk: i32, thread: i32): void {
  joinBlocks<Sum, f32>(job, perChunk, chunk);
}

export function sumInt(job: Reduction, chunk: i32, thread: i32): void {
  reduce<Sum, i32>(job, chunk, thread);
}

export function sumIntBlocks(job: Reduction, perChunk: usize, chunk: i32, thread: i32): void {
  joinBlocks<Sum, i32>(job, perChunk, chunk);
}

export function maxFloat(job: Reduction, chunk: i32, thread: i32): void {
  reduce<Max, f32>(job, chunk, thread);
}

export function maxFloatBlocks(job: Reduction, perChunk: usize, chunk: i32, thread: i32): void {
  joinBlocks<Max, f32>(job, perChunk, chunk);
}

export function maxInt(job: Reduction, chunk: i32, thread: i32): void {
  reduce<Max, i32>(job, chunk, thread);
}

export function maxIntBlocks(job: Reduction, perChunk: usize, chunk: i32, thread: i32): void {
  joinBlocks<Max, i32>(job, perChunk, chunk);
}

export function minFloat(job: Reduction, chunk: i32, thread: i32): void {
  reduce<Min, f32>(job, chunk, thread);
}

export function minFloatBlocks(job: Reduction, perChunk: usize, chunk: i32, thread: i32): void {
  joinBlocks<Min, f32>(job, perChunk, chunk);
}

export function minInt(job: Reduction, chunk: i32, thread: i32): void {
  reduce<Min, i32>(job, chunk, thread);
}

export function minIntBlocks(job: Reduction, perChunk: usize, chunk: i32, thread: i32): void {
  joinBlocks<Min, i32>(job, perChunk, chunk);
}

// ---- argmax -----------------------------------------------------------------------------------------------------------

/** NaN is above every number, and no NaN above another, so the first of equals stays. */
function isGreater<T>(a: T, b: T): bool {
  if (isFloat<T>()) return a > b || (a !== a && b === b);
  return a > b;
}

function argmax<T>(
  x: usize,
  out: usize,
  outputs: usize,
  length: usize,
  inner: usize,
  perChunk: usize,
  chunk: i32,
): void {
  let output = <usize>chunk * perChunk;
  const end = min(output + perChunk, outputs);
  for (; output < end; output++) {
    const first = x + (((output / inner) * length * inner + (output % inner)) << 2);
    let at = first;
    let best = load<T>(first);
    let index = 0;
    for (let l: usize = 1; l < length; l++) {
      at += inner << 2;
      const candidate = load<T>(at);
      if (!isGreater<T>(candidate, best)) continue;
      best = candidate;
      index = <i32>l;
    }
    store<i32>(out + (output << 2), index);
  }
}

export function argmaxFloat(
  x: usize,
  out: usize,
  outputs: usize,
  length: usize,
  inner: usize,
  perChunk: usize,
  chunk: i32,
  thread: i32,
): void {
  argmax<f32>(x, out, outputs, length, inner, perChunk, chunk);
}

export function argmaxInt(
  x: usize,
  out: usize,
  outputs: usize,
  length: usize,
  inner: usize,
  perChunk: usize,
  chunk: i32,
  thread: i32,
): void {
  argmax<i32>(x, out, outputs, length, inner, perChunk, chunk);
}

/**
 * Softmax along the middle axis of (outer, length, inner). Where inner is 1 the four lanes share a line, otherwise each has
 * a line of its own. Totals are in double precision.
 */
import { exp, log64 } from "./math";
import { highHalf, joinHalves, loadPart, lowHalf, storePart } from "./simd";

/** x and y for softmax; dy as x, y and dx for its gradient. */
class Softmax {
  x: usize;
  y: usize;
  dx: usize;
  length: usize;
  inner: usize;
  /** A unit of work is `tile` adjacent lines of one outer index; `tiles` to a row. */
  tile: usize;
  tiles: usize;
  units: usize;
  perChunk: usize;
  isLog: usize;
}

/** Four lanes of memory. */
class Four {
  load(at: usize, count: usize): v128 {
    return v128.load(at);
  }

  store(at: usize, count: usize, value: v128): void {
    v128.store(at, value);
  }
}

/** Fewer, at the end of the data; the other lanes count as -Infinity, whose exponential adds nothing. */
class Part {
  load(at: usize, count: usize): v128 {
    return loadPart(at, count, -Infinity);
  }

  store(at: usize, count: usize, value: v128): void {
    storePart(at, count, value);
  }
}

// ---- one step of each pass ----------------------------------------------------------------------------------------------

/** exp(x - shift), left in y unless the logarithm is wanted. */
function expTerm<Lanes>(job: Softmax, byte: usize, shift: v128, count: usize): v128 {
  const lanes = changetype<Lanes>(0);
  const term = exp(f32x4.sub(lanes.load(job.x + byte, count), shift));
  if (!job.isLog) lanes.store(job.y + byte, count, term);
  return term;
}

/** From x and the logarithm of the total, or from the term in y and the inverse of the total. */
function finish<Lanes>(job: Softmax, byte: usize, shift: v128, total: v128, count: usize): void {
  const lanes = changetype<Lanes>(0);
  const y = job.isLog
    ? f32x4.sub(f32x4.sub(lanes.load(job.x + byte, count), shift), total)
    : f32x4.mul(lanes.load(job.y + byte, count), total);
  lanes.store(job.y + byte, count, y);
}

/** What the gradient's total adds up: dy, for softmax itself dy * y. */
function gradTerm<Lanes>(job: Softmax, byte: usize, count: usize): v128 {
  const lanes = changetype<Lanes>(0);
  const dy = lanes.load(job.x + byte, count);
  return job.isLog ? dy : f32x4.mul(dy, lanes.load(job.y + byte, count));
}

function finishGrad<Lanes>(job: Softmax, byte: usize, total: v128, count: usize): void {
  const lanes = changetype<Lanes>(0);
  const dy = lanes.load(job.x + byte, count);
  const y = lanes.load(job.y + byte, count);
  const dx = job.isLog
    ? f32x4.sub(dy, f32x4.mul(exp(y), total))
    : f32x4.mul(y, f32x4.sub(dy, total));
  lanes.store(job.dx + byte, count, dx);
}

// ---- one line of adjacent elements --------------------------------------------------------------------------------------

function sumOfFour(v: v128): f64 {
  const halves = f64x2.add(lowHalf(v), highHalf(v));
  return f64x2.extract_lane(halves, 0) + f64x2.extract_lane(halves, 1);
}

function maxLane(v: v128): f32 {
  const low = max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1));
  return max(low, max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)));
}

/** The greatest number; NaN is passed over, since its own exponential spreads it soon enough and pmax is one instruction. */
function maxOfLine(x: usize, length: usize): f32 {
  let best = f32x4.splat(-Infinity);
  const whole = length & ~3;
  for (let i: usize = 0; i < whole; i += 4) best = f32x4.pmax(best, v128.load(x + (i << 2)));
  best = f32x4.pmax(best, loadPart(x + (whole << 2), length - whole, -Infinity));
  return maxLane(best);
}

function softmaxLine(job: Softmax, start: usize): void {
  const whole = job.length & ~3;
  const rest = job.length - whole;
  const end = start + (whole << 2);
  const shift = f32x4.splat(maxOfLine(job.x + start, job.length));
  let total: f64 = 0;
  for (let at = start; at < end; at += 16) total += sumOfFour(expTerm<Four>(job, at, shift, 4));
  if (rest) total += sumOfFour(expTerm<Part>(job, end, shift, rest));

  const scale = f32x4.splat(<f32>(job.isLog ? log64(total) : 1 / total));
  for (let at = start; at < end; at += 16) finish<Four>(job, at, shift, scale, 4);
  if (rest) finish<Part>(job, end, shift, scale, rest);
}

function gradLine(job: Softmax, start: usize): void {
  const whole = job.length & ~3;
  const rest = job.length - whole;
  const end = start + (whole << 2);
  let sum: f64 = 0;
  for (let at = start; at < end; at += 16) sum += sumOfFour(gradTerm<Four>(job, at, 4));
  for (let i: usize = 0; i < rest; i++) {
    sum += f32x4.extract_lane(gradTerm<Part>(job, end + (i << 2), 1), 0);
  }
  const total = f32x4.splat(<f32>sum);
  for (let at = start; at < end; at += 16) finishGrad<Four>(job, at, total, 4);
  if (rest) finishGrad<Part>(job, end, total, rest);
}

// ---- up to four lines side by side --------------------------------------------------------------------------------------

/** In each lane the logarithm of a total, or its inverse. */
function scaleOfTwo(totals: v128, isLog: usize): v128 {
  if (!isLog) return f64x2.div(f64x2.splat(1), totals);
  const y = f64x2.splat(log64(f64x2.extract_lane(totals, 0)));
  return f64x2.replace_lane(y, 1, log64(f64x2.extract_lane(totals, 1)));
}

function softmaxLines<Lanes>(job: Softmax, start: usize, count: usize): void {
  const step = job.inner << 2;
  const end = start + job.length * step;
  let shift = f32x4.splat(-Infinity);
  for (let at = start; at < end; at += step) {
    shift = f32x4.pmax(shift, changetype<Lanes>(0).load(job.x + at, count));
  }
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (let at = start; at < end; at += step) {
    const term = expTerm<Lanes>(job, at, shift, count);
    low = f64x2.add(low, lowHalf(term));
    high = f64x2.add(high, highHalf(term));
  }
  const scale = joinHalves(scaleOfTwo(low, job.isLog), scaleOfTwo(high, job.isLog));
  for (let at = start; at < end; at += step) finish<Lanes>(job, at, shift, scale, count);
}

function gradLines<Lanes>(job: Softmax, start: usize, count: usize): void {
  const step = job.inner << 2;
  const end = start + job.length * step;
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (let at = start; at < end; at += step) {
    const term = gradTerm<Lanes>(job, at, count);
    low = f64x2.add(low, lowHalf(term));
    high = f64x2.add(high, highHalf(term));
  }
  const total = joinHalves(low, high);
  for (let at = start; at < end; at += step) finishGrad<Lanes>(job, at, total, count);
}

// ---- kernels ------------------------------------------------------------------------------------------------------------

class Forward {
  line(job: Softmax, start: usize): void {
    softmaxLine(job, start);
  }

  lines<Lanes>(job: Softmax, start: usize, count: usize): void {
    softmaxLines<Lanes>(job, start, count);
  }
}

class Backward {
  line(job: Softmax, start: usize): void {
    gradLine(job, start);
  }

  lines<Lanes>(job: Softmax, start: usize, count: usize): void {
    gradLines<Lanes>(job, start, count);
  }
}

function forEachLine<Pass>(job: Softmax, chunk: i32): void {
  const pass = changetype<Pass>(0);
  let unit = <usize>chunk * job.perChunk;
  const end = min(unit + job.perChunk, job.units);
  for (; unit < end; unit++) {
    const row = (unit / job.tiles) * job.length * job.inner;
    if (job.inner === 1) {
      pass.line(job, row << 2);
      continue;
    }
    let column = (unit % job.tiles) * job.tile;
    const last = min(column + job.tile, job.inner);
    for (; column + 4 <= last; column += 4) pass.lines<Four>(job, (row + column) << 2, 4);
    if (column < last) pass.lines<Part>(job, (row + column) << 2, last - column);
  }
}

export function softmax(job: Softmax, chunk: i32, thread: i32): void {
  forEachLine<Forward>(job, chunk);
}

export function softmaxGrad(job: Softmax, chunk: i32, thread: i32): void {
  forEachLine<Backward>(job, chunk);
}

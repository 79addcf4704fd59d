import { bytes, loadAlternate } from "./floats";
import { loadPart, storePart } from "./simd";

/** Pooling of planes, written by the host (../pool.ts) as 32-bit words in the order of the fields. */
class Pooling {
  planes: i32;
  H: i32;
  W: i32;
  kernelH: i32;
  kernelW: i32;
  strideH: i32;
  strideW: i32;
  paddingH: i32;
  paddingW: i32;
  outH: i32;
  outW: i32;
  planesPerChunk: i32;
  /** x, or its gradient. */
  x: usize;
  /** y, or its gradient. */
  y: usize;
  /** int32, for maxima. */
  indices: usize;

  end(chunk: i32): i32 {
    return min((chunk + 1) * this.planesPerChunk, this.planes);
  }

  xPlane(plane: i32): usize {
    return this.x + bytes(plane * this.H * this.W);
  }

  /** Bytes from the start of y, and of indices, to row p of a plane. */
  outRow(plane: i32, p: i32): usize {
    return bytes((plane * this.outH + p) * this.outW);
  }

  /** Rows of x that output row p covers: from top, before bottom. Columns likewise. */
  top(p: i32): i32 {
    return max(p * this.strideH - this.paddingH, 0);
  }

  bottom(p: i32): i32 {
    return min(p * this.strideH - this.paddingH + this.kernelH, this.H);
  }

  left(q: i32): i32 {
    return max(q * this.strideW - this.paddingW, 0);
  }

  right(q: i32): i32 {
    return min(q * this.strideW - this.paddingW + this.kernelW, this.W);
  }
}

/** y and indices: the first of equal maxima, the first NaN if there is one. */
export function maxPool(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    for (let p = 0; p < job.outH; p++) {
      const row = job.outRow(plane, p);
      maxOfRow(job, job.xPlane(plane), p, job.y + row, job.indices + row);
    }
  }
}

function maxOfRow(job: Pooling, x: usize, p: i32, y: usize, indices: usize): void {
  const outW = job.outW;
  const strideW = job.strideW;
  const top = job.top(p);
  const rows = job.bottom(p) - top;
  // Windows q from `inner` to before `innerEnd` lie inside the width of x.
  const inner = strideW <= 2 ? (job.paddingW + strideW - 1) / strideW : outW;
  const innerEnd = (job.W + job.paddingW - job.kernelW + strideW) / strideW;
  let q = 0;
  while (q < outW) {
    // The last four may begin among windows that are done: doing those again is cheaper than one by one.
    const four = min(q, innerEnd - 4);
    if (q >= inner && q < innerEnd && four >= inner) {
      const corner = top * job.W + four * strideW - job.paddingW;
      fourMaxima(job, x, corner, rows, y + bytes(four), indices + bytes(four));
      q = four + 4;
    } else {
      oneMaximum(job, x, p, q, y + bytes(q), indices + bytes(q));
      q++;
    }
  }
}

/** Four windows inside the width of x, at a stride of 1 or 2; the first begins at `corner`. */
function fourMaxima(
  job: Pooling,
  x: usize,
  corner: i32,
  rows: i32,
  y: usize,
  indices: usize,
): void {
  const W = job.W;
  const kernelW = job.kernelW;
  const strideW = job.strideW;
  const lanes = strideW === 1 ? i32x4(0, 1, 2, 3) : i32x4(0, 2, 4, 6);
  let best = loadFour(x + bytes(corner), strideW);
  let where = i32x4.splat(corner);
  for (let h = 0; h < rows; h++) {
    const row = corner + h * W;
    for (let i = row; i < row + kernelW; i++) {
      const values = loadFour(x + bytes(i), strideW);
      // Above the best, or NaN while the best is a number.
      const better = v128.andnot(f32x4.eq(best, best), f32x4.le(values, best));
      best = v128.bitselect(values, best, better);
      where = v128.bitselect(i32x4.splat(i), where, better);
    }
  }
  v128.store(y, best);
  v128.store(indices, i32x4.add(where, lanes));
}

function loadFour(at: usize, stride: i32): v128 {
  return stride === 1 ? v128.load(at) : loadAlternate(at);
}

function oneMaximum(job: Pooling, x: usize, p: i32, q: i32, y: usize, indices: usize): void {
  let where = job.top(p) * job.W + job.left(q);
  let best = load<f32>(x + bytes(where));
  for (let h = job.top(p); h < job.bottom(p); h++) {
    for (let w = job.left(q); w < job.right(q); w++) {
      const value = load<f32>(x + bytes(h * job.W + w));
      if (best === best && !(value <= best)) {
        best = value;
        where = h * job.W + w;
      }
    }
  }
  store<f32>(y, best);
  store<i32>(indices, where);
}

/** dx: each dy goes to where its maximum was. */
export function maxPoolGrad(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    const dx = job.xPlane(plane);
    const row = job.outRow(plane, 0);
    memory.fill(dx, 0, bytes(job.H * job.W));
    for (let i = row; i < row + bytes(job.outH * job.outW); i += 4) {
      const at = dx + bytes(load<i32>(job.indices + i));
      store<f32>(at, load<f32>(at) + load<f32>(job.y + i));
    }
  }
}

/** The same for windows of 2 x 2 that cover x without overlap: every element of dx is written once, in order. */
export function maxPoolGradOfPairs(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    for (let p = 0; p < job.outH; p++) {
      const row = job.outRow(plane, p);
      gradOfPairs(job, job.xPlane(plane), 2 * p, job.y + row, job.indices + row);
    }
  }
}

/** Rows h and h + 1 of dx from one row of dy. */
function gradOfPairs(job: Pooling, dx: usize, h: i32, dy: usize, indices: usize): void {
  for (let q = 0; q < job.outW; q += 4) {
    const count = min(4, job.outW - q);
    const values = loadPart(dy + bytes(q), count, 0);
    const where = loadPart(indices + bytes(q), count, 0);
    const corner = h * job.W + 2 * q;
    const left = i32x4.add(i32x4.splat(corner), i32x4(0, 2, 4, 6));
    const right = i32x4.add(left, i32x4.splat(1));
    storePairs(
      dx + bytes(corner),
      count,
      valuesAt(left, where, values),
      valuesAt(right, where, values),
    );
    const below = i32x4.splat(job.W);
    storePairs(
      dx + bytes(corner + job.W),
      count,
      valuesAt(i32x4.add(left, below), where, values),
      valuesAt(i32x4.add(right, below), where, values),
    );
  }
}

/** The values that belong to these positions, 0 for the others. */
function valuesAt(positions: v128, where: v128, values: v128): v128 {
  return v128.and(values, i32x4.eq(positions, where));
}

/** left[0], right[0], left[1], right[1], ... of `count` lanes. */
function storePairs(at: usize, count: i32, left: v128, right: v128): void {
  storePart(at, min(4, 2 * count), v128.shuffle<f32>(left, right, 0, 4, 1, 5));
  if (count > 2) storePart(at + 16, 2 * count - 4, v128.shuffle<f32>(left, right, 2, 6, 3, 7));
}

/** y: sums over the window divided by its whole size, padding included. */
export function averagePool(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  const area = <f64>job.kernelH * <f64>job.kernelW;
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    const x = job.xPlane(plane);
    for (let p = 0; p < job.outH; p++) {
      const y = job.y + job.outRow(plane, p);
      for (let q = 0; q < job.outW; q++) {
        store<f32>(y + bytes(q), <f32>(sumOfWindow(job, x, p, q) / area));
      }
    }
  }
}

function sumOfWindow(job: Pooling, x: usize, p: i32, q: i32): f64 {
  let sum: f64 = 0;
  for (let h = job.top(p); h < job.bottom(p); h++) {
    for (let w = job.left(q); w < job.right(q); w++) sum += load<f32>(x + bytes(h * job.W + w));
  }
  return sum;
}

/** dx: each dy, divided by the size of the window, goes to all of its window. */
export function averagePoolGrad(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  const area = <f32>(job.kernelH * job.kernelW);
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    const dx = job.xPlane(plane);
    memory.fill(dx, 0, bytes(job.H * job.W));
    for (let p = 0; p < job.outH; p++) {
      const dy = job.y + job.outRow(plane, p);
      for (let q = 0; q < job.outW; q++) {
        addToWindow(job, dx, p, q, load<f32>(dy + bytes(q)) / area);
      }
    }
  }
}

function addToWindow(job: Pooling, dx: usize, p: i32, q: i32, value: f32): void {
  for (let h = job.top(p); h < job.bottom(p); h++) {
    for (let w = job.left(q); w < job.right(q); w++) {
      const at = dx + bytes(h * job.W + w);
      store<f32>(at, load<f32>(at) + value);
    }
  }
}

/** Maxima over windows, and their gradient. */
import { bytes } from "./floats";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adjacent, Alternate, Pooling, Spaced } from "./pool-work";
import { loadPart, storePart } from "./simd";

/** y and indices: the first of equal maxima, the last NaN if there is one. */
export function maxPool(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  const width = job.width();
  const inner = width.firstInner();
  const innerEnd = width.endOfInner();
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    const x = job.xPlane(plane);
    for (let d = 0; d < job.depth().out; d++) {
      for (let h = 0; h < job.height().out; h++) {
        const row = job.outRow(plane, d, h);
        maxOfRow(job, x, d, h, inner, innerEnd, job.y + row, job.indices + row);
      }
    }
  }
}

/** Windows from `inner` to before `innerEnd` lie inside the width of x. */
function maxOfRow(
  job: Pooling,
  x: usize,
  d: i32,
  h: i32,
  inner: i32,
  innerEnd: i32,
  y: usize,
  indices: usize,
): void {
  const stride = job.width().stride;
  const out = job.width().out;
  let outer = 0;
  if (innerEnd - inner >= 4) {
    for (; outer < inner; outer++) oneMaximum(job, x, d, h, outer, y, indices);
    if (stride === 1) innerMaxima<Adjacent>(job, x, d, h, inner, innerEnd, y, indices);
    else if (stride === 2) innerMaxima<Alternate>(job, x, d, h, inner, innerEnd, y, indices);
    else innerMaxima<Spaced>(job, x, d, h, inner, innerEnd, y, indices);
    outer = innerEnd;
  }
  for (; outer < out; outer++) oneMaximum(job, x, d, h, outer, y, indices);
}

/** Four windows or more, four at a time. */
function innerMaxima<Four>(
  job: Pooling,
  x: usize,
  d: i32,
  h: i32,
  inner: i32,
  innerEnd: i32,
  y: usize,
  indices: usize,
): void {
  const load = changetype<Four>(0);
  const front = job.depth().first(d);
  const back = job.depth().end(d);
  const depthStep = job.depth().step();
  const top = job.height().first(h);
  const bottom = job.height().end(h);
  const heightStep = job.height().step();
  const width = job.width().size;
  const planeRows = job.height().size;
  const stride = job.width().stride;
  const padding = job.width().padding;
  const reach = job.width().reach();
  const dilation = job.width().dilation;
  const lanes = i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(stride));
  const isEmpty = front >= back || top >= bottom;
  const nowhere = i32x4.sub(i32x4.splat(-1), lanes);
  for (let next = inner; next < innerEnd; next += 4) {
    // The last four may begin among windows that are done: doing those again is cheaper than one by one.
    const w = min(next, innerEnd - 4);
    const left = w * stride - padding;
    const corner = (front * planeRows + top) * width + left;
    // Where nothing is greater, all is -Infinity and the first one is the first of equals.
    let best = f32x4.splat(-Infinity);
    let where = isEmpty ? nowhere : i32x4.splat(corner);
    for (let z = front; z < back; z += depthStep) {
      for (let r = top; r < bottom; r += heightStep) {
        const row = (z * planeRows + r) * width + left;
        for (let i = row; i < row + reach; i += dilation) {
          const values = load.four(x + bytes(i), bytes(stride));
          const better = v128.or(f32x4.gt(values, best), f32x4.ne(values, values));
          best = selectLanes(values, best, better);
          where = selectLanes(i32x4.splat(i), where, better);
        }
      }
    }
    v128.store(y + bytes(w), best);
    v128.store(indices + bytes(w), i32x4.add(where, lanes));
  }
}

/** Lanes of `a` where the mask's are all ones, of `b` where they are all zeros. */
function selectLanes(a: v128, b: v128, mask: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_laneselect(a, b, mask);
  return v128.bitselect(a, b, mask);
}

function oneMaximum(
  job: Pooling,
  x: usize,
  d: i32,
  h: i32,
  w: i32,
  y: usize,
  indices: usize,
): void {
  const front = job.depth().first(d);
  const back = job.depth().end(d);
  const depthStep = job.depth().step();
  const top = job.height().first(h);
  const bottom = job.height().end(h);
  const heightStep = job.height().step();
  const left = job.width().first(w);
  const right = job.width().end(w);
  const widthStep = job.width().step();
  const isEmpty = front >= back || top >= bottom || left >= right;
  let best = -Infinity as f32;
  let where = isEmpty ? -1 : job.row(front, top) + left;
  for (let z = front; z < back; z += depthStep) {
    for (let r = top; r < bottom; r += heightStep) {
      const row = job.row(z, r);
      for (let i = row + left; i < row + right; i += widthStep) {
        const value = load<f32>(x + bytes(i));
        if (value > best || value !== value) {
          best = value;
          where = i;
        }
      }
    }
  }
  store<f32>(y + bytes(w), best);
  store<i32>(indices + bytes(w), where);
}

/** dx: each dy goes to where its maximum was. */
export function maxPoolGrad(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    const dx = job.xPlane(plane);
    const end = job.outRow(plane + 1, 0, 0);
    memory.fill(dx, 0, bytes(job.planeSize()));
    for (let i = job.outRow(plane, 0, 0); i < end; i += 4) {
      const where = load<i32>(job.indices + i);
      if (where < 0) continue;
      const at = dx + bytes(where);
      store<f32>(at, load<f32>(at) + load<f32>(job.y + i));
    }
  }
}

/** The same for windows of 2 x 2 that cover planes (1, H, W) without overlap: every element of dx is written once, in order. */
export function maxPoolGradOfPairs(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    const dx = job.xPlane(plane);
    let row = job.outRow(plane, 0, 0);
    for (let h = 0; h < job.height().out; h++, row += bytes(job.width().out)) {
      gradOfPairs(job, dx, 2 * h, job.y + row, job.indices + row);
    }
  }
}

/** Rows h and h + 1 of dx from one row of dy. */
function gradOfPairs(job: Pooling, dx: usize, h: i32, dy: usize, indices: usize): void {
  const out = job.width().out;
  const width = job.width().size;
  for (let w = 0; w < out; w += 4) {
    const count = min(4, out - w);
    const values = loadPart(dy + bytes(w), count, 0);
    const where = loadPart(indices + bytes(w), count, 0);
    const corner = h * width + 2 * w;
    const left = i32x4.add(i32x4.splat(corner), i32x4(0, 2, 4, 6));
    const right = i32x4.add(left, i32x4.splat(1));
    storePairs(
      dx + bytes(corner),
      count,
      valuesAt(left, where, values),
      valuesAt(right, where, values),
    );
    const below = i32x4.splat(width);
    storePairs(
      dx + bytes(corner + width),
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

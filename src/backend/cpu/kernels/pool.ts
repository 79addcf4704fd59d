/** Maxima over windows, and their gradient. */
import { bytes } from "./floats";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Ordered, WithNaN } from "./pool-order";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adjacent, Alternate, Pooling, Spaced } from "./pool-work";
import { loadPart, storePart } from "./simd";

/** y and indices: the first of equal maxima, the last NaN if there is one. */
export function maxPool(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    if (!maximaOfPlane<Ordered>(job, plane)) maximaOfPlane<WithNaN>(job, plane);
  }
}

/** Returns whether the order is right for what is there; if not it stops early. */
function maximaOfPlane<Order>(job: Pooling, plane: i32): bool {
  const x = job.xPlane(plane);
  const out = job.width().out;
  const stride = job.width().stride;
  let inner = job.width().firstInner();
  let innerEnd = job.width().endOfInner();
  if (innerEnd - inner < 4) inner = innerEnd = out;
  let isRight = true;
  for (let d = 0; d < job.depth().out; d++) {
    for (let h = 0; h < job.height().out && isRight; h++) {
      const row = job.outRow(plane, d, h);
      const y = job.y + row;
      const indices = job.indices + row;
      if (inner > 0) isRight = outerMaxima<Order>(job, x, d, h, 0, inner, y, indices);
      if (innerEnd < out)
        isRight = outerMaxima<Order>(job, x, d, h, innerEnd, out, y, indices) && isRight;
      if (inner === innerEnd) continue;
      if (stride === 1)
        isRight =
          innerMaxima<Order, Adjacent>(job, x, d, h, inner, innerEnd, y, indices) && isRight;
      else if (stride === 2)
        isRight =
          innerMaxima<Order, Alternate>(job, x, d, h, inner, innerEnd, y, indices) && isRight;
      else
        isRight = innerMaxima<Order, Spaced>(job, x, d, h, inner, innerEnd, y, indices) && isRight;
    }
  }
  return isRight;
}

/** Four windows or more that lie inside the width of x, four at a time. */
function innerMaxima<Order, Four>(
  job: Pooling,
  x: usize,
  d: i32,
  h: i32,
  inner: i32,
  innerEnd: i32,
  y: usize,
  indices: usize,
): bool {
  const order = changetype<Order>(0);
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
  const spacing = bytes(stride);
  const padding = job.width().padding;
  const reach = job.width().reach();
  const dilation = job.width().dilation;
  const taps = job.width().kernel;
  const step = bytes(dilation);
  const steps = i32x4.splat(dilation);
  const lanes = i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(stride));
  const isEmpty = front >= back || top >= bottom;
  const nowhere = i32x4.sub(i32x4.splat(-1), lanes);
  let doubt = i32x4.splat(0);
  for (let next = inner; next < innerEnd; next += 4) {
    // The last four may begin among windows that are done: doing those again is cheaper than one by one.
    const w = min(next, innerEnd - 4);
    const left = w * stride - padding;
    const corner = (front * planeRows + top) * width + left;
    // Where nothing is greater, all is -Infinity and the first one is the first of equals.
    let best = f32x4.splat(-Infinity);
    let sum = f32x4.splat(0);
    let where = isEmpty ? nowhere : i32x4.splat(corner);
    for (let z = front; z < back; z += depthStep) {
      for (let r = top; r < bottom; r += heightStep) {
        const row = (z * planeRows + r) * width + left;
        let at = x + bytes(row);
        let position = i32x4.splat(row);
        if (taps === 3) {
          // Without a loop, which takes as long as its body.
          let values = load.four(at, spacing);
          sum = order.sum(values, sum);
          let isBetter = order.isBetter(values, best);
          best = order.best(values, best, isBetter);
          where = order.position(position, where, isBetter);
          values = load.four(at + step, spacing);
          position = i32x4.add(position, steps);
          sum = order.sum(values, sum);
          isBetter = order.isBetter(values, best);
          best = order.best(values, best, isBetter);
          where = order.position(position, where, isBetter);
          values = load.four(at + 2 * step, spacing);
          position = i32x4.add(position, steps);
          sum = order.sum(values, sum);
          isBetter = order.isBetter(values, best);
          best = order.best(values, best, isBetter);
          where = order.position(position, where, isBetter);
          continue;
        }
        for (const end = at + bytes(reach); at < end; at += step) {
          const values = load.four(at, spacing);
          sum = order.sum(values, sum);
          const isBetter = order.isBetter(values, best);
          best = order.best(values, best, isBetter);
          where = order.position(position, where, isBetter);
          position = i32x4.add(position, steps);
        }
      }
    }
    v128.store(y + bytes(w), best);
    v128.store(indices + bytes(w), i32x4.add(where, lanes));
    doubt = v128.or(doubt, f32x4.ne(sum, sum));
  }
  return !v128.any_true(doubt);
}

/** Windows one by one, in one lane of a vector: which value is the greater is too random to branch on it. */
function outerMaxima<Order>(
  job: Pooling,
  x: usize,
  d: i32,
  h: i32,
  from: i32,
  to: i32,
  y: usize,
  indices: usize,
): bool {
  const order = changetype<Order>(0);
  const front = job.depth().first(d);
  const back = job.depth().end(d);
  const depthStep = job.depth().step();
  const top = job.height().first(h);
  const bottom = job.height().end(h);
  const heightStep = job.height().step();
  const widthStep = job.width().step();
  let doubt = i32x4.splat(0);
  for (let w = from; w < to; w++) {
    const left = job.width().first(w);
    const right = job.width().end(w);
    const isEmpty = front >= back || top >= bottom || left >= right;
    let best = f32x4.splat(-Infinity);
    let sum = f32x4.splat(0);
    let where = i32x4.splat(isEmpty ? -1 : job.row(front, top) + left);
    for (let z = front; z < back; z += depthStep) {
      for (let r = top; r < bottom; r += heightStep) {
        const row = job.row(z, r);
        for (let i = row + left; i < row + right; i += widthStep) {
          const value = v128.load32_zero(x + bytes(i));
          sum = order.sum(value, sum);
          const isBetter = order.isBetter(value, best);
          best = order.best(value, best, isBetter);
          where = order.position(i32x4.splat(i), where, isBetter);
        }
      }
    }
    v128.store32_lane(y + bytes(w), best, 0);
    v128.store32_lane(indices + bytes(w), where, 0);
    doubt = v128.or(doubt, f32x4.ne(sum, sum));
  }
  return !v128.any_true(doubt);
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

/** Averages over windows, and their gradient. Sums are made in double precision and rounded once. */
import { bytes } from "./floats";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Adjacent, Alternate, Pooling, Spaced } from "./pool-work";
import { highHalf, joinHalves, lowHalf } from "./simd";

/** y: the sum over each window divided by what the job says. */
export function averagePool(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  if (job.isGlobal()) {
    averagesOfPlanes(job, chunk);
    return;
  }
  const inner = job.width().firstInner();
  const innerEnd = job.width().endOfInner();
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    const x = job.xPlane(plane);
    for (let d = 0; d < job.depth().out; d++) {
      for (let h = 0; h < job.height().out; h++) {
        averageOfRow(job, x, d, h, inner, innerEnd, job.y + job.outRow(plane, d, h));
      }
    }
  }
}

/** Each plane is one run of memory and one window. */
function averagesOfPlanes(job: Pooling, chunk: i32): void {
  const size = job.planeSize();
  const divisor = job.divisorOf(0, 0, 0);
  const end = job.end(chunk);
  for (let plane = chunk * job.planesPerChunk; plane < end; plane++) {
    const sum = sumOfRun(job.x + bytes(plane * size), size);
    store<f32>(job.y + bytes(plane), <f32>(sum / divisor));
  }
}

/** Windows from `inner` to before `innerEnd` lie inside the width of x. */
function averageOfRow(
  job: Pooling,
  x: usize,
  d: i32,
  h: i32,
  inner: i32,
  innerEnd: i32,
  y: usize,
): void {
  const stride = job.width().stride;
  const out = job.width().out;
  let outer = 0;
  if (innerEnd - inner >= 4) {
    for (; outer < inner; outer++) oneAverage(job, x, d, h, outer, y);
    if (stride === 1) innerAverages<Adjacent>(job, x, d, h, inner, innerEnd, y);
    else if (stride === 2) innerAverages<Alternate>(job, x, d, h, inner, innerEnd, y);
    else innerAverages<Spaced>(job, x, d, h, inner, innerEnd, y);
    outer = innerEnd;
  }
  for (; outer < out; outer++) oneAverage(job, x, d, h, outer, y);
}

/** Four windows or more, four at a time. */
function innerAverages<Four>(
  job: Pooling,
  x: usize,
  d: i32,
  h: i32,
  inner: i32,
  innerEnd: i32,
  y: usize,
): void {
  const load = changetype<Four>(0);
  const front = job.depth().first(d);
  const back = job.depth().end(d);
  const top = job.height().first(h);
  const bottom = job.height().end(h);
  const width = job.width().size;
  const planeRows = job.height().size;
  const kernel = job.width().kernel;
  const stride = job.width().stride;
  const padding = job.width().padding;
  const divisor = f64x2.splat(job.divisorOf(d, h, inner));
  for (let next = inner; next < innerEnd; next += 4) {
    // The last four may begin among windows that are done: doing those again is cheaper than one by one.
    const w = min(next, innerEnd - 4);
    let low = f64x2.splat(0);
    let high = f64x2.splat(0);
    for (let z = front; z < back; z++) {
      for (let r = top; r < bottom; r++) {
        const row = (z * planeRows + r) * width + w * stride - padding;
        for (let i = row; i < row + kernel; i++) {
          const values = load.four(x + bytes(i), bytes(stride));
          low = f64x2.add(low, lowHalf(values));
          high = f64x2.add(high, highHalf(values));
        }
      }
    }
    v128.store(y + bytes(w), joinHalves(f64x2.div(low, divisor), f64x2.div(high, divisor)));
  }
}

function oneAverage(job: Pooling, x: usize, d: i32, h: i32, w: i32, y: usize): void {
  const left = job.width().first(w);
  const count = job.width().end(w) - left;
  let sum: f64 = 0;
  for (let z = job.depth().first(d); z < job.depth().end(d); z++) {
    for (let r = job.height().first(h); r < job.height().end(h); r++) {
      sum += sumOfRun(x + bytes(job.row(z, r) + left), count);
    }
  }
  store<f32>(y + bytes(w), <f32>(sum / job.divisorOf(d, h, w)));
}

/** `count` adjacent elements, in eight interleaved sums. */
function sumOfRun(x: usize, count: i32): f64 {
  let a = f64x2.splat(0);
  let b = f64x2.splat(0);
  let c = f64x2.splat(0);
  let d = f64x2.splat(0);
  const end = x + bytes(count);
  for (; x + 32 <= end; x += 32) {
    const left = v128.load(x);
    const right = v128.load(x, 16);
    a = f64x2.add(a, lowHalf(left));
    b = f64x2.add(b, highHalf(left));
    c = f64x2.add(c, lowHalf(right));
    d = f64x2.add(d, highHalf(right));
  }
  const all = f64x2.add(f64x2.add(a, b), f64x2.add(c, d));
  let sum = f64x2.extract_lane(all, 0) + f64x2.extract_lane(all, 1);
  for (; x < end; x += 4) sum += load<f32>(x);
  return sum;
}

/** dx: each dy, divided as its average was, goes to all of its window. */
export function averagePoolGrad(pooling: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Pooling>(pooling);
  if (job.isGlobal()) {
    gradOfPlanes(job, chunk);
    return;
  }
  const inner = job.width().firstInner();
  const innerEnd = job.width().endOfInner();
  for (let plane = chunk * job.planesPerChunk; plane < job.end(chunk); plane++) {
    const dx = job.xPlane(plane);
    memory.fill(dx, 0, bytes(job.planeSize()));
    for (let d = 0; d < job.depth().out; d++) {
      for (let h = 0; h < job.height().out; h++) {
        gradOfRow(job, dx, d, h, inner, innerEnd, job.y + job.outRow(plane, d, h));
      }
    }
  }
}

/** Each plane is one run of memory and one window: its dx is the same everywhere. */
function gradOfPlanes(job: Pooling, chunk: i32): void {
  const size = job.planeSize();
  const divisor = job.divisorOf(0, 0, 0);
  const end = job.end(chunk);
  for (let plane = chunk * job.planesPerChunk; plane < end; plane++) {
    const share = <f32>(<f64>load<f32>(job.y + bytes(plane)) / divisor);
    const shares = f32x4.splat(share);
    let dx = job.x + bytes(plane * size);
    const dxEnd = dx + bytes(size);
    for (; dx + 16 <= dxEnd; dx += 16) v128.store(dx, shares);
    for (; dx < dxEnd; dx += 4) store<f32>(dx, share);
  }
}

/** Windows from `inner` to before `innerEnd` lie inside the width of x: equal ones of the kernel's size. */
function gradOfRow(
  job: Pooling,
  dx: usize,
  d: i32,
  h: i32,
  inner: i32,
  innerEnd: i32,
  dy: usize,
): void {
  const front = job.depth().first(d);
  const back = job.depth().end(d);
  const top = job.height().first(h);
  const bottom = job.height().end(h);
  const out = job.width().out;
  const width = job.width().size;
  const planeRows = job.height().size;
  const stride = job.width().stride;
  const padding = job.width().padding;
  const kernel = job.width().kernel;
  const divisor = inner < innerEnd ? job.divisorOf(d, h, inner) : 1;
  for (let w = 0; w < out; w++) {
    const isInner = w >= inner && w < innerEnd;
    const left = isInner ? w * stride - padding : job.width().first(w);
    const count = isInner ? kernel : job.width().end(w) - left;
    const share = <f64>load<f32>(dy + bytes(w)) / (isInner ? divisor : job.divisorOf(d, h, w));
    for (let z = front; z < back; z++) {
      for (let r = top; r < bottom; r++) {
        addToRun(dx + bytes((z * planeRows + r) * width + left), count, <f32>share);
      }
    }
  }
}

function addToRun(dx: usize, count: i32, share: f32): void {
  const end = dx + bytes(count);
  const shares = f32x4.splat(share);
  for (; dx + 16 <= end; dx += 16) v128.store(dx, f32x4.add(v128.load(dx), shares));
  for (; dx < end; dx += 4) store<f32>(dx, load<f32>(dx) + share);
}

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Apply, affine, applyToPlanes, applyToUnit } from "./batch-norm-apply";
import { beginMoments, finishMoments, moveShift, sumPlanes, sumUnit } from "./batch-norm-moments";
import { gather, loadNextTwo, loadTwo, maddDouble, scatter } from "./batch-norm-work";
import { highHalf, lowHalf } from "./simd";

/**
 * y of a unit and the moments of the next one, which the same chunk has, both of whole channels. Sums are arithmetic and reading, y is
 * writing: together they take little longer than each alone. Four images at a time: see sumPlanes.
 */
export function applyAndSumNext(job: Apply, unit: i32): void {
  const next = unit + 1;
  beginMoments(job, next);
  if (job.S > 1 && job.channels(unit) === job.channels(next)) {
    const rest = job.N & ~3;
    for (let n = 0; n < rest; n += 4) applyAndSumImages(job, unit, n);
    applyToPlanes(job, unit, rest);
    sumPlanes(job, next, rest);
  } else {
    applyToUnit(job, unit);
    sumUnit(job, next);
  }
  finishMoments(job, next);
}

function applyAndSumImages(job: Apply, unit: i32, n: i32): void {
  const step = job.channelsPerBlock;
  for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
    const entry = job.entry(0, c + step);
    if (n === 0) {
      applyAndSum(job, c, job.at(0, n, c, 0), entry);
      moveShift(entry, <f64>(4 * job.S));
    } else applyAndSum(job, c, job.at(0, n, c, 0), entry);
  }
}

/** y of four planes of channel c, an image apart, and the sums of those of the channel at the same place in the next unit. */
function applyAndSum(job: Apply, c: i32, start: usize, entry: usize): void {
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  const floor = f32x4.splat(job.floor);
  const from = v128.load64_splat(entry, 32);
  let sum0 = v128.load(entry);
  let squares0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let squares1 = sum1;
  const stride = job.imageBytes();
  const bytes = job.planeBytes();
  const next = <usize>job.channelsPerBlock * bytes;
  const y = job.y - job.x;
  const residual: usize = job.residual === 0 ? 0 : job.residual - job.x;
  let x0 = job.x + start;
  const endOfPlane = x0 + bytes;
  for (const end = x0 + (bytes & ~15); x0 < end; x0 += 16) {
    const x1 = x0 + stride;
    const x2 = x1 + stride;
    const x3 = x2 + stride;
    const d0 = f64x2.sub(loadTwo(x0 + next), from);
    sum0 = f64x2.add(sum0, d0);
    squares0 = maddDouble(d0, d0, squares0);
    const d1 = f64x2.sub(loadTwo(x1 + next), from);
    sum1 = f64x2.add(sum1, d1);
    squares1 = maddDouble(d1, d1, squares1);
    let y0 = affine(v128.load(x0), centre, scale, shift);
    let y1 = affine(v128.load(x1), centre, scale, shift);
    const e0 = f64x2.sub(loadNextTwo(x0 + next), from);
    sum0 = f64x2.add(sum0, e0);
    squares0 = maddDouble(e0, e0, squares0);
    const e1 = f64x2.sub(loadNextTwo(x1 + next), from);
    sum1 = f64x2.add(sum1, e1);
    squares1 = maddDouble(e1, e1, squares1);
    if (residual !== 0) {
      y0 = f32x4.add(y0, v128.load(x0 + residual));
      y1 = f32x4.add(y1, v128.load(x1 + residual));
    }
    v128.store(x0 + y, f32x4.pmax(y0, floor));
    v128.store(x1 + y, f32x4.pmax(y1, floor));
    const d2 = f64x2.sub(loadTwo(x2 + next), from);
    sum0 = f64x2.add(sum0, d2);
    squares0 = maddDouble(d2, d2, squares0);
    const d3 = f64x2.sub(loadTwo(x3 + next), from);
    sum1 = f64x2.add(sum1, d3);
    squares1 = maddDouble(d3, d3, squares1);
    let y2 = affine(v128.load(x2), centre, scale, shift);
    let y3 = affine(v128.load(x3), centre, scale, shift);
    const e2 = f64x2.sub(loadNextTwo(x2 + next), from);
    sum0 = f64x2.add(sum0, e2);
    squares0 = maddDouble(e2, e2, squares0);
    const e3 = f64x2.sub(loadNextTwo(x3 + next), from);
    sum1 = f64x2.add(sum1, e3);
    squares1 = maddDouble(e3, e3, squares1);
    if (residual !== 0) {
      y2 = f32x4.add(y2, v128.load(x2 + residual));
      y3 = f32x4.add(y3, v128.load(x3 + residual));
    }
    v128.store(x2 + y, f32x4.pmax(y2, floor));
    v128.store(x3 + y, f32x4.pmax(y3, floor));
  }
  for (; x0 < endOfPlane; x0 += 4) {
    const x1 = x0 + stride;
    const x2 = x1 + stride;
    const x3 = x2 + stride;
    const values = gather(x0 + next, x1 + next, x2 + next, x3 + next);
    const d0 = f64x2.sub(lowHalf(values), from);
    const d1 = f64x2.sub(highHalf(values), from);
    sum0 = f64x2.add(sum0, d0);
    sum1 = f64x2.add(sum1, d1);
    squares0 = maddDouble(d0, d0, squares0);
    squares1 = maddDouble(d1, d1, squares1);
    let ys = affine(gather(x0, x1, x2, x3), centre, scale, shift);
    if (residual !== 0) {
      const added = gather(x0 + residual, x1 + residual, x2 + residual, x3 + residual);
      ys = f32x4.add(ys, added);
    }
    scatter(f32x4.pmax(ys, floor), x0 + y, x1 + y, x2 + y, x3 + y);
  }
  v128.store(entry, f64x2.add(sum0, sum1));
  v128.store(entry, f64x2.add(squares0, squares1), 16);
}

import { affine } from "./batch-norm-apply";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Backward, centred, wherePositive } from "./batch-norm-backward";
import { gradOfPlanes, gradOfUnit } from "./batch-norm-grad-pass";
import { beginGradSums, finishGradSums, sumPlanes, sumUnit } from "./batch-norm-grad-sums";
import { loadNextTwo, loadTwo, maddDouble } from "./batch-norm-work";
import { highHalf, lowHalf } from "./simd";

/** g where there is no ReLU. */
class All {
  of(dy: v128, x: v128, centre: v128, scale: v128, shift: v128): v128 {
    return dy;
  }
}

/** g where a ReLU is repeated from x. */
class WherePositive {
  of(dy: v128, x: v128, centre: v128, scale: v128, shift: v128): v128 {
    return wherePositive(affine(x, centre, scale, shift), dy);
  }
}

/**
 * dx of a unit and the sums of the next one, which the same chunk has, both of whole channels: see applyAndSumNext of the forward. Two
 * images at a time, whose ten streams are as many as caches and registers bear; a given y or a residual's gradient would be more.
 */
export function gradAndSumNext(job: Backward, unit: i32): void {
  const next = unit + 1;
  const isPlain = job.dx !== 0 && job.throughStatistics !== 0;
  const hasMore = job.dResidual !== 0 || job.reluOutput !== 0;
  beginGradSums(job, next);
  if (job.S > 1 && isPlain && !hasMore && job.channels(unit) === job.channels(next)) {
    const rest = job.N & ~1;
    for (let n = 0; n < rest; n += 2) {
      for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
        const start = job.at(0, n, c, 0);
        const entry = job.entry(0, c + job.channelsPerBlock);
        if (job.repeatsRelu !== 0) gradAndSum<WherePositive>(job, c, start, entry);
        else gradAndSum<All>(job, c, start, entry);
      }
    }
    gradOfPlanes(job, unit, rest);
    sumPlanes(job, next, rest);
  } else {
    gradOfUnit(job, unit);
    sumUnit(job, next);
  }
  finishGradSums(job, next);
}

/** dx of two planes of channel c, an image apart, and the sums of those of the channel at the same place in the next unit. */
function gradAndSum<Gate>(job: Backward, c: i32, start: usize, entry: usize): void {
  const gate = changetype<Gate>(0);
  const nextChannel = c + job.channelsPerBlock;
  const mean = v128.load64_splat(job.mean + ((<usize>nextChannel) << 3));
  const nextCentre = v128.load32_splat(job.coefficient(0, nextChannel));
  const nextScale = v128.load32_splat(job.coefficient(1, nextChannel));
  const nextShift = v128.load32_splat(job.coefficient(2, nextChannel));
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  const level = v128.load32_splat(job.coefficient(3, c));
  const slope = v128.load32_splat(job.coefficient(4, c));
  const stride = job.imageBytes();
  const bytes = job.planeBytes();
  const next = <usize>job.channelsPerBlock * bytes;
  const x = job.x - job.dy;
  const nextX = x + next;
  const dx = job.dx - job.dy;
  let sum0 = v128.load(entry);
  let products0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let products1 = sum1;
  let at0 = job.dy + start;
  const endOfPlane = at0 + bytes;
  for (const end = at0 + (bytes & ~15); at0 < end; at0 += 16) {
    const at1 = at0 + stride;
    const g0 = gate.of(
      v128.load(at0 + next),
      v128.load(at0 + nextX),
      nextCentre,
      nextScale,
      nextShift,
    );
    const g1 = gate.of(
      v128.load(at1 + next),
      v128.load(at1 + nextX),
      nextCentre,
      nextScale,
      nextShift,
    );
    sum0 = f64x2.add(sum0, f64x2.add(lowHalf(g0), highHalf(g0)));
    sum1 = f64x2.add(sum1, f64x2.add(lowHalf(g1), highHalf(g1)));
    products0 = maddDouble(lowHalf(g0), f64x2.sub(loadTwo(at0 + nextX), mean), products0);
    products1 = maddDouble(lowHalf(g1), f64x2.sub(loadTwo(at1 + nextX), mean), products1);
    products0 = maddDouble(highHalf(g0), f64x2.sub(loadNextTwo(at0 + nextX), mean), products0);
    products1 = maddDouble(highHalf(g1), f64x2.sub(loadNextTwo(at1 + nextX), mean), products1);
    const x0 = v128.load(at0 + x);
    const x1 = v128.load(at1 + x);
    const dy0 = gate.of(v128.load(at0), x0, centre, scale, shift);
    const dy1 = gate.of(v128.load(at1), x1, centre, scale, shift);
    v128.store(at0 + dx, f32x4.mul(centred(dy0, x0, centre, level, slope), scale));
    v128.store(at1 + dx, f32x4.mul(centred(dy1, x1, centre, level, slope), scale));
  }
  // Lanes 2 and 3 hold nothing.
  for (; at0 < endOfPlane; at0 += 4) {
    const at1 = at0 + stride;
    const nextXs = loadPair(at0 + nextX, at1 + nextX);
    const nextDys = loadPair(at0 + next, at1 + next);
    const g = lowHalf(gate.of(nextDys, nextXs, nextCentre, nextScale, nextShift));
    sum0 = f64x2.add(sum0, g);
    products0 = maddDouble(g, f64x2.sub(lowHalf(nextXs), mean), products0);
    const xs = loadPair(at0 + x, at1 + x);
    const dys = gate.of(loadPair(at0, at1), xs, centre, scale, shift);
    const dxs = f32x4.mul(centred(dys, xs, centre, level, slope), scale);
    v128.store32_lane(at0 + dx, dxs, 0);
    v128.store32_lane(at1 + dx, dxs, 1);
  }
  v128.store(entry, f64x2.add(sum0, sum1));
  v128.store(entry, f64x2.add(products0, products1), 16);
}

/** A float32 from each of two places. */
function loadPair(a: usize, b: usize): v128 {
  return v128.load32_lane(b, v128.load32_zero(a), 1);
}

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Backward } from "./batch-norm-backward";
import { centred, gradOfPlanes, gradOfUnit } from "./batch-norm-grad-pass";
import { beginGradSums, finishGradSums, sumPlanes, sumUnit } from "./batch-norm-grad-sums";
import { loadNextTwo, loadTwo, maddDouble } from "./batch-norm-work";
import { highHalf, loadPart, lowHalf, storePart } from "./simd";

/**
 * dx of a unit and the sums of the next one, which the same chunk has, both of whole channels: see applyAndSumNext of the forward. Two
 * images at a time, whose ten streams are as many as caches and registers bear; a ReLU would be more of both.
 */
export function gradAndSumNext(job: Backward, unit: i32): void {
  const next = unit + 1;
  const isPlain = job.dx !== 0 && job.dResidual === 0 && job.throughStatistics !== 0;
  beginGradSums(job, next);
  if (job.S > 1 && isPlain && !job.isMasked() && job.channels(unit) === job.channels(next)) {
    const rest = job.N & ~1;
    for (let n = 0; n < rest; n += 2) {
      for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
        gradAndSum(job, c, job.at(0, n, c, 0), job.entry(0, c + job.channelsPerBlock));
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
function gradAndSum(job: Backward, c: i32, start: usize, entry: usize): void {
  const nextMean = job.mean + ((<usize>(c + job.channelsPerBlock)) << 3);
  const mean = v128.load64_splat(nextMean);
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const level = v128.load32_splat(job.coefficient(3, c));
  const slope = v128.load32_splat(job.coefficient(4, c));
  const stride = job.imageBytes();
  const bytes = job.planeBytes();
  const next = (<usize>job.channelsPerBlock) * bytes;
  const x = job.x - job.dy;
  const nextX = x + next;
  const dx = job.dx - job.dy;
  let sum0 = v128.load(entry);
  let products0 = v128.load(entry, 16);
  let sum1 = f64x2.splat(0);
  let products1 = sum1;
  let at0 = job.dy + start;
  for (const end = at0 + (bytes & ~15); at0 < end; at0 += 16) {
    const at1 = at0 + stride;
    const g0 = loadTwo(at0 + next);
    const g1 = loadTwo(at1 + next);
    const h0 = loadNextTwo(at0 + next);
    const h1 = loadNextTwo(at1 + next);
    sum0 = f64x2.add(sum0, f64x2.add(g0, h0));
    sum1 = f64x2.add(sum1, f64x2.add(g1, h1));
    products0 = maddDouble(g0, f64x2.sub(loadTwo(at0 + nextX), mean), products0);
    products1 = maddDouble(g1, f64x2.sub(loadTwo(at1 + nextX), mean), products1);
    products0 = maddDouble(h0, f64x2.sub(loadNextTwo(at0 + nextX), mean), products0);
    products1 = maddDouble(h1, f64x2.sub(loadNextTwo(at1 + nextX), mean), products1);
    const dx0 = centred(v128.load(at0), v128.load(at0 + x), centre, level, slope);
    const dx1 = centred(v128.load(at1), v128.load(at1 + x), centre, level, slope);
    v128.store(at0 + dx, f32x4.mul(dx0, scale));
    v128.store(at1 + dx, f32x4.mul(dx1, scale));
  }
  const rest = (bytes & 15) >> 2;
  if (rest > 0) {
    for (let n = 0; n < 2; n++, at0 += stride) {
      const g = loadPart(at0 + next, rest, 0);
      const xs = loadPart(at0 + nextX, rest, 0);
      sum0 = f64x2.add(sum0, f64x2.add(lowHalf(g), highHalf(g)));
      products0 = maddDouble(lowHalf(g), f64x2.sub(lowHalf(xs), mean), products0);
      products1 = maddDouble(highHalf(g), f64x2.sub(highHalf(xs), mean), products1);
      const dxs = centred(loadPart(at0, rest, 0), loadPart(at0 + x, rest, 0), centre, level, slope);
      storePart(at0 + dx, rest, f32x4.mul(dxs, scale));
    }
  }
  v128.store(entry, f64x2.add(sum0, sum1));
  v128.store(entry, f64x2.add(products0, products1), 16);
}

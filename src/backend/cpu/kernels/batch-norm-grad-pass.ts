import { affine } from "./batch-norm-apply";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Backward, centred, gradOfPart, wherePositive } from "./batch-norm-backward";
import { gradOfColumns } from "./batch-norm-grad-columns";

/** dx and dResidual of a unit, those that are wanted. */
export function gradOfUnit(job: Backward, unit: i32): void {
  if (job.dx === 0 && job.dResidual === 0) return;
  if (job.S === 1) gradOfColumns(job, unit);
  else gradOfPlanes(job, unit, job.firstImage(job.part(unit)));
}

/** The same of its images from one on. The last ones come first: what was read for their sums is what a cache has left. */
export function gradOfPlanes(job: Backward, unit: i32, firstImage: i32): void {
  const part = job.part(unit);
  const length = job.length(part);
  let n = job.endImage(part);
  while (n > firstImage) {
    const images = n - firstImage >= 2 ? 2 : 1;
    n -= images;
    for (let c = job.firstChannel(unit); c < job.endChannel(unit); c++) {
      const start = job.at(0, n, c, job.place(part));
      if (images === 2) gradOfRuns(job, c, start, job.imageBytes(), length);
      else gradOfPlane(job, c, start, length);
    }
  }
}

/** One plane, whose halves are the runs. */
function gradOfPlane(job: Backward, c: i32, start: usize, length: i32): void {
  const half = (length + 1) >> 1;
  // Of an odd number the middle one belongs to both.
  gradOfRuns(job, c, start, (<usize>(length - half)) << 2, half);
}

/** Two runs of memory `stride` apart. */
function gradOfRuns(job: Backward, c: i32, start: usize, stride: usize, length: i32): void {
  const centre = v128.load32_splat(job.coefficient(0, c));
  const scale = v128.load32_splat(job.coefficient(1, c));
  const shift = v128.load32_splat(job.coefficient(2, c));
  const level = v128.load32_splat(job.coefficient(3, c));
  const slope = v128.load32_splat(job.coefficient(4, c));
  // Fields are read once: the compiler would read them again behind every store.
  const dy = job.dy;
  const x = job.x;
  const y = job.reluOutput;
  const dx = job.dx;
  const dResidual = job.dResidual;
  const repeatsRelu = job.repeatsRelu !== 0;
  const throughStatistics = job.throughStatistics !== 0;
  const needsX = repeatsRelu || throughStatistics;
  let x0 = f32x4.splat(0);
  let x1 = x0;
  const bytes = (<usize>length) << 2;
  let i = start;
  if (y === 0 && dResidual === 0 && dx !== 0 && throughStatistics) {
    for (const end = start + (bytes & ~31); i < end; i += 32) {
      const j = i + stride;
      const a0 = v128.load(x + i);
      const b0 = v128.load(x + i, 16);
      const a1 = v128.load(x + j);
      const b1 = v128.load(x + j, 16);
      let g0 = v128.load(dy + i);
      let h0 = v128.load(dy + i, 16);
      let g1 = v128.load(dy + j);
      let h1 = v128.load(dy + j, 16);
      if (repeatsRelu) {
        g0 = wherePositive(affine(a0, centre, scale, shift), g0);
        h0 = wherePositive(affine(b0, centre, scale, shift), h0);
        g1 = wherePositive(affine(a1, centre, scale, shift), g1);
        h1 = wherePositive(affine(b1, centre, scale, shift), h1);
      }
      v128.store(dx + i, f32x4.mul(centred(g0, a0, centre, level, slope), scale));
      v128.store(dx + i, f32x4.mul(centred(h0, b0, centre, level, slope), scale), 16);
      v128.store(dx + j, f32x4.mul(centred(g1, a1, centre, level, slope), scale));
      v128.store(dx + j, f32x4.mul(centred(h1, b1, centre, level, slope), scale), 16);
    }
  }
  for (const end = start + (bytes & ~15); i < end; i += 16) {
    const j = i + stride;
    let g0 = v128.load(dy + i);
    let g1 = v128.load(dy + j);
    if (needsX) {
      x0 = v128.load(x + i);
      x1 = v128.load(x + j);
    }
    if (y !== 0) {
      g0 = wherePositive(v128.load(y + i), g0);
      g1 = wherePositive(v128.load(y + j), g1);
    } else if (repeatsRelu) {
      g0 = wherePositive(affine(x0, centre, scale, shift), g0);
      g1 = wherePositive(affine(x1, centre, scale, shift), g1);
    }
    if (dResidual !== 0) {
      v128.store(dResidual + i, g0);
      v128.store(dResidual + j, g1);
    }
    if (dx === 0) continue;
    if (throughStatistics) {
      g0 = centred(g0, x0, centre, level, slope);
      g1 = centred(g1, x1, centre, level, slope);
    }
    v128.store(dx + i, f32x4.mul(g0, scale));
    v128.store(dx + j, f32x4.mul(g1, scale));
  }
  const rest = (bytes & 15) >> 2;
  if (rest === 0) return;
  gradOfPart(job, i, <i32>rest, centre, scale, shift, level, slope);
  gradOfPart(job, i + stride, <i32>rest, centre, scale, shift, level, slope);
}

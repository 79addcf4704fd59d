import { makeCoefficients } from "./batch-norm-apply";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Backward } from "./batch-norm-backward";
import { gradOfUnit } from "./batch-norm-grad-pass";
import { gradSumsOfUnit } from "./batch-norm-grad-sums";
import { gradAndSumNext } from "./batch-norm-grad-whole";

/** Entries [sum of g, sum of g * (x - mean)] of the chunk's units; needs the forward's coefficients where it repeats ReLU. */
export function batchNormGradSums(words: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Backward>(words);
  for (let unit = job.firstUnit(chunk); unit < job.endUnit(chunk); unit++) {
    gradSumsOfUnit(job, unit);
  }
}

/** dWeight and dBias of all channels and the coefficients of `batchNormGrad` from the entries. */
export function batchNormGradJoin(words: usize, eps: f64, _chunk: i32, _thread: i32): void {
  const job = changetype<Backward>(words);
  joinGradSums(job, eps, 0, job.C);
}

/** With batch statistics dx = ((g - level) + slope * (x - centre)) * scale; without, dx = g * scale. dResidual = g. */
export function batchNormGrad(words: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Backward>(words);
  for (let unit = job.firstUnit(chunk); unit < job.endUnit(chunk); unit++) gradOfUnit(job, unit);
}

/** All of these for units that hold whole channels: what was read for the sums is still in the cache for dx. */
export function batchNormGradWhole(words: usize, eps: f64, chunk: i32, _thread: i32): void {
  const job = changetype<Backward>(words);
  const end = job.endUnit(chunk);
  let unit = job.firstUnit(chunk);
  makeCoefficients(job, eps, job.firstChannel(unit), job.endChannel(unit));
  gradSumsOfUnit(job, unit);
  for (; unit < end; unit++) {
    joinGradSums(job, eps, job.firstChannel(unit), job.endChannel(unit));
    const next = unit + 1;
    if (next === end) {
      gradOfUnit(job, unit);
      return;
    }
    makeCoefficients(job, eps, job.firstChannel(next), job.endChannel(next));
    gradAndSumNext(job, unit);
  }
}

/** The entries of all parts in order. */
function joinGradSums(job: Backward, eps: f64, firstChannel: i32, endChannel: i32): void {
  const n = <f64>job.N * <f64>job.S;
  for (let c = firstChannel; c < endChannel; c++) {
    let sum: f64 = 0;
    let products: f64 = 0;
    for (let part = 0; part < job.parts; part++) {
      sum += load<f64>(job.entry(part, c));
      products += load<f64>(job.entry(part, c), 8);
    }
    const invStd = 1 / sqrt(load<f64>(job.variance + ((<usize>c) << 3)) + eps);
    if (job.dBias !== 0) store<f32>(job.dBias + ((<usize>c) << 2), <f32>sum);
    if (job.dWeight !== 0) store<f32>(job.dWeight + ((<usize>c) << 2), <f32>(invStd * products));

    const mean = load<f64>(job.mean + ((<usize>c) << 3));
    const slope = (-invStd * invStd * products) / n;
    // The pass takes x from the centre, which is the mean rounded to float32.
    const level = sum / n + slope * (mean - <f64>load<f32>(job.coefficient(0, c)));
    store<f32>(job.coefficient(3, c), <f32>level);
    store<f32>(job.coefficient(4, c), <f32>slope);
  }
}

// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { Apply, applyToUnit, makeCoefficients } from "./batch-norm-apply";
import { momentsOfUnit } from "./batch-norm-moments";
import { applyAndSumNext } from "./batch-norm-train";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { ChannelWork, isNumber } from "./batch-norm-work";

/** Entries [mean, sum of squared deviations] of the chunk's units. */
export function batchNormMoments(words: usize, chunk: i32, _thread: i32): void {
  const job = changetype<ChannelWork>(words);
  for (let unit = job.firstUnit(chunk); unit < job.endUnit(chunk); unit++) momentsOfUnit(job, unit);
}

/** Mean and biased variance of all channels from the entries. */
export function batchNormJoin(words: usize, _chunk: i32, _thread: i32): void {
  const job = changetype<ChannelWork>(words);
  joinMoments(job, 0, job.C);
}

/** The coefficients of `batchNormApply` for all channels; the backward has them too. */
export function batchNormCoefficients(words: usize, eps: f64, _chunk: i32, _thread: i32): void {
  const job = changetype<ChannelWork>(words);
  makeCoefficients(job, eps, 0, job.C);
}

/** y = max((x - centre) * scale + shift + residual, floor); NaN stays. */
export function batchNormApply(words: usize, chunk: i32, _thread: i32): void {
  const job = changetype<Apply>(words);
  for (let unit = job.firstUnit(chunk); unit < job.endUnit(chunk); unit++) applyToUnit(job, unit);
}

/** All of these for units that hold whole channels: what of x was read for the statistics is still in the cache for y. */
export function batchNormTrain(words: usize, eps: f64, chunk: i32, _thread: i32): void {
  const job = changetype<Apply>(words);
  const end = job.endUnit(chunk);
  let unit = job.firstUnit(chunk);
  momentsOfUnit(job, unit);
  for (; unit < end; unit++) {
    joinMoments(job, job.firstChannel(unit), job.endChannel(unit));
    makeCoefficients(job, eps, job.firstChannel(unit), job.endChannel(unit));
    if (unit + 1 < end) applyAndSumNext(job, unit);
    else applyToUnit(job, unit);
  }
}

/** The entries of all parts in order, merged as by Chan, Golub and LeVeque (1979). */
function joinMoments(job: ChannelWork, firstChannel: i32, endChannel: i32): void {
  for (let c = firstChannel; c < endChannel; c++) {
    let count: f64 = 0;
    let average: f64 = 0;
    let squares: f64 = 0;
    for (let part = 0; part < job.parts; part++) {
      const added = job.count(part);
      const addedMean = load<f64>(job.entry(part, c));
      const addedSquares = load<f64>(job.entry(part, c), 8);
      const distance = addedMean - average;
      const share = added / (count + added);
      squares += addedSquares + distance * distance * count * share;
      average += isNumber(distance) ? distance * share : addedMean;
      count += added;
    }
    store<f64>(job.mean + ((<usize>c) << 3), average);
    // The maximum makes all NaN alike; of two that meet in a sum, each of the engine's compilers takes one as it pleases.
    store<f64>(job.variance + ((<usize>c) << 3), max(squares / count, 0));
  }
}

/** RunningUpdate of ../../backend.ts; `skipped` is 0 where it is null, and so is `isCumulative` where momentum counts. */
export function batchNormUpdate(
  mean: usize,
  variance: usize,
  C: i32,
  n: f64,
  runningMean: usize,
  runningVar: usize,
  momentum: f64,
  isCumulative: i32,
  batches: f64,
  skipped: usize,
  _chunk: i32,
  _thread: i32,
): void {
  if (skipped !== 0) {
    const bad = firstNotFinite(mean, variance, C, n / (n - 1));
    if (bad >= 0) {
      countSkipped(skipped, bad, <i32>batches);
      return;
    }
  }
  const good = skipped === 0 ? batches : batches - <f64>load<i32>(skipped);
  const f = isCumulative ? 1 / good : momentum;
  for (let c: usize = 0; c < <usize>C; c++) {
    const unbiased = load<f64>(variance + (c << 3)) * (n / (n - 1));
    move(runningMean + (c << 2), load<f64>(mean + (c << 3)), f);
    move(runningVar + (c << 2), unbiased, f);
  }
}

/** The first channel whose mean or unbiased variance is not finite as a float, which is what the buffers hold; or -1. */
function firstNotFinite(mean: usize, variance: usize, C: i32, unbias: f64): i32 {
  for (let c = 0; c < C; c++) {
    const at = (<usize>c) << 3;
    const storedMean = <f32>load<f64>(mean + at);
    const storedVariance = <f32>(load<f64>(variance + at) * unbias);
    if (!isNumber(<f64>storedMean) || !isNumber(<f64>storedVariance)) return c;
  }
  return -1;
}

function countSkipped(skipped: usize, channel: i32, batch: i32): void {
  const before = load<i32>(skipped);
  store<i32>(skipped, before + 1);
  if (before > 0) return;
  store<i32>(skipped, channel, 4);
  store<i32>(skipped, batch, 8);
}

function move(running: usize, observed: f64, f: f64): void {
  store<f32>(running, <f32>((1 - f) * <f64>load<f32>(running) + f * observed));
}

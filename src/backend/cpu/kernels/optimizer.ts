/** Optimizer steps: each reads and writes parameter, gradient and state once. Tails run the same formula on one lane. */
import { madd } from "./simd";

/** Scalars of an SGD step, rounded to float32 as PyTorch does when it multiplies a float32 tensor by them. */
class Sgd {
  parameter: usize;
  grad: usize;
  /** 0 without momentum. */
  momentumBuffer: usize;
  count: usize;
  perChunk: usize;
  /** -1 to climb. */
  sign: f32;
  weightDecay: f32;
  learningRate: f32;
  momentum: f32;
  /** 1 - dampening. */
  share: f32;
  isFirstStep: u32;
  nesterov: u32;
}

class Adam {
  parameter: usize;
  grad: usize;
  expAvg: usize;
  expAvgSq: usize;
  /** 0 without amsgrad. */
  maxExpAvgSq: usize;
  count: usize;
  perChunk: usize;
  /** -1 to climb. */
  sign: f32;
  /** Added to the gradient; 0 when the decay is decoupled. */
  weightDecay: f32;
  /** What decoupled decay leaves of the parameter; 1 without. */
  kept: f32;
  beta1: f32;
  /** 1 - beta1. */
  share1: f32;
  beta2: f32;
  /** 1 - beta2. */
  share2: f32;
  /** learningRate / (1 - beta1 ** step). */
  stepSize: f32;
  /** 1 / sqrt(1 - beta2 ** step). */
  correction: f32;
  eps: f32;
}

class Rmsprop {
  parameter: usize;
  grad: usize;
  squareAvg: usize;
  /** 0 unless centered. */
  gradAvg: usize;
  /** 0 without momentum. */
  momentumBuffer: usize;
  count: usize;
  perChunk: usize;
  /** -1 to climb. */
  sign: f32;
  weightDecay: f32;
  learningRate: f32;
  alpha: f32;
  /** 1 - alpha. */
  share: f32;
  momentum: f32;
  eps: f32;
}

/** Four lanes of memory, or one at the end of the data. */
class Four {
  load(at: usize): v128 {
    return v128.load(at);
  }

  store(at: usize, value: v128): void {
    v128.store(at, value);
  }
}

class One {
  load(at: usize): v128 {
    return v128.load32_zero(at);
  }

  store(at: usize, value: v128): void {
    v128.store32_lane(at, value, 0);
  }
}

/** sign * grad + weightDecay * parameter; without decay not even an infinite parameter counts. */
function penalised<Job>(job: Job, grad: v128, parameter: v128): v128 {
  const g = f32x4.mul(f32x4.splat(job.sign), grad);
  return job.weightDecay === 0 ? g : madd(f32x4.splat(job.weightDecay), parameter, g);
}

/** decay * old + share * x. */
function mixed(decay: f32, old: v128, share: f32, x: v128): v128 {
  return madd(f32x4.splat(share), x, f32x4.mul(f32x4.splat(decay), old));
}

/** decay * old + share * x * x. */
function mixedSquare(decay: f32, old: v128, share: f32, x: v128): v128 {
  return madd(f32x4.mul(f32x4.splat(share), x), x, f32x4.mul(f32x4.splat(decay), old));
}

/** The momentum buffer's new value for gradient g. */
function momentumOf<Lanes>(job: Sgd, at: usize, g: v128): v128 {
  if (job.isFirstStep) return g;
  const share = f32x4.mul(f32x4.splat(job.share), g);
  const old = changetype<Lanes>(0).load(job.momentumBuffer + at);
  return madd(f32x4.splat(job.momentum), old, share);
}

function sgdLanes<Lanes>(job: Sgd, at: usize): void {
  const lanes = changetype<Lanes>(0);
  const parameter = lanes.load(job.parameter + at);
  const g = penalised<Sgd>(job, lanes.load(job.grad + at), parameter);
  let direction = g;
  if (job.momentumBuffer !== 0) {
    const buffer = momentumOf<Lanes>(job, at, g);
    lanes.store(job.momentumBuffer + at, buffer);
    direction = job.nesterov ? madd(f32x4.splat(job.momentum), buffer, g) : buffer;
  }
  const y = madd(f32x4.splat(-job.learningRate), direction, parameter);
  lanes.store(job.parameter + at, y);
}

export function sgd(job: Sgd, chunk: i32, thread: i32): void {
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count) << 2;
  let at = first << 2;
  for (; at + 16 <= end; at += 16) sgdLanes<Four>(job, at);
  for (; at < end; at += 4) sgdLanes<One>(job, at);
}

function adamLanes<Lanes>(job: Adam, at: usize): void {
  const lanes = changetype<Lanes>(0);
  const parameter = lanes.load(job.parameter + at);
  const g = penalised<Adam>(job, lanes.load(job.grad + at), parameter);
  const average = mixed(job.beta1, lanes.load(job.expAvg + at), job.share1, g);
  let square = mixedSquare(job.beta2, lanes.load(job.expAvgSq + at), job.share2, g);
  lanes.store(job.expAvg + at, average);
  lanes.store(job.expAvgSq + at, square);
  if (job.maxExpAvgSq !== 0) {
    square = f32x4.max(lanes.load(job.maxExpAvgSq + at), square);
    lanes.store(job.maxExpAvgSq + at, square);
  }
  const root = f32x4.sqrt(square);
  const denominator = madd(root, f32x4.splat(job.correction), f32x4.splat(job.eps));
  const step = f32x4.div(f32x4.mul(f32x4.splat(job.stepSize), average), denominator);
  const kept = f32x4.mul(f32x4.splat(job.kept), parameter);
  lanes.store(job.parameter + at, f32x4.sub(kept, step));
}

export function adam(job: Adam, chunk: i32, thread: i32): void {
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count) << 2;
  let at = first << 2;
  for (; at + 16 <= end; at += 16) adamLanes<Four>(job, at);
  for (; at < end; at += 4) adamLanes<One>(job, at);
}

/** The second moment, or the variance when centered. Numerics: rounding must not make it negative, whose root is NaN. */
function varianceOf<Lanes>(job: Rmsprop, at: usize, g: v128, square: v128): v128 {
  if (job.gradAvg === 0) return square;
  const lanes = changetype<Lanes>(0);
  const average = mixed(job.alpha, lanes.load(job.gradAvg + at), job.share, g);
  lanes.store(job.gradAvg + at, average);
  return f32x4.max(madd(f32x4.neg(average), average, square), f32x4.splat(0));
}

function rmspropLanes<Lanes>(job: Rmsprop, at: usize): void {
  const lanes = changetype<Lanes>(0);
  const parameter = lanes.load(job.parameter + at);
  const g = penalised<Rmsprop>(job, lanes.load(job.grad + at), parameter);
  const square = mixedSquare(job.alpha, lanes.load(job.squareAvg + at), job.share, g);
  lanes.store(job.squareAvg + at, square);
  const root = f32x4.sqrt(varianceOf<Lanes>(job, at, g, square));
  let direction = f32x4.div(g, f32x4.add(root, f32x4.splat(job.eps)));
  if (job.momentumBuffer !== 0) {
    const old = lanes.load(job.momentumBuffer + at);
    direction = madd(f32x4.splat(job.momentum), old, direction);
    lanes.store(job.momentumBuffer + at, direction);
  }
  const y = madd(f32x4.splat(-job.learningRate), direction, parameter);
  lanes.store(job.parameter + at, y);
}

export function rmsprop(job: Rmsprop, chunk: i32, thread: i32): void {
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count) << 2;
  let at = first << 2;
  for (; at + 16 <= end; at += 16) rmspropLanes<Four>(job, at);
  for (; at < end; at += 4) rmspropLanes<One>(job, at);
}

/** Counted from the nearer end, so that weight 1 gives x itself. */
function averageLanes<Lanes>(x: usize, average: usize, weight: f32, rest: f32): void {
  const lanes = changetype<Lanes>(0);
  const from = lanes.load(average);
  const to = lanes.load(x);
  const distance = f32x4.sub(to, from);
  const isNearFrom = weight < 0.5;
  const start = isNearFrom ? from : to;
  const factor = isNearFrom ? weight : -rest;
  lanes.store(average, madd(f32x4.splat(factor), distance, start));
}

/** average += weight * (x - average); `rest` is 1 - weight, rounded once. */
export function averageInto(
  x: usize,
  average: usize,
  count: usize,
  perChunk: usize,
  weight: f32,
  rest: f32,
  chunk: i32,
  thread: i32,
): void {
  const first = <usize>chunk * perChunk;
  const end = min(first + perChunk, count) << 2;
  let at = first << 2;
  for (; at + 16 <= end; at += 16) averageLanes<Four>(x + at, average + at, weight, rest);
  for (; at < end; at += 4) averageLanes<One>(x + at, average + at, weight, rest);
}

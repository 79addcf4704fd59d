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
  learningRate: f32;
  momentum: f32;
  /** 1 - dampening. */
  share: f32;
  weightDecay: f32;
  isFirstStep: u32;
  nesterov: u32;
}

class Adam {
  parameter: usize;
  grad: usize;
  expAvg: usize;
  expAvgSq: usize;
  count: usize;
  perChunk: usize;
  weightDecay: f32;
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

/** grad + weightDecay * parameter; without decay not even an infinite parameter counts. */
function decayed(grad: v128, weightDecay: f32, parameter: v128): v128 {
  return weightDecay === 0 ? grad : madd(f32x4.splat(weightDecay), parameter, grad);
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
  const g = decayed(lanes.load(job.grad + at), job.weightDecay, parameter);
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
  const g = decayed(lanes.load(job.grad + at), job.weightDecay, parameter);
  const oldAverage = f32x4.mul(f32x4.splat(job.beta1), lanes.load(job.expAvg + at));
  const average = madd(f32x4.splat(job.share1), g, oldAverage);
  const oldSquare = f32x4.mul(f32x4.splat(job.beta2), lanes.load(job.expAvgSq + at));
  const square = madd(f32x4.mul(f32x4.splat(job.share2), g), g, oldSquare);
  lanes.store(job.expAvg + at, average);
  lanes.store(job.expAvgSq + at, square);
  const root = f32x4.sqrt(square);
  const denominator = madd(root, f32x4.splat(job.correction), f32x4.splat(job.eps));
  const step = f32x4.div(f32x4.mul(f32x4.splat(job.stepSize), average), denominator);
  lanes.store(job.parameter + at, f32x4.sub(parameter, step));
}

export function adam(job: Adam, chunk: i32, thread: i32): void {
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count) << 2;
  let at = first << 2;
  for (; at + 16 <= end; at += 16) adamLanes<Four>(job, at);
  for (; at < end; at += 4) adamLanes<One>(job, at);
}

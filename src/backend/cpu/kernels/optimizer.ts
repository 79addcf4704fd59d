/**
 * Optimizer steps over lists of parameters: each reads and writes parameter, gradient and state once. Scalars are spread over lanes
 * before the loop, since the compiler can't know that what the loop stores is not the job. Tails run the same formula on one lane.
 */
import { madd } from "./simd";

/** One parameter of a list. */
class Entry {
  parameter: usize;
  grad: usize;
  /** What the optimizer remembers; 0 for what it does not need. */
  first: usize;
  second: usize;
  third: usize;
  count: usize;
  perChunk: usize;
  /** Chunks of the parameters before. */
  firstChunk: u32;

  /** Bytes from the start of the parameter to that of a chunk. */
  start(chunk: u32): usize {
    return (<usize>(chunk - this.firstChunk) * this.perChunk) << 2;
  }

  end(chunk: u32): usize {
    return min(this.start(chunk) + (this.perChunk << 2), this.count << 2);
  }
}

/** The entries lie behind the scalars of the step, which round to float32 as PyTorch does when it multiplies a float32 tensor by them. */
class Step {
  entries: u32;
  /** -1 to climb. */
  sign: f32;
  weightDecay: f32;
}

class Sgd extends Step {
  learningRate: f32;
  momentum: f32;
  /** 1 - dampening. */
  share: f32;
  isFirstStep: u32;
  nesterov: u32;
}

/** The weight decay is what is added to the gradient; 0 when it is decoupled. */
class Adam extends Step {
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

class Rmsprop extends Step {
  learningRate: f32;
  alpha: f32;
  /** 1 - alpha. */
  share: f32;
  momentum: f32;
  eps: f32;
}

/** The entry that a chunk belongs to: the last that begins at it or before. */
function entryOf<Job>(job: usize, chunk: u32): Entry {
  const table = job + offsetof<Job>();
  let low: u32 = 0;
  let high = changetype<Step>(job).entries;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (changetype<Entry>(table + middle * offsetof<Entry>()).firstChunk <= chunk) low = middle;
    else high = middle;
  }
  return changetype<Entry>(table + low * offsetof<Entry>());
}

/** Four lanes of memory, or one at the end of the data. */
class Four {
  bytes(): usize {
    return 16;
  }

  load(at: usize): v128 {
    return v128.load(at);
  }

  store(at: usize, value: v128): void {
    v128.store(at, value);
  }
}

class One {
  bytes(): usize {
    return 4;
  }

  load(at: usize): v128 {
    return v128.load32_zero(at);
  }

  store(at: usize, value: v128): void {
    v128.store32_lane(at, value, 0);
  }
}

/** decay * old + share * x. */
function mixed(decay: v128, old: v128, share: v128, x: v128): v128 {
  return madd(share, x, f32x4.mul(decay, old));
}

/** decay * old + share * x * x. */
function mixedSquare(decay: v128, old: v128, share: v128, x: v128): v128 {
  return madd(f32x4.mul(share, x), x, f32x4.mul(decay, old));
}

/** sign * grad + weightDecay * parameter; without decay not even an infinite parameter counts. */
function penalised(sign: v128, grad: v128, decay: v128, parameter: v128, decays: bool): v128 {
  const g = f32x4.mul(sign, grad);
  return decays ? madd(decay, parameter, g) : g;
}

function sgdLanes<Lanes>(job: Sgd, entry: Entry, start: usize, end: usize): usize {
  const lanes = changetype<Lanes>(0);
  const parameters = entry.parameter;
  const grads = entry.grad;
  const buffers = entry.first;
  const sign = f32x4.splat(job.sign);
  const decay = f32x4.splat(job.weightDecay);
  const decays = job.weightDecay !== 0;
  const climb = f32x4.splat(-job.learningRate);
  const momentum = f32x4.splat(job.momentum);
  const share = f32x4.splat(job.share);
  const isFirstStep = job.isFirstStep !== 0;
  const nesterov = job.nesterov !== 0;
  let at = start;
  for (; at + lanes.bytes() <= end; at += lanes.bytes()) {
    const parameter = lanes.load(parameters + at);
    const g = penalised(sign, lanes.load(grads + at), decay, parameter, decays);
    let direction = g;
    if (buffers !== 0) {
      let buffer = g;
      if (!isFirstStep) {
        buffer = madd(momentum, lanes.load(buffers + at), f32x4.mul(share, g));
      }
      lanes.store(buffers + at, buffer);
      direction = nesterov ? madd(momentum, buffer, g) : buffer;
    }
    lanes.store(parameters + at, madd(climb, direction, parameter));
  }
  return at;
}

export function sgd(job: usize, chunk: i32, thread: i32): void {
  const step = changetype<Sgd>(job);
  const entry = entryOf<Sgd>(job, chunk);
  const end = entry.end(chunk);
  const tail = sgdLanes<Four>(step, entry, entry.start(chunk), end);
  sgdLanes<One>(step, entry, tail, end);
}

function adamLanes<Lanes>(job: Adam, entry: Entry, start: usize, end: usize): usize {
  const lanes = changetype<Lanes>(0);
  const parameters = entry.parameter;
  const grads = entry.grad;
  const averages = entry.first;
  const squares = entry.second;
  const maxima = entry.third;
  const sign = f32x4.splat(job.sign);
  const decay = f32x4.splat(job.weightDecay);
  const decays = job.weightDecay !== 0;
  const kept = f32x4.splat(job.kept);
  const beta1 = f32x4.splat(job.beta1);
  const share1 = f32x4.splat(job.share1);
  const beta2 = f32x4.splat(job.beta2);
  const share2 = f32x4.splat(job.share2);
  const stepSize = f32x4.splat(job.stepSize);
  const correction = f32x4.splat(job.correction);
  const eps = f32x4.splat(job.eps);
  let at = start;
  for (; at + lanes.bytes() <= end; at += lanes.bytes()) {
    const parameter = lanes.load(parameters + at);
    const g = penalised(sign, lanes.load(grads + at), decay, parameter, decays);
    const average = mixed(beta1, lanes.load(averages + at), share1, g);
    let square = mixedSquare(beta2, lanes.load(squares + at), share2, g);
    lanes.store(averages + at, average);
    lanes.store(squares + at, square);
    if (maxima !== 0) {
      square = f32x4.max(lanes.load(maxima + at), square);
      lanes.store(maxima + at, square);
    }
    const denominator = madd(f32x4.sqrt(square), correction, eps);
    const step = f32x4.div(f32x4.mul(stepSize, average), denominator);
    lanes.store(parameters + at, f32x4.sub(f32x4.mul(kept, parameter), step));
  }
  return at;
}

export function adam(job: usize, chunk: i32, thread: i32): void {
  const step = changetype<Adam>(job);
  const entry = entryOf<Adam>(job, chunk);
  const end = entry.end(chunk);
  const tail = adamLanes<Four>(step, entry, entry.start(chunk), end);
  adamLanes<One>(step, entry, tail, end);
}

/** Centered, the variance takes the place of the second moment. Numerics: rounding must not make it negative, whose root is NaN. */
function rmspropLanes<Lanes>(job: Rmsprop, entry: Entry, start: usize, end: usize): usize {
  const lanes = changetype<Lanes>(0);
  const parameters = entry.parameter;
  const grads = entry.grad;
  const squares = entry.first;
  const averages = entry.second;
  const buffers = entry.third;
  const sign = f32x4.splat(job.sign);
  const decay = f32x4.splat(job.weightDecay);
  const decays = job.weightDecay !== 0;
  const climb = f32x4.splat(-job.learningRate);
  const alpha = f32x4.splat(job.alpha);
  const share = f32x4.splat(job.share);
  const momentum = f32x4.splat(job.momentum);
  const eps = f32x4.splat(job.eps);
  let at = start;
  for (; at + lanes.bytes() <= end; at += lanes.bytes()) {
    const parameter = lanes.load(parameters + at);
    const g = penalised(sign, lanes.load(grads + at), decay, parameter, decays);
    let variance = mixedSquare(alpha, lanes.load(squares + at), share, g);
    lanes.store(squares + at, variance);
    if (averages !== 0) {
      const average = mixed(alpha, lanes.load(averages + at), share, g);
      lanes.store(averages + at, average);
      variance = f32x4.max(madd(f32x4.neg(average), average, variance), f32x4.splat(0));
    }
    let direction = f32x4.div(g, f32x4.add(f32x4.sqrt(variance), eps));
    if (buffers !== 0) {
      direction = madd(momentum, lanes.load(buffers + at), direction);
      lanes.store(buffers + at, direction);
    }
    lanes.store(parameters + at, madd(climb, direction, parameter));
  }
  return at;
}

export function rmsprop(job: usize, chunk: i32, thread: i32): void {
  const step = changetype<Rmsprop>(job);
  const entry = entryOf<Rmsprop>(job, chunk);
  const end = entry.end(chunk);
  const tail = rmspropLanes<Four>(step, entry, entry.start(chunk), end);
  rmspropLanes<One>(step, entry, tail, end);
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

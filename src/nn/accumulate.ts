/**
 * `batchesPerUpdate`: running statistics that move once for several forwards, as one large batch would move them. What the
 * forwards of a cycle pool stays on the device; nothing is read back.
 */
import { ArgumentError, DeviceError, DTypeError, ShapeError } from "../core/errors.ts";
import { batchMoments } from "../ops/batch-moments.ts";
import * as raw from "../ops/raw.ts";
import { scope } from "../tensor/scope.ts";
import { backendFor, operandOf, type Tensor, viewOf } from "../tensor/tensor.ts";

import { recordFor, settle, type Watching } from "./non-finite.ts";

/**
 * Statistics of the forwards since the last update. Numerics: mean and variance are of x - shift, with the first batch's mean as shift, so
 * that float32 holds small differences of large means.
 */
export interface Pool {
  readonly calls: number;
  /** Values per channel. */
  readonly count: number;
  readonly shift: Tensor; // (C), as all three
  readonly mean: Tensor;
  readonly variance: Tensor; // biased
}

/** Under a symbol: neither state nor a user's business, but `clone` must find it. */
export const pool: unique symbol = Symbol("pooled batches");

/** A layer that can pool. */
interface Pooling extends Watching {
  readonly batchesPerUpdate: number;
  readonly momentum: number | null;
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
  [pool]: Pool | null;
}

export function checkBatchesPerUpdate(op: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new ArgumentError({
    op,
    expected: "batchesPerUpdate to be an integer >= 1",
    actual: String(value),
  });
}

/** Whether the next forward joins a cycle: also the last one after `batchesPerUpdate` was set back to 1 in the middle. */
export function isPooling(layer: Pooling): boolean {
  return layer.batchesPerUpdate > 1 || layer[pool] !== null;
}

/** Forwards in training until the running statistics move, the next one included. */
export function forwardsToUpdate(layer: Pooling): number {
  return Math.max(1, layer.batchesPerUpdate - (layer[pool]?.calls ?? 0));
}

/** Takes a forward into the cycle, and moves the running statistics when it is the last. */
export function poolBatch(layer: Pooling, input: Tensor): void {
  const { runningMean, runningVar } = layer;
  if (runningMean === null || runningVar === null || input.size === 0) return;
  scope(() => {
    // float16 beside float32 statistics, as in mixed precision: what is pooled has the statistics' precision.
    const x = input.dtype === "float16" ? raw.cast(input, runningMean.dtype) : input;
    checkFits(layer, x, runningMean);
    if (isSkipped(layer, x, runningMean)) return;
    const joined = join(continued(layer[pool], x), x);
    dropPool(layer);
    for (const part of [joined.shift, joined.mean, joined.variance]) part.keep();
    layer[pool] = joined;
    if (joined.calls >= layer.batchesPerUpdate) moveByPool(layer);
  });
}

export function dropPool(layer: Pooling): void {
  const present = layer[pool];
  layer[pool] = null;
  if (present === null) return;
  for (const part of [present.shift, present.mean, present.variance]) part.dispose();
}

function checkFits(layer: Pooling, x: Tensor, runningMean: Tensor): void {
  const op = layer.kind;
  if (runningMean.size !== x.shape[1]) {
    throw new ShapeError({
      op,
      expected: `x with ${runningMean.size} channels on axis 1`,
      actual: `${x.shape[1]}`,
    });
  }
  if (runningMean.dtype === x.dtype) return;
  throw new DTypeError({ op, expected: `x of dtype ${runningMean.dtype}`, actual: x.dtype });
}

/** Whether the layer's policy keeps a batch with NaN or infinity out: such a batch is no part of the cycle. */
function isSkipped(layer: Pooling, x: Tensor, runningMean: Tensor): boolean {
  const record = recordFor(layer, runningMean);
  if (record === null) return false;
  if (!backendFor(x).readsSynchronously) {
    throw new DeviceError({
      op: layer.kind,
      expected:
        'onNonFinite "propagate" beside batchesPerUpdate on a device that is read asynchronously',
      actual: JSON.stringify(layer.onNonFinite),
    });
  }
  const batches = (layer.numBatchesTracked ?? 0) + 1;
  const unused = () => operandOf(raw.zerosLike(runningMean, x));
  const buffers = { runningMean: unused(), runningVar: unused() };
  batchMoments(x, { ...buffers, momentum: 1, batches, skipped: operandOf(record) });
  if (record.dataSync()[0] === 0) return false;
  // `settle` takes the skipped batch out of the counter, where it is not yet.
  if (layer.numBatchesTracked !== null) layer.numBatchesTracked += 1;
  settle(layer, record);
  return true;
}

/** The cycle that x continues; null when it begins one, also after the layer was moved or got other channels. */
function continued(present: Pool | null, x: Tensor): Pool | null {
  if (present === null) return null;
  const { device, dtype, size } = present.shift;
  return device === x.device && dtype === x.dtype && size === x.shape[1] ? present : null;
}

/** Chan, Golub and LeVeque 1979, in weights instead of counts. */
function join(present: Pool | null, x: Tensor): Pool {
  const shift = present?.shift ?? raw.cast(batchMoments(x).mean, x.dtype);
  const perChannel = viewOf(shift, [shift.size, ...x.shape.slice(2).map(() => 1)]);
  const moments = batchMoments(raw.binary("sub", x, perChannel));
  const [mean, variance] = [moments.mean, moments.variance].map((t) => raw.cast(t, x.dtype));
  if (present === null) {
    return { calls: 1, count: moments.count, shift: raw.scale(shift, 1), mean, variance };
  }
  const count = present.count + moments.count;
  const share = moments.count / count;
  const distance = raw.binary("sub", mean, present.mean);
  const between = raw.scale(raw.binary("mul", distance, distance), share * (1 - share));
  return {
    ...{ calls: present.calls + 1, count, shift: raw.scale(shift, 1) },
    mean: raw.binary("add", present.mean, raw.scale(distance, share)),
    variance: raw.binary("add", blend(present.variance, variance, share), between),
  };
}

/** (1 - share) a + share b */
function blend(a: Tensor, b: Tensor, share: number): Tensor {
  return raw.binary("add", raw.scale(a, 1 - share), raw.scale(b, share));
}

/** Moves the running statistics toward those of the cycle, and ends it. */
export function moveByPool(layer: Pooling): void {
  const { runningMean, runningVar, momentum } = layer;
  const pooled = layer[pool];
  if (pooled === null || runningMean === null || runningVar === null) return;
  if (layer.numBatchesTracked !== null) layer.numBatchesTracked += 1;
  // Without a counter the cumulative average cannot move.
  const average = layer.numBatchesTracked === null ? 0 : 1 / layer.numBatchesTracked;
  const share = momentum ?? average;
  const { count } = pooled;
  const unbiased = raw.scale(pooled.variance, count / (count - 1));
  write(runningMean, blend(runningMean, raw.binary("add", pooled.shift, pooled.mean), share));
  write(runningVar, blend(runningVar, unbiased, share));
  dropPool(layer);
}

function write(buffer: Tensor, values: Tensor): void {
  backendFor(buffer).copy(operandOf(values), operandOf(buffer));
  buffer.holding.storage.markWritten("batchNorm");
}

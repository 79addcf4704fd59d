/** A pass over data that estimates running statistics anew, and leaves a model as it was in every other respect. */
import { ArgumentError } from "../core/errors.ts";
import { defaultGenerator } from "../core/random.ts";
import { noGrad, scope } from "../tensor/scope.ts";
import { backendFor, operandOf, Tensor } from "../tensor/tensor.ts";
import { pool } from "./accumulate.ts";
import { type AnyBatchNorm, isBatchNorm } from "./batch-norm.ts";
import { hasFrozenStatistics } from "./batch-norm-decision.ts";
import { isDropout } from "./dropout.ts";
import type { Module } from "./module.ts";
import { type Recalibration, recalibrationOf, shiftBetween } from "./recalibration.ts";

/** A model that takes one batch. */
export type BatchModel = Module & ((x: Tensor) => unknown);

/** Batches: tensors, or arrays whose first item is one. */
export type Batches =
  | AsyncIterable<Tensor | readonly unknown[]>
  | Iterable<Tensor | readonly unknown[]>;

/** How a pass that estimates statistics runs. */
export interface UpdateBatchNormOptions {
  /** Ends the pass before the next batch; statistics are then those from before the call. Default: none. */
  readonly signal?: AbortSignal;
  /**
   * Whether dropout layers are active meanwhile, as in training; with false layers see what they will see in evaluation. Layers only: a
   * model that calls `nn.functional.dropout` itself is not reached. Default true.
   */
  readonly dropout?: boolean;
  /** Only report: statistics, counters and the random generator are put back, bit for bit. Default false. */
  readonly preview?: boolean;
}

/** What one way of estimating does; `recalibrate` remembers and gives back whatever it changes. */
export interface Estimator {
  /** Name of the public function. */
  readonly op: string;
  /** Batches to read at most. */
  readonly most: number;
  /** Readies a layer whose statistics have been reset. */
  begin(layer: AnyBatchNorm): void;
  /** Sees the input of every forward in training. */
  observe(layer: AnyBatchNorm, x: Tensor): void;
  /** Takes in what was observed, after each batch. */
  gather(): Promise<void>;
  /** Writes the statistics; the counter stays 0 where there is nothing to write. */
  finish(layer: AnyBatchNorm): void;
}

export async function recalibrate(
  estimator: Estimator,
  model: BatchModel,
  loader: Batches,
  options: UpdateBatchNormOptions,
): Promise<Recalibration> {
  const { signal, preview = false } = options;
  signal?.throwIfAborted();
  const layers = model
    .namedModules()
    .flatMap(([name, module]) =>
      isBatchNorm(module) && moves(module) ? [remember(name, module)] : [],
    );
  if (layers.length === 0) return recalibrationOf([], 0);
  const modes = model.modules().map((module) => ({ module, training: module.training }));
  const generatorState = defaultGenerator.state();
  const hooks = layers.map((remembered) => observe(remembered, estimator));
  let keeps = false;
  try {
    for (const { layer } of layers) {
      // An incomplete cycle is set aside: in the pass every batch is an update.
      layer[pool] = null;
      layer.batchesPerUpdate = 1;
      layer.resetRunningStats();
      estimator.begin(layer);
    }
    setModes(model, options);
    const batches = await runBatches(estimator, model, loader, signal);
    for (const { layer } of layers) estimator.finish(layer);
    for (const remembered of layers) if (!remembered.wasReached()) remembered.restoreStatistics();
    const rows = await Promise.all(layers.map((remembered) => remembered.compare()));
    keeps = !preview;
    return recalibrationOf(rows, batches);
  } finally {
    for (const hook of hooks) hook.remove();
    for (const { module, training } of modes) module.training = training;
    if (!keeps) for (const remembered of layers) remembered.restoreStatistics();
    for (const remembered of layers) remembered.finish();
    if (preview) defaultGenerator.restore(generatorState);
  }
}

/** Whether a pass estimates the layer anew: frozen statistics are left alone. */
function moves(layer: AnyBatchNorm): boolean {
  return layer.trackRunningStats && !hasFrozenStatistics(layer);
}

/** Training mode, in which frozen statistics stay all the same, and dropout on demand only. */
function setModes(model: Module, { dropout = true }: UpdateBatchNormOptions): void {
  model.train();
  if (!dropout) for (const module of model.modules().filter(isDropout)) module.training = false;
}

/** Returns how many batches there were. */
async function runBatches(
  { op, most, gather }: Estimator,
  model: BatchModel,
  loader: Batches,
  signal: AbortSignal | undefined,
): Promise<number> {
  let batches = 0;
  for await (const batch of loader) {
    const x = inputOf(op, batch);
    signal?.throwIfAborted();
    noGrad(() => scope(() => void model(x)));
    await gather();
    batches += 1;
    if (batches === most) break;
  }
  signal?.throwIfAborted();
  if (batches > 0) return batches;
  throw new ArgumentError({
    op,
    expected: "a loader with at least one batch",
    actual: "an empty one",
    hint: "an iterator that was read to its end has no second pass: give the loader or an array",
  });
}

/** What a layer has before the pass, how to give it back, and how far it came. */
interface Remembered {
  readonly layer: AnyBatchNorm;
  readonly seen: { batches: number; values: number };
  wasReached(): boolean;
  restoreStatistics(): void;
  compare(): Promise<Recalibration["layers"][number]>;
  finish(): void;
}

function remember(name: string, layer: AnyBatchNorm): Remembered {
  const { momentum, trackRunningStats, runningMean, runningVar } = layer;
  const { numBatchesTracked, skippedBatches, batchesPerUpdate, [pool]: pooled } = layer;
  const copies = [runningMean, runningVar].map((buffer) => buffer?.clone().keep() ?? null);
  const seen = { batches: 0, values: 0 };
  return {
    ...{ layer, seen },
    wasReached: () => seen.batches > 0 && layer.numBatchesTracked !== 0,
    restoreStatistics(): void {
      for (const [i, buffer] of [runningMean, runningVar].entries()) {
        if (buffer !== null) giveBack(buffer, copies[i], i);
      }
      layer.numBatchesTracked = numBatchesTracked;
      layer.skippedBatches = skippedBatches;
      layer[pool] = pooled;
    },
    async compare() {
      const [oldMean, oldVariance, mean, variance] = await Promise.all(
        [...copies, runningMean, runningVar].map((buffer) => buffer?.data() ?? []),
      );
      // A layer that was lazy before the pass is compared with a new one.
      const isNew = oldMean.length !== mean.length;
      const before = isNew
        ? { mean: mean.map(() => 0), variance: variance.map(() => 1) }
        : { mean: oldMean, variance: oldVariance };
      return { name, ...seen, ...shiftBetween(before, { mean, variance }, layer.eps) };
    },
    finish(): void {
      layer.momentum = momentum;
      layer.trackRunningStats = trackRunningStats;
      layer.batchesPerUpdate = batchesPerUpdate;
      for (const copy of copies) copy?.dispose();
    },
  };
}

function giveBack(buffer: Tensor, copy: Tensor | null, value: number): void {
  if (copy?.size === buffer.size) backendFor(buffer).copy(operandOf(copy), operandOf(buffer));
  // Lazy before the pass: it had nothing to be given back, and is as new.
  else backendFor(buffer).fill(operandOf(buffer), value);
  buffer.holding.storage.markWritten("updateBatchNorm");
}

function observe({ layer, seen }: Remembered, estimator: Estimator) {
  return layer.registerForwardPreHook((_module, [x]) => {
    // What forward refuses, it refuses in its own words.
    if (!layer.training || !(x instanceof Tensor) || x.shape.length < 2 || x.size === 0) return;
    seen.batches += 1;
    seen.values += x.size / x.shape[1];
    estimator.observe(layer, x);
  });
}

function inputOf(op: string, batch: Tensor | readonly unknown[]): Tensor {
  const first = Array.isArray(batch) ? batch[0] : batch;
  if (first instanceof Tensor) return first;
  throw new ArgumentError({
    op,
    expected: "batches that are tensors, or arrays that start with one",
    actual: typeof first,
  });
}

/** Batch norm that is constant by its class, and the way there and back. */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { batchNorm } from "../ops/batch-norm.ts";
import { checkTensor } from "../ops/check.ts";
import { ones, zeros } from "../tensor/create.ts";
import { asInFirstRun } from "../tensor/recompute.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { BatchNorm2d } from "./batch-norm.ts";
import { keepDecision } from "./batch-norm-decision.ts";
import { type Epilogue, forwardWith } from "./epilogue.ts";
import { internals } from "./internals.ts";
import type { LoadPlace, SourceKeys } from "./load-state.ts";
import { Module } from "./module.ts";
import { replaceModules } from "./replace-modules.ts";
import { formatPython } from "./repr.ts";
import { join } from "./tree.ts";

/** The one number of a FrozenBatchNorm2d. */
export interface FrozenBatchNormOptions {
  /** Added to the variance, inside the root. Default 1e-5. */
  readonly eps?: number;
}

/**
 * BatchNorm2d with everything constant: weight, bias and statistics are buffers, there is no parameter and no counter, and `train` and
 * `eval` change nothing. Gradients flow to x alone.
 *
 * y = x * scale + (bias - runningMean * scale), with scale = weight / sqrt(runningVar + eps)
 *
 * Reads state dicts of BatchNorm2d and of torchvision's and detectron2's classes of this name: `num_batches_tracked` is dropped, and where
 * the layout is older than version 2 or not stated, a missing running_mean means 0 and a missing running_var 1.
 *
 * Numerics: computed as (x - runningMean) * scale + bias, which keeps digits where runningMean is far from 0.
 * Throws: ArgumentError unless numFeatures is an integer >= 0; ShapeError if x has not 4 axes; otherwise as `nn.functional.batchNorm`.
 * Source: torchvision ops.FrozenBatchNorm2d; detectron2 layers.FrozenBatchNorm2d, state version 3.
 *
 * @example
 * const norm = new nn.FrozenBatchNorm2d(64);
 */
export class FrozenBatchNorm2d extends Module {
  static override readonly kind: string = "FrozenBatchNorm2d";

  /** Number of channels. */
  readonly numFeatures: number;
  /** Added to the variance, inside the root. */
  eps: number;
  /** (C), a buffer. */
  declare weight: Tensor;
  /** (C), a buffer. */
  declare bias: Tensor;
  /** (C) */
  declare runningMean: Tensor;
  /** (C) */
  declare runningVar: Tensor;

  constructor(numFeatures: number, { eps = 1e-5 }: FrozenBatchNormOptions = {}) {
    super();
    if (!Number.isInteger(numFeatures) || numFeatures < 0) {
      throw new ArgumentError({
        op: this.kind,
        expected: "numFeatures to be an integer >= 0",
        actual: String(numFeatures),
      });
    }
    this.numFeatures = numFeatures;
    this.eps = eps;
    this[internals].loadHooks.set("frozenBatchNorm", dropCounter);
    this.registerBuffer("weight", ones([numFeatures]));
    this.registerBuffer("bias", zeros([numFeatures]));
    this.registerBuffer("runningMean", zeros([numFeatures]));
    this.registerBuffer("runningVar", ones([numFeatures]));
  }

  /** Normalises x by the running statistics. Shapes: x (N, C, H, W); returns like x. */
  forward(x: Tensor): Tensor {
    return this[forwardWith](x, {});
  }

  /** @internal */
  [forwardWith](x: Tensor, epilogue: Epilogue): Tensor {
    checkTensor(this.kind, x);
    if (x.shape.length !== 4) {
      throw new ShapeError({
        op: this.kind,
        expected: "x with 4 axes (N, C, H, W)",
        actual: `${x.shape.length} axes, shape ${formatShape(x.shape)}`,
      });
    }
    const { weight, bias, eps } = this;
    const { runningMean, runningVar } = asInFirstRun(
      this[internals],
      { usesBatch: false, isTracking: false, learns: false, ...statisticsOf(this) },
      keepDecision,
    );
    return batchNorm(x, runningMean, runningVar, { weight, bias, eps, ...epilogue });
  }

  protected override get stateVersion(): number {
    return 3;
  }

  /** @internal Layouts before version 2, and dictionaries without one, may lack statistics that are 0 and 1. */
  override missingState(name: string, version: number | null): number | null {
    const isOld = version === null || version < 2;
    if (!isOld || (name !== "runningMean" && name !== "runningVar")) return null;
    return name === "runningVar" ? 1 : 0;
  }

  override extraRepr(): string {
    return formatPython([this.numFeatures], { eps: this.eps });
  }
}

/** The layers that it stands for count batches; a file of theirs has the counter. */
function dropCounter(_module: Module, keys: SourceKeys, { path }: LoadPlace): void {
  keys.delete(join(path, "num_batches_tracked"));
}

function statisticsOf({ runningMean, runningVar }: FrozenBatchNorm2d) {
  return { runningMean, runningVar };
}

/**
 * Puts a FrozenBatchNorm2d in the place of every BatchNorm2d below `model`, which is changed in place and returned; a BatchNorm2d itself
 * gives a new module. Weight and bias are copied, running statistics are the same tensors as before, `eps` and the mode are taken over.
 *
 * An optimizer that holds the old parameters goes on moving tensors that nobody uses: make it afterwards. Hooks of replaced layers and
 * their counter and momentum are lost. `nn.freezeBatchNorm` freezes without any of this.
 * Throws: ArgumentError for a layer without running statistics, a lazy one without values, and a subclass with a forward of its own, before
 * anything changes.
 * Unlike PyTorch: it has no such function; detectron2's drops the forward of a subclass in silence.
 * Source: detectron2 FrozenBatchNorm2d.convert_frozen_batchnorm.
 *
 * @example
 * const model = nn.convertFrozenBatchNorm(models.resnet50());
 */
export function convertFrozenBatchNorm(model: BatchNorm2d): FrozenBatchNorm2d;
export function convertFrozenBatchNorm<M extends Module>(model: M): M;
export function convertFrozenBatchNorm(model: Module): Module {
  return replaceModules(model, (module, path) =>
    module instanceof BatchNorm2d ? frozenOf(module, path) : null,
  );
}

/**
 * Puts a BatchNorm2d in the place of every FrozenBatchNorm2d below `model`, as `convertFrozenBatchNorm` does the reverse. All four
 * tensors are copied; the mode is taken over, the momentum is 0.1, the counter 0, and weight and bias learn: give them to an optimizer.
 *
 * Source: detectron2 FrozenBatchNorm2d.convert_frozenbatchnorm2d_to_batchnorm2d.
 */
export function convertFrozenToBatchNorm(model: FrozenBatchNorm2d): BatchNorm2d;
export function convertFrozenToBatchNorm<M extends Module>(model: M): M;
export function convertFrozenToBatchNorm(model: Module): Module {
  return replaceModules(model, (module) =>
    module instanceof FrozenBatchNorm2d ? learningOf(module) : null,
  );
}

function frozenOf(layer: BatchNorm2d, path: string): FrozenBatchNorm2d {
  const { eps, runningMean, runningVar } = layer;
  const where = path === "" ? "the model itself" : path;
  if (layer.forward !== BatchNorm2d.prototype.forward) {
    reject("layers with the forward of BatchNorm2d", `${layer.kind} with its own at ${where}`);
  }
  if (runningMean === null || runningVar === null) {
    reject("layers with running statistics", `none at ${where}`);
  }
  if (layer.awaitsShape(runningMean)) {
    reject("layers that have values", `a ${layer.kind} before its first batch at ${where}`);
  }
  const { device, dtype, size } = runningMean;
  const frozen = new FrozenBatchNorm2d(size, { eps }).to(device).to(dtype);
  frozen.loadStateDict(layer.stateDict(), { strict: false }); // without weight or bias, 1 and 0 stay
  frozen.runningMean = runningMean;
  frozen.runningVar = runningVar;
  return frozen.train(layer.training);
}

function learningOf(frozen: FrozenBatchNorm2d): BatchNorm2d {
  const { numFeatures, eps, training } = frozen;
  const { device, dtype } = frozen.runningMean;
  const layer = new BatchNorm2d(numFeatures, { eps }).to(device).to(dtype);
  layer.loadStateDict(new Map(frozen.stateDict())); // without its version, which would ask for a counter
  return layer.train(training);
}

function reject(expected: string, actual: string): never {
  throw new ArgumentError({ op: "convertFrozenBatchNorm", expected, actual });
}

/** Batch norm and the ReLU behind it in one pass over the data, where nobody can tell the difference. */
import { sameShape } from "../core/shape.ts";
import { add } from "../ops/elementwise.ts";
import { asInFirstRun } from "../tensor/recompute.ts";
import { backendFor, Tensor } from "../tensor/tensor.ts";
import { ReLU } from "./activation.ts";
import { BatchNorm2d } from "./batch-norm.ts";
import { currentWatcher, runModule } from "./call.ts";
import type { Layer } from "./container.ts";
import { type Epilogue, forwardWith } from "./epilogue.ts";
import { FrozenBatchNorm2d } from "./frozen-batch-norm.ts";
import { internals } from "./internals.ts";
import { Module } from "./module.ts";

/** What is between batch norm and ReLU. */
export interface BatchNormReluOptions {
  /** Added to what batch norm gives. Default null: nothing. */
  readonly residual?: Tensor | null;
}

/** A layer that can do more in its pass. */
type Fusable = Module & { [forwardWith](x: Tensor, epilogue: Epilogue): Tensor };

// Taken when this file is loaded: a forward that somebody puts in their place later is run.
const { invoke } = Module.prototype;
const reluForward = ReLU.prototype.forward;
const normForwards: ReadonlySet<unknown> = new Set([
  BatchNorm2d.prototype.forward,
  FrozenBatchNorm2d.prototype.forward,
]);

/**
 * `relu(bn(x))`, or `relu(bn(x) + residual)`, for a forward of your own: in one pass over x where that makes no difference, which saves
 * the time and the memory of what is in between. `nn.Sequential` does the same for a batch norm with a ReLU behind it, and so do the
 * blocks of `models`; `nn.summary` shows where.
 *
 * One pass it is when bn is a BatchNorm1d, 2d, 3d or FrozenBatchNorm2d and relu an `nn.ReLU`, neither with hooks, with a forward of its
 * own or lazy, and when x and residual are alike (float16 with a residual is rounded in between, and so is not one pass). Otherwise
 * the modules are called one after the other, as written above, and broadcasting and errors are theirs.
 *
 * Numerics: the same bits either way on the cpu; on the reference device float32 with a residual is rounded once less.
 *
 * @example
 * forward(x: Tensor) {
 *   const y = nn.batchNormRelu(this.bn1, this.relu, this.conv1(x));
 *   return nn.batchNormRelu(this.bn2, this.relu, this.conv2(y), { residual: x });
 * }
 */
export function batchNormRelu(
  bn: Layer,
  relu: Layer,
  x: Tensor,
  { residual = null }: BatchNormReluOptions = {},
): Tensor {
  const isOnePass = fuses(bn, relu) && (residual === null || isAddable(residual, x));
  // A second run under `recompute` keeps for backward what the first one announced.
  if (isFusable(bn) && asInFirstRun(bn[internals].hooks, isOnePass)) {
    return inOnePass(bn, relu, { x, residual });
  }
  const y = bn(x);
  return relu(residual === null ? y : add(y, residual));
}

/** Whether both may run in one pass, as far as it depends on them. */
export function fuses(bn: Layer, relu: Layer): boolean {
  return relu.forward === reluForward && isUnobserved(relu) && isFusable(bn) && isUnobserved(bn);
}

function isFusable(bn: Module): bn is Fusable {
  return normForwards.has(bn.forward);
}

/** Whether a call is nothing but the forward. */
function isUnobserved(module: Module): boolean {
  const { hooks, preHooks, inputDType } = module[internals];
  return hooks.size === 0 && preHooks.size === 0 && inputDType === null && module.invoke === invoke;
}

/** Whether the sum of what batch norm gives for x and the residual is taken element by element, and rounded nowhere in between. */
function isAddable(residual: unknown, x: unknown): boolean {
  return (
    residual instanceof Tensor &&
    x instanceof Tensor &&
    residual.dtype === x.dtype &&
    x.dtype !== "float16" &&
    backendFor(residual) === backendFor(x) &&
    sameShape(residual.shape, x.shape)
  );
}

function inOnePass(
  bn: Fusable,
  relu: Module,
  { x, residual }: { readonly x: Tensor; readonly residual: Tensor | null },
): Tensor {
  const y = runModule(bn, () => bn[forwardWith](x, { residual, relu: true }));
  currentWatcher()?.ended(relu, y);
  currentWatcher()?.fused(bn, residual !== null);
  return y;
}

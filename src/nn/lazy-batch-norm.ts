/** Batch norm layers that learn their number of channels from the first batch, or from the first values loaded. */
import { ShapeError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { checkTensor } from "../ops/check.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type AnyBatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormLayerOptions,
} from "./batch-norm.ts";
import { takeShape } from "./move.ts";

/**
 * A BatchNorm1d whose channels are counted at its first call, in training or evaluation, from axis 1 of x. Until then `numFeatures` is 0 and
 * its vectors are empty; they keep their identity, so an optimizer may hold them already. From then on it is a BatchNorm1d.
 *
 * Unlike PyTorch: `numFeatures` is set also when real values were loaded before the first call, or when there is no vector at all.
 * Throws: ShapeError if the first x has fewer than 2 axes; otherwise as BatchNorm1d.
 * Source: PyTorch nn.LazyBatchNorm1d.
 */
export class LazyBatchNorm1d extends BatchNorm1d {
  static override readonly kind: string = "LazyBatchNorm1d";

  constructor(options: BatchNormLayerOptions = {}) {
    super(0, options);
  }

  /** @internal */
  override awaitsShape(value: Tensor): boolean {
    return isPlaceholder(value);
  }

  /** @internal */
  override invoke(args: readonly unknown[]): unknown {
    settle(this, args[0]);
    return Object.setPrototypeOf(this, BatchNorm1d.prototype).invoke(args);
  }
}

/** As LazyBatchNorm1d, for BatchNorm2d. */
export class LazyBatchNorm2d extends BatchNorm2d {
  static override readonly kind: string = "LazyBatchNorm2d";

  constructor(options: BatchNormLayerOptions = {}) {
    super(0, options);
  }

  /** @internal */
  override awaitsShape(value: Tensor): boolean {
    return isPlaceholder(value);
  }

  /** @internal */
  override invoke(args: readonly unknown[]): unknown {
    settle(this, args[0]);
    return Object.setPrototypeOf(this, BatchNorm2d.prototype).invoke(args);
  }
}

/** As LazyBatchNorm1d, for BatchNorm3d. */
export class LazyBatchNorm3d extends BatchNorm3d {
  static override readonly kind: string = "LazyBatchNorm3d";

  constructor(options: BatchNormLayerOptions = {}) {
    super(0, options);
  }

  /** @internal */
  override awaitsShape(value: Tensor): boolean {
    return isPlaceholder(value);
  }

  /** @internal */
  override invoke(args: readonly unknown[]): unknown {
    settle(this, args[0]);
    return Object.setPrototypeOf(this, BatchNorm3d.prototype).invoke(args);
  }
}

function isPlaceholder(value: Tensor): boolean {
  return value.size === 0;
}

/** Gives a layer the channels of x. Values that were loaded before stay. */
function settle(layer: AnyBatchNorm, x: unknown): void {
  checkTensor(layer.kind, x);
  if (x.shape.length < 2) {
    throw new ShapeError({
      op: layer.kind,
      expected: "x with at least 2 axes (N, C, ...)",
      actual: formatShape(x.shape),
    });
  }
  const { weight, bias, runningMean, runningVar } = layer;
  const vectors = [weight, bias, runningMean, runningVar].filter((vector) => vector !== null);
  const empty = vectors.filter(isPlaceholder);
  layer.numFeatures = vectors.find((vector) => !isPlaceholder(vector))?.size ?? x.shape[1];
  for (const vector of empty) takeShape(vector, [layer.numFeatures]);
  if (empty.length > 0) layer.resetParameters();
}

/** Folding a batch norm in evaluation into the layer before it: one affine map per channel after another is one. */
import { hostArray } from "../core/dtype.ts";
import { tensor } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { AnyBatchNorm } from "./batch-norm.ts";
import { ConvLayer } from "./conv-layer.ts";
import { ConvTranspose } from "./conv-transpose.ts";
import { Linear } from "./linear.ts";
import type { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";

/** A layer that a batch norm can be folded into. */
export type Foldable = ConvLayer | Linear;

export function isFoldable(module: Module): module is Foldable {
  return module instanceof ConvLayer || module instanceof Linear;
}

export function channelsOf(layer: Foldable): number {
  return layer instanceof Linear ? layer.outFeatures : layer.outChannels;
}

/** Axes of an output whose channels lie on axis 1, where batch norm has them. */
export function batchedRank(layer: Foldable): number {
  return layer instanceof Linear ? 2 : layer.kernelSize.length + 2;
}

export interface FoldedParameters {
  readonly weight: Parameter;
  readonly bias: Parameter;
}

/**
 * Weight and bias of a layer that does what `layer` and then `bn` do.
 *
 * scale = gamma / sqrt(runningVar + eps), weight' = weight scale, bias' = (bias - runningMean) scale + beta, per output channel
 *
 * Numerics: computed in float64 on the host and rounded once, to the layer's dtype.
 */
export async function fold(layer: Foldable, bn: AnyBatchNorm): Promise<FoldedParameters> {
  const C = channelsOf(layer);
  const vector = async (t: Tensor | null, value: number) =>
    t === null ? new Float64Array(C).fill(value) : Float64Array.from(await t.data());
  const gamma = await vector(bn.weight, 1);
  const beta = await vector(bn.bias, 0);
  const mean = await vector(bn.runningMean, 0);
  const variance = await vector(bn.runningVar, 1);
  const bias = await vector(layer.bias, 0);
  const scale = gamma.map((g, c) => g / Math.sqrt(variance[c] + bn.eps));
  const weight = await layer.weight.data();
  const channelAt = channelsOfWeight(layer);
  return {
    weight: parameterLike(layer.weight, {
      shape: layer.weight.shape,
      requiresGrad: layer.weight.requiresGrad,
      valueAt: (i) => weight[i] * scale[channelAt(i)],
    }),
    bias: parameterLike(layer.weight, {
      shape: [C],
      // As PyTorch: a bias that there was not before does not learn.
      requiresGrad: layer.bias?.requiresGrad ?? false,
      valueAt: (c) => (bias[c] - mean[c]) * scale[c] + beta[c],
    }),
  };
}

/** The output channel that element i of the weight belongs to. */
function channelsOfWeight(layer: Foldable): (i: number) => number {
  const { shape, size } = layer.weight;
  if (!(layer instanceof ConvTranspose)) {
    const perChannel = size / shape[0];
    return (i) => Math.floor(i / perChannel);
  }
  // (in, out / groups, ...): the input channels of group g hold the weights of its output channels only.
  const outPerGroup = shape[1];
  const perInput = size / shape[0];
  const perOutput = perInput / outPerGroup;
  const inPerGroup = layer.inChannels / layer.groups;
  return (i) => {
    const group = Math.floor(Math.floor(i / perInput) / inPerGroup);
    return group * outPerGroup + (Math.floor(i / perOutput) % outPerGroup);
  };
}

interface ParameterPlan {
  readonly shape: readonly number[];
  readonly requiresGrad: boolean;
  readonly valueAt: (i: number) => number;
}

function parameterLike(like: Tensor, { shape, requiresGrad, valueAt }: ParameterPlan): Parameter {
  const size = shape.reduce((product, n) => product * n, 1);
  const values = hostArray(like.dtype, size);
  for (let i = 0; i < size; i++) values[i] = valueAt(i);
  const made = tensor(values, { shape, dtype: like.dtype, device: like.device });
  const parameter = new Parameter(made, requiresGrad);
  made.dispose();
  return parameter;
}

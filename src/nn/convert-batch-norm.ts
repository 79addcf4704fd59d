import { ArgumentError } from "../core/errors.ts";
import { type AnyBatchNorm, isBatchNorm } from "./batch-norm.ts";
import { GroupNorm } from "./group-norm.ts";
import type { Module } from "./module.ts";
import { replaceModules } from "./replace-modules.ts";

/** How `convertBatchNormToGroupNorm` groups channels. */
export interface GroupNormConversionOptions {
  /**
   * Groups of every layer, or what they are for so many channels; must divide these. Default: the greatest common divisor of 32 and the
   * channels.
   */
  readonly groups?: number | ((channels: number) => number);
}

/** What `convertBatchNormToGroupNorm` did. */
export interface GroupNormConversion<M extends Module> {
  /** The model that was given; its replacement when it was a batch norm itself. */
  readonly model: M extends AnyBatchNorm ? GroupNorm : M;
  /** Paths of the layers that were replaced, as in `namedModules()`. */
  readonly replaced: readonly string[];
}

/**
 * Puts a GroupNorm in the place of every BatchNorm1d, 2d and 3d of a model: for batches too small to take statistics from.
 *
 * The new layer takes over weight and bias themselves (optimizers that hold them go on), eps and the mode; a layer without them gets none. The
 * running statistics end. The model computes something else from then on and needs training. Hooks stay with the old layers.
 * Of (N, C) batches as many groups as channels leave one value each, which gives the bias: choose fewer `groups` for those.
 *
 * Throws: ArgumentError if the groups do not divide the channels of a layer, a lazy layer has not been called yet, or a layer's place is
 * read-only. Nothing is replaced when it throws.
 *
 * @example
 * const { replaced } = nn.convertBatchNormToGroupNorm(model, { groups: 8 });
 */
export function convertBatchNormToGroupNorm<M extends Module>(
  model: M,
  { groups = defaultGroups }: GroupNormConversionOptions = {},
): GroupNormConversion<M> {
  const groupsFor = typeof groups === "number" ? () => groups : groups;
  const old = new Map<string, AnyBatchNorm>();
  const result = replaceModules(model, (module, path) => {
    if (!isBatchNorm(module)) return null;
    old.set(path, module);
    return groupNormFor(module, path, groupsFor);
  });
  for (const { runningMean, runningVar } of old.values()) {
    runningMean?.dispose();
    runningVar?.dispose();
  }
  return {
    model: result as GroupNormConversion<M>["model"],
    replaced: [...old.keys()],
  };
}

function groupNormFor(
  layer: AnyBatchNorm,
  path: string,
  groupsFor: (channels: number) => number,
): GroupNorm {
  const { weight, bias, eps, training } = layer;
  const channels = (weight ?? bias)?.size ?? layer.numFeatures;
  if (channels === 0) {
    throw new ArgumentError({
      op: "convertBatchNormToGroupNorm",
      expected: `a layer with channels at ${path === "" ? "the root" : path}`,
      actual: `a ${layer.kind} with 0`,
      hint: "call a model with lazy layers once before converting it",
    });
  }
  const norm = new GroupNorm(groupsFor(channels), channels, { eps, affine: false });
  norm.affine = layer.affine;
  norm.weight = weight;
  norm.bias = bias;
  norm.training = training;
  return norm;
}

function defaultGroups(channels: number): number {
  let groups = 32;
  while (channels % groups !== 0) groups /= 2;
  return groups;
}

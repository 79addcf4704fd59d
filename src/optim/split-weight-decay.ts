import { isBatchNorm } from "../nn/batch-norm.ts";
import type { Module } from "../nn/module.ts";
import { Parameter } from "../nn/parameter.ts";
import { checkAtLeast } from "./param-group.ts";

/** A group for an optimizer. */
export interface DecayGroup {
  /** Its parameters, in the model's order. */
  readonly params: readonly Parameter[];
  /** The decay that was asked for, or 0. */
  readonly weightDecay: number;
}

/** What else is spared. */
export interface SplitWeightDecayOptions {
  /** Keep the decay off every layer's bias too. Default false. */
  readonly biases?: boolean;
}

/**
 * Two groups for an optimizer: what weight decay pulls on, and what it leaves alone, the weights and biases of batch norm and other
 * normalization layers. Their scale is undone by nothing that follows, and pulling it to 0 only slows the channel down.
 *
 * Every parameter of the model, frozen ones included, is in one group once; one that a normalization layer shares is not decayed.
 * Throws: ArgumentError for a negative weightDecay.
 *
 * @example
 * new optim.SGD(optim.splitWeightDecay(model, 5e-4, { biases: true }), { lr: 0.1, momentum: 0.9 });
 */
export function splitWeightDecay(
  model: Module,
  weightDecay: number,
  { biases = false }: SplitWeightDecayOptions = {},
): [DecayGroup, DecayGroup] {
  checkAtLeast("splitWeightDecay", "weightDecay", weightDecay, 0);
  const spared = new Set<Parameter>();
  for (const module of model.modules()) {
    for (const { name, value } of module.ownState()) {
      const isSpared = isNormalization(module) || (biases && name === "bias");
      if (value instanceof Parameter && isSpared) spared.add(value);
    }
  }
  const parameters = model.parameters();
  return [
    { params: parameters.filter((parameter) => !spared.has(parameter)), weightDecay },
    { params: parameters.filter((parameter) => spared.has(parameter)), weightDecay: 0 },
  ];
}

/** BatchNorm2d, subclasses of it, LayerNorm, GroupNorm, InstanceNorm1d and what else names itself so. */
function isNormalization(module: Module): boolean {
  return isBatchNorm(module) || /Norm(\dd)?$/.test(module.kind);
}

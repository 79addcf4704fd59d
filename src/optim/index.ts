export { Adam, type AdamGroupOptions, type AdamOptions, AdamW, type AdamWOptions } from "./adam.ts";
export { AveragedModel, type AveragedModelOptions, type EmaAveraging } from "./averaged-model.ts";
export { flattenState, type Packed, type StateTree, unflattenState } from "./flatten-state.ts";
/** Learning rate schedules. */
export * as lrScheduler from "./lr-scheduler/index.ts";
export { SWALR, type SWALROptions } from "./lr-scheduler/swa-lr.ts";
export { Optimizer, type OptimizerKind } from "./optimizer.ts";
export type { OptimizerState } from "./optimizer-state.ts";
export type {
  GivenGroup,
  GivenParameters,
  GroupOptions,
  ParamGroup,
  Schedule,
} from "./param-group.ts";
export { RMSprop, type RMSpropGroupOptions, type RMSpropOptions } from "./rmsprop.ts";
export { SGD, type SGDGroupOptions, type SGDOptions } from "./sgd.ts";
export {
  type DecayGroup,
  type SplitWeightDecayOptions,
  splitWeightDecay,
} from "./split-weight-decay.ts";
export type { StateValue } from "./state-value.ts";

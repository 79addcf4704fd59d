/** Learning rate schedules: optim.lrScheduler. */
export type { AnnealStrategy } from "./anneal.ts";
export { OneCycleLR, type OneCycleLROptions } from "./one-cycle.ts";
export { ReduceLROnPlateau, type ReduceLROnPlateauOptions } from "./reduce-on-plateau.ts";
export { LRScheduler, type SchedulerOptions, type SchedulerState } from "./scheduler.ts";
export { SequentialLR } from "./sequential.ts";
export {
  CosineAnnealingLR,
  type CosineAnnealingLROptions,
  LambdaLR,
  LinearLR,
  type LinearLROptions,
  type LrLambda,
} from "./smooth.ts";
export { ExponentialLR, type GammaOptions, MultiStepLR, StepLR } from "./step.ts";

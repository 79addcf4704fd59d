/** Schedules by PyTorch's names, built from what the fixtures say. */
import { optim } from "../../src/index.ts";

/** What all schedules have in common; those that take no metric ignore it. */
export interface Schedule {
  step(metric: number): void;
  getLastLr(): number[];
  stateDict(): optim.lrScheduler.SchedulerState;
  loadStateDict(source: optim.StateValue): void;
}

const { lrScheduler } = optim;
type Stepper = optim.Optimizer;
type Make = (stepper: Stepper, arg: number & string & number[], options: object) => Schedule;

const lambdas: Readonly<Record<string, optim.lrScheduler.LrLambda>> = {
  decay: (epoch) => 0.95 ** epoch,
  wave: (epoch) => 0.5 + 0.5 * Math.cos(epoch / 3),
};

export const makers = {
  StepLR: (stepper, size, options) => new lrScheduler.StepLR(stepper, size, options),
  MultiStepLR: (stepper, at, options) => new lrScheduler.MultiStepLR(stepper, at, options),
  ExponentialLR: (stepper, gamma, options) =>
    new lrScheduler.ExponentialLR(stepper, gamma, options),
  LinearLR: (stepper, _, options) => new lrScheduler.LinearLR(stepper, options),
  CosineAnnealingLR: (stepper, tMax, options) =>
    new lrScheduler.CosineAnnealingLR(stepper, tMax, options),
  LambdaLR: (stepper, names: string | readonly string[]) =>
    new lrScheduler.LambdaLR(
      stepper,
      typeof names === "string" ? lambdas[names] : names.map((name) => lambdas[name]),
    ),
  OneCycleLR: (stepper, maxLr, options) => new lrScheduler.OneCycleLR(stepper, maxLr, options),
  SWALR: (stepper, swaLr, options) => new optim.SWALR(stepper, swaLr, options),
  ReduceLROnPlateau: (stepper, _, options) => new lrScheduler.ReduceLROnPlateau(stepper, options),
} satisfies Record<string, Make>;

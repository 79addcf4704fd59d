/** What all models are asked for, and its check: before anything is allocated. */
import { ArgumentError } from "../core/errors.ts";
import { checkProbability } from "../ops/dropout.ts";

/** What every model takes. */
export interface ModelOptions {
  /** How many numbers come out for each image; a whole number >= 1. Default 1000. */
  readonly numClasses?: number;
}

/** What models take that have dropout before their linear layers. */
export interface DropoutModelOptions extends ModelOptions {
  /** Probability of being zeroed there, in training. Default 0.5 for VGG, 0.2 for MobileNetV2. */
  readonly dropout?: number;
}

/** Throws ArgumentError unless `numClasses` is a whole number >= 1. */
export function checkClasses(op: string, numClasses: number): void {
  if (Number.isInteger(numClasses) && numClasses >= 1) return;
  throw new ArgumentError({
    op,
    expected: "numClasses to be a whole number >= 1",
    actual: String(numClasses),
  });
}

/** The options with their defaults. Throws ArgumentError for values out of range. */
export function checkedOptions(
  op: string,
  { numClasses = 1000, dropout }: DropoutModelOptions,
  defaultDropout: number,
): Required<DropoutModelOptions> {
  const p = dropout ?? defaultDropout;
  checkClasses(op, numClasses);
  checkProbability(op, p);
  return { numClasses, dropout: p };
}

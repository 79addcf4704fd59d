/** The optimizers by PyTorch's names, for tests that hold for each of them. */
import { optim } from "../../src/index.ts";

type Make = (
  parameters: optim.GivenParameters,
  options: { readonly lr?: number },
) => optim.Optimizer;

export const optimizers = {
  SGD: (parameters, options) => new optim.SGD(parameters, options),
  Adam: (parameters, options) => new optim.Adam(parameters, options),
  AdamW: (parameters, options) => new optim.AdamW(parameters, options),
  RMSprop: (parameters, options) => new optim.RMSprop(parameters, options),
} satisfies Record<string, Make>;

export type OptimizerName = keyof typeof optimizers;

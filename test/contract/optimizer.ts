import type { AdamOptions, SgdOptions } from "../../src/backend/backend.ts";
import { expectLikeReference, inout, input, type KernelCase } from "../support/kernel-case.ts";
import { lengths, longLength } from "../support/layouts.ts";
import { distinct } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { combine } from "./movement.ts";

type Sgd = Omit<SgdOptions, "isFirstStep">;
type Adam = Omit<AdamOptions, "step">;

const plainSgd: Sgd = {
  learningRate: 0.1,
  momentum: 0,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
};
const withMomentum: readonly Sgd[] = [
  { ...plainSgd, momentum: 0.9 },
  { ...plainSgd, momentum: 0.9, nesterov: true },
  { ...plainSgd, momentum: 0.5, dampening: 0.25 },
  { ...plainSgd, momentum: 0.9, weightDecay: 0.01, nesterov: true },
];
const adam: Adam = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 };
const steps = [1, 2, 3, 4, 5];

/** sgdStep and adamStep, several steps each, so that state carried from one to the next is checked. */
export function optimizerContract(claim: Claim): void {
  claim("sgdStep: without momentum, with and without weight decay", (backend) =>
    expectLikeReference(
      backend,
      combine([plainSgd, { ...plainSgd, weightDecay: 0.1 }], lengths, plainCase),
    ),
  );

  claim("sgdStep: momentum, dampening, Nesterov, a buffer of NaN", (backend) =>
    expectLikeReference(backend, combine(withMomentum, lengths, momentumCase)),
  );

  claim("adamStep: bias correction by step, weight decay, other betas and eps", (backend) =>
    expectLikeReference(
      backend,
      combine(
        [
          adam,
          { ...adam, weightDecay: 0.1 },
          { ...adam, beta1: 0.5, beta2: 0.9, eps: 1e-3 },
          { ...adam, beta1: 0 },
        ],
        lengths,
        adamCase,
      ),
    ),
  );

  claim("adamStep: gradients near 0 meet eps, far steps lose their correction", (backend) =>
    expectLikeReference(backend, [
      tinyGradientCase(1),
      tinyGradientCase(1000),
      tinyGradientCase(1e6),
    ]),
  );
}

function plainCase(options: Sgd, n: number): KernelCase {
  return {
    label: `SGD of ${n}, ${JSON.stringify(options)}`,
    given: { parameter: inout(distinct(n, { seed: 1 })), grad: input(distinct(n, { seed: 2 })) },
    run: (backend, o) => {
      for (const step of steps)
        backend.sgdStep(o.parameter, o.grad, null, { ...options, isFirstStep: step === 1 });
    },
  };
}

/** Momentum buffers start at NaN: the first step must not read them. */
function momentumCase(options: Sgd, n: number): KernelCase {
  return {
    label: `SGD of ${n}, ${JSON.stringify(options)}`,
    given: {
      parameter: inout(distinct(n, { seed: 1 })),
      grad: input(distinct(n, { seed: 2 })),
      buffer: inout(new Float32Array(n).fill(Number.NaN)),
    },
    run: (backend, o) => {
      for (const step of steps)
        backend.sgdStep(o.parameter, o.grad, o.buffer, { ...options, isFirstStep: step === 1 });
    },
  };
}

function adamCase(options: Adam, n: number): KernelCase {
  return {
    label: `Adam of ${n}, ${JSON.stringify(options)}`,
    given: {
      parameter: inout(distinct(n, { seed: 1 })),
      grad: input(distinct(n, { seed: 2 })),
      expAvg: inout(new Float32Array(n)),
      expAvgSq: inout(new Float32Array(n)),
    },
    run: (backend, o) => {
      for (const step of steps)
        backend.adamStep(o.parameter, o.grad, o.expAvg, o.expAvgSq, { ...options, step });
    },
  };
}

function tinyGradientCase(step: number): KernelCase {
  const n = 33;
  const magnitudes = Float32Array.from({ length: n }, (_, i) => 10 ** (-i / 3));
  return {
    label: `Adam at step ${step} with gradients down to 1e-11`,
    given: {
      parameter: inout(distinct(n, { seed: 1 })),
      grad: input(magnitudes),
      expAvg: inout(magnitudes.map((g) => g * 0.5)),
      expAvgSq: inout(magnitudes.map((g) => g * g)),
    },
    run: (backend, o) =>
      backend.adamStep(o.parameter, o.grad, o.expAvg, o.expAvgSq, { ...adam, step }),
  };
}

/** Parameters large enough to be spread over threads. */
export function largeOptimizerCases(): KernelCase[] {
  return [
    plainCase(plainSgd, longLength),
    momentumCase(withMomentum[3], longLength),
    adamCase({ ...adam, weightDecay: 0.1 }, longLength),
  ];
}

import type {
  AdamEntry,
  AdamOptions,
  RmspropEntry,
  RmspropOptions,
  SgdOptions,
} from "../../src/backend/backend.ts";
import {
  expectLikeReference,
  inout,
  input,
  type KernelCase,
  type Operands,
} from "../support/kernel-case.ts";
import { lengths, longLength } from "../support/layouts.ts";
import { distinct } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { combine } from "./movement.ts";
import { listCases } from "./optimizer-lists.ts";

type Sgd = Omit<SgdOptions, "isFirstStep">;
type Adam = Omit<AdamOptions, "step"> & { readonly amsgrad: boolean };
type Rmsprop = RmspropOptions & { readonly centered: boolean };

const plainSgd: Sgd = {
  learningRate: 0.1,
  momentum: 0,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  maximize: false,
};
const withoutMomentum: readonly Sgd[] = [
  plainSgd,
  { ...plainSgd, weightDecay: 0.1 },
  { ...plainSgd, maximize: true },
  { ...plainSgd, weightDecay: 0.1, maximize: true },
];
const withMomentum: readonly Sgd[] = [
  { ...plainSgd, momentum: 0.9 },
  { ...plainSgd, momentum: 0.9, nesterov: true },
  { ...plainSgd, momentum: 0.5, dampening: 0.25 },
  { ...plainSgd, momentum: 0.9, weightDecay: 0.01, nesterov: true, maximize: true },
];
const adam: Adam = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0,
  decoupledWeightDecay: false,
  maximize: false,
  amsgrad: false,
};
const rmsprop: Rmsprop = {
  learningRate: 0.01,
  alpha: 0.9,
  eps: 1e-3,
  weightDecay: 0,
  momentum: 0,
  maximize: false,
  centered: false,
};
const steps = [1, 2, 3, 4, 5];

/** The optimizers' steps, several each, so that state carried from one to the next is checked. */
export function optimizerContract(claim: Claim): void {
  claim(
    "sgdStep: without momentum, with and without weight decay, downhill and uphill",
    (backend) => expectLikeReference(backend, combine(withoutMomentum, lengths, plainCase)),
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

  claim("adamStep: decoupled weight decay, amsgrad, uphill, and all at once", (backend) =>
    expectLikeReference(
      backend,
      combine(
        [
          { ...adam, weightDecay: 0.5, decoupledWeightDecay: true },
          { ...adam, amsgrad: true },
          { ...adam, maximize: true, weightDecay: 0.1 },
          { ...adam, weightDecay: 0.5, decoupledWeightDecay: true, amsgrad: true, maximize: true },
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

  claim("rmspropStep: plain, centered, momentum, weight decay, uphill", (backend) =>
    expectLikeReference(
      backend,
      combine(
        [
          rmsprop,
          { ...rmsprop, alpha: 0.5, weightDecay: 0.1 },
          { ...rmsprop, centered: true },
          { ...rmsprop, momentum: 0.9 },
          { ...rmsprop, maximize: true, weightDecay: 0.1 },
          { ...rmsprop, centered: true, momentum: 0.9, weightDecay: 0.1, maximize: true },
        ],
        lengths,
        rmspropCase,
      ),
    ),
  );

  claim("rmspropStep: a variance that rounding takes below 0 counts as 0", (backend) =>
    expectLikeReference(backend, [negativeVarianceCase()]),
  );

  claim("every step: an infinite parameter matters to weight decay alone", (backend) =>
    expectLikeReference(backend, infiniteParameterCases()),
  );

  claim("every step: a list of parameters of all sizes, each as if it were alone", (backend) =>
    expectLikeReference(backend, listCases(lengths)),
  );

  claim("averageInto: weights from 0 to 1, far ends exact", (backend) =>
    expectLikeReference(backend, combine([0, 0.1, 0.5, 0.75, 1], lengths, averageCase)),
  );

  claim("averageInto: weight 1 gives the very values, weight 0 leaves the average", (backend) =>
    expectLikeReference(backend, [0, 1].map(hugeAverageCase)),
  );
}

function plainCase(options: Sgd, n: number): KernelCase {
  return {
    label: `SGD of ${n}, ${JSON.stringify(options)}`,
    given: { parameter: inout(distinct(n, { seed: 1 })), grad: input(distinct(n, { seed: 2 })) },
    run: (backend, o) => {
      for (const step of steps)
        backend.sgdStep([{ parameter: o.parameter, grad: o.grad, momentumBuffer: null }], {
          ...options,
          isFirstStep: step === 1,
        });
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
        backend.sgdStep([{ parameter: o.parameter, grad: o.grad, momentumBuffer: o.buffer }], {
          ...options,
          isFirstStep: step === 1,
        });
    },
  };
}

/** The third gradient is small, so that the greatest second average is an older one. */
function adamCase(options: Adam, n: number): KernelCase {
  const grad = distinct(n, { seed: 2 });
  return {
    label: `Adam of ${n}, ${JSON.stringify(options)}`,
    given: {
      parameter: inout(distinct(n, { seed: 1 })),
      grad: input(grad),
      smaller: input(grad.map((g) => g * 0.01)),
      expAvg: inout(new Float32Array(n)),
      expAvgSq: inout(new Float32Array(n)),
      maxExpAvgSq: inout(distinct(n, { seed: 3 }).map((x) => Math.abs(x) * 1e-3)),
    },
    run: (backend, o) => {
      const maximum = options.amsgrad ? o.maxExpAvgSq : null;
      for (const step of steps) {
        const grad = step === 3 ? o.smaller : o.grad;
        backend.adamStep([{ ...adamEntry(o), grad, maxExpAvgSq: maximum }], { ...options, step });
      }
    },
  };
}

function adamEntry({ parameter, grad, expAvg, expAvgSq }: Operands): AdamEntry {
  return { parameter, grad, expAvg, expAvgSq, maxExpAvgSq: null };
}

function rmspropEntry({ parameter, grad, squareAvg }: Operands): RmspropEntry {
  return { parameter, grad, squareAvg, gradAvg: null, momentumBuffer: null };
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
    run: (backend, o) => backend.adamStep([adamEntry(o)], { ...adam, step }),
  };
}

function rmspropCase(options: Rmsprop, n: number): KernelCase {
  return {
    label: `RMSprop of ${n}, ${JSON.stringify(options)}`,
    given: {
      parameter: inout(distinct(n, { seed: 1 })),
      grad: input(distinct(n, { seed: 2 })),
      squareAvg: inout(new Float32Array(n)),
      gradAvg: inout(new Float32Array(n)),
      buffer: inout(new Float32Array(n)),
    },
    run: (backend, o) => {
      const gradAvg = options.centered ? o.gradAvg : null;
      const buffer = options.momentum > 0 ? o.buffer : null;
      for (const _ of steps)
        backend.rmspropStep([{ ...rmspropEntry(o), gradAvg, momentumBuffer: buffer }], options);
    },
  };
}

/** alpha 1 keeps the averages as they are: squares of 1 beside mean gradients above 1. */
function negativeVarianceCase(): KernelCase {
  const n = 7;
  return {
    label: "RMSprop with a negative variance",
    given: {
      parameter: inout(distinct(n, { seed: 1 })),
      grad: input(distinct(n, { seed: 2 })),
      squareAvg: inout(new Float32Array(n).fill(1)),
      gradAvg: inout(Float32Array.from({ length: n }, (_, i) => 0.8 + i * 0.1)),
    },
    run: (backend, o) =>
      backend.rmspropStep([{ ...rmspropEntry(o), gradAvg: o.gradAvg }], { ...rmsprop, alpha: 1 }),
  };
}

function infiniteParameterCases(): KernelCase[] {
  const given = () => ({
    parameter: inout([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 1, 2]),
    grad: input([1, 2, 3, 4, 5]),
    first: inout([0, 0, 0, 0, 0]),
    second: inout([0, 0, 0, 0, 0]),
  });
  return [0, 0.1].flatMap((weightDecay): KernelCase[] => [
    {
      label: `SGD with decay ${weightDecay}`,
      given: given(),
      run: (backend, o) => {
        const options = { ...plainSgd, weightDecay, momentum: 0.9, isFirstStep: false };
        backend.sgdStep(
          [{ parameter: o.parameter, grad: o.grad, momentumBuffer: o.first }],
          options,
        );
      },
    },
    {
      label: `Adam with decay ${weightDecay}`,
      given: given(),
      run: (backend, o) => {
        const options = { ...adam, weightDecay, step: 1 };
        const state = { expAvg: o.first, expAvgSq: o.second };
        backend.adamStep([adamEntry({ ...o, ...state })], options);
      },
    },
    {
      label: `RMSprop with decay ${weightDecay}`,
      given: given(),
      run: (backend, o) => {
        const options = { ...rmsprop, weightDecay };
        const entry = rmspropEntry({ ...o, squareAvg: o.first });
        backend.rmspropStep([{ ...entry, gradAvg: o.second }], options);
      },
    },
  ]);
}

function averageCase(weight: number, n: number): KernelCase {
  return {
    label: `average of ${n}, weight ${weight}`,
    given: { x: input(distinct(n, { seed: 1 })), average: inout(distinct(n, { seed: 2 })) },
    run: (backend, o) => backend.averageInto(o.x, o.average, weight),
  };
}

/** Values so far apart that going all the way by adding the difference would miss the end. */
function hugeAverageCase(weight: number): KernelCase {
  return {
    label: `average of values far apart, weight ${weight}`,
    given: { x: input([1.1, 2.2, 3.3, 4.4, 5.5]), average: inout([1e9, -1e9, 3e8, 7e8, 1e8]) },
    isExact: true,
    run: (backend, o) => backend.averageInto(o.x, o.average, weight),
  };
}

/** Parameters large enough to be spread over threads. */
export function largeOptimizerCases(): KernelCase[] {
  return [
    plainCase(plainSgd, longLength),
    momentumCase(withMomentum[3], longLength),
    adamCase({ ...adam, weightDecay: 0.1 }, longLength),
    adamCase({ ...adam, amsgrad: true }, longLength),
    rmspropCase({ ...rmsprop, centered: true, momentum: 0.9 }, longLength),
    ...listCases([longLength, 5, longLength]),
    averageCase(0.3, longLength),
  ];
}

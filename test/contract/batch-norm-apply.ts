import type { ChannelLayout } from "../../src/backend/backend.ts";
import { expectLikeReference, input, type KernelCase, output } from "../support/kernel-case.ts";
import { distinct } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import {
  badBatches,
  channelLayouts,
  channelValues,
  label,
  largeChannelLayouts,
  statisticsFor,
  updateCase,
} from "./batch-norm.ts";
import { combine } from "./movement.ts";

/** batchNormApply with each epilogue. */
export function batchNormApplyContract(claim: Claim): void {
  for (const [relu, hasResidual] of combine([false, true], [false, true], (a, b) => [a, b])) {
    const epilogue = `${hasResidual ? ", residual" : ""}${relu ? ", relu" : ""}`;
    claim(`batchNormApply${epilogue}: with and without weight and bias`, (backend) =>
      expectLikeReference(
        backend,
        combine(weightings, channelLayouts, (weighting, layout) =>
          applyCase(layout, { ...weighting, relu, hasResidual }),
        ),
      ),
    );
  }

  claim("batchNormApply: far from 0, y keeps the precision that x has", (backend) =>
    expectLikeReference(
      backend,
      channelLayouts.map((layout) => farFromZero(applyCase(layout, plain), layout)),
    ),
  );

  claim("batchNormApply: NaN and infinities pass through, relu keeps NaN", (backend) =>
    expectLikeReference(
      backend,
      combine([false, true], badBatches, (relu, { layout, x }) =>
        applyCase(layout, { hasWeight: true, hasBias: true, hasResidual: false, relu, x }),
      ),
    ),
  );
}

/** batchNormTrain with each epilogue. */
export function batchNormTrainContract(claim: Claim): void {
  for (const [relu, hasResidual] of combine([false, true], [false, true], (a, b) => [a, b])) {
    const epilogue = `${hasResidual ? ", residual" : ""}${relu ? ", relu" : ""}`;
    claim(`batchNormTrain${epilogue}: all layouts`, (backend) =>
      expectLikeReference(
        backend,
        channelLayouts
          .filter(({ N, S }) => N * S > 1)
          .map((layout) => trainCase(layout, { relu, hasResidual })),
      ),
    );
  }

  claim("batchNormTrain: NaN and infinities stay in their channels", (b) =>
    expectLikeReference(
      b,
      badBatches.map(({ layout, x }) => trainCase(layout, { relu: true, hasResidual: false, x })),
    ),
  );
}

const plain = { hasWeight: true, hasBias: true, hasResidual: false, relu: false };

/** The same case with 10^4 added to x and to the means, which then are no float32 numbers. */
export function farFromZero(kernelCase: KernelCase, { C }: ChannelLayout): KernelCase {
  const { x } = kernelCase.given;
  const means = Float64Array.from({ length: C }, (_, c) => 1e4 + (c % 5) - 1.4 + c / 1000);
  return {
    ...kernelCase,
    label: `${kernelCase.label}, far from 0`,
    given: {
      ...kernelCase.given,
      x: input(Float32Array.from(x.values, (value) => value + 1e4)),
      mean: input(means, "statistics"),
    },
  };
}

const weightings = combine([true, false], [true, false], (hasWeight, hasBias) => ({
  hasWeight,
  hasBias,
}));

const eps = 1e-5;

interface ApplySketch {
  readonly hasWeight: boolean;
  readonly hasBias: boolean;
  readonly hasResidual: boolean;
  readonly relu: boolean;
  readonly x?: Float32Array;
}

export function applyCase(layout: ChannelLayout, sketch: ApplySketch): KernelCase {
  const { hasWeight, hasBias, hasResidual, relu } = sketch;
  const x = sketch.x ?? channelValues(layout, 10);
  return {
    label: `${label("batchNormApply", layout)} ${JSON.stringify({ ...sketch, x: undefined })}`,
    given: {
      x: input(x),
      ...statisticsFor(layout),
      weight: input(distinct(layout.C, { seed: 11 })),
      bias: input(distinct(layout.C, { seed: 12 })),
      residual: input(distinct(x.length, { seed: 13 })),
      y: output(x.length),
    },
    run: (backend, o) =>
      backend.batchNormApply(
        o.x,
        o.mean,
        o.variance,
        hasWeight ? o.weight : null,
        hasBias ? o.bias : null,
        o.y,
        { ...layout, eps, relu, residual: hasResidual ? o.residual : null },
      ),
  };
}

interface TrainSketch {
  readonly relu: boolean;
  readonly hasResidual: boolean;
  readonly x?: Float32Array;
}

/** batchNormTrain: statistics of x itself, y, and the update of the running statistics. */
export function trainCase(layout: ChannelLayout, sketch: TrainSketch): KernelCase {
  const { relu, hasResidual, x } = sketch;
  const update = updateCase(layout, { momentum: 0.1, skipped: null, ...(x && { x }) });
  const common = applyCase(layout, { ...{ hasWeight: true, hasBias: true }, ...sketch });
  return {
    label: `${label("batchNormTrain", layout)} ${JSON.stringify({ relu, hasResidual })}`,
    given: { ...common.given, ...update.given },
    run: (backend, o) =>
      backend.batchNormTrain(
        ...([o.x, o.mean, o.variance, o.weight, o.bias, o.y] as const),
        {
          ...{ runningMean: o.runningMean, runningVar: o.runningVar, skipped: null },
          ...{ momentum: 0.1, batches: 5 },
        },
        { ...layout, eps, relu, residual: hasResidual ? o.residual : null },
      ),
  };
}

/** Activations large enough to be spread over threads. */
export function largeApplyCases(): KernelCase[] {
  return combine([false, true], largeChannelLayouts, (fused, layout) => [
    applyCase(layout, { hasWeight: true, hasBias: true, relu: fused, hasResidual: fused }),
    trainCase(layout, { relu: fused, hasResidual: fused }),
  ]).flat();
}

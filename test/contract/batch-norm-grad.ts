import type { BatchNormGradOutputs, ChannelLayout } from "../../src/backend/backend.ts";
import {
  expectLikeReference,
  input,
  type KernelCase,
  type Operands,
  output,
} from "../support/kernel-case.ts";
import { distinct } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { channelLayouts, channelValues, largeChannelLayouts, statisticsFor } from "./batch-norm.ts";
import { farFromZero } from "./batch-norm-apply.ts";
import { combine } from "./movement.ts";

/** batchNormGrad. */
export function batchNormGradContract(claim: Claim): void {
  for (const batchStatistics of [true, false]) {
    const mode = batchStatistics ? "batch statistics" : "running statistics";
    for (const relu of ["none", "given", "repeated"] as const) {
      claim(`batchNormGrad: ${mode}, relu ${relu}, all layouts`, (backend) =>
        expectLikeReference(
          backend,
          combine([true, false], channelLayouts, (hasWeight, layout) =>
            gradCase(layout, { batchStatistics, relu, hasWeight, wanted: outputNames }),
          ),
        ),
      );

      claim(`batchNormGrad: ${mode}, relu ${relu}, each subset of outputs`, (backend) =>
        expectLikeReference(
          backend,
          combine(subsets, [true, false], (wanted, hasWeight) =>
            [
              { N: 3, C: 5, S: 7 },
              { N: 6, C: 9, S: 1 },
            ].map((layout) => gradCase(layout, { batchStatistics, relu, hasWeight, wanted })),
          ).flat(),
        ),
      );
    }
  }

  claim("batchNormGrad: far from 0, gradients keep the precision that x has", (backend) =>
    expectLikeReference(
      backend,
      channelLayouts.map((layout) => {
        const sketch = { batchStatistics: true, relu: "none", hasWeight: true } as const;
        return farFromZero(gradCase(layout, { ...sketch, wanted: outputNames }), layout);
      }),
    ),
  );

  claim("batchNormGrad: dy counts only where relu's output is above 0", (backend) => {
    const layout = { N: 2, C: 2, S: 4 };
    const common = gradCase(layout, {
      ...{ batchStatistics: true, hasWeight: true, wanted: outputNames },
      relu: "given",
    });
    const y = [0, -0, 1, Number.NaN, 1e-40, Infinity, -1, 2, 0, 1, 0, 1, 0, 1, 0, 1];
    const dy = [Number.NaN, Infinity, 1, Number.NaN, 2, 3, -Infinity, 4, 1, 2, 3, 4, 5, 6, 7, 8];
    return expectLikeReference(backend, [
      { ...common, given: { ...common.given, reluOutput: input(y), dy: input(dy) } },
    ]);
  });
}

const outputNames = ["dx", "dWeight", "dBias", "dResidual"] as const;
type OutputName = (typeof outputNames)[number];

/** Every non-empty choice of outputs. */
const subsets: readonly (readonly OutputName[])[] = Array.from({ length: 15 }, (_, i) =>
  outputNames.filter((_, bit) => ((i + 1) >> bit) % 2 === 1),
);

interface GradSketch {
  readonly batchStatistics: boolean;
  /** Not fused; y given; or to be computed again. */
  readonly relu: "none" | "given" | "repeated";
  readonly hasWeight: boolean;
  readonly wanted: readonly OutputName[];
}

export function gradCase(layout: ChannelLayout, sketch: GradSketch): KernelCase {
  const { batchStatistics, relu, hasWeight, wanted } = sketch;
  const { N, C, S } = layout;
  const length = N * C * S;
  const sizes = { dx: length, dWeight: C, dBias: C, dResidual: length };
  return {
    label: `batchNormGrad of (${N}, ${C}, ${S}) ${JSON.stringify(sketch)}`,
    given: {
      dy: input(distinct(length, { seed: 1 })),
      x: input(channelValues(layout, 2)),
      ...statisticsFor(layout),
      weight: input(distinct(C, { seed: 3 })),
      bias: input(distinct(C, { seed: 5 })),
      // As a relu leaves it: about half of it 0.
      reluOutput: input(distinct(length, { seed: 4 }).map((y) => Math.max(y, 0))),
      // Outputs not asked for are given as inputs: nothing may write them.
      ...Object.fromEntries(
        outputNames.map((name) => [
          name,
          wanted.includes(name) ? output(sizes[name]) : input(new Float32Array(sizes[name])),
        ]),
      ),
    },
    run: (backend, o) =>
      backend.batchNormGrad(
        o.dy,
        o.x,
        o.mean,
        o.variance,
        hasWeight ? o.weight : null,
        hasWeight ? o.bias : null,
        relu === "given" ? o.reluOutput : null,
        outputsOf(o, wanted),
        { ...layout, eps: 1e-5, relu: relu !== "none", batchStatistics },
      ),
  };
}

function outputsOf(operands: Operands, wanted: readonly OutputName[]): BatchNormGradOutputs {
  const pick = (name: OutputName) => (wanted.includes(name) ? operands[name] : null);
  return {
    dx: pick("dx"),
    dWeight: pick("dWeight"),
    dBias: pick("dBias"),
    dResidual: pick("dResidual"),
  };
}

/** Activations large enough to be spread over threads. */
export function largeGradCases(): KernelCase[] {
  const variants = [
    { batchStatistics: true, relu: "given" },
    { batchStatistics: true, relu: "repeated" },
    { batchStatistics: true, relu: "none" },
    { batchStatistics: false, relu: "repeated" },
  ] as const;
  // Without a residual the kernels take sums and gradients of different channels in one loop.
  const choices = [outputNames, ["dx", "dWeight", "dBias"]] as const;
  return combine(variants, largeChannelLayouts, (variant, layout) =>
    choices.map((wanted) => gradCase(layout, { ...variant, hasWeight: true, wanted })),
  ).flat();
}

/** 3x3 convolutions with one input channel in each group go another way on the CPU (src/backend/cpu/conv-depthwise.ts). */
import { expect, test } from "vitest";
import { suitsDepthwise, suitsDepthwiseGradient } from "../src/backend/cpu/conv-depthwise.ts";
import { createCpuBackend } from "../src/backend/cpu/index.ts";
import {
  convCase,
  convGradInputCase,
  convGradWeightCase,
  convLayout,
  square,
} from "./contract/conv.ts";
import { cpuBuilds } from "./support/backends.ts";
import { execute, referenceFor } from "./support/kernel-case.ts";

const suited = { N: 2, C: 6, K: 6, groups: 6, H: 9, W: 10, ...square(3, { padding: 1 }) };

test("one or few output channels in each group, any stride and dilation, suit it", () => {
  const changes = [
    {},
    { K: 18 },
    { strideH: 2 },
    { strideW: 3 },
    { dilationW: 2 },
    { paddingH: 3 },
  ];
  const layouts = changes.map((change) => convLayout({ ...suited, ...change }));
  expect(layouts.filter((layout) => !suitsDepthwise(layout))).toEqual([]);
});

test("other kernels, wider groups and many outputs do not", () => {
  const changes = [{ kernelH: 1 }, { kernelW: 5 }, { groups: 3 }, { K: 24 }, { C: 1, groups: 1 }];
  const layouts = changes.map((change) => convLayout({ ...suited, ...change }));
  expect(layouts.filter(suitsDepthwise)).toEqual([]);
  // The gradient of x is a sum over the outputs of a group.
  expect(suitsDepthwiseGradient(convLayout({ ...suited, K: 12 }))).toBe(false);
});

test.each(cpuBuilds)(
  "what an earlier image left in scratch reaches no other, $build build",
  async ({ relaxed }) => {
    const backend = createCpuBackend({ threads: 1, relaxed });
    const changes = [
      { H: 61, W: 300 },
      { H: 30, W: 31, strideH: 2, strideW: 2 },
      { H: 7, W: 7 },
      { H: 64, W: 250, strideH: 2, strideW: 2 },
      { H: 5, W: 3, dilationH: 2 },
    ];
    // In turn on one backend, so that each finds the rows of the one before it.
    for (const change of [...changes, ...changes.toReversed()]) {
      const layout = convLayout({ ...suited, ...change });
      for (const makeCase of [convCase, convGradInputCase, convGradWeightCase]) {
        const kernelCase = makeCase(layout);
        (await referenceFor(kernelCase))(await execute(backend, kernelCase), "in turn");
      }
    }
  },
);

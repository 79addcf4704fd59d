import { expect, test } from "vitest";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import {
  convCase,
  convGradInputCase,
  convGradWeightCase,
  convLayout,
  square,
} from "../contract/conv.ts";
import { expectSameBytes } from "./close.ts";
import { execute, type KernelCase } from "./kernel-case.ts";
import { createQuickReference } from "./quick-reference.ts";

const layouts = [
  { N: 2, C: 3, K: 4, H: 5, W: 7, ...square(3) },
  { N: 3, C: 4, K: 3, H: 6, W: 4, ...square(3, { padding: 1 }) },
  { N: 2, C: 2, K: 5, H: 4, W: 5, ...square(3), paddingH: 2, paddingW: 0 },
  { N: 1, C: 5, K: 2, H: 1, W: 6, ...square(3), paddingH: 1, paddingW: 2 },
  { N: 2, C: 3, K: 4, H: 6, W: 7, ...square(3, { stride: 2, padding: 1 }) },
].map(convLayout);

/** The same numbers in float64, where nothing hides the order of a sum. */
function inFloat64(kernelCase: KernelCase): KernelCase {
  const given = Object.entries(kernelCase.given).map(([name, each]) => [
    name,
    { ...each, dtype: "float64" as const },
  ]);
  return { ...kernelCase, given: Object.fromEntries(given) };
}

test.each([
  ["forward", convCase],
  ["forward without bias", (layout) => convCase(layout, { hasBias: false })],
  ["gradient of the input", convGradInputCase],
  ["gradient of the weight", convGradWeightCase],
] satisfies [string, (layout: (typeof layouts)[0]) => KernelCase][])(
  "%s: the bits of the reference backend",
  async (_, makeCase) => {
    for (const layout of layouts) {
      const kernelCase = makeCase(layout);
      for (const each of [kernelCase, inFloat64(kernelCase)]) {
        const quick = await execute(createQuickReference(), each);
        const plain = await execute(createReferenceBackend(), each);
        for (const name of Object.keys(plain)) expectSameBytes(quick[name], plain[name], name);
      }
    }
  },
);

test("other convolutions are refused", async () => {
  const [layout] = layouts;
  for (const change of [{ strideH: 3 }, { dilationW: 2 }, { outH: layout.outH - 1 }]) {
    const kernelCase = convCase({ ...layout, ...change });
    await expect(execute(createQuickReference(), kernelCase)).rejects.toThrow("does not know");
  }
});

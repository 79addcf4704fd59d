/** The CPU kernels on large operands: right across the seams between chunks, and the same bits for any number of threads. */
import { describe, test } from "vitest";
import { createCpuBackend } from "../../src/backend/cpu/index.ts";
import { cpuBuilds } from "../support/backends.ts";
import { expectSameBytes } from "../support/close.ts";
import { type Contents, execute, referenceFor } from "../support/kernel-case.ts";
import { largeCases } from "./large.ts";

const builds = cpuBuilds.map(({ build, relaxed }) => ({
  build,
  alone: createCpuBackend({ threads: 1, relaxed }),
  others: [2, 4].map((threads) => createCpuBackend({ threads, relaxed })),
}));

describe.each(Object.keys(largeCases))("large operands, %s", (section) => {
  test("like the reference, and the same bits on 1, 2 and 4 threads", async () => {
    for (const kernelCase of await largeCases[section]()) {
      const expectLikeReference = await referenceFor(kernelCase);
      for (const { build, alone, others } of builds) {
        const actual = await execute(alone, kernelCase, 1);
        expectLikeReference(actual, `${build} build`);
        // Twice each: which thread takes which chunk changes from run to run.
        for (const other of [...others, ...others]) {
          const again = await execute(other, kernelCase, 1);
          expectSameContents(again, actual, `${kernelCase.label}, ${build} build`);
        }
      }
    }
  });
});

function expectSameContents(actual: Contents, expected: Contents, label: string): void {
  for (const name of Object.keys(expected)) {
    expectSameBytes(actual[name], expected[name], `${label}: ${name} on more threads`);
  }
}

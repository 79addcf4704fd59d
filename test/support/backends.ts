import type { Backend } from "../../src/backend/backend.ts";
import { createCpuBackend } from "../../src/backend/cpu/index.ts";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";

/** One way to run the kernels that the contract suite holds to account. */
export interface BackendUnderTest {
  readonly name: string;
  readonly make: () => Backend;
}

/** The builds of the CPU kernels: results differ between them in the last bits, never within one. */
export const cpuBuilds = [
  { build: "plain", relaxed: false },
  { build: "relaxed", relaxed: true },
] as const;

/** Every backend present in Node. */
export const backends: readonly BackendUnderTest[] = [
  { name: "reference", make: createReferenceBackend },
  ...cpuBuilds.flatMap(({ build, relaxed }) =>
    [1, 4].map((threads) => ({
      name: `cpu, ${build} build, ${threads} thread${threads > 1 ? "s" : ""}`,
      make: () => createCpuBackend({ threads, relaxed }),
    })),
  ),
];

/** What the tests of convolutions by tiles have in common. */
import type { Backend } from "../../src/backend/backend.ts";
import { expectSameBytes } from "./close.ts";
import { execute, input, type KernelCase, type referenceFor } from "./kernel-case.ts";

interface Build {
  readonly backend: Backend;
  /** The same on other numbers of threads. */
  readonly others: readonly Backend[];
}

/** Fails unless a case gives what the reference does, at two alignments, and the same bits on all numbers of threads. */
export async function expectOnAllThreads(
  { backend, others }: Build,
  kernelCase: KernelCase,
  expectLikeReference: Awaited<ReturnType<typeof referenceFor>>,
): Promise<void> {
  for (const shift of [0, 1]) {
    const actual = await execute(backend, kernelCase, shift);
    expectLikeReference(actual, `shift ${shift}`);
    for (const other of others) {
      const again = await execute(other, kernelCase, shift);
      for (const name of Object.keys(actual)) {
        expectSameBytes(again[name], actual[name], `${kernelCase.label}: ${name}`);
      }
    }
  }
}

/** Places of NaN in what a case wrote to `out`, where operand `from` has a NaN at place `at`. */
export async function spoilt(
  backend: Backend,
  kernelCase: KernelCase,
  { from, out, at = 0 }: { readonly from: string; readonly out: string; readonly at?: number },
): Promise<number[]> {
  const values = Float32Array.from(kernelCase.given[from].values);
  values[at] = Number.NaN;
  const given = { ...kernelCase.given, [from]: input(values) };
  const contents = await execute(backend, { ...kernelCase, given });
  return [...contents[out].keys()].filter((i) => Number.isNaN(contents[out][i]));
}

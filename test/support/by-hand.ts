import type { Backend } from "../../src/backend/backend.ts";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import { expectClose, tolerance } from "./close.ts";
import { execute, type Given, input, type Operands, output } from "./kernel-case.ts";

/** What the operands hold after a call on the reference backend. */
export async function resultsOf(
  given: Readonly<Record<string, Given>>,
  run: (backend: Backend, operands: Operands) => void,
): Promise<Readonly<Record<string, ArrayLike<number>>>> {
  return execute(createReferenceBackend(), { label: "by hand", given, run });
}

/** A float64 input of these numbers. */
export const f64 = (...values: number[]) => input(values, "float64");
/** A float64 output. */
export const f64Out = (length: number) => output(length, "float64");
/** An int32 input of these numbers. */
export const ints = (...values: number[]) => input(values, "int32");

/** Fails unless the elements are these, to float64's tolerance. */
export function expectValues(actual: ArrayLike<number>, ...expected: number[]): void {
  expectClose(actual, expected, tolerance.float64);
}

import type { Backend, Operand } from "../../src/backend/backend.ts";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import { bytesPerElement, type DType, hostArray, type TypedArray } from "../../src/core/dtype.ts";
import { roundToFloat16 } from "../../src/core/half.ts";
import { expectClose, expectSameBytes, expectWithin, type Tolerance, tolerance } from "./close.ts";

/** `statistics` stands for the type that the backend at hand keeps batch norm's mean and variance in. */
type GivenDType = DType | "statistics";

/** What an operand holds before the call, and whether the kernel may write it. */
export interface Given {
  readonly dtype: GivenDType;
  readonly values: ArrayLike<number>;
  readonly isWritten: boolean;
}

/** Operands by the names that the case gave them. */
export type Operands = Readonly<Record<string, Operand>>;
export type Contents = Readonly<Record<string, TypedArray>>;

/** One or more kernel calls on operands with known contents, runnable on any backend. */
export interface KernelCase {
  readonly label: string;
  readonly given: Readonly<Record<string, Given>>;
  /**
   * Set where each output is a sum of at most this many products that may be accumulated in float32. Outputs are then held to
   * `dotProductBounds`, everything else to the tolerance of its type (integers: equal).
   */
  readonly products?: number;
  /** Set where one correctly rounded result exists: data movement, comparisons, single IEEE operations. Outputs must be equal. */
  readonly isExact?: boolean;
  /** Set where the type's own tolerance would be too loose to notice a defect. */
  readonly tolerance?: Tolerance;
  run(backend: Backend, operands: Operands): void;
}

/** Read by the kernel; must be the same bytes afterwards. */
export function input(values: ArrayLike<number>, dtype: GivenDType = "float32"): Given {
  return { dtype, values, isWritten: false };
}

/** Written by the kernel, wholly: starts as a value that no kernel computes. */
export function output(length: number, dtype: GivenDType = "float32"): Given {
  return { dtype, values: new Array<number>(length).fill(poison), isWritten: true };
}

/** Read and written. */
export function inout(values: ArrayLike<number>, dtype: GivenDType = "float32"): Given {
  return { dtype, values, isWritten: true };
}

const poison = 113;
const guard = 77;
/** Elements around every operand that nothing may write; on the left a whole 64 bytes of float32, to keep the shift exact. */
const guardElements = 16;

interface Placed {
  readonly whole: Operand;
  readonly operand: Operand;
  /** What the whole allocation was given. */
  readonly host: TypedArray;
  readonly isWritten: boolean;
}

/**
 * Runs a case and gives what all its operands hold afterwards. Operand k starts (k + 1) * shift mod 4 elements past an aligned
 * address, so that operands of one call are misaligned differently; a write outside any operand fails.
 */
export async function execute(
  backend: Backend,
  { label, given, run }: KernelCase,
  shift = 0,
): Promise<Contents> {
  const placed = new Map<string, Placed>();
  const operands: Record<string, Operand> = {};
  for (const [k, name] of Object.keys(given).entries()) {
    const place = put(backend, given[name], ((k + 1) * shift) % 4);
    placed.set(name, place);
    operands[name] = place.operand;
  }
  try {
    run(backend, operands);
    return await readAll(backend, placed, `${label}, shift ${shift}`);
  } finally {
    for (const { whole } of placed.values()) backend.free(whole.handle);
  }
}

async function readAll(
  backend: Backend,
  placed: ReadonlyMap<string, Placed>,
  label: string,
): Promise<Contents> {
  const contents: Record<string, TypedArray> = {};
  for (const [name, { whole, operand, host, isWritten }] of placed) {
    const all = await backend.read(whole);
    const { offset, length } = operand;
    contents[name] = all.slice(offset, offset + length);
    if (isWritten) host.set(contents[name], offset);
    // Guards always, and read-only operands too, must be the bytes they were.
    expectSameBytes(all, host, `${label}: what ${name} must not change`);
  }
  return contents;
}

const exact = { rtol: 0, atol: 0 };

function put(backend: Backend, { dtype: wanted, values, isWritten }: Given, shift: number): Placed {
  const dtype = wanted === "statistics" ? backend.statisticsDType : wanted;
  const offset = guardElements + shift;
  const length = offset + values.length + guardElements;
  const host = hostArray(dtype, length).fill(guard);
  host.set(dtype === "float16" ? Float32Array.from(values, roundToFloat16) : values, offset);
  const handle = backend.alloc(length * bytesPerElement(dtype));
  const whole = { handle, offset: 0, length, dtype };
  backend.write(whole, host);
  return { whole, operand: { handle, offset, length: values.length, dtype }, host, isWritten };
}

/** Runs each case on the backend, at four alignments, and on the reference, and compares every operand of every call. */
export async function expectLikeReference(
  backend: Backend,
  cases: Iterable<KernelCase>,
  shifts: readonly number[] = [0, 1, 2, 3],
): Promise<void> {
  for (const kernelCase of cases) {
    const expect = await referenceFor(kernelCase);
    for (const shift of shifts) expect(await execute(backend, kernelCase, shift), `shift ${shift}`);
  }
}

/** Runs a case on the reference, or what takes its place, and gives the comparison of another backend's contents with it. */
export async function referenceFor(
  kernelCase: KernelCase,
  reference = createReferenceBackend(),
): Promise<(actual: Contents, where: string) => void> {
  const expected = await execute(reference, kernelCase);
  const bounds = await dotProductBounds(kernelCase, reference);
  return (actual, where) => {
    for (const name of Object.keys(kernelCase.given)) {
      const label = `${kernelCase.label}: ${name}, ${where}`;
      const pair = [actual[name], expected[name]] as const;
      const { isExact, tolerance = toleranceOf(...pair) } = kernelCase;
      if (bounds) expectWithin(...pair, bounds[name], label);
      else expectClose(...pair, isExact ? exact : tolerance, label);
    }
  };
}

/** A float32 operand on either side means float32's tolerance; integers must be equal. */
function toleranceOf(actual: TypedArray, expected: TypedArray): Tolerance {
  if (actual instanceof Float32Array || expected instanceof Float32Array) return tolerance.float32;
  if (actual instanceof Float64Array) return tolerance.float64;
  return exact;
}

/**
 * Numerics: a sum of K products in float32, in any order, with or without fused multiply-add, is off by at most
 * K u / (1 - K u) * sum |a b| with u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Two more
 * roundings pay for the bias or the store, and for the reference's own store. sum |a b| is the same case run on absolute
 * values in float64. One product left out or taken twice is about 1 / K of that sum, far outside the bound.
 */
async function dotProductBounds(
  kernelCase: KernelCase,
  reference: Backend,
): Promise<Contents | undefined> {
  if (kernelCase.products === undefined) return undefined;
  const given = Object.fromEntries(
    Object.entries(kernelCase.given).map(([name, { values, isWritten }]) => [
      name,
      { dtype: "float64" as const, values: Float64Array.from(values, Math.abs), isWritten },
    ]),
  );
  const sums = await execute(reference, { ...kernelCase, given });
  const errors = (kernelCase.products + 2) * 2 ** -24;
  return Object.fromEntries(
    Object.entries(sums).map(([name, sum]) => [
      name,
      sum.map((magnitude) => (magnitude * errors) / (1 - errors)),
    ]),
  );
}

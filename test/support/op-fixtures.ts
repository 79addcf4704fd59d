/**
 * Runs the cases of one fixture file made by test/fixtures/cases.py: each operation's output, and the gradient of each floating
 * input for the recorded cotangent, on every backend.
 */
import { describe, expect, test } from "vitest";
import type { Tensor } from "../../src/index.ts";
import { expectClose, type Tolerance, tolerance } from "./close.ts";
import { Fixture, readCases } from "./fixtures.ts";

interface Case<Options> {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly options: Options;
  readonly differentiable: boolean;
}

interface Result {
  readonly values: Tensor;
  readonly indices?: Tensor;
}

export type Inputs = Readonly<Record<string, Tensor>>;
/** `options` holds those of the operation at hand. */
export type Operation<Options> = (inputs: Inputs, options: Options) => Tensor | Result;

const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;

/**
 * Declares the tests of `<file>.jsonl` and `<file>.safetensors`.
 *
 * @param operations what each "op" of the file means here; none may be missing or left over.
 * @param float32 tolerance of the float32 runs; another than the usual one needs a reason beside it.
 */
export function testOperations<Options>(
  file: string,
  operations: Readonly<Record<string, Operation<Options>>>,
  float32: Tolerance = tolerance.float32,
): void {
  const fixture = new Fixture(file);
  const cases = readCases<Case<Options>>(file);

  async function expectTensor(actual: Tensor | null, key: string): Promise<void> {
    const { shape, values } = fixture.get(key);
    expect(actual?.shape, `shape of ${key}`).toEqual(shape);
    const pair = actual?.dtype === "float64" ? tolerance.float64 : float32;
    expectClose((await actual?.data()) ?? [], values, pair, key);
  }

  async function expectGradient(input: Tensor, key: string): Promise<void> {
    if (fixture.has(key)) return expectTensor(input.grad, key);
    expect(input.grad, key).toBeNull();
  }

  test(`${file}: the fixtures cover every operation of the table`, () => {
    expect(new Set(cases.map(({ op }) => op))).toEqual(new Set(Object.keys(operations)));
  });

  describe.each(placements)(`${file}: $dtype on $device agrees with PyTorch`, (placement) => {
    const { device, dtype } = placement;
    test.each(cases)("$name", async ({ name, op, inputs, options, differentiable }) => {
      const place = { device, dtype, requiresGrad: differentiable };
      const tensors = Object.fromEntries(
        inputs.map((input) => [input, fixture.tensor(`${name}/${input}`, place)]),
      );
      const result = asResult(operations[op](tensors, options));

      await expectTensor(result.values, `${name}/out`);
      if (result.indices !== undefined) await expectTensor(result.indices, `${name}/indices`);
      expect(result.values.requiresGrad).toBe(differentiable);
      if (!differentiable) return;

      result.values.backward(fixture.tensor(`${name}/cotangent`, { device, dtype }));
      for (const input of inputs) await expectGradient(tensors[input], `${name}/grad_${input}`);
    });
  });
}

function asResult(result: Tensor | Result): Result {
  return "values" in result ? result : { values: result };
}

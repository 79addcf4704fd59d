/** float16 against what PyTorch computes in float16 on the CPU. */
import { describe, expect, test } from "vitest";
import { type DType, nn, type Tensor, tensor } from "../src/index.ts";
import { expectClose, type Tolerance, tolerance } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";

interface Case {
  readonly name: string;
  readonly op: "batchNorm" | "linear" | "conv2d";
  readonly inputs: readonly string[];
  readonly options: { readonly training?: boolean; readonly padding?: number };
  /** dtype of what batch norm learns and remembers. */
  readonly vectors: "float16" | "float32";
}
type Inputs = Readonly<Record<string, Tensor>>;

const fixture = new Fixture("half");
const cases = readCases<Case>("half");
const { batchNorm, linear, conv2d } = nn.functional;

const operations: Readonly<
  Record<Case["op"], (inputs: Inputs, options: Case["options"]) => Tensor>
> = {
  batchNorm: ({ x, weight, bias, running_mean, running_var }, options) =>
    batchNorm(x, running_mean, running_var, { ...options, weight, bias }),
  linear: ({ x, weight, bias }) => linear(x, weight, bias),
  conv2d: ({ x, weight, bias }, options) => conv2d(x, weight, { ...options, bias }),
};

function given(key: string, dtype: DType, device: "cpu" | "reference"): Tensor {
  const { shape, values } = fixture.get(key);
  return tensor(values, { shape, dtype, device });
}

interface Expected {
  readonly dtype: "float16" | "float32";
  readonly pair: Tolerance;
}

/** It has the dtype here that it has there. */
function expectLikePyTorch(actual: Tensor | null, key: string, { dtype, pair }: Expected): void {
  expect(actual?.dtype, key).toBe(dtype);
  expectClose(actual?.dataSync() ?? [], fixture.values(key), pair, key);
}

/**
 * PyTorch rounds the mean and invStd of a batch to the dtype of its vectors, 2 ** -11 of up to 5 standard deviations from 0. Here they are
 * float64: the difference is PyTorch's error.
 */
const roundedStatistics = { rtol: 1e-3, atol: 5 * 2 ** -11 };

describe.each(["cpu", "reference"] as const)("float16 on %s", (device) => {
  test.each(cases)("$name beside $vectors, $options", ({ name, op, inputs, options, vectors }) => {
    const entries = inputs.map((input): [string, Tensor] => {
      const t = given(`${name}/${input}`, input === "x" ? "float16" : vectors, device);
      t.requiresGrad = !input.startsWith("running");
      return [input, t];
    });
    const y = operations[op](Object.fromEntries(entries), options);
    y.backward(given(`${name}/cotangent`, "float16", device));

    const isRounded = vectors === "float16" && options.training === true;
    const pairs = { ...tolerance, ...(isRounded && { float16: roundedStatistics }) };
    const expected = (dtype: "float16" | "float32") => ({ dtype, pair: pairs[dtype] });
    expectLikePyTorch(y, `${name}/out`, expected("float16"));
    for (const [input, t] of entries) {
      const dtype = input === "x" ? "float16" : vectors;
      const [actual, key] = t.requiresGrad
        ? [t.grad, `${name}/grad_${input}`]
        : [t, `${name}/${input}_after`];
      expectLikePyTorch(actual, key, expected(dtype));
    }
  });
});

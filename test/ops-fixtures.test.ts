import { describe, expect, test } from "vitest";
import { nn, type Tensor } from "../src/index.ts";
import { expectClose, tolerance } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";

const { leakyRelu, linear, conv2d, maxPool2d, avgPool2d, softmax, logSoftmax, crossEntropy } =
  nn.functional;

/** Every option that some case has; a case has those of its operation. */
interface Options {
  readonly axis: number;
  readonly axes: readonly number[] | null;
  readonly keepdim: boolean;
  readonly unbiased: boolean;
  readonly order: readonly number[];
  readonly a: number;
  readonly b: number;
  readonly shape: readonly number[];
  readonly negativeSlope: number;
  readonly kernelSize: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
  readonly reduction: "mean" | "sum" | "none";
}

interface Case {
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

type Inputs = Readonly<Record<string, Tensor>>;
type Operation = (inputs: Inputs, options: Options) => Tensor | Result;

const operations: Readonly<Record<string, Operation>> = {
  add: ({ a, b }) => a.add(b),
  sub: ({ a, b }) => a.sub(b),
  mul: ({ a, b }) => a.mul(b),
  div: ({ a, b }) => a.div(b),
  pow: ({ a, b }) => a.pow(b),
  maximum: ({ a, b }) => a.maximum(b),
  minimum: ({ a, b }) => a.minimum(b),
  neg: ({ x }) => x.neg(),
  abs: ({ x }) => x.abs(),
  exp: ({ x }) => x.exp(),
  log: ({ x }) => x.log(),
  sqrt: ({ x }) => x.sqrt(),
  relu: ({ x }) => x.relu(),
  sigmoid: ({ x }) => x.sigmoid(),
  tanh: ({ x }) => x.tanh(),
  leakyRelu: ({ x }, { negativeSlope }) => leakyRelu(x, negativeSlope),
  sum: ({ x }, { axes, keepdim }) => x.sum(axes ?? undefined, { keepdim }),
  mean: ({ x }, { axes, keepdim }) => x.mean(axes ?? undefined, { keepdim }),
  var: ({ x }, { axes, keepdim, unbiased }) => x.var(axes ?? undefined, { keepdim, unbiased }),
  max: ({ x }, { axis }) => x.max(axis),
  argmax: ({ x }, { axis }) => x.argmax(axis),
  permute: ({ x }, { order }) => x.permute(order),
  transpose: ({ x }, { a, b }) => x.transpose(a, b),
  reshape: ({ x }, { shape }) => x.reshape(shape),
  gather: ({ x, index }, { axis }) => x.gather(axis, index),
  matmul: ({ a, b }) => a.matmul(b),
  linear: ({ x, weight, bias }) => linear(x, weight, bias),
  conv2d: ({ x, weight, bias }, { stride, padding, dilation, groups }) =>
    conv2d(x, weight, { bias, stride, padding, dilation, groups }),
  maxPool2d: ({ x }, { kernelSize, stride, padding }) =>
    maxPool2d(x, kernelSize, { stride, padding }),
  avgPool2d: ({ x }, { kernelSize, stride, padding }) =>
    avgPool2d(x, kernelSize, { stride, padding }),
  softmax: ({ x }, { axis }) => softmax(x, axis),
  logSoftmax: ({ x }, { axis }) => logSoftmax(x, axis),
  crossEntropy: ({ logits, labels }, { reduction }) => crossEntropy(logits, labels, { reduction }),
};

const fixture = new Fixture("ops");
const cases = readCases<Case>("ops");
const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;

test("the fixtures cover every operation of the table", () => {
  expect(new Set(cases.map(({ op }) => op))).toEqual(new Set(Object.keys(operations)));
});

describe.each(placements)("$dtype on $device agrees with PyTorch", ({ device, dtype }) => {
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

function asResult(result: Tensor | Result): Result {
  return "values" in result ? result : { values: result };
}

async function expectTensor(actual: Tensor | null, key: string): Promise<void> {
  const { shape, values } = fixture.get(key);
  expect(actual?.shape, `shape of ${key}`).toEqual(shape);
  const pair = actual?.dtype === "float64" ? tolerance.float64 : tolerance.float32;
  expectClose((await actual?.data()) ?? [], values, pair, key);
}

async function expectGradient(input: Tensor, key: string): Promise<void> {
  if (fixture.has(key)) return expectTensor(input.grad, key);
  expect(input.grad, key).toBeNull();
}

import type { Backend } from "../../src/backend/backend.ts";
import type { Kernel } from "../../src/backend/half.ts";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import { roundToFloat16, toFloat16, widenFloat16 } from "../../src/core/half.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import {
  execute,
  type Given,
  inout,
  input,
  type KernelCase,
  output,
} from "../support/kernel-case.ts";
import { broadcast } from "../support/layouts.ts";
import { distinct, integers } from "../support/random.ts";
import type { Claim } from "./backend.ts";
import { channelValues, updateCase } from "./batch-norm.ts";
import { applyCase, trainCase } from "./batch-norm-apply.ts";
import { gradCase } from "./batch-norm-grad.ts";
import { convCase, convGradInputCase, convGradWeightCase, convLayout, square } from "./conv.ts";
import * as elementwise from "./elementwise.ts";
import * as indexing from "./indexing.ts";
import { matmulCase } from "./matmul.ts";
import { copyCase, permuteCase, writeCase } from "./movement.ts";
import * as pool from "./pool.ts";
import { argmaxCase, reduceCase } from "./reduce.ts";
import { selectCase } from "./select.ts";
import { softmaxCase, softmaxGradCase } from "./softmax.ts";

/** float16: its bits, its casts, and every kernel against float32 on the same values, rounded once. */
export function halfContract(claim: Claim): void {
  claim(
    "float16 cast: all 65,536 bit patterns go to float32 and back, NaN with its fraction",
    (backend) => expectAllPatterns(backend),
  );

  claim(
    "float16 cast: NaN stays NaN where float16 has no room for its fraction",
    async (backend) => {
      const words = Uint32Array.of(0x7f800001, 0xff801fff, 0x7f802000, 0x7f800000);
      const x = input(new Float32Array(words.buffer));
      const given = { x, half: output(4, "float16") };
      const run: KernelCase["run"] = (b, o) => b.cast(o.x, o.half);
      const { half } = await execute(backend, { label: "small fractions", given, run });
      const expected = Uint16Array.of(0x7e00, 0xfe00, 0x7c01, 0x7c00);
      expectSameBytes(half, widenFloat16(expected));
    },
  );

  claim("float16 copy: every element and no other", (backend) =>
    expectCases(
      backend,
      [1, 8, 33].map((length) => halved(copyCase("float32", length))),
    ),
  );

  claim(
    "float16 cast: float32 to nearest, ties to even, around every edge between two values",
    (backend) => expectCast(backend, "float32", edges()),
  );

  claim("float16 cast: float64 is rounded once, not to float32 first", (backend) =>
    expectCast(backend, "float64", [...edges(), 1 + 2 ** -11 + 2 ** -40, -(2 ** -25) - 2 ** -60]),
  );

  claim(
    "float16 cast: integers to nearest, infinite from 65520 on, and back without a fraction",
    (backend) =>
      expectCast(backend, "int32", [0, -1, 2049, 2051, -4098, 65519, 65520, -65520, 2147483647]),
  );

  claim("float16 fill: the nearest value, rounded once", (backend) =>
    expectCases(backend, [0.1, 1 + 2 ** -11 + 2 ** -40, 65520, -1e-8, Number.NaN].map(fillCase)),
  );

  for (const [kernel, makeCases] of Object.entries(casesByKernel)) {
    claim(`float16 ${kernel}: as float32 on the same values, rounded once`, (backend) =>
      expectCases(
        backend,
        makeCases().map((kernelCase) => halved(kernelCase)),
      ),
    );
  }

  for (const [kernel, makeCases] of Object.entries(batchNormCases)) {
    claim(`float16 ${kernel}: beside weight, bias and running statistics of float32`, (backend) =>
      expectCases(
        backend,
        makeCases().map((kernelCase) => halved(kernelCase, activations)),
      ),
    );
  }
}

const line = { outer: 3, length: 17, inner: 5 };
const picks = { outer: 2, length: 7, inner: 3, picks: 11 };
const index = integers(2 * 11 * 3, { seed: 1, high: 7 });
const rows = index.slice(0, 11);
const conv = convLayout({ N: 2, C: 3, K: 5, H: 7, W: 6, ...square(3, { padding: 1 }) });
const plane = pool.square([3, 7, 9, 3, 2, 1]);
const channels = { N: 3, C: 5, S: 7 };
const strides = { shape: [3, 5], strides: [7, 1] };
const values = distinct(33, { seed: 3 });

const batchNormCases = {
  batchNormStats: () => [
    updateCase(channels, { momentum: 0.1, skipped: [0, -1, 0] }),
    updateCase(channels, { momentum: null, skipped: null }),
    updateCase(channels, { momentum: 0.1, skipped: null, x: channelValues(channels, 3) }),
  ],
  batchNormApply: () => [
    applyCase(channels, { hasWeight: true, hasBias: true, hasResidual: true, relu: true }),
    applyCase(channels, { hasWeight: false, hasBias: false, hasResidual: false, relu: false }),
  ],
  batchNormTrain: () => [
    trainCase(channels, { relu: true, hasResidual: true }),
    trainCase(channels, { relu: false, hasResidual: false }),
  ],
  batchNormGrad: () => [
    gradCase(channels, {
      ...{ batchStatistics: true, relu: "given", hasWeight: true },
      wanted: ["dx", "dWeight", "dBias", "dResidual"],
    }),
    gradCase(channels, {
      ...{ batchStatistics: false, relu: "none", hasWeight: false },
      wanted: ["dx"],
    }),
  ],
};

/** A kernel that is missing here does not compile. */
const casesByKernel: Readonly<Record<Kernel, () => KernelCase[]>> = {
  stridedCopy: () => [permuteCase("float32", [3, 4, 5], [2, 0, 1])],
  stridedWrite: () => [false, true].map((add) => writeCase("float32", strides, add)),
  unary: () => [
    elementwise.unaryCase("neg", values, true),
    elementwise.unaryCase("sigmoid", values, false),
    elementwise.unaryCase("leakyRelu", values, false),
  ],
  unaryGrad: () => [elementwise.unaryGradCase("gelu", values, distinct(33, { seed: 4 }))],
  binary: () =>
    (["add", "sub", "mul", "div", "pow"] as const).map((op) =>
      elementwise.binaryCase(op, broadcast([2, 3, 17], [3, 1])),
    ),
  compare: () => [elementwise.compareCase("lt", broadcast([33], [33]))],
  select: () => [selectCase(33, "float32")],
  addInto: () => [elementwise.addIntoCase(33)],
  dropout: () => [elementwise.dropoutCase(33, 0.3, 7)],
  reduce: () =>
    (["sum", "mean", "max", "min"] as const).map((op) =>
      reduceCase(op, distinct(255, { seed: 5 }), line),
    ),
  argmax: () => [argmaxCase(distinct(255, { seed: 5 }), line)],
  softmax: () => [false, true].map((log) => softmaxCase(distinct(255, { seed: 6 }), line, log)),
  softmaxGrad: () => [false, true].map((log) => softmaxGradCase(line, log)),
  gather: () => [indexing.gatherCase("float32", picks, index)],
  scatterAdd: () => [indexing.scatterCase(picks, index)],
  indexSelect: () => [indexing.selectCase("float32", picks, rows)],
  indexAdd: () => [indexing.addCase("float32", picks, rows)],
  matmul: () => [
    matmulCase({
      ...{ batch: 2, M: 5, N: 7, K: 33, aStep: 165, bStep: 0 },
      ...{ transposeA: false, transposeB: true },
    }),
  ],
  conv2d: () => [convCase(conv), convCase(conv, { hasBias: false })],
  conv2dGradInput: () => [convGradInputCase(conv)],
  conv2dGradWeight: () => [convGradWeightCase(conv)],
  maxPool: () => [pool.maxPoolCase(distinct(189, { seed: 7 }), plane)],
  maxPoolGrad: () => [
    pool.maxPoolGradCase({ indices: integers(60, { seed: 8, high: 63 }) }, plane),
  ],
  avgPool: () => [pool.avgPoolCase(plane)],
  avgPoolGrad: () => [pool.avgPoolGradCase(plane)],
  ...batchNormCases,
  sgdStep: () => [optimizerCase("sgdStep")],
  adamStep: () => [optimizerCase("adamStep")],
  rmspropStep: () => [optimizerCase("rmspropStep")],
  averageInto: () => [optimizerCase("averageInto")],
};

const activations = ["x", "y", "residual", "dy", "dx", "dResidual", "reluOutput"];

/** One step: several would round the state in between. */
function optimizerCase(kernel: "sgdStep" | "adamStep" | "rmspropStep" | "averageInto"): KernelCase {
  const state = (seed: number) => inout(distinct(33, { seed, low: 0.1, high: 2 }));
  const common = {
    learningRate: 0.1,
    weightDecay: 0.01,
    maximize: false,
    momentum: 0.9,
    eps: 1e-3,
  };
  const runs: Readonly<Record<typeof kernel, KernelCase["run"]>> = {
    sgdStep: (backend, o) => {
      const options = { ...common, dampening: 0, nesterov: true, isFirstStep: false };
      backend.sgdStep([{ parameter: o.parameter, grad: o.grad, momentumBuffer: o.first }], options);
    },
    adamStep: (backend, o) => {
      const options = { ...common, beta1: 0.9, beta2: 0.99, decoupledWeightDecay: true, step: 3 };
      const averages = { expAvg: o.first, expAvgSq: o.second, maxExpAvgSq: o.third };
      backend.adamStep([{ parameter: o.parameter, grad: o.grad, ...averages }], options);
    },
    rmspropStep: (backend, o) => {
      const averages = { squareAvg: o.first, gradAvg: null, momentumBuffer: o.third };
      const entries = [{ parameter: o.parameter, grad: o.grad, ...averages }];
      backend.rmspropStep(entries, { ...common, alpha: 0.9 });
    },
    averageInto: (backend, o) => backend.averageInto(o.grad, o.parameter, 0.3),
  };
  return {
    label: kernel,
    given: {
      parameter: state(1),
      grad: input(distinct(33, { seed: 2 })),
      ...{ first: state(3), second: state(4), third: state(5) },
    },
    run: runs[kernel],
  };
}

function fillCase(value: number): HalfCase {
  const run: KernelCase["run"] = (backend, o) => backend.fill(o.out, value);
  const given = { out: output(9, "float16") };
  const half = { label: `fill with ${value}`, isExact: true, given, run };
  return { half, wide: { ...half, given: { out: output(9, "float64") } } };
}

/** The same call on float16 and on float32 operands with the same values. */
interface HalfCase {
  readonly half: KernelCase;
  readonly wide: KernelCase;
}

/** Operands of float32 become float16: all, or those of `names`. */
function halved(wide: KernelCase, names = Object.keys(wide.given)): HalfCase {
  const isHalved = (name: string, { dtype }: Given) => dtype === "float32" && names.includes(name);
  const given = Object.entries(wide.given).map(([name, one]): [string, Given] => {
    if (!isHalved(name, one)) return [name, one];
    return [name, { ...one, values: Float32Array.from(one.values, roundToFloat16) }];
  });
  const narrow = given.map(([name, one]): [string, Given] => [
    name,
    isHalved(name, one) ? { ...one, dtype: "float16" } : one,
  ]);
  return {
    half: { ...wide, given: Object.fromEntries(narrow) },
    wide: { ...wide, given: Object.fromEntries(given) },
  };
}

/** At every alignment; exact where the operation is, else to within one unit in the last place. */
async function expectCases(backend: Backend, cases: readonly HalfCase[]): Promise<void> {
  for (const { half, wide } of cases) {
    const expected = await execute(createReferenceBackend(), wide);
    for (const shift of [0, 1, 2, 3]) {
      const actual = await execute(backend, half, shift);
      for (const [name, { dtype }] of Object.entries(half.given)) {
        const isHalf = dtype === "float16";
        const wanted = isHalf ? Array.from(expected[name], roundToFloat16) : expected[name];
        const exact = half.isExact ? { rtol: 0, atol: 0 } : tolerance.float32;
        const pair = isHalf && !half.isExact ? tolerance.float16 : exact;
        expectClose(actual[name], wanted, pair, `${half.label}: ${name}, shift ${shift}`);
      }
    }
  }
}

async function expectAllPatterns(backend: Backend): Promise<void> {
  const expected = widenFloat16(Uint16Array.from({ length: 65536 }, (_, bits) => bits));
  const contents = await execute(backend, {
    label: "all patterns",
    given: {
      x: input(expected),
      half: { ...output(65536), dtype: "float16" },
      back: output(65536),
    },
    run: (b, o) => {
      b.cast(o.x, o.half);
      b.cast(o.half, o.back);
    },
  });
  expectSameBytes(contents.half, expected, "read as numbers");
  expectSameBytes(contents.back, expected, "cast back");
}

/** Every float16 from 0 up, the midpoint to its neighbour, and the next float32 on both sides of that; both signs. */
function edges(): number[] {
  const magnitudes = widenFloat16(Uint16Array.from({ length: 0x7c00 }, (_, bits) => bits));
  const sides = [...magnitudes].flatMap((low, i) => {
    const high = magnitudes[i + 1] ?? 65536;
    const middle = (low + high) / 2;
    return [low, middle, middle * (1 - 2 ** -23), middle * (1 + 2 ** -23)];
  });
  return [...sides, ...sides.map((x) => -x), Infinity, -Infinity, 1e30];
}

/** Against the conversion of single numbers, which test/half.test.ts proves. */
async function expectCast(
  backend: Backend,
  dtype: "float32" | "float64" | "int32",
  numbers: readonly number[],
): Promise<void> {
  const contents = await execute(backend, {
    label: `${dtype} to float16`,
    given: { x: input(numbers, dtype), half: output(numbers.length, "float16") },
    run: (b, o) => b.cast(o.x, o.half),
  });
  const expected = widenFloat16(Array.from(numbers, toFloat16));
  expectSameBytes(contents.half, expected, `${dtype} to float16`);
}

/**
 * Hangs the operations on `Tensor.prototype`, so that `x.mul(y).sum()` reads as in PyTorch. The only file imported for its
 * effect: functions stay the truth, and tensor/ does not import ops/.
 */
import { ShapeError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { backward } from "../tensor/autograd.ts";
import { type NestedValues, nest } from "../tensor/nest.ts";
import { formatTensor } from "../tensor/print.ts";
import { Tensor } from "../tensor/tensor.ts";
import * as convert from "./convert.ts";
import * as elementwise from "./elementwise.ts";
import { gather } from "./indexing.ts";
import { matmul } from "./matmul.ts";
import * as reduce from "./reduce.ts";
import { logSoftmax, softmax } from "./softmax.ts";
import * as view from "./view.ts";

/** A function whose first argument is the tensor, as a method. */
type MethodOf<F> = F extends (x: Tensor, ...rest: infer Rest) => infer Result
  ? (...rest: Rest) => Result
  : never;

const { add, sub, mul, div, pow, maximum, minimum, eq, ne, lt, le, gt, ge } = elementwise;
const { neg, abs, exp, log, sqrt, relu, leakyRelu, sigmoid, tanh } = elementwise;
const { reshape, flatten, slice, permute, transpose, expand } = view;
const { sum, mean, variance, argmax } = reduce;
const { to, detach, clone } = convert;

const methods = {
  ...{ add, sub, mul, div, pow, maximum, minimum, eq, ne, lt, le, gt, ge },
  ...{ neg, abs, exp, log, sqrt, relu, leakyRelu, sigmoid, tanh, softmax, logSoftmax },
  ...{ reshape, flatten, slice, permute, transpose, expand },
  ...{ sum, mean, var: variance, argmax, matmul, gather, to, detach, clone, backward },
};

type Methods = { [Name in keyof typeof methods]: MethodOf<(typeof methods)[Name]> };

declare module "../tensor/tensor.ts" {
  interface Tensor extends Methods {
    max(): Tensor;
    max(axis: number, options?: reduce.ReduceOptions): reduce.Extremes;
    /** The value of a one-element tensor. Throws ShapeError for others. */
    item(): Promise<number>;
    /** The values as nested arrays; booleans for "bool". A scalar gives the number itself. */
    array(): Promise<NestedValues>;
  }
}

async function item(t: Tensor): Promise<number> {
  if (t.size !== 1) {
    throw new ShapeError({
      op: "item",
      expected: "a tensor with one element",
      actual: `shape ${formatShape(t.shape)}`,
      hint: "reduce it first, or use data() or array()",
    });
  }
  const [value] = await t.data();
  return value;
}

async function array(t: Tensor): Promise<NestedValues> {
  return nest(await t.data(), t.shape, t.dtype);
}

for (const [name, fn] of Object.entries({ ...methods, max: reduce.max, item, array })) {
  const operation: (x: Tensor, ...rest: never[]) => unknown = fn;
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: never[]) {
      return operation(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}

// Consoles print values instead of private fields.
for (const key of ["toString", Symbol.for("nodejs.util.inspect.custom")]) {
  Object.defineProperty(Tensor.prototype, key, {
    value(this: Tensor) {
      return formatTensor(this);
    },
    writable: true,
    configurable: true,
  });
}

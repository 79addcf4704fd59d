/**
 * Hangs the operations on `Tensor.prototype`, so that `x.mul(y).sum()` reads as in PyTorch. The only file imported for its
 * effect: functions stay the truth, and tensor/ does not import ops/.
 */
import { ShapeError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { type BackwardOptions, backward } from "../tensor/autograd.ts";
import { type NestedValues, nest } from "../tensor/nest.ts";
import { formatTensor } from "../tensor/print.ts";
import { Tensor } from "../tensor/tensor.ts";
import * as activation from "./activation.ts";
import * as convert from "./convert.ts";
import * as elementwise from "./elementwise.ts";
import * as indexing from "./indexing.ts";
import * as join from "./join.ts";
import * as matrix from "./matmul.ts";
import * as reduce from "./reduce.ts";
import * as softmax from "./softmax.ts";
import * as view from "./view.ts";
import { where } from "./where.ts";

/** A function whose first argument is the tensor, as a method. */
type MethodOf<F> = F extends (x: Tensor, ...rest: infer Rest) => infer Result
  ? (...rest: Rest) => Result
  : never;

/**
 * Those functions of a file that `Chosen` names, as methods. Picked from the file and not from the object below, so that editors and the API
 * reference follow each name to its function's comment.
 */
type MethodsOf<File, Chosen> = MethodsIn<Pick<File, keyof File & keyof Chosen>>;
type MethodsIn<Functions> = { [Name in keyof Functions]: MethodOf<Functions[Name]> };

const { add, sub, mul, div, pow, maximum, minimum, eq, ne, lt, le, gt, ge } = elementwise;
const { neg, abs, exp, log, sqrt, rsqrt, clamp } = elementwise;
const { relu, relu6, leakyRelu, sigmoid, tanh, gelu, silu, softplus } = activation;
const { reshape, flatten, squeeze, unsqueeze, permute, transpose, expand } = view;
const { slice, narrow, select } = view;
const { sum, mean, std, argmax, argmin } = reduce;

const arithmetic = { add, sub, mul, div, pow, maximum, minimum, eq, ne, lt, le, gt, ge };
const functions = { neg, abs, exp, log, sqrt, rsqrt, clamp };
const activations = { relu, relu6, leakyRelu, sigmoid, tanh, gelu, silu, softplus };
const softmaxes = { softmax: softmax.softmax, logSoftmax: softmax.logSoftmax };
const shapes = { reshape, flatten, squeeze, unsqueeze, permute, transpose, expand };
const parts = { slice, narrow, select };
const splits = { split: join.split, chunk: join.chunk };
const picks = { gather: indexing.gather, indexSelect: indexing.indexSelect, flip: indexing.flip };
const reductions = { sum, mean, std, argmax, argmin };
const products = { matmul: matrix.matmul, bmm: matrix.bmm };
const { to, half, float, detach, clone } = convert;
const conversions = { to, half, float, detach, clone };

const methods = {
  ...{ ...arithmetic, ...functions, ...activations, ...softmaxes },
  ...{ ...shapes, ...parts, ...splits, ...picks },
  ...{ ...reductions, ...products, ...conversions },
  ...{ var: reduce.variance, where: whereMethod, max: reduce.max, min: reduce.min },
  ...{ backward, item, array },
};

declare module "../tensor/tensor.ts" {
  interface Tensor
    extends MethodsOf<typeof elementwise, typeof arithmetic & typeof functions>,
      MethodsOf<typeof activation, typeof activations>,
      MethodsOf<typeof softmax, typeof softmaxes>,
      MethodsOf<typeof view, typeof shapes & typeof parts>,
      MethodsOf<typeof join, typeof splits>,
      MethodsOf<typeof indexing, typeof picks>,
      MethodsOf<typeof reduce, typeof reductions>,
      MethodsOf<typeof matrix, typeof products>,
      MethodsOf<typeof convert, typeof conversions> {
    /**
     * The greatest element; NaN if there is one. Throws ShapeError without elements.
     *
     * Unlike PyTorch: its gradient goes to the first of equals instead of being shared among them.
     */
    max(): Tensor;
    /** The greatest elements along an axis, and where they are; NaN wins. Their gradient goes to the first of equals. */
    max(axis: number, options?: reduce.ReduceOptions): reduce.Extremes;
    /**
     * The smallest element; NaN if there is one. Throws ShapeError without elements.
     *
     * Unlike PyTorch: its gradient goes to the first of equals instead of being shared among them.
     */
    min(): Tensor;
    /** The smallest elements along an axis, and where they are; NaN wins. Their gradient goes to the first of equals. */
    min(axis: number, options?: reduce.ReduceOptions): reduce.Extremes;
    /** Variance over `axes` (all by default), two passes. Throws DTypeError unless floating. */
    var(axes?: reduce.Axes, options?: reduce.VarianceOptions): Tensor;
    /** x where `condition` holds, else `other`; shapes and errors as the function `where`, whose arguments have another order. */
    where(condition: Tensor, other: elementwise.Operable): Tensor;
    /**
     * Adds the gradient of this tensor with respect to every leaf that requires one to that leaf's `grad`.
     *
     * Shapes: cotangent like the tensor; it may be left out for one element (then it is 1).
     * Throws: AutogradError if there is no graph, if an earlier backward released it, or if a tensor that it needs was overwritten since;
     * ShapeError if the cotangent is missing or has another shape; DTypeError if it has another dtype or device. Nothing is changed in
     * these cases.
     */
    backward(cotangent?: Tensor, options?: BackwardOptions): void;
    /** The value of a one-element tensor. Throws ShapeError for others. */
    item(): Promise<number>;
    /** The values as nested arrays; booleans for "bool". A scalar gives the number itself. */
    array(): Promise<NestedValues>;
  }
}

/** x where `condition` holds, else `other`: PyTorch's order of arguments. */
function whereMethod(x: Tensor, condition: Tensor, other: elementwise.Operable): Tensor {
  return where(condition, x, other);
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

for (const [name, fn] of Object.entries(methods)) {
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

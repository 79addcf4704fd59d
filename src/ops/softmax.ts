/** Softmax and its logarithm. */
import { normalizeAxis, sizeOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkFloating } from "./check.ts";

/** exp(x) / sum of exp(x) along `axis`, shifted by the maximum so that nothing overflows. Throws DTypeError unless x is floating. */
export function softmax(x: Tensor, axis: number): Tensor {
  return normalised("softmax", x, axis);
}

/** log(softmax(x)) along `axis`, without taking the logarithm of small numbers. Throws DTypeError unless x is floating. */
export function logSoftmax(x: Tensor, axis: number): Tensor {
  return normalised("logSoftmax", x, axis);
}

function normalised(op: "softmax" | "logSoftmax", x: Tensor, axis: number): Tensor {
  checkFloating(op, x);
  const { shape } = x;
  const at = normalizeAxis(op, axis, shape.length);
  const layout = {
    outer: sizeOf(shape, 0, at),
    length: shape.length === 0 ? 1 : shape[at],
    inner: sizeOf(shape, at + 1),
  };
  const isLog = op === "logSoftmax";
  const backend = backendFor(x);
  const y = allocate(backend, shape, x.dtype);
  backend.softmax(operandOf(x), operandOf(y), layout, isLog);
  return record(op, [x], y, () => {
    const saved = save(y, "output");
    return {
      saved: [saved],
      rule: (dy) => {
        const dx = allocate(backend, shape, dy.dtype);
        backend.softmaxGrad(operandOf(dy), saved.operand(), operandOf(dx), layout, isLog);
        return [dx];
      },
    };
  });
}

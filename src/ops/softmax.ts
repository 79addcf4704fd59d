/** Softmax, its logarithm, and cross-entropy on top of it. */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { formatShape, normalizeAxis, sizeOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkDType, checkFloating, checkSameDevice } from "./check.ts";
import { neg } from "./elementwise.ts";
import { gather } from "./indexing.ts";
import { mean, sum } from "./reduce.ts";
import { reshape } from "./view.ts";

/** exp(x) / sum of exp(x) along `axis`, shifted by the maximum so that nothing overflows. */
export function softmax(x: Tensor, axis: number): Tensor {
  return normalised("softmax", x, axis);
}

/** log(softmax(x)) along `axis`, without taking the logarithm of small numbers. */
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

/** What becomes of the losses of single elements. */
export type Reduction = "mean" | "sum" | "none";

/**
 * -log softmax(logits)[label]: the loss of classification.
 *
 * Shapes: logits (N, C) or (N, C, ...), labels (N) or (N, ...) int32 in [0, C); returns a scalar, or the shape of labels for "none".
 * Throws: ShapeError if they do not fit; DTypeError unless labels are int32; ArgumentError for a label outside [0, C), on devices
 * that read synchronously (on others it makes the loss NaN).
 */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  { reduction = "mean" }: { readonly reduction?: Reduction } = {},
): Tensor {
  checkFloating("crossEntropy", logits);
  checkDType("crossEntropy", labels, "int32", "labels");
  checkSameDevice("crossEntropy", logits, labels);
  const [N, C, ...rest] = logits.shape;
  const fits =
    logits.shape.length >= 2 &&
    labels.shape.length === logits.shape.length - 1 &&
    [N, ...rest].every((size, axis) => size === labels.shape[axis]);
  if (!fits) {
    throw new ShapeError({
      op: "crossEntropy",
      expected: "logits (N, C, ...) and labels (N, ...)",
      actual: `${formatShape(logits.shape)} and ${formatShape(labels.shape)}`,
    });
  }
  checkLabels(labels, C);
  const index = reshape(labels, [N, 1, ...rest]);
  const losses = neg(reshape(gather(logSoftmax(logits, 1), 1, index), labels.shape));
  switch (reduction) {
    case "mean":
      return mean(losses);
    case "sum":
      return sum(losses);
    case "none":
      return losses;
    default:
      throw new ArgumentError({
        op: "crossEntropy",
        expected: 'reduction "mean", "sum" or "none"',
        actual: JSON.stringify(reduction),
      });
  }
}

function checkLabels(labels: Tensor, classes: number): void {
  if (!backendFor(labels).readsSynchronously) return;
  const wrong = labels.dataSync().findIndex((label) => label < 0 || label >= classes);
  if (wrong < 0) return;
  throw new ArgumentError({
    op: "crossEntropy",
    expected: `labels in [0, ${classes})`,
    actual: `${labels.dataSync()[wrong]} at position ${wrong}`,
  });
}

/** Losses of classification: one class per label, or a probability for each class. */
import { isFloating } from "../core/dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.ts";
import { formatShape, reducedShape, sameShape } from "../core/shape.ts";
import { type BackwardRule, record } from "../tensor/autograd.ts";
import { type Saved, save } from "../tensor/saved.ts";
import { backendFor, type Tensor, viewOf } from "../tensor/tensor.ts";
import { checkDType, checkFloating, checkSameDevice, checkSameKind } from "./check.ts";
import { add, mul } from "./elementwise.ts";
import { inFloat32 } from "./in-float32.ts";
import { type ClassTerms, classAxis, labelLoss } from "./label-loss.ts";
import { checkConstant, checkReduction, type LossOptions, reduced } from "./loss.ts";
import * as raw from "./raw.ts";
import { logSoftmax } from "./softmax.ts";
import { reshape } from "./view.ts";

/** Which labels count how much, and what becomes of the losses. */
export interface NllLossOptions extends LossOptions {
  /** (C): how much labels of each class count. Default 1 each. */
  readonly weight?: Tensor | null;
  /** Labels of this value count nothing and get no gradient; it need not be a class. Default -100. */
  readonly ignoreIndex?: number;
}

/** Those of `nllLoss`, and smoothing. */
export interface CrossEntropyOptions extends NllLossOptions {
  /** Share of each target, in [0, 1], that is spread evenly over all classes. Default 0. */
  readonly labelSmoothing?: number;
}

/**
 * -sum over classes of target * log softmax(logits): the loss of classification. `target` holds classes, or a probability for each.
 *
 * A label costs -weight[label] * log softmax(logits)[label], and "mean" divides by the sum of weight[label], ignored labels left
 * out of both: NaN if none is left. Probabilities are weighted class by class, and "mean" divides by their count alone.
 *
 * Shapes: logits (N, C, ...) or (C); labels (N, ...) or () int32 in [0, C), or probabilities like logits; returns a scalar, or the
 * shape of labels for "none".
 * Throws: ShapeError if they do not fit, or weight is not (C); DTypeError for other dtypes; ArgumentError for an option out of range,
 * for a weight that requires grad beside labels, for `ignoreIndex` >= 0 beside probabilities, and for a label outside [0, C), on devices that
 * read synchronously (on others it makes the loss NaN).
 * Unlike PyTorch: labels are int32, and a negative `labelSmoothing` is an error.
 * Source: PyTorch nn.functional.cross_entropy.
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const op = "crossEntropy";
  const { labelSmoothing = 0 } = options;
  checkFloating(op, logits);
  checkSameDevice(op, logits, target);
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new ArgumentError({
      op,
      expected: "labelSmoothing in [0, 1]",
      actual: String(labelSmoothing),
    });
  }
  const terms = termsOf(op, logits, options, labelSmoothing);
  const axis = classAxis(logits.shape);
  if (isFloating(target.dtype)) {
    checkProbabilities(logits, target, terms);
    return inFloat32(op, [logits, target, terms.weight], (x, t, weight) =>
      probabilityLoss(logSoftmax(x, axis), t, { ...terms, weight }),
    );
  }
  const mayIgnore = checkLabels("logits", logits, target, terms);
  return inFloat32(op, [logits, terms.weight], (x, weight) =>
    labelLoss(logSoftmax(x, axis), target, { ...terms, weight, mayIgnore }),
  );
}

/**
 * -weight[label] * logProbabilities[label]: `crossEntropy` for a model that ends in `logSoftmax`.
 *
 * Shapes: logProbabilities (N, C, ...) or (C), target (N, ...) or () int32 in [0, C); returns a scalar, or the shape of target for "none".
 * Throws: as `crossEntropy` with labels.
 * Source: PyTorch nn.functional.nll_loss.
 */
export function nllLoss(
  logProbabilities: Tensor,
  target: Tensor,
  options: NllLossOptions = {},
): Tensor {
  const op = "nllLoss";
  checkFloating(op, logProbabilities);
  checkSameDevice(op, logProbabilities, target);
  const terms = termsOf(op, logProbabilities, options, 0);
  const mayIgnore = checkLabels("logProbabilities", logProbabilities, target, terms);
  return inFloat32(op, [logProbabilities, terms.weight], (x, weight) =>
    labelLoss(x, target, { ...terms, weight, mayIgnore }),
  );
}

function termsOf(op: string, x: Tensor, options: NllLossOptions, smoothing: number): ClassTerms {
  const { weight = null, ignoreIndex = -100, reduction = "mean" } = options;
  checkReduction(op, reduction);
  if ((ignoreIndex | 0) !== ignoreIndex) {
    throw new ArgumentError({
      op,
      expected: "ignoreIndex to be a 32-bit integer",
      actual: String(ignoreIndex),
    });
  }
  if (x.shape.length === 0) {
    throw new ShapeError({ op, expected: "classes on axis 1, or (C)", actual: "a scalar" });
  }
  const classes = x.shape[classAxis(x.shape)];
  if (weight !== null) {
    checkSameKind(op, x, weight);
    if (!sameShape(weight.shape, [classes])) {
      throw new ShapeError({
        op,
        expected: `weight with one element for each of the ${classes} classes`,
        actual: formatShape(weight.shape),
      });
    }
  }
  return { op, weight, ignoreIndex, smoothing, reduction };
}

/** Throws unless the labels are right; returns whether some may be ignored. */
function checkLabels(name: string, x: Tensor, labels: Tensor, terms: ClassTerms): boolean {
  const { op, weight } = terms;
  checkDType(op, labels, "int32", "labels");
  if (weight !== null) checkConstant(op, "weight", weight);
  const axis = classAxis(x.shape);
  if (sameShape(labels.shape, reducedShape(x.shape, [axis], false))) {
    return readLabels(labels, x.shape[axis], terms);
  }
  throw new ShapeError({
    op,
    expected: `${name} (N, C, ...) and labels (N, ...), or (C) and ()`,
    actual: `${formatShape(x.shape)} and ${formatShape(labels.shape)}`,
    ...(sameShape(x.shape, labels.shape) ? { hint: "probabilities must be floating" } : {}),
  });
}

/** Whether a label may be ignored. Throws ArgumentError for one that is no class and not ignored, where labels can be read now. */
function readLabels(labels: Tensor, classes: number, { op, ignoreIndex }: ClassTerms): boolean {
  if (!backendFor(labels).readsSynchronously) return true;
  let isIgnoring = false;
  labels.dataSync().forEach((label, position) => {
    if (label === ignoreIndex) isIgnoring = true;
    else if (label < 0 || label >= classes) {
      throw new ArgumentError({
        op,
        expected: `labels in [0, ${classes})`,
        actual: `${label} at position ${position}`,
      });
    }
  });
  return isIgnoring;
}

function checkProbabilities(logits: Tensor, target: Tensor, { op, ignoreIndex }: ClassTerms): void {
  if (!sameShape(logits.shape, target.shape)) {
    const isLabels = target.shape.length < logits.shape.length;
    throw new (isLabels ? DTypeError : ShapeError)({
      op,
      expected: `a floating target of the shape of logits, ${formatShape(logits.shape)}, or int32 labels`,
      actual: `${target.dtype} of shape ${formatShape(target.shape)}`,
      ...(isLabels ? { hint: 'convert labels with to("int32")' } : {}),
    });
  }
  checkSameKind(op, logits, target);
  if (ignoreIndex < 0) return;
  throw new ArgumentError({
    op,
    expected: "no ignoreIndex beside probabilities",
    actual: String(ignoreIndex),
    hint: "give what must not count probabilities of 0",
  });
}

/** The loss of a probability for every class, given log softmax. Differentiable in all of its tensors. */
function probabilityLoss(logProbabilities: Tensor, target: Tensor, terms: ClassTerms): Tensor {
  const { weight, smoothing, reduction } = terms;
  const { shape } = logProbabilities;
  const axis = classAxis(shape);
  let factors = target;
  if (smoothing > 0) factors = add(mul(factors, 1 - smoothing), smoothing / shape[axis]);
  if (weight !== null) {
    const inner = shape.slice(axis + 1).map(() => 1);
    factors = mul(factors, reshape(weight, [shape[axis], ...inner]));
  }
  return reduced(minusDot(logProbabilities, factors, axis), reduction);
}

/** -sum of a * b along `axis`. Saves a and b alone, where the sum of a product would also save that. */
function minusDot(a: Tensor, b: Tensor, axis: number): Tensor {
  const sums = raw.reduce("sum", raw.binary("mul", a, b), [axis], false);
  return record("crossEntropy", [a, b], raw.unary("neg", sums), () => {
    const saved = [save(a, "log probabilities"), save(b, "target")] as const;
    return { saved, rule: minusDotRule(saved, axis) };
  });
}

/** A function of its own: a rule made where tensors are in reach would hold them. */
function minusDotRule([a, b]: readonly [Saved, Saved], axis: number): BackwardRule {
  return (dy, [wantsA, wantsB]) => {
    const minus = viewOf(raw.unary("neg", dy), reducedShape(a.shape, [axis], true));
    return [
      wantsA ? raw.binary("mul", minus, b.tensor()) : null,
      wantsB ? raw.binary("mul", minus, a.tensor()) : null,
    ];
  };
}

/** The loss of labels given log probabilities: what `crossEntropy` and `nllLoss` share. */
import type { GatherLayout } from "../backend/backend.ts";
import type { DType } from "../core/dtype.ts";
import { type Shape, sizeOf } from "../core/shape.ts";
import { type BackwardRule, record } from "../tensor/autograd.ts";
import { type Saved, save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor, viewOf } from "../tensor/tensor.ts";
import { type Reduction, reduced, times } from "./loss.ts";
import * as raw from "./raw.ts";

/** What a call of a classification loss asked for, checked. */
export interface ClassTerms {
  readonly op: string;
  readonly weight: Tensor | null; // (C)
  readonly ignoreIndex: number;
  readonly smoothing: number;
  readonly reduction: Reduction;
}

/** Which of the labels count, and how much; both shaped like the labels. */
interface Counting {
  /** False where a label is ignored. Null if none is. */
  readonly mask: Tensor | null;
  /** weight[label], and 0 where one is ignored. Null if all are 1. */
  readonly weights: Tensor | null;
}

/** Classes are on axis 1, or on the only one. */
export function classAxis(shape: Shape): number {
  return shape.length === 1 ? 0 : 1;
}

/** The reduced loss of `labels`; `mayIgnore` is false only when none of them is ignored, which saves the work of leaving some out. */
export function labelLoss(
  logp: Tensor,
  labels: Tensor,
  terms: ClassTerms & { readonly mayIgnore: boolean },
): Tensor {
  const { weight, ignoreIndex, reduction, mayIgnore } = terms;
  const mask = mayIgnore ? raw.compare("ne", labels, raw.scalar(ignoreIndex, labels)) : null;
  const weights = weight && keep(weightsOf(labels, weight), mask);
  const losses = labelLosses(logp, labels, { ...terms, mask, weights });
  const counts = weights ?? (mask && raw.cast(mask, logp.dtype));
  if (reduction !== "mean" || counts === null) return reduced(losses, reduction);
  return weightedMean(terms.op, losses, counts);
}

/** The sum of `losses`, in which their weights are, divided by the sum of those. */
function weightedMean(op: string, losses: Tensor, weights: Tensor): Tensor {
  const axes = weights.shape.map((_, axis) => axis);
  const total = raw.reduce("sum", weights, axes, false);
  const mean = raw.binary("div", raw.reduce("sum", losses, axes, false), total);
  return record(op, [losses], mean, () => {
    const saved = save(total, "total weight");
    return { saved: [saved], rule: weightedMeanRule(saved, losses.shape) };
  });
}

/** A function of its own, as below: a rule made where tensors are in reach would hold them. */
function weightedMeanRule(total: Saved, shape: Shape): BackwardRule {
  return (dy) => [raw.expand(raw.binary("div", dy, total.tensor()), shape)];
}

/** weight[label] for every label; NaN for one that is no class. */
function weightsOf(labels: Tensor, weight: Tensor): Tensor {
  const out = allocate(backendFor(weight), labels.shape, weight.dtype);
  backendFor(weight).gather(operandOf(weight), operandOf(labels), operandOf(out), {
    ...{ outer: 1, length: weight.shape[0], inner: 1 },
    picks: sizeOf(labels.shape),
  });
  return out;
}

/** x, and 0 where the mask is false: also where x is not finite. */
function keep(x: Tensor, mask: Tensor | null): Tensor {
  return mask === null ? x : raw.masked(x, mask);
}

/**
 * Label by label: (smoothing - 1) * weight[label] * logp[label] - smoothing / C * sum over c of weight[c] * logp[c].
 * Cost: one tensor of the shape of logp in the backward, and one in the forward with both weight and smoothing.
 */
function labelLosses(logp: Tensor, labels: Tensor, terms: ClassTerms & Counting): Tensor {
  const { op, weight, smoothing, mask, weights } = terms;
  const { shape, dtype } = logp;
  const [outer, classes, inner] = canonical(shape);
  const layout = { outer, length: classes, inner, picks: 1 };
  const share = -smoothing / classes;
  return record(op, [logp], lossValues(logp, labels, { ...terms, layout, share }), () => {
    const saved = {
      labels: save(labels, "labels"),
      mask: mask && save(mask, "mask"),
      weights: weights && save(weights, "weights of labels"),
      weight: smoothing > 0 ? weight && save(weight, "weight") : null,
    };
    return {
      saved: Object.values(saved).filter((one) => one !== null),
      rule: gradient(saved, { shape, dtype, smoothing, layout, share }),
    };
  });
}

interface SavedTerms {
  readonly labels: Saved;
  readonly mask: Saved | null;
  readonly weights: Saved | null;
  readonly weight: Saved | null;
}

interface GradientTerms {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly smoothing: number;
  readonly layout: GatherLayout;
  readonly share: number;
}

/** What `labelLosses` does backward. */
function gradient(saved: SavedTerms, terms: GradientTerms): BackwardRule {
  const { shape, dtype, smoothing, layout, share } = terms;
  return (dy) => {
    const dLosses = keep(dy, saved.mask?.tensor() ?? null);
    const dPicked = raw.scale(times(dLosses, saved.weights?.tensor() ?? null), smoothing - 1);
    const dx =
      smoothing > 0
        ? spread(raw.scale(dLosses, share), shape, saved.weight)
        : raw.zerosLike({ shape, dtype }, dy);
    backendFor(dy).scatterAdd(operandOf(dPicked), saved.labels.operand(), operandOf(dx), layout);
    return [dx];
  };
}

function lossValues(
  logp: Tensor,
  labels: Tensor,
  terms: ClassTerms & Counting & { readonly layout: GatherLayout; readonly share: number },
): Tensor {
  const { weight, smoothing, mask, weights, layout, share } = terms;
  const picked = allocate(backendFor(logp), labels.shape, logp.dtype);
  backendFor(logp).gather(operandOf(logp), operandOf(labels), operandOf(picked), layout);
  const losses = raw.scale(times(picked, weights), smoothing - 1);
  if (smoothing === 0) return keep(losses, mask);
  const all = viewOf(sumOverClasses(logp, weight), labels.shape);
  return keep(raw.binary("add", losses, raw.scale(all, share)), mask);
}

/** (N, C, ...) as (outer, classes, inner); (C) as (1, C, 1). */
function canonical(shape: Shape): readonly [number, number, number] {
  const axis = classAxis(shape);
  return [sizeOf(shape, 0, axis), shape[axis], sizeOf(shape, axis + 1)];
}

function sumOverClasses(logp: Tensor, weight: Tensor | null): Tensor {
  const shape = canonical(logp.shape);
  const weighted = times(viewOf(logp, shape), weight && viewOf(weight, [shape[1], 1]));
  return raw.reduce("sum", weighted, [1], false);
}

/** One value per label on all of its classes, weighted: the reverse of `sumOverClasses`. */
function spread(values: Tensor, to: Shape, weight: Saved | null): Tensor {
  const shape = canonical(to);
  const column = viewOf(values, [shape[0], 1, shape[2]]);
  if (weight === null) return viewOf(raw.expand(column, shape), to);
  return viewOf(raw.binary("mul", column, viewOf(weight.tensor(), [shape[1], 1])), to);
}

/** Losses element by element, and what all losses share: the reduction. `cross-entropy.ts` has those of classification. */
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { broadcastShapes, formatShape, sameShape } from "../core/shape.ts";
import { type BackwardRule, record } from "../tensor/autograd.ts";
import { type Saved, save } from "../tensor/saved.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkFloating, checkSameKind } from "./check.ts";
import { inFloat32 } from "./in-float32.ts";
import * as raw from "./raw.ts";
import { mean, sum } from "./reduce.ts";

/** Their mean or sum as a scalar, or the losses themselves. */
export type Reduction = "mean" | "sum" | "none";

/** What becomes of the losses of single elements. */
export interface LossOptions {
  /** What is returned. Default "mean". */
  readonly reduction?: Reduction;
}

/** Where `smoothL1Loss` turns from squares to absolute values. */
export interface SmoothL1LossOptions extends LossOptions {
  /** Differences below it are squared. Default 1. */
  readonly beta?: number;
}

/** Where `huberLoss` turns from squares to absolute values. */
export interface HuberLossOptions extends LossOptions {
  /** Differences below it are squared. Default 1. */
  readonly delta?: number;
}

/** Factors of the losses. */
export interface BinaryCrossEntropyOptions extends LossOptions {
  /** Factor of every loss; broadcasts to the shape of input. Default 1. */
  readonly weight?: Tensor | null;
  /** Factor of the positive part, to make up for rare positives; broadcasts to the shape of input. Default 1. */
  readonly posWeight?: Tensor | null;
}

export function checkReduction(op: string, reduction: Reduction): void {
  if (["mean", "sum", "none"].includes(reduction)) return;
  throw new ArgumentError({
    op,
    expected: 'reduction "mean", "sum" or "none"',
    actual: JSON.stringify(reduction),
  });
}

export function reduced(losses: Tensor, reduction: Reduction): Tensor {
  if (reduction === "none") return losses;
  return reduction === "mean" ? mean(losses) : sum(losses);
}

/** Throws ArgumentError for a tensor that asks for a gradient where none is computed. */
export function checkConstant(op: string, name: string, x: Tensor): void {
  if (!x.requiresGrad) return;
  throw new ArgumentError({
    op,
    expected: `a ${name} without gradient`,
    actual: "one that requires grad",
    hint: `pass ${name}.detach()`,
  });
}

/** Throws unless both are floating, of one kind, and of one shape. */
function checkPair(op: string, input: Tensor, target: Tensor): void {
  checkFloating(op, input);
  checkSameKind(op, input, target);
  if (sameShape(input.shape, target.shape)) return;
  throw new ShapeError({
    op,
    expected: `a target of the shape of input, ${formatShape(input.shape)}`,
    actual: formatShape(target.shape),
    hint: "losses do not broadcast: reshape or expand the target first",
  });
}

interface DifferenceRule {
  readonly loss: (difference: Tensor) => Tensor;
  /** The derivative of loss. */
  readonly slope: (difference: Tensor) => Tensor;
}

/** A loss that depends on input - target alone. */
function differenceLoss(
  op: string,
  [input, target]: readonly [Tensor, Tensor],
  { reduction = "mean" }: LossOptions,
  { loss, slope }: DifferenceRule,
): Tensor {
  checkPair(op, input, target);
  checkReduction(op, reduction);
  return inFloat32(op, [input, target], (x, t) => {
    const difference = raw.binary("sub", x, t);
    const losses = record(op, [x, t], loss(difference), () => {
      const saved = save(difference, "difference");
      return { saved: [saved], rule: slopeRule(saved, slope) };
    });
    return reduced(losses, reduction);
  });
}

/** A function of its own, as below: a rule made where tensors are in reach would hold them. */
function slopeRule(saved: Saved, slope: (x: Tensor) => Tensor): BackwardRule {
  return (dy, [wantsInput, wantsTarget]) => {
    const dInput = raw.binary("mul", dy, slope(saved.tensor()));
    return [wantsInput ? dInput : null, wantsTarget ? raw.unary("neg", dInput) : null];
  };
}

/**
 * (input - target) ** 2.
 *
 * Shapes: input and target alike; returns a scalar, or their shape for "none".
 * Throws: ShapeError if the shapes differ; DTypeError unless both are floating and of one dtype.
 * Unlike PyTorch: shapes do not broadcast, which PyTorch warns of, and dtypes are not promoted.
 */
export function mseLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return differenceLoss("mseLoss", [input, target], options, {
    loss: (d) => raw.binary("mul", d, d),
    slope: (d) => raw.scale(d, 2),
  });
}

/** |input - target|; its gradient where they are equal is 0. Shapes and errors as `mseLoss`. */
export function l1Loss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return differenceLoss("l1Loss", [input, target], options, absolute);
}

/**
 * With d = |input - target|: d ** 2 / 2 below delta, else delta * (d - delta / 2). Shapes and errors as `mseLoss`.
 *
 * Throws: also ArgumentError unless delta > 0.
 */
export function huberLoss(input: Tensor, target: Tensor, options: HuberLossOptions = {}): Tensor {
  const { delta = 1 } = options;
  if (!(delta > 0)) {
    throw new ArgumentError({ op: "huberLoss", expected: "delta > 0", actual: String(delta) });
  }
  return differenceLoss("huberLoss", [input, target], options, huber(delta));
}

/**
 * `huberLoss` divided by its delta, here called beta; with beta = 0 the same as `l1Loss`. Shapes and errors as `mseLoss`.
 *
 * Throws: also ArgumentError unless beta >= 0.
 */
export function smoothL1Loss(
  input: Tensor,
  target: Tensor,
  options: SmoothL1LossOptions = {},
): Tensor {
  const { beta = 1 } = options;
  if (!(beta >= 0)) {
    throw new ArgumentError({ op: "smoothL1Loss", expected: "beta >= 0", actual: String(beta) });
  }
  const { loss, slope } = huber(beta);
  const rule = { loss: over(beta, loss), slope: over(beta, slope) };
  return differenceLoss("smoothL1Loss", [input, target], options, beta === 0 ? absolute : rule);
}

const absolute: DifferenceRule = {
  loss: (d) => raw.unary("abs", d),
  slope: (d) => {
    const zero = raw.scalar(0, d);
    const positive = raw.cast(raw.compare("gt", d, zero), d.dtype);
    return raw.binary("sub", positive, raw.cast(raw.compare("lt", d, zero), d.dtype));
  },
};

function huber(delta: number): DifferenceRule {
  return {
    // With c = min(|d|, delta), both pieces are c * (|d| - c / 2).
    loss: (d) => {
      const size = raw.unary("abs", d);
      const c = raw.binary("minimum", size, raw.scalar(delta, d));
      return raw.binary("mul", c, raw.binary("sub", size, raw.scale(c, 0.5)));
    },
    slope: (d) => {
      const below = raw.binary("minimum", d, raw.scalar(delta, d));
      return raw.binary("maximum", below, raw.scalar(-delta, d));
    },
  };
}

function over(divisor: number, f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return (x) => raw.binary("div", f(x), raw.scalar(divisor, x));
}

/**
 * -weight * (posWeight * target * log sigmoid(input) + (1 - target) * log(1 - sigmoid(input))): the loss of yes-or-no questions,
 * `target` being the probability of yes.
 *
 * Shapes: input and target alike; weight and posWeight broadcast to them; returns a scalar, or the shape of input for "none".
 * Numerics: finite for every finite input, and small losses and gradients keep their relative precision on both sides.
 * Throws: ShapeError if the shapes differ; DTypeError unless all are floating and of one dtype; ArgumentError for a weight that requires
 * grad.
 * Source: PyTorch nn.functional.binary_cross_entropy_with_logits.
 */
export function binaryCrossEntropyWithLogits(
  input: Tensor,
  target: Tensor,
  options: BinaryCrossEntropyOptions = {},
): Tensor {
  const op = "binaryCrossEntropyWithLogits";
  const { weight = null, posWeight = null, reduction = "mean" } = options;
  checkPair(op, input, target);
  checkReduction(op, reduction);
  checkFactor(op, "weight", input, weight);
  checkFactor(op, "posWeight", input, posWeight);
  return inFloat32(op, [input, target, weight, posWeight], (x, t, w, p) => {
    const values = binaryLosses(x, t, { weight: w, posWeight: p });
    const losses = record(op, [x, t], values, () => {
      const saved = {
        x: save(x, "input"),
        t: save(t, "target"),
        w: w && save(w, "weight"),
        p: p && save(p, "posWeight"),
      };
      const all = Object.values(saved).filter((one) => one !== null);
      return { saved: all, rule: binaryRule(saved) };
    });
    return reduced(losses, reduction);
  });
}

interface SavedPair {
  readonly x: Saved;
  readonly t: Saved;
  readonly w: Saved | null;
  readonly p: Saved | null;
}

function binaryRule(saved: SavedPair): BackwardRule {
  return (dy, [wantsInput, wantsTarget]) => {
    const [x, t] = [saved.x.tensor(), saved.t.tensor()];
    const [w, p] = [saved.w?.tensor() ?? null, saved.p?.tensor() ?? null];
    const dLosses = times(dy, w);
    return [
      wantsInput ? raw.binary("mul", dLosses, inputSlope(x, t, p)) : null,
      wantsTarget ? raw.binary("mul", dLosses, targetSlope(x, p)) : null,
    ];
  };
}

function checkFactor(op: string, name: string, input: Tensor, factor: Tensor | null): void {
  if (factor === null) return;
  checkSameKind(op, input, factor);
  checkConstant(op, name, factor);
  if (sameShape(broadcastShapes(op, input.shape, factor.shape), input.shape)) return;
  throw new ShapeError({
    op,
    expected: `${name} that broadcasts to the shape of input, ${formatShape(input.shape)}`,
    actual: formatShape(factor.shape),
  });
}

/** x * factor, where null stands for 1. Not recorded. */
export function times(x: Tensor, factor: Tensor | null): Tensor {
  return factor === null ? x : raw.binary("mul", x, factor);
}

/** log(1 + exp(x)) = -log sigmoid(-x), which no x overflows. */
function softplus(x: Tensor): Tensor {
  return raw.unary("softplus", x, Number.POSITIVE_INFINITY);
}

/** w * ((1 - t) * softplus(x) + p * t * softplus(-x)): nothing cancels for t in [0, 1]. */
function binaryLosses(
  x: Tensor,
  t: Tensor,
  { weight = null, posWeight = null }: BinaryCrossEntropyOptions,
): Tensor {
  const no = raw.binary("mul", raw.binary("sub", raw.scalar(1, t), t), softplus(x));
  const yes = raw.binary("mul", times(t, posWeight), softplus(raw.unary("neg", x)));
  return times(raw.binary("add", no, yes), weight);
}

/** (1 - t) * sigmoid(x) - p * t * sigmoid(-x). */
function inputSlope(x: Tensor, t: Tensor, p: Tensor | null): Tensor {
  const no = raw.binary("mul", raw.binary("sub", raw.scalar(1, t), t), raw.unary("sigmoid", x));
  const minus = raw.unary("sigmoid", raw.unary("neg", x));
  return raw.binary("sub", no, raw.binary("mul", times(t, p), minus));
}

/** p * softplus(-x) - softplus(x), which is -x without p. */
function targetSlope(x: Tensor, p: Tensor | null): Tensor {
  const minus = raw.unary("neg", x);
  return p === null ? minus : raw.binary("sub", times(softplus(minus), p), softplus(x));
}

import { ArgumentError, ShapeError } from "../core/errors.ts";
import { defaultGenerator } from "../core/random.ts";
import { formatShape, type Shape } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkFloating } from "./check.ts";
import * as raw from "./raw.ts";
import { reshape } from "./view.ts";

/** Whether anything is dropped. */
export interface DropoutOptions {
  /** Drop; if false, x passes unchanged. Default true. */
  readonly training?: boolean;
}

/**
 * Zeroes each element with probability `p` and scales the rest by 1 / (1 - p), so that the expected value stays.
 * One draw of the generator that `manualSeed` seeds decides the whole mask, on every device and for any number of threads alike.
 *
 * Throws: ArgumentError unless 0 <= p <= 1; DTypeError unless x is floating.
 */
export function dropout(x: Tensor, p = 0.5, { training = true }: DropoutOptions = {}): Tensor {
  checkFloating("dropout", x);
  checkProbability("dropout", p);
  if (!training || p === 0) return reshape(x, x.shape);
  const seed = defaultGenerator.uint32();
  const drop = (values: Tensor): Tensor => {
    const out = allocate(backendFor(values), values.shape, values.dtype);
    backendFor(values).dropout(operandOf(values), operandOf(out), p, seed);
    return out;
  };
  return record("dropout", [x], drop(x), () => ({ saved: [], rule: (dy) => [drop(dy)] }));
}

/**
 * Zeroes whole channels with probability `p` and scales the rest by 1 / (1 - p): neighbours in a channel are too alike for
 * `dropout` to take anything from them.
 *
 * Shapes: x (N, C, L) or (C, L); returns like x.
 * Throws: ShapeError for another rank; ArgumentError unless 0 <= p <= 1; DTypeError unless x is floating.
 */
export function dropout1d(x: Tensor, p = 0.5, options: DropoutOptions = {}): Tensor {
  return channelDropout(x, p, options, { op: "dropout1d", ranks: [2, 3], unbatched: 2 });
}

/**
 * As `dropout1d`, for images.
 *
 * Shapes: x (N, C, H, W), or (N, C, L) as PyTorch takes three axes; returns like x.
 * Throws: ShapeError for another rank; ArgumentError unless 0 <= p <= 1; DTypeError unless x is floating.
 * Unlike PyTorch: it warns of another rank and goes on.
 */
export function dropout2d(x: Tensor, p = 0.5, options: DropoutOptions = {}): Tensor {
  return channelDropout(x, p, options, { op: "dropout2d", ranks: [3, 4], unbatched: null });
}

/**
 * As `dropout1d`, for volumes.
 *
 * Shapes: x (N, C, D, H, W) or (C, D, H, W); returns like x.
 * Throws: ShapeError for another rank; ArgumentError unless 0 <= p <= 1; DTypeError unless x is floating.
 * Unlike PyTorch: it warns of another rank and goes on.
 */
export function dropout3d(x: Tensor, p = 0.5, options: DropoutOptions = {}): Tensor {
  return channelDropout(x, p, options, { op: "dropout3d", ranks: [4, 5], unbatched: 4 });
}

export function checkProbability(op: string, p: number): void {
  if (p >= 0 && p <= 1) return;
  throw new ArgumentError({ op, expected: "p in [0, 1]", actual: String(p) });
}

interface ChannelRule {
  readonly op: string;
  readonly ranks: readonly number[];
  /** The rank at which channels are on axis 0. */
  readonly unbatched: number | null;
}

function channelDropout(
  x: Tensor,
  p: number,
  { training = true }: DropoutOptions,
  { op, ranks, unbatched }: ChannelRule,
): Tensor {
  checkFloating(op, x);
  checkProbability(op, p);
  const { shape } = x;
  if (!ranks.includes(shape.length)) {
    throw new ShapeError({
      op,
      expected: `x with ${ranks.join(" or ")} axes`,
      actual: `${shape.length} axes, shape ${formatShape(shape)}`,
    });
  }
  if (!training || p === 0) return reshape(x, shape);
  const seed = defaultGenerator.uint32();
  const lead = shape.length === unbatched ? 1 : 2;
  const drop = (values: Tensor) =>
    raw.binary("mul", values, channelMask(values, lead, { p, seed }));
  return record(op, [x], drop(x), () => ({ saved: [], rule: (dy) => [drop(dy)] }));
}

/** 0 or 1 / (1 - p) for each channel, of shape (N, C, 1, ...) or (C, 1, ...): the same for the same seed. */
function channelMask(
  like: Tensor,
  lead: number,
  { p, seed }: { readonly p: number; readonly seed: number },
): Tensor {
  const shape: Shape = like.shape.map((size, axis) => (axis < lead ? size : 1));
  const backend = backendFor(like);
  const ones = allocate(backend, shape, like.dtype);
  backend.fill(operandOf(ones), 1);
  const mask = allocate(backend, shape, like.dtype);
  backend.dropout(operandOf(ones), operandOf(mask), p, seed);
  return mask;
}

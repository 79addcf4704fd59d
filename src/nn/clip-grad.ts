/** `nn.utils`: keeping gradients small. Nothing here waits for the device; all of it changes `grad` in place. */
import { ArgumentError, DeviceError } from "../core/errors.ts";
import { checkSameKind, checkTensor } from "../ops/check.ts";
import * as raw from "../ops/raw.ts";
import { zeros } from "../tensor/create.ts";
import { runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, operandOf, type Tensor, viewOf } from "../tensor/tensor.ts";

/** Which norm, and whether it must be finite. */
export interface ClipGradNormOptions {
  /** p of the p-norm, above 0; Infinity takes the greatest absolute value. Default 2. */
  readonly normType?: number;
  /** Throw for a total norm that is NaN or infinite, before anything is scaled. Reads the norm. Default false. */
  readonly errorIfNonFinite?: boolean;
}

/**
 * Scales all gradients by min(1, maxNorm / (total + 1e-6)), where total is the norm of all of them as one vector, and returns total.
 * Parameters without a gradient are passed over. A total that is NaN makes all gradients NaN.
 *
 * Shapes: returns a scalar; 0 without gradients.
 * Throws: ArgumentError for a normType that is not above 0, and for a non-finite total when asked to; DTypeError or DeviceError for
 * gradients of several kinds; DeviceError when asked to look at the total on a device that cannot be read at once.
 * Unlike PyTorch: orders of 0 and below are refused, and so are gradients of several dtypes or devices.
 * Source: PyTorch nn.utils.clip_grad_norm_.
 *
 * @example
 * loss.backward();
 * nn.utils.clipGradNorm(model.parameters(), 1);
 * opt.step();
 */
export function clipGradNorm(
  parameters: Tensor | Iterable<Tensor>,
  maxNorm: number,
  { normType = 2, errorIfNonFinite = false }: ClipGradNormOptions = {},
): Tensor {
  const op = "clipGradNorm";
  checkNumber(op, "maxNorm", maxNorm);
  if (!(normType > 0)) {
    throw new ArgumentError({ op, expected: "normType above 0", actual: String(normType) });
  }
  const gradients = gradientsOf(op, parameters);
  if (gradients.length === 0) return zeros([]);
  if (errorIfNonFinite) checkReadable(op, gradients[0]);
  return runInScope(op, () => {
    const total = totalNorm(gradients, normType);
    if (errorIfNonFinite) checkFinite(op, total, normType);
    const room = raw.binary("add", total, raw.scalar(1e-6, total));
    const factor = raw.binary("div", raw.scalar(maxNorm, total), room);
    const clamped = raw.binary("minimum", factor, raw.scalar(1, total));
    for (const gradient of gradients) {
      replace(op, gradient, () => raw.binary("mul", gradient, clamped));
    }
    return total;
  });
}

/**
 * Clamps every element of every gradient to [-clipValue, clipValue]; NaN stays NaN.
 *
 * Throws: ArgumentError unless clipValue >= 0.
 * Unlike PyTorch: a negative clipValue, which would set every element to it, is an error.
 * Source: PyTorch nn.utils.clip_grad_value_.
 */
export function clipGradValue(parameters: Tensor | Iterable<Tensor>, clipValue: number): void {
  const op = "clipGradValue";
  if (!(clipValue >= 0)) {
    throw new ArgumentError({ op, expected: "clipValue >= 0", actual: String(clipValue) });
  }
  for (const gradient of gradientsOf(op, parameters)) {
    replace(op, gradient, () => {
      const below = raw.binary("minimum", gradient, raw.scalar(clipValue, gradient));
      return raw.binary("maximum", below, raw.scalar(-clipValue, gradient));
    });
  }
}

/** The gradients that are there and have elements. Throws unless they share dtype and device. */
function gradientsOf(op: string, parameters: Tensor | Iterable<Tensor>): Tensor[] {
  const list = Symbol.iterator in parameters ? [...parameters] : [parameters];
  const gradients = list.flatMap((parameter) => {
    checkTensor(op, parameter);
    const { grad } = parameter;
    return grad === null || grad.size === 0 ? [] : [grad];
  });
  if (gradients.length > 0) checkSameKind(op, gradients[0], ...gradients);
  return gradients;
}

/** The norm over all elements of all tensors: sums of powers first, one root at the end. */
function totalNorm(tensors: readonly Tensor[], normType: number): Tensor {
  const [first] = tensors;
  const isMax = normType === Number.POSITIVE_INFINITY;
  const parts = allocate(backendFor(first), [tensors.length], first.dtype);
  tensors.forEach((tensor, i) => {
    runInScope("clipGradNorm", () => {
      const flat = viewOf(tensor, [1, tensor.size]);
      const part = viewOf(parts, [1], i);
      const layout = { outer: 1, length: tensor.size, inner: 1 };
      const backend = backendFor(tensor);
      backend.reduce(
        isMax ? "max" : "sum",
        operandOf(powers(flat, normType)),
        operandOf(part),
        layout,
      );
    });
  });
  const all = raw.reduce(isMax ? "max" : "sum", parts, [0], false);
  if (isMax) return all;
  return normType === 2
    ? raw.unary("sqrt", all)
    : raw.binary("pow", all, raw.scalar(1 / normType, all));
}

function powers(x: Tensor, normType: number): Tensor {
  if (normType === 2) return raw.binary("mul", x, x);
  const sizes = raw.unary("abs", x);
  if (normType === 1 || normType === Number.POSITIVE_INFINITY) return sizes;
  return raw.binary("pow", sizes, raw.scalar(normType, x));
}

/** New values for `tensor`: in its memory where somebody else sees that, or else in memory of their own, which saves a copy. */
function replace(op: string, tensor: Tensor, compute: () => Tensor): void {
  runInScope(op, () => {
    const made = compute();
    const { storage } = tensor.holding;
    if (!storage.isShared) return tensor.adopt(made.holding.storage.retain(), tensor.dtype);
    backendFor(tensor).copy(operandOf(made), operandOf(tensor));
    storage.markWritten(op);
  });
}

function checkNumber(op: string, name: string, value: number): void {
  if (typeof value === "number" && !Number.isNaN(value)) return;
  throw new ArgumentError({ op, expected: `${name} to be a number`, actual: String(value) });
}

function checkReadable(op: string, tensor: Tensor): void {
  if (backendFor(tensor).readsSynchronously) return;
  throw new DeviceError({
    op,
    expected: "a device that can be read at once, for errorIfNonFinite",
    actual: tensor.device,
    hint: "await the returned norm and look at it",
  });
}

function checkFinite(op: string, total: Tensor, normType: number): void {
  const [value] = total.dataSync();
  if (Number.isFinite(value)) return;
  throw new ArgumentError({
    op,
    expected: "a finite total norm (errorIfNonFinite is set)",
    actual: `${value} for order ${normType}`,
    hint: "the gradients are untouched",
  });
}

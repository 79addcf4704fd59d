/** Values from the host over those of a tensor, in place; what the functions of `nn.init` share. */
import { hostArray } from "../core/dtype.ts";
import { ArgumentError, ShapeError } from "../core/errors.ts";
import { defaultGenerator } from "../core/random.ts";
import { formatShape } from "../core/shape.ts";
import { checkFloating, checkTensor } from "../ops/check.ts";
import { backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";

/** Writes `valueAt` of every position, which runs in order. Graphs that saved the tensor notice. */
export function overwrite<T extends Tensor>(
  op: string,
  tensor: T,
  valueAt: (position: number) => number,
): T {
  const values = hostArray(tensor.dtype, tensor.size);
  for (let i = 0; i < values.length; i++) values[i] = valueAt(i);
  backendFor(tensor).write(operandOf(tensor), values);
  tensor.holding.storage.markWritten(op);
  return tensor;
}

interface UniformRange {
  readonly a: number;
  readonly b: number;
}

export function writeUniform<T extends Tensor>(op: string, tensor: T, { a, b }: UniformRange): T {
  checkFloating(op, tensor);
  if (!(a <= b)) throw new ArgumentError({ op, expected: "a <= b", actual: `a ${a}, b ${b}` });
  return overwrite(op, tensor, () => a + (b - a) * defaultGenerator.uniform());
}

interface NormalMoments {
  readonly mean: number;
  readonly std: number;
}

export function writeNormal<T extends Tensor>(
  op: string,
  tensor: T,
  { mean, std }: NormalMoments,
): T {
  checkFloating(op, tensor);
  if (!(std >= 0)) throw new ArgumentError({ op, expected: "std >= 0", actual: `std ${std}` });
  return overwrite(op, tensor, () => mean + std * defaultGenerator.normal());
}

/** Throws ShapeError unless the tensor has `least` to `most` axes. */
export function checkRanks(
  op: string,
  tensor: Tensor,
  [least, most]: readonly [number, number],
): void {
  checkTensor(op, tensor);
  const rank = tensor.shape.length;
  if (rank >= least && rank <= most) return;
  const range = most === Number.POSITIVE_INFINITY ? `${least} or more` : `${least} to ${most}`;
  throw new ShapeError({
    op,
    expected: `a tensor with ${least === most ? least : range} axes`,
    actual: `${rank} axes, shape ${formatShape(tensor.shape)}`,
  });
}

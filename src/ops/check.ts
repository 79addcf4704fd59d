/** Checks shared by the public operations, made before anything is allocated. */
import { type DType, isFloating } from "../core/dtype.ts";
import { DeviceError, DTypeError, ShapeError } from "../core/errors.ts";
import { formatShape } from "../core/shape.ts";
import { Tensor } from "../tensor/tensor.ts";

/** Throws DeviceError or DTypeError unless all tensors share device and dtype: nothing is promoted or moved silently. */
export function checkSameKind(op: string, first: Tensor, ...others: readonly Tensor[]): void {
  for (const other of others) {
    checkSameDevice(op, first, other);
    if (other.dtype === first.dtype) continue;
    throw new DTypeError({
      op,
      expected: `tensors of one dtype (the first is ${first.dtype})`,
      actual: other.dtype,
      hint: `convert with to("${isFloating(first.dtype) ? first.dtype : other.dtype}")`,
    });
  }
}

/** Throws TypeError for what only a caller without types can pass. */
export function checkTensor(op: string, x: unknown): asserts x is Tensor {
  if (x instanceof Tensor) return;
  throw new TypeError(`${op}: expected a tensor, got ${x === null ? "null" : typeof x}`);
}

export function checkSameDevice(op: string, first: Tensor, other: Tensor): void {
  checkTensor(op, other);
  if (other.holding.storage.backend === first.holding.storage.backend) return;
  throw new DeviceError({
    op,
    expected: `tensors on one device (the first is on "${first.device}")`,
    actual: `one on "${other.device}"`,
    hint: `move it with to("${first.device}")`,
  });
}

export function checkFloating(op: string, x: Tensor): void {
  checkTensor(op, x);
  if (isFloating(x.dtype)) return;
  throw new DTypeError({
    op,
    expected: "a floating tensor",
    actual: x.dtype,
    hint: 'convert it with to("float32")',
  });
}

export function checkDType(op: string, x: Tensor, dtype: DType, role: string): void {
  if (x.dtype === dtype) return;
  throw new DTypeError({
    op,
    expected: `${role} of ${dtype}`,
    actual: x.dtype,
    hint: `convert with to("${dtype}")`,
  });
}

export function checkRank(op: string, x: Tensor, rank: number, layout: string): void {
  if (x.shape.length === rank) return;
  throw new ShapeError({
    op,
    expected: `${rank} axes ${layout}`,
    actual: `${x.shape.length} axes, shape ${formatShape(x.shape)}`,
  });
}

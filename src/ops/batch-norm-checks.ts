/** What batch normalization refuses, before anything is allocated or written. */
import type { ChannelLayout } from "../backend/backend.ts";
import type { DType } from "../core/dtype.ts";
import { ArgumentError, AutogradError, DTypeError, ShapeError } from "../core/errors.ts";
import { formatShape, type Shape, sameShape, sizeOf } from "../core/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkSameDevice, checkSameKind } from "./check.ts";

export function rejectMissing(op: string, name: string): never {
  throw new ArgumentError({
    op,
    expected: `${name} to be given in evaluation mode`,
    actual: "null",
  });
}

/** N, C, and S = product of the remaining sizes. */
export function channelLayout(shape: Shape): ChannelLayout {
  if (shape.length < 2) {
    throw new ShapeError({
      op: "batchNorm",
      expected: "x with at least 2 axes (N, C, ...)",
      actual: formatShape(shape),
    });
  }
  return { N: shape[0], C: shape[1], S: sizeOf(shape, 2) };
}

export function checkValuesPerChannel(shape: Shape): void {
  const perChannel = shape.length === 0 ? 0 : shape[0] * sizeOf(shape, 2);
  if (perChannel !== 1) return;
  throw new ShapeError({
    op: "batchNorm",
    expected: "more than one value per channel when normalising with batch statistics",
    actual: `shape ${formatShape(shape)}`,
    hint: "if this is the last, smaller batch of a loader, pass dropLast: true to the DataLoader",
  });
}

export function checkEps(eps: number, training: boolean): void {
  if (training ? eps > 0 : eps >= 0) return;
  throw new ArgumentError({
    op: "batchNorm",
    expected: training ? "a positive eps with batch statistics" : "eps >= 0",
    actual: String(eps),
  });
}

const statisticsNames = ["runningMean", "runningVar"] as const;
const vectorNames = [...statisticsNames, "weight", "bias"] as const;

type Vectors = Readonly<Record<(typeof vectorNames)[number], Tensor | null>>;

interface Vectored {
  readonly vectors: Vectors;
  /** Whether the statistics of x are used. */
  readonly training: boolean;
}

export function checkVectors(op: string, x: Tensor, { vectors, training }: Vectored): void {
  const { runningMean, runningVar } = vectors;
  if (training && (runningMean === null) !== (runningVar === null)) {
    throw new ArgumentError({
      op,
      expected: "both runningMean and runningVar, or neither",
      actual: `only ${runningMean === null ? "runningVar" : "runningMean"}`,
    });
  }
  if (!training && runningMean === null) rejectMissing(op, "runningMean");
  if (!training && runningVar === null) rejectMissing(op, "runningVar");
  const dtype = vectorDType(x, vectors);
  for (const name of vectorNames) {
    const vector = vectors[name];
    if (vector !== null) checkVector(op, x, { name, vector, dtype });
  }
  for (const name of statisticsNames) {
    if (!vectors[name]?.requiresGrad) continue;
    throw new AutogradError({
      op,
      expected: `a ${name} that does not require grad`,
      actual: "one that does",
      hint: "batch norm is not differentiated with respect to its running statistics",
    });
  }
}

/** x's, or beside float16 that of the first vector if it is float32: PyTorch's mixed precision. */
function vectorDType(x: Tensor, { weight, bias, runningMean, runningVar }: Vectors): DType {
  const first = weight ?? bias ?? runningMean ?? runningVar;
  return x.dtype === "float16" && first?.dtype === "float32" ? "float32" : x.dtype;
}

interface NamedVector {
  readonly name: string;
  readonly vector: Tensor;
  readonly dtype: DType;
}

/** Throws unless the vector has one element of this dtype for each channel of x. */
export function checkVector(op: string, x: Tensor, { name, vector, dtype }: NamedVector): void {
  const C = x.shape[1];
  if (vector.size !== C) {
    const last = x.shape[x.shape.length - 1];
    throw new ShapeError({
      op,
      expected: `${name} to hold ${C} elements, the channels of x on axis 1`,
      actual: `${vector.size} elements, with x of shape ${formatShape(x.shape)}`,
      ...(last === vector.size && last !== C
        ? { hint: "channels belong on axis 1; did you pass them last?" }
        : {}),
    });
  }
  if (vector.dtype !== dtype) {
    throw new DTypeError({
      op,
      expected: `${name} of ${dtype === x.dtype ? "x's" : "the other vectors'"} dtype ${dtype}`,
      actual: vector.dtype,
      hint: "nothing is promoted: convert x or the module with to()",
    });
  }
  checkSameDevice(op, x, vector);
}

export function checkResidual(x: Tensor, residual: Tensor | null): void {
  if (residual === null) return;
  checkSameKind("batchNorm", x, residual);
  if (sameShape(x.shape, residual.shape)) return;
  throw new ShapeError({
    op: "batchNorm",
    expected: `a residual of x's shape ${formatShape(x.shape)}`,
    actual: formatShape(residual.shape),
  });
}

/** Picking elements by index. */
import { ShapeError } from "../core/errors.ts";
import { formatShape, normalizeAxis, type Shape, sizeOf } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkDType, checkSameDevice } from "./check.ts";
import * as raw from "./raw.ts";

/**
 * out[i][j][k] = x[i][index[i][j][k]][k] for axis 1, and so on.
 *
 * Shapes: index like x except on `axis`; returns the shape of index.
 * An index outside [0, size) reads nothing and gives NaN (0 for integers): devices that compute asynchronously cannot throw.
 * Throws: ShapeError if the shapes differ elsewhere; DTypeError unless index is int32.
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  const at = normalizeAxis("gather", axis, x.shape.length);
  checkDType("gather", index, "int32", "an index");
  checkSameDevice("gather", x, index);
  checkGatherShape(x.shape, at, index.shape);
  const { shape, dtype } = x;
  const layout = {
    outer: sizeOf(shape, 0, at),
    length: shape[at],
    inner: sizeOf(shape, at + 1),
    picks: index.shape[at],
  };
  const backend = backendFor(x);
  const out = allocate(backend, index.shape, dtype);
  backend.gather(operandOf(x), operandOf(index), operandOf(out), layout);
  return record("gather", [x], out, () => {
    const saved = save(index, "index");
    return {
      saved: [saved],
      rule: (dy) => {
        const dx = raw.zerosLike({ shape, dtype }, dy);
        backend.scatterAdd(operandOf(dy), saved.operand(), operandOf(dx), layout);
        return [dx];
      },
    };
  });
}

function checkGatherShape(x: Shape, axis: number, index: Shape): void {
  const fits =
    x.length === index.length && x.every((size, at) => at === axis || size === index[at]);
  if (fits) return;
  throw new ShapeError({
    op: "gather",
    expected: `an index shaped like x ${formatShape(x)}, except on axis ${axis}`,
    actual: formatShape(index),
  });
}

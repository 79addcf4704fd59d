import { broadcastShapes, type Shape, sameShape } from "../core/shape.ts";
import { record } from "../tensor/autograd.ts";
import { save } from "../tensor/saved.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkDType, checkSameDevice, checkSameKind, checkTensor } from "./check.ts";
import { numberLike, type Operable } from "./elementwise.ts";
import * as raw from "./raw.ts";

/**
 * a where `condition` holds, else b. What is not chosen has no influence, NaN included, and a gradient of 0.
 *
 * Shapes: all three broadcast together. A number counts as a tensor of one element of the other's kind; two numbers as float32.
 * Throws: DTypeError unless condition is bool, or if a and b differ in dtype; ShapeError if the shapes do not broadcast.
 *
 * @example
 * where(x.gt(0), x, 0) // relu
 */
export function where(condition: Tensor, a: Operable, b: Operable): Tensor {
  checkTensor("where", condition);
  checkDType("where", condition, "bool", "a condition");
  const [x, z] = toChoices(condition, a, b);
  checkSameKind("where", x, z);
  checkSameDevice("where", condition, x);
  const shape = broadcastShapes(
    "where",
    broadcastShapes("where", x.shape, z.shape),
    condition.shape,
  );
  const [chosen, left, right] = [condition, x, z].map((t) => spread(t, shape));
  const { shape: xShape } = x;
  const { shape: zShape } = z;
  return record("where", [x, z], raw.select(chosen, left, right), () => {
    const saved = save(condition, "condition");
    return {
      saved: [saved],
      rule: (dy, [wantsA, wantsB]) => {
        const mask = spread(saved.tensor(), dy.shape);
        const zeros = raw.zerosLike(dy, dy);
        return [
          wantsA ? raw.sumTo(raw.select(mask, dy, zeros), xShape) : null,
          wantsB ? raw.sumTo(raw.select(mask, zeros, dy), zShape) : null,
        ];
      },
    };
  });
}

function toChoices(condition: Tensor, a: Operable, b: Operable): readonly [Tensor, Tensor] {
  if (typeof a !== "number") {
    checkTensor("where", a);
    return [a, typeof b === "number" ? raw.cast(numberLike("where", b, a), a.dtype) : b];
  }
  if (typeof b !== "number") {
    checkTensor("where", b);
    return [raw.cast(numberLike("where", a, b), b.dtype), b];
  }
  return [floatBeside(condition, a), floatBeside(condition, b)];
}

function floatBeside(condition: Tensor, value: number): Tensor {
  const backend = backendFor(condition);
  const t = allocate(backend, [], "float32");
  backend.fill(operandOf(t), value);
  return t;
}

function spread(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : raw.expand(x, shape);
}

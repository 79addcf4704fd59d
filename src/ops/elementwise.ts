/** Functions of one or two tensors, element by element, with NumPy's broadcasting. */
import type { BinaryOp, CompareOp } from "../backend/backend.ts";
import { isFloating } from "../core/dtype.ts";
import { ArgumentError, DTypeError } from "../core/errors.ts";
import { type BackwardRule, record } from "../tensor/autograd.ts";
import { type Saved, save } from "../tensor/saved.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkFloating, checkSameKind, checkTensor } from "./check.ts";
import * as raw from "./raw.ts";

/**
 * A tensor or a number, which then counts as a tensor of one element of the other operand's kind; beside float16 arithmetic takes it in
 * float32, and comparisons round it.
 */
export type Operable = Tensor | number;

function toOperands(op: string, a: Operable, b: Operable): readonly [Tensor, Tensor] {
  if (typeof a === "number" && typeof b === "number") {
    throw new TypeError(`${op}: expected at least one tensor, got two numbers`);
  }
  const like = typeof a === "number" ? b : a;
  checkTensor(op, like);
  const [x, y] = [a, b].map((v) => (typeof v === "number" ? numberLike(op, v, like) : v));
  if (typeof a !== "number" && typeof b !== "number") checkSameKind(op, x, y);
  if (x.dtype === "bool" || x.dtype === "uint8") {
    throw new DTypeError({
      op,
      expected: "a floating tensor or int32",
      actual: x.dtype,
      hint: 'convert it with to("float32") or to("int32")',
    });
  }
  return [x, y];
}

/** A tensor of one element for operations with `like`, as `raw.scalar`. Throws: DTypeError if the kind cannot hold the number. */
export function numberLike(op: string, value: number, like: Tensor): Tensor {
  const { dtype } = like;
  if (!isFloating(dtype) && !Number.isInteger(value)) {
    throw new DTypeError({
      op,
      expected: `an integer beside ${dtype === "int32" ? "an" : "a"} ${dtype} tensor`,
      actual: String(value),
      hint: 'convert the tensor with to("float32")',
    });
  }
  return raw.scalar(value, like);
}

type BinaryRule = (
  dy: Tensor,
  saved: { readonly a: Tensor; readonly b: Tensor; readonly y: Tensor },
) => { readonly a: () => Tensor; readonly b: () => Tensor };

/** Runs `op` and records `rule`, whose results are summed over what broadcasting repeated. */
function recordBinary(op: BinaryOp, a: Operable, b: Operable, rule: BinaryRule): Tensor {
  const [x, z] = toOperands(op, a, b);
  const y = raw.binary(op, x, z);
  return record(op, [x, z], y, () => {
    const saved = { a: save(x, "first input"), b: save(z, "second input"), y: save(y, "output") };
    return {
      saved: Object.values(saved),
      rule: (dy, [wantsA, wantsB]) => {
        const gradient = rule(dy, {
          a: saved.a.tensor(),
          b: saved.b.tensor(),
          y: saved.y.tensor(),
        });
        return [
          wantsA ? raw.sumTo(gradient.a(), saved.a.shape) : null,
          wantsB ? raw.sumTo(gradient.b(), saved.b.shape) : null,
        ];
      },
    };
  });
}

/** As `recordBinary` for operations whose gradient needs shapes only. */
function recordLinear(op: "add" | "sub", a: Operable, b: Operable): Tensor {
  const [x, z] = toOperands(op, a, b);
  const { shape: xShape } = x;
  const { shape: zShape } = z;
  return record(op, [x, z], raw.binary(op, x, z), () => ({
    saved: [],
    rule: (dy, [wantsA, wantsB]) => [
      wantsA ? raw.sumTo(dy, xShape) : null,
      wantsB ? raw.sumTo(op === "add" ? dy : raw.unary("neg", dy), zShape) : null,
    ],
  }));
}

/**
 * a + b.
 *
 * Shapes: broadcast.
 * Throws: ShapeError if they do not; DTypeError for bool and uint8, unequal dtypes, and a fraction beside int32; DeviceError for two
 * devices.
 */
export function add(a: Operable, b: Operable): Tensor {
  return recordLinear("add", a, b);
}

/** a - b. Shapes and errors as `add`. */
export function sub(a: Operable, b: Operable): Tensor {
  return recordLinear("sub", a, b);
}

/** a * b. Shapes and errors as `add`. */
export function mul(a: Operable, b: Operable): Tensor {
  return recordBinary("mul", a, b, (dy, saved) => ({
    a: () => raw.binary("mul", dy, saved.b),
    b: () => raw.binary("mul", dy, saved.a),
  }));
}

/** a / b; int32 operands truncate toward zero. Shapes and errors as `add`. */
export function div(a: Operable, b: Operable): Tensor {
  return recordBinary("div", a, b, (dy, saved) => ({
    a: () => raw.binary("div", dy, saved.b),
    b: () => raw.unary("neg", raw.binary("div", raw.binary("mul", dy, saved.y), saved.b)),
  }));
}

/** a ** b. Its gradients are b * a ** (b - 1) and, taken as 0 where a is 0, a ** b * log(a). Shapes and errors as `add`. */
export function pow(a: Operable, b: Operable): Tensor {
  return recordBinary("pow", a, b, (dy, saved) => ({
    a: () => {
      const lower = raw.binary("pow", saved.a, raw.binary("sub", saved.b, raw.scalar(1, dy)));
      const slope = raw.binary("mul", saved.b, lower);
      // x ** 0 is flat also at 0, where 0 * 0 ** -1 would be NaN.
      return raw.masked(
        raw.binary("mul", dy, slope),
        raw.compare("ne", saved.b, raw.scalar(0, dy)),
      );
    },
    b: () => {
      const slope = raw.binary("mul", saved.y, raw.unary("log", saved.a));
      return raw.masked(
        raw.binary("mul", dy, slope),
        raw.compare("ne", saved.a, raw.scalar(0, dy)),
      );
    },
  }));
}

/** The greater of a and b, NaN if either is. Equal elements share the gradient half and half. Shapes and errors as `add`. */
export function maximum(a: Operable, b: Operable): Tensor {
  return recordBinary("maximum", a, b, (dy, saved) => extremeGrad("gt", dy, saved));
}

/** The smaller of a and b, NaN if either is. Equal elements share the gradient half and half. Shapes and errors as `add`. */
export function minimum(a: Operable, b: Operable): Tensor {
  return recordBinary("minimum", a, b, (dy, saved) => extremeGrad("lt", dy, saved));
}

function extremeGrad(
  wins: "gt" | "lt",
  dy: Tensor,
  { a, b }: { readonly a: Tensor; readonly b: Tensor },
) {
  const share = (x: Tensor, y: Tensor): Tensor => {
    const won = raw.cast(raw.compare(wins, x, y), dy.dtype);
    const tied = raw.scale(raw.cast(raw.compare("eq", x, y), dy.dtype), 0.5);
    return raw.binary("mul", dy, raw.binary("add", won, tied));
  };
  return { a: () => share(a, b), b: () => share(b, a) };
}

/** What `clamp` holds elements between; one of the two may be left out. */
export interface Bounds {
  /** The least result. Default: none. */
  readonly min?: number | undefined;
  /** The greatest result. Default: none. */
  readonly max?: number | undefined;
}

/**
 * Each element, or the bound that it lies beyond. NaN stays NaN; where min > max the result is max. The gradient passes where
 * min < x < max and is 0 on the bounds, as in PyTorch since 2.14; before it passed there, too.
 *
 * Throws: ArgumentError without any bound; DTypeError for bool and uint8, and for a fraction beside int32.
 */
export function clamp(x: Tensor, { min, max }: Bounds): Tensor {
  if (min === undefined && max === undefined) {
    throw new ArgumentError({ op: "clamp", expected: "min, max or both", actual: "neither" });
  }
  const [, low] = min === undefined ? [] : toOperands("clamp", x, min);
  const [, high] = max === undefined ? [] : toOperands("clamp", x, max);
  const raised = low === undefined ? x : raw.binary("maximum", x, low);
  const y = high === undefined ? raised : raw.binary("minimum", raised, high);
  return record("clamp", [x], y, () => {
    const saved = save(x, "input");
    return { saved: [saved], rule: (dy) => [insideBounds(dy, saved.tensor(), { min, max })] };
  });
}

/** dy where min < x < max, else 0. */
function insideBounds(dy: Tensor, x: Tensor, { min, max }: Bounds): Tensor {
  const above = min === undefined ? dy : raw.masked(dy, raw.compare("gt", x, raw.scalar(min, x)));
  return max === undefined ? above : raw.masked(above, raw.compare("lt", x, raw.scalar(max, x)));
}

function comparison(op: CompareOp): (a: Operable, b: Operable) => Tensor {
  return (a, b) => {
    const [x, y] = toOperands(op, a, b);
    // As PyTorch: 0.1 equals the float16 nearest to it.
    if (x.dtype === y.dtype) return raw.compare(op, x, y);
    return raw.compare(op, raw.cast(x, "float16"), raw.cast(y, "float16"));
  };
}

/** Where a equals b, as "bool" and without gradient; NaN equals nothing. Shapes and errors as `add`. */
export const eq = comparison("eq");
/** Where a differs from b, as "bool" and without gradient; NaN differs from everything. Shapes and errors as `add`. */
export const ne = comparison("ne");
/** Where a < b, as "bool" and without gradient; false beside NaN. Shapes and errors as `add`. */
export const lt = comparison("lt");
/** Where a <= b, as "bool" and without gradient; false beside NaN. Shapes and errors as `add`. */
export const le = comparison("le");
/** Where a > b, as "bool" and without gradient; false beside NaN. Shapes and errors as `add`. */
export const gt = comparison("gt");
/** Where a >= b, as "bool" and without gradient; false beside NaN. Shapes and errors as `add`. */
export const ge = comparison("ge");

type SavedRule = (dy: Tensor, saved: Tensor) => Tensor;

function recordUnary(
  op: "neg" | "abs" | "exp" | "log" | "sqrt",
  x: Tensor,
  keep: "input" | "output" | "nothing",
  rule: SavedRule,
): Tensor {
  if (op !== "neg" && op !== "abs") checkFloating(op, x);
  const y = raw.unary(op, x);
  return record(op, [x], y, () => {
    const saved: readonly Saved[] =
      keep === "nothing" ? [] : [save(keep === "input" ? x : y, keep)];
    const backward: BackwardRule = (dy) => [rule(dy, saved.length > 0 ? saved[0].tensor() : dy)];
    return { saved, rule: backward };
  });
}

/** -x. */
export function neg(x: Tensor): Tensor {
  checkTensor("neg", x);
  if (x.dtype === "bool") {
    throw new DTypeError({
      op: "neg",
      expected: "numbers",
      actual: "bool",
      hint: 'convert it with to("int32")',
    });
  }
  return recordUnary("neg", x, "nothing", (dy) => raw.unary("neg", dy));
}

/** |x|; its gradient at 0 is 0. */
export function abs(x: Tensor): Tensor {
  return recordUnary("abs", x, "input", (dy, saved) => {
    const zero = raw.scalar(0, dy);
    const positive = raw.cast(raw.compare("gt", saved, zero), dy.dtype);
    const negative = raw.cast(raw.compare("lt", saved, zero), dy.dtype);
    return raw.binary("mul", dy, raw.binary("sub", positive, negative));
  });
}

/** e ** x. Throws DTypeError unless x is floating. */
export function exp(x: Tensor): Tensor {
  return recordUnary("exp", x, "output", (dy, y) => raw.binary("mul", dy, y));
}

/** Natural logarithm; NaN below 0. Throws DTypeError unless x is floating. */
export function log(x: Tensor): Tensor {
  return recordUnary("log", x, "input", (dy, saved) => raw.binary("div", dy, saved));
}

/** Square root; NaN below 0. Throws DTypeError unless x is floating. */
export function sqrt(x: Tensor): Tensor {
  return recordUnary("sqrt", x, "output", (dy, y) => raw.binary("div", dy, raw.scale(y, 2)));
}

/** 1 / sqrt(x). Throws DTypeError unless x is floating. */
export function rsqrt(x: Tensor): Tensor {
  checkFloating("rsqrt", x);
  return div(1, sqrt(x));
}

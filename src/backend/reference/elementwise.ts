import { hashUniform } from "../../core/random.ts";
import type { Backend, BinaryOp, CompareOp, UnaryOp } from "../backend.ts";
import { activationGradients, activations } from "./activation.ts";
import type { View } from "./memory.ts";
import { source } from "./movement.ts";

type ElementwiseKernels = Pick<
  Backend,
  "unary" | "unaryGrad" | "binary" | "compare" | "select" | "addInto" | "dropout"
>;

const unaryFormulas: Readonly<Record<UnaryOp, (x: number, alpha: number) => number>> = {
  neg: (x) => -x,
  abs: Math.abs,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  ...activations,
};

const binaryFormulas: Readonly<Record<BinaryOp, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: power,
  maximum: Math.max,
  minimum: Math.min,
};

const comparisons: Readonly<Record<CompareOp, (a: number, b: number) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
};

/** C's and PyTorch's pow, which differs from JavaScript's in pow(1, anything) = 1 and pow(-1, +-Infinity) = 1. */
function power(a: number, b: number): number {
  if (a === 1 || (a === -1 && Math.abs(b) === Number.POSITIVE_INFINITY)) return 1;
  return a ** b;
}

/** Element by element, with every number in double precision until it is stored. */
export function elementwiseKernels(view: View): ElementwiseKernels {
  return {
    unary(op, x, out, alpha) {
      const [xs, outs, formula] = [view(x), view(out), unaryFormulas[op]];
      for (let i = 0; i < outs.length; i++) outs[i] = formula(xs[i], alpha);
    },
    unaryGrad(op, dy, saved, dx, alpha) {
      const [dys, saveds, dxs, formula] = [
        view(dy),
        view(saved),
        view(dx),
        activationGradients[op],
      ];
      for (let i = 0; i < dxs.length; i++) dxs[i] = formula(dys[i], saveds[i], alpha);
    },
    binary(op, a, b, out, { shape, aStrides, bStrides }) {
      const [lefts, rights, outs] = [view(a), view(b), view(out)];
      // A product of two int32 may need more than the 53 bits of a double before it wraps.
      const isWrapping = op === "mul" && out.dtype === "int32";
      const formula = isWrapping ? Math.imul : binaryFormulas[op];
      for (let i = 0; i < outs.length; i++) {
        outs[i] = formula(lefts[source(i, shape, aStrides)], rights[source(i, shape, bStrides)]);
      }
    },
    compare(op, a, b, out, { shape, aStrides, bStrides }) {
      const [lefts, rights, outs, holds] = [view(a), view(b), view(out), comparisons[op]];
      for (let i = 0; i < outs.length; i++) {
        outs[i] = Number(
          holds(lefts[source(i, shape, aStrides)], rights[source(i, shape, bStrides)]),
        );
      }
    },
    select(condition, a, b, out) {
      const [conditions, lefts, rights, outs] = [view(condition), view(a), view(b), view(out)];
      for (let i = 0; i < outs.length; i++) outs[i] = conditions[i] !== 0 ? lefts[i] : rights[i];
    },
    addInto(x, sum) {
      const [xs, sums] = [view(x), view(sum)];
      for (let i = 0; i < sums.length; i++) sums[i] += xs[i];
    },
    dropout(x, out, p, seed) {
      const [xs, outs] = [view(x), view(out)];
      for (let i = 0; i < outs.length; i++) {
        const keep = hashUniform(seed, i) >= p;
        outs[i] = keep ? xs[i] / (1 - p) : 0;
      }
    },
  };
}

import type { AxisLayout, Backend, ReduceOp } from "../backend.ts";
import type { View } from "./memory.ts";

/** Math.max and Math.min answer NaN when either argument is NaN, which is how NaN wins. */
const folds: Readonly<Record<ReduceOp, (result: number, x: number) => number>> = {
  sum: (total, x) => total + x,
  mean: (total, x) => total + x,
  max: Math.max,
  min: Math.min,
};

const starts: Readonly<Record<ReduceOp, number>> = {
  sum: 0,
  mean: 0,
  max: Number.NEGATIVE_INFINITY,
  min: Number.POSITIVE_INFINITY,
};

/** Reductions of the middle axis of (outer, length, inner) to (outer, inner), one output after the other. */
export function reduceKernels(view: View): Pick<Backend, "reduce" | "argmax"> {
  return {
    reduce(op, x, out, layout) {
      const [xs, outs, fold] = [view(x), view(out), folds[op]];
      for (let i = 0; i < outs.length; i++) {
        let result = starts[op];
        for (let l = 0; l < layout.length; l++) result = fold(result, xs[position(layout, i, l)]);
        outs[i] = op === "mean" ? result / layout.length : result;
      }
    },
    argmax(x, out, layout) {
      const [xs, outs] = [view(x), view(out)];
      for (let i = 0; i < outs.length; i++) {
        let best = 0;
        for (let l = 1; l < layout.length; l++) {
          if (isGreater(xs[position(layout, i, l)], xs[position(layout, i, best)])) best = l;
        }
        outs[i] = best;
      }
    },
  };
}

/** Where element l of the line that ends in output i lies in x; i counts (outer, inner). */
function position({ length, inner }: AxisLayout, i: number, l: number): number {
  const o = Math.floor(i / inner);
  return (o * length + l) * inner + (i % inner);
}

/** `a > b` with NaN above every number, and no NaN above another: the first of equals stays. */
function isGreater(a: number, b: number): boolean {
  return a > b || (Number.isNaN(a) && !Number.isNaN(b));
}

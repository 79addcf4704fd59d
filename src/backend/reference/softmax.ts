import type { AxisLayout, Backend } from "../backend.ts";
import type { View } from "./memory.ts";

/** softmax: y = exp(x) / sum exp(x). Logarithmic: y = x - log(sum exp(x)). Both along the middle axis. */
export function softmaxKernels(view: View): Pick<Backend, "softmax" | "softmaxGrad"> {
  return {
    softmax(x, y, layout, log) {
      const [xs, ys] = [view(x), view(y)];
      for (const line of lines(layout)) {
        // Numerics: shifting x by its maximum changes nothing in exact arithmetic and keeps exp from overflowing.
        const max = line.reduce((best, i) => Math.max(best, xs[i]), Number.NEGATIVE_INFINITY);
        const total = line.reduce((sum, i) => sum + Math.exp(xs[i] - max), 0);
        for (const i of line) {
          ys[i] = log ? xs[i] - max - Math.log(total) : Math.exp(xs[i] - max) / total;
        }
      }
    },
    softmaxGrad(dy, y, dx, layout, log) {
      const [dys, ys, dxs] = [view(dy), view(y), view(dx)];
      for (const line of lines(layout)) {
        const total = line.reduce((sum, i) => sum + dys[i] * (log ? 1 : ys[i]), 0);
        for (const i of line) {
          dxs[i] = log ? dys[i] - Math.exp(ys[i]) * total : ys[i] * (dys[i] - total);
        }
      }
    },
  };
}

/** The positions of each line along the middle axis of (outer, length, inner). */
function* lines({ outer, length, inner }: AxisLayout): Generator<number[]> {
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      yield Array.from({ length }, (_, l) => (o * length + l) * inner + i);
    }
  }
}

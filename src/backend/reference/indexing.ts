import { isFloating } from "../../core/dtype.ts";
import type { Backend, GatherLayout } from "../backend.ts";
import type { View } from "./memory.ts";

/** Picking along the middle axis by an index, and its adjoint: adding back to where one picked from. */
export function indexingKernels(view: View): Pick<Backend, "gather" | "scatterAdd"> {
  return {
    gather(x, index, out, layout) {
      const [xs, indices, outs] = [view(x), view(index), view(out)];
      const outside = isFloating(x.dtype) ? Number.NaN : 0;
      for (let pick = 0; pick < outs.length; pick++) {
        const from = position(layout, pick, indices[pick]);
        outs[pick] = from === null ? outside : xs[from];
      }
    },
    scatterAdd(x, index, sum, layout) {
      const [xs, indices, sums] = [view(x), view(index), view(sum)];
      const totals = Float64Array.from(sums);
      for (let pick = 0; pick < xs.length; pick++) {
        const to = position(layout, pick, indices[pick]);
        if (to !== null) totals[to] += xs[pick];
      }
      sums.set(totals);
    },
  };
}

/** Where element [o, index, i] lies in (outer, length, inner); `pick` counts (outer, picks, inner). Null if the index is outside. */
function position(layout: GatherLayout, pick: number, index: number): number | null {
  if (index < 0 || index >= layout.length) return null;
  const o = Math.floor(pick / (layout.picks * layout.inner));
  const i = pick % layout.inner;
  return (o * layout.length + index) * layout.inner + i;
}

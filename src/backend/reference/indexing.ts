import { isFloating } from "../../core/dtype.ts";
import type { Backend, GatherLayout, Operand } from "../backend.ts";
import type { View } from "./memory.ts";

/** Picking along the middle axis by an index, and its adjoint: adding back to where one picked from. */
export function indexingKernels(
  view: View,
): Pick<Backend, "gather" | "scatterAdd" | "indexSelect" | "indexAdd"> {
  /** `place` is where in the index the pick at `at` of (outer, picks, inner) is found. */
  function pick([x, index, out]: readonly Operand[], layout: GatherLayout, place: Place): void {
    const [xs, indices, outs] = [view(x), view(index), view(out)];
    const outside = isFloating(x.dtype) ? Number.NaN : 0;
    for (let at = 0; at < outs.length; at++) {
      const from = position(layout, at, indices[place(at, layout)]);
      outs[at] = from === null ? outside : xs[from];
    }
  }

  function add([x, index, sum]: readonly Operand[], layout: GatherLayout, place: Place): void {
    const [xs, indices, sums] = [view(x), view(index), view(sum)];
    const totals = Float64Array.from(sums);
    for (let at = 0; at < xs.length; at++) {
      const to = position(layout, at, indices[place(at, layout)]);
      if (to !== null) totals[to] += xs[at];
    }
    sums.set(totals);
  }

  return {
    gather: (x, index, out, layout) => pick([x, index, out], layout, ownPlace),
    scatterAdd: (x, index, sum, layout) => add([x, index, sum], layout, ownPlace),
    indexSelect: (x, index, out, layout) => pick([x, index, out], layout, sharedPlace),
    indexAdd: (x, index, sum, layout) => add([x, index, sum], layout, sharedPlace),
  };
}

type Place = (pick: number, layout: GatherLayout) => number;

/** Every pick has an index of its own. */
const ownPlace: Place = (pick) => pick;

/** One index serves all o and i. */
const sharedPlace: Place = (pick, { picks, inner }) => Math.floor(pick / inner) % picks;

/** Where element [o, index, i] lies in (outer, length, inner); `pick` counts (outer, picks, inner). Null if the index is outside. */
function position(layout: GatherLayout, pick: number, index: number): number | null {
  if (index < 0 || index >= layout.length) return null;
  const o = Math.floor(pick / (layout.picks * layout.inner));
  const i = pick % layout.inner;
  return (o * layout.length + index) * layout.inner + i;
}

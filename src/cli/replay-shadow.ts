/** How far rounding alone carries a run: the same run, from weights that are off by a few units in the last place. */
import type { ReplayModel } from "./replay-run.ts";

/** Relative: some ten times what two ways of adding the same numbers differ by, since one shadow shows only some of what may happen. */
const perturbation = 2 ** -18;

/** A copy of the model whose parameters are off by random shares of up to `perturbation`, the same at every call. */
export function shadowOf(model: ReplayModel): ReplayModel {
  const shadow = model.clone();
  // A generator of its own (Park and Miller): a run with a shadow must draw what one without it draws.
  let state = 1;
  const share = () => {
    state = (state * 48271) % 2147483647;
    return perturbation * (2 * (state / 2147483647) - 1);
  };
  const moved = shadow.namedParameters().map(([key, parameter]) => {
    const data = Float32Array.from(parameter.dataSync(), (value) => value * (1 + share()));
    return [key, { dtype: "float32", shape: parameter.shape, data: () => data }] as const;
  });
  shadow.loadStateDict(new Map(moved), { strict: false });
  return shadow;
}

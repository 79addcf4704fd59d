import type { DType, TypedArray } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";

/** A value, or arrays of values nested as deep as a tensor has axes. */
export type NestedValues = number | boolean | NestedValues[];

/** Flat values as nested arrays; 0 and 1 become booleans for "bool". A scalar gives the value itself. */
export function nest(values: TypedArray, shape: Shape, dtype: DType): NestedValues {
  const items: NestedValues[] = Array.from(values, (v) => (dtype === "bool" ? v !== 0 : v));
  if (shape.length === 0) return items[0];
  let level = items;
  for (let axis = shape.length - 1; axis > 0; axis--) {
    const size = shape[axis];
    const count = shape.slice(0, axis).reduce((product, n) => product * n, 1);
    const below = level;
    level = Array.from({ length: count }, (_, i) => below.slice(i * size, (i + 1) * size));
  }
  return level;
}

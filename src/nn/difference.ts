/** How far two tensors are apart, in figures that mean the same for layers of any scale. */
import { formatShape, type Shape, sameShape } from "../core/shape.ts";

/** Values and their shape, on the host. */
export interface HostValues {
  readonly shape: Shape;
  readonly values: ArrayLike<number>;
}

/** How far b is from a. */
export interface Difference {
  /** Largest |a - b|; infinite where one is NaN or infinite and the other is not the same, and for different shapes. */
  readonly largest: number;
  /** `largest` over the root mean square of a's finite elements, or of b's where all of these are 0. */
  readonly relative: number;
  /** Root mean square of a - b. */
  readonly rms: number;
  /** What figures do not tell: shapes, or NaN on one side. Empty where there is nothing to add. */
  readonly remark: string;
}

/** No difference. */
const noDifference: Difference = { largest: 0, relative: 0, rms: 0, remark: "" };

const unequal = { largest: Infinity, relative: Infinity, rms: Infinity } as const;

/** The larger of the differences of each pair; lists of other lengths differ without bound. */
export function differenceOfAll(a: readonly HostValues[], b: readonly HostValues[]): Difference {
  if (a.length !== b.length) {
    return { ...unequal, remark: `${a.length} tensors against ${b.length}` };
  }
  return a
    .map((values, i) => differenceOf(values, b[i]))
    .reduce((worst, next) => (next.relative > worst.relative ? next : worst), noDifference);
}

/** NaN equals NaN, and infinities of one sign each other. */
export function differenceOf(a: HostValues, b: HostValues): Difference {
  if (!sameShape(a.shape, b.shape)) {
    return {
      ...unequal,
      remark: `shape ${formatShape(a.shape)} against ${formatShape(b.shape)}`,
    };
  }
  let largest = 0;
  let squares = 0;
  for (let i = 0; i < a.values.length; i++) {
    if (Object.is(a.values[i], b.values[i])) continue;
    const distance = Math.abs(a.values[i] - b.values[i]);
    const bounded = Number.isNaN(distance) ? Infinity : distance;
    largest = Math.max(largest, bounded);
    squares += bounded * bounded;
  }
  if (largest === 0) return noDifference;
  const scale = rmsOf(a.values) || rmsOf(b.values);
  const rms = Math.sqrt(squares / a.values.length);
  return { largest, relative: largest / scale, rms, remark: nonFinite(a.values, b.values) };
}

/** Root mean square of the finite elements; 0 where there are none. */
function rmsOf(values: ArrayLike<number>): number {
  let squares = 0;
  let count = 0;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    squares += values[i] * values[i];
    count++;
  }
  return count === 0 ? 0 : Math.sqrt(squares / count);
}

function nonFinite(a: ArrayLike<number>, b: ArrayLike<number>): string {
  const count = (values: ArrayLike<number>) =>
    Array.from(values).reduce((sum, value) => sum + (Number.isFinite(value) ? 0 : 1), 0);
  const counts = [count(a), count(b)];
  if (counts[0] === counts[1]) return "";
  return `NaN or infinity in ${counts[0]} of ${a.length} elements of A, ${counts[1]} of B`;
}

/**
 * What rounding alone may do to the output of the `position`-th layer, counted from 1, relative to its scale.
 *
 * Numerics: a sum of hundreds of float32 terms is off by some units in the last place, the worst of thousands of sums by dozens; the
 * errors of layers in a row are independent and add up like a random walk.
 */
export function roundingBound(position: number, unit = 2 ** -24): number {
  return 100 * unit * Math.sqrt(position);
}

import type { AvgPoolLayout, Backend, PoolAxis, PoolLayout } from "../backend.ts";
import type { View } from "./memory.ts";

type PoolKernels = Pick<Backend, "maxPool" | "maxPoolGrad" | "avgPool" | "avgPoolGrad">;

/** Pooling: each element of y comes from one window of x. */
export function poolKernels(view: View): PoolKernels {
  return {
    maxPool(x, y, indices, layout) {
      const [xs, ys, positions] = [view(x), view(y), view(indices)];
      for (const { plane, yi, inside } of windows(layout)) {
        let [best = -1] = inside;
        for (const i of inside) if (isGreater(xs[plane + i], xs[plane + best])) best = i;
        ys[yi] = best < 0 ? -Infinity : xs[plane + best];
        positions[yi] = best;
      }
    },
    maxPoolGrad(dy, indices, dx, layout) {
      const [dys, positions, sums] = [view(dy), view(indices), new Float64Array(dx.length)];
      for (const { plane, yi } of windows(layout)) {
        if (positions[yi] >= 0) sums[plane + positions[yi]] += dys[yi];
      }
      view(dx).set(sums);
    },
    avgPool(x, y, layout) {
      const [xs, ys] = [view(x), view(y)];
      for (const { plane, yi, inside, padded } of windows(layout)) {
        let sum = 0;
        for (const i of inside) sum += xs[plane + i];
        ys[yi] = sum / divisorOf(layout, inside.length, padded);
      }
    },
    avgPoolGrad(dy, dx, layout) {
      const [dys, sums] = [view(dy), new Float64Array(dx.length)];
      for (const { plane, yi, inside, padded } of windows(layout)) {
        const share = dys[yi] / divisorOf(layout, inside.length, padded);
        for (const i of inside) sums[plane + i] += share;
      }
      view(dx).set(sums);
    },
  };
}

function divisorOf({ divisor }: AvgPoolLayout, inside: number, padded: number): number {
  if (divisor === "padded") return padded;
  return divisor === "inside" ? inside : divisor;
}

interface Window {
  /** Where the plane starts in x. */
  readonly plane: number;
  readonly yi: number;
  /** Positions (d * H + h) * W + w inside the plane, padding left out, in reading order. */
  readonly inside: readonly number[];
  /** Positions inside the padded plane. */
  readonly padded: number;
}

/** One window per element of y. */
function* windows({ planes, axes, isAdaptive }: PoolLayout): Generator<Window> {
  const [D, H, W] = axes;
  const [depths, heights, widths] = axes.map((axis) => spans(axis, isAdaptive));
  let yi = 0;
  for (let n = 0; n < planes; n++) {
    const plane = n * D.size * H.size * W.size;
    for (const depth of depths) {
      for (const height of heights) {
        for (const width of widths) {
          const rows = depth.inside.flatMap((d) => height.inside.map((h) => d * H.size + h));
          const inside = rows.flatMap((row) => width.inside.map((w) => row * W.size + w));
          const padded = depth.padded * height.padded * width.padded;
          yield { plane, yi, inside, padded };
          yi += 1;
        }
      }
    }
  }
}

interface Span {
  readonly inside: readonly number[];
  readonly padded: number;
}

/** The windows along one axis. */
function spans({ size, out, ...axis }: PoolAxis, isAdaptive: boolean): Span[] {
  const { kernel, stride, padding, dilation } = axis;
  return Array.from({ length: out }, (_, i) => {
    if (isAdaptive) {
      const first = Math.floor((i * size) / out);
      const length = Math.ceil(((i + 1) * size) / out) - first;
      return { inside: Array.from({ length }, (_, k) => first + k), padded: length };
    }
    const taps = Array.from({ length: kernel }, (_, k) => i * stride - padding + k * dilation);
    return {
      inside: taps.filter((at) => at >= 0 && at < size),
      padded: taps.filter((at) => at < size + padding).length,
    };
  });
}

/** `a > b`, and NaN above all that stands before it. */
function isGreater(a: number, b: number): boolean {
  return a > b || Number.isNaN(a);
}

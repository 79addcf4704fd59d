import type { Backend, Pool2dLayout } from "../backend.ts";
import type { View } from "./memory.ts";

type PoolKernels = Pick<Backend, "maxPool2d" | "maxPool2dGrad" | "avgPool2d" | "avgPool2dGrad">;

/** Pooling: each element of y comes from one window of x. */
export function poolKernels(view: View): PoolKernels {
  return {
    maxPool2d(x, y, indices, layout) {
      const [xs, ys, positions] = [view(x), view(y), view(indices)];
      for (const { plane, yi, window } of windows(layout)) {
        let best = window[0];
        for (const i of window) if (isGreater(xs[plane + i], xs[plane + best])) best = i;
        ys[yi] = xs[plane + best];
        positions[yi] = best;
      }
    },
    maxPool2dGrad(dy, indices, dx, layout) {
      const [dys, positions, sums] = [view(dy), view(indices), new Float64Array(dx.length)];
      for (const { plane, yi } of windows(layout)) sums[plane + positions[yi]] += dys[yi];
      view(dx).set(sums);
    },
    avgPool2d(x, y, layout) {
      const [xs, ys, area] = [view(x), view(y), layout.kernelH * layout.kernelW];
      for (const { plane, yi, window } of windows(layout)) {
        let sum = 0;
        for (const i of window) sum += xs[plane + i];
        ys[yi] = sum / area;
      }
    },
    avgPool2dGrad(dy, dx, layout) {
      const [dys, sums, area] = [
        view(dy),
        new Float64Array(dx.length),
        layout.kernelH * layout.kernelW,
      ];
      for (const { plane, yi, window } of windows(layout)) {
        for (const i of window) sums[plane + i] += dys[yi] / area;
      }
      view(dx).set(sums);
    },
  };
}

interface Window {
  /** Where the plane starts in x. */
  readonly plane: number;
  readonly yi: number;
  /** Positions h * W + w inside the plane, padding left out, in reading order. */
  readonly window: readonly number[];
}

/** One window per element of y. */
function* windows(layout: Pool2dLayout): Generator<Window> {
  const { planes, H, W, outH, outW } = layout;
  let yi = 0;
  for (let plane = 0; plane < planes; plane++) {
    for (let p = 0; p < outH; p++) {
      for (let q = 0; q < outW; q++) {
        const window = [];
        for (const h of covered(p * layout.strideH - layout.paddingH, layout.kernelH, H)) {
          for (const w of covered(q * layout.strideW - layout.paddingW, layout.kernelW, W)) {
            window.push(h * W + w);
          }
        }
        yield { plane: plane * H * W, yi, window };
        yi += 1;
      }
    }
  }
}

/** The positions start, start + 1, ... start + size - 1 that lie in [0, limit). */
function* covered(start: number, size: number, limit: number): Generator<number> {
  for (let at = Math.max(start, 0); at < Math.min(start + size, limit); at++) yield at;
}

/** `a > b` with NaN above every number, and no NaN above another: the first of equals stays. */
function isGreater(a: number, b: number): boolean {
  return a > b || (Number.isNaN(a) && !Number.isNaN(b));
}

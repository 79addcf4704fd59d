import type { Backend, Conv2dLayout } from "../backend.ts";
import type { View } from "./memory.ts";

/**
 * A convolution is one list of products: element xi of x times element wi of weight counts towards element yi of y.
 * The forward and both gradients walk the same list and differ only in which of the three they sum into.
 */
export function convKernels(
  view: View,
): Pick<Backend, "conv2d" | "conv2dGradInput" | "conv2dGradWeight"> {
  return {
    conv2d(x, weight, bias, y, layout) {
      const [xs, weights, sums] = [view(x), view(weight), new Float64Array(y.length)];
      const biases = bias && view(bias);
      const plane = layout.outH * layout.outW;
      for (let yi = 0; biases && yi < sums.length; yi++) {
        sums[yi] = biases[Math.floor(yi / plane) % layout.K];
      }
      forEachProduct(layout, (xi, wi, yi) => {
        sums[yi] += xs[xi] * weights[wi];
      });
      view(y).set(sums);
    },
    conv2dGradInput(dy, weight, dx, layout) {
      const [dys, weights, sums] = [view(dy), view(weight), new Float64Array(dx.length)];
      forEachProduct(layout, (xi, wi, yi) => {
        sums[xi] += dys[yi] * weights[wi];
      });
      view(dx).set(sums);
    },
    conv2dGradWeight(dy, x, dWeight, layout) {
      const [dys, xs, sums] = [view(dy), view(x), new Float64Array(dWeight.length)];
      forEachProduct(layout, (xi, wi, yi) => {
        sums[wi] += dys[yi] * xs[xi];
      });
      view(dWeight).set(sums);
    },
  };
}

type Visit = (xi: number, wi: number, yi: number) => void;

/** Visits (xi, wi, yi) for every image, output channel, input channel of its group, output position and kernel tap. */
function forEachProduct(layout: Conv2dLayout, visit: Visit): void {
  const { N, C, H, W, K, kernelH, kernelW, groups, outH, outW } = layout;
  const groupC = C / groups;
  const groupK = K / groups;
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) {
      const firstC = Math.floor(k / groupK) * groupC;
      for (let c = 0; c < groupC; c++) {
        const x = (n * C + firstC + c) * H * W;
        const w = (k * groupC + c) * kernelH * kernelW;
        const y = (n * K + k) * outH * outW;
        forEachTap(layout, (xi, wi, yi) => visit(x + xi, w + wi, y + yi));
      }
    }
  }
}

/** The same within one plane of x, one kernel and one plane of y. Taps that fall on padding meet a zero and are left out. */
function forEachTap(layout: Conv2dLayout, visit: Visit): void {
  const { H, W, kernelH, kernelW, outH, outW } = layout;
  for (let p = 0; p < outH; p++) {
    for (let q = 0; q < outW; q++) {
      for (let i = 0; i < kernelH; i++) {
        const h = p * layout.strideH - layout.paddingH + i * layout.dilationH;
        if (h < 0 || h >= H) continue;
        for (let j = 0; j < kernelW; j++) {
          const w = q * layout.strideW - layout.paddingW + j * layout.dilationW;
          if (w < 0 || w >= W) continue;
          visit(h * W + w, i * kernelW + j, p * outW + q);
        }
      }
    }
  }
}

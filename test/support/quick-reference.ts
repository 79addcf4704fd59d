import type { Backend, Conv2dLayout, Operand } from "../../src/backend/backend.ts";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import { hostArray } from "../../src/core/dtype.ts";

/**
 * The reference backend for convolutions of 3 x 3 and stride 1 only, or 2 with a padding of 1, in flat loops over padded planes of
 * float64: many times as fast, and the same bits, because every sum adds the same products in the same order, and zeros. With a
 * stride of 2 every second output of stride 1 is taken, and dy has zeros for the others.
 */
export function createQuickReference(): Backend {
  const reference = createReferenceBackend();
  const read = (operand: Operand) => Float64Array.from(reference.readSync(operand));
  const write = (operand: Operand, sums: Float64Array): void => {
    const host = hostArray(operand.dtype, operand.length);
    host.set(sums);
    reference.write(operand, host);
  };
  return {
    ...reference,
    conv2d(x, weight, bias, y, layout) {
      const { N, C, K, outH, outW, ...dense } = checked(layout);
      const source = padded(read(x), N * C, dense);
      const plane = outH * outW;
      const sums = new Float64Array(N * K * plane);
      const biases = bias && read(bias);
      for (let i = 0; biases && i < N * K; i++)
        sums.fill(biases[i % K], i * plane, (i + 1) * plane);
      correlate(source, read(weight), sums, { N, C, K, H: outH, W: outW });
      write(y, strided(sums, layout, false));
    },
    conv2dGradInput(dy, weight, dx, layout) {
      const { N, C, K, H, W, outH, outW } = checked(layout);
      const [paddingH, paddingW] = [2 - layout.paddingH, 2 - layout.paddingW];
      const dense = strided(read(dy), layout, true);
      const source = padded(dense, N * K, { H: outH, W: outW, paddingH, paddingW });
      const sums = new Float64Array(dx.length);
      correlate(source, turned(read(weight), layout), sums, { N, C: K, K: C, H, W });
      write(dx, sums);
    },
    conv2dGradWeight(dy, x, dWeight, layout) {
      const dense = checked(layout);
      const source = padded(read(x), layout.N * layout.C, dense);
      write(dWeight, gradWeight(strided(read(dy), layout, true), source, dense));
    },
  };
}

/** The same convolution at stride 1. */
function checked(layout: Conv2dLayout): Conv2dLayout {
  const { H, W, strideH, strideW } = layout;
  const isHalved = Math.min(strideH, strideW) === 2 && layout.outH === Math.ceil(H / 2);
  if (isHalved && layout.outW === Math.ceil(W / 2) && layout.paddingH * layout.paddingW === 1) {
    return checked({ ...layout, strideH: 1, strideW: 1, outH: H, outW: W });
  }
  const { kernelH, kernelW, dilationH, dilationW, groups } = layout;
  const { outH, outW, paddingH, paddingW } = layout;
  const isDense = Math.max(strideH, strideW, dilationH, dilationW, groups) === 1;
  const isPadded = outH === H + 2 * paddingH - 2 && outW === W + 2 * paddingW - 2;
  const isThree = kernelH === 3 && kernelW === 3 && paddingH <= 2 && paddingW <= 2;
  if (isDense && isPadded && isThree) return layout;
  throw new Error(`the quick reference does not know ${JSON.stringify(layout)}`);
}

/** Every second output of stride 1, or zeros around those of stride 2. */
function strided(values: Float64Array, layout: Conv2dLayout, isSpread: boolean): Float64Array {
  if (layout.strideH === 1) return values;
  const { N, K, H, W, outH, outW } = layout;
  const result = new Float64Array(N * K * (isSpread ? H * W : outH * outW));
  for (let row = 0; row < N * K * outH; row++) {
    const wide = (Math.floor(row / outH) * H + 2 * (row % outH)) * W;
    for (let w = 0; w < outW; w++) {
      if (isSpread) result[wide + 2 * w] = values[row * outW + w];
      else result[row * outW + w] = values[wide + 2 * w];
    }
  }
  return result;
}

/** Every plane with its padding: zeros, which change no sum. */
function padded(
  values: Float64Array,
  planes: number,
  { H, W, paddingH, paddingW }: Pick<Conv2dLayout, "H" | "W" | "paddingH" | "paddingW">,
): Float64Array {
  const [height, width] = [H + 2 * paddingH, W + 2 * paddingW];
  const all = new Float64Array(planes * height * width);
  for (let row = 0; row < planes * H; row++) {
    const to = Math.floor(row / H) * height + paddingH + (row % H);
    all.set(values.subarray(row * W, (row + 1) * W), to * width + paddingW);
  }
  return all;
}

/** The kernels backwards, as [channel][output channel][tap]. */
function turned(weights: Float64Array, { C, K }: Conv2dLayout): Float64Array {
  const all = new Float64Array(weights.length);
  for (let k = 0; k < K; k++) {
    for (let c = 0; c < C; c++) {
      const kernel = weights.slice((k * C + c) * 9, (k * C + c + 1) * 9).reverse();
      all.set(kernel, (c * K + k) * 9);
    }
  }
  return all;
}

/** Adds to N times K planes of H x W sums the products of C padded planes and as many kernels each. */
function correlate(
  source: Float64Array,
  weights: Float64Array,
  sums: Float64Array,
  { N, C, K, H, W }: Pick<Conv2dLayout, "N" | "C" | "K" | "H" | "W">,
): void {
  const sizes = { H, W };
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) {
      const to = sums.subarray((n * K + k) * H * W, (n * K + k + 1) * H * W);
      for (let c = 0; c < C; c++) {
        const x = (n * C + c) * (H + 2) * (W + 2);
        addPlane(source, x, weights.subarray((k * C + c) * 9, (k * C + c + 1) * 9), to, sizes);
      }
    }
  }
}

function addPlane(
  source: Float64Array,
  x: number,
  kernel: Float64Array,
  sums: Float64Array,
  { H, W }: Pick<Conv2dLayout, "H" | "W">,
): void {
  const [w0, w1, w2, w3, w4, w5, w6, w7, w8] = kernel;
  for (let h = 0, y = 0; h < H; h++) {
    let r0 = x + h * (W + 2);
    let r1 = r0 + W + 2;
    let r2 = r1 + W + 2;
    for (let w = 0; w < W; w++, y++, r0++, r1++, r2++) {
      let sum = sums[y];
      sum += source[r0] * w0;
      sum += source[r0 + 1] * w1;
      sum += source[r0 + 2] * w2;
      sum += source[r1] * w3;
      sum += source[r1 + 1] * w4;
      sum += source[r1 + 2] * w5;
      sum += source[r2] * w6;
      sum += source[r2 + 1] * w7;
      sum += source[r2 + 2] * w8;
      sums[y] = sum;
    }
  }
}

function gradWeight(
  dys: Float64Array,
  source: Float64Array,
  { N, C, K, outH, outW }: Conv2dLayout,
): Float64Array {
  const sums = new Float64Array(K * C * 9);
  const [plane, paddedPlane] = [outH * outW, (outH + 2) * (outW + 2)];
  const sizes = { H: outH, W: outW };
  for (let n = 0; n < N; n++) {
    for (let k = 0; k < K; k++) {
      const dy = dys.subarray((n * K + k) * plane, (n * K + k + 1) * plane);
      for (let c = 0; c < C; c++) {
        const taps = sums.subarray((k * C + c) * 9, (k * C + c + 1) * 9);
        addTaps(source, (n * C + c) * paddedPlane, dy, taps, sizes);
      }
    }
  }
  return sums;
}

function addTaps(
  source: Float64Array,
  x: number,
  dy: Float64Array,
  taps: Float64Array,
  { H, W }: Pick<Conv2dLayout, "H" | "W">,
): void {
  let [t0, t1, t2, t3, t4, t5, t6, t7, t8] = taps;
  for (let h = 0, y = 0; h < H; h++) {
    let r0 = x + h * (W + 2);
    let r1 = r0 + W + 2;
    let r2 = r1 + W + 2;
    for (let w = 0; w < W; w++, y++, r0++, r1++, r2++) {
      const value = dy[y];
      t0 += value * source[r0];
      t1 += value * source[r0 + 1];
      t2 += value * source[r0 + 2];
      t3 += value * source[r1];
      t4 += value * source[r1 + 1];
      t5 += value * source[r1 + 2];
      t6 += value * source[r2];
      t7 += value * source[r2 + 1];
      t8 += value * source[r2 + 2];
    }
  }
  taps.set([t0, t1, t2, t3, t4, t5, t6, t7, t8]);
}

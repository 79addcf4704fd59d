import type { TypedArray } from "../core/dtype.ts";
import type { HostTensor } from "./dataset.ts";

/** The pixels that one pixel of the result averages, from `first` on. */
interface Window {
  readonly first: number;
  readonly weights: Float64Array;
}

/**
 * Bilinear scaling with antialiasing: along the rows, then along the columns.
 * Source: PyTorch interpolate(mode="bilinear", antialias=True), which is Pillow's BILINEAR.
 */
export function resizePlanes(
  image: HostTensor,
  [height, width]: readonly [number, number],
): HostTensor {
  const [channels, rows, columns] = image.shape;
  if (rows === height && columns === width) return image;
  const narrow = scaleRows(image.data, { columns, windows: windowsOf(columns, width) });
  const data = new Float32Array(channels * height * width);
  const down = windowsOf(rows, height);
  for (let c = 0; c < channels; c++) {
    const plane = narrow.subarray(c * rows * width, (c + 1) * rows * width);
    scaleColumns(plane, down, data.subarray(c * height * width, (c + 1) * height * width));
  }
  return { data, shape: [channels, height, width], dtype: "float32" };
}

/** Every row as long as there are windows. */
function scaleRows(
  values: TypedArray,
  { columns, windows }: { readonly columns: number; readonly windows: readonly Window[] },
): Float32Array {
  const width = windows.length;
  const rows = values.length / columns;
  const out = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = windows[x];
      const from = row * columns + first;
      let sum = 0;
      for (let j = 0; j < weights.length; j++) sum += weights[j] * values[from + j];
      out[row * width + x] = sum;
    }
  }
  return out;
}

/** One row of `out` per window; whole rows at a time, since going down a column misses the cache at every step. */
function scaleColumns(values: Float32Array, windows: readonly Window[], out: Float32Array): void {
  const width = out.length / windows.length;
  const sums = new Float64Array(width);
  for (let y = 0; y < windows.length; y++) {
    const { first, weights } = windows[y];
    sums.fill(0);
    for (let j = 0; j < weights.length; j++) {
      const weight = weights[j];
      const from = (first + j) * width;
      for (let x = 0; x < width; x++) sums[x] += weight * values[from + x];
    }
    out.set(sums, y * width);
  }
}

/** The windows of all pixels along one axis: a triangle that is as wide as the step between them, and at least two pixels. */
function windowsOf(from: number, to: number): readonly Window[] {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = scale * (i + 0.5);
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, j) =>
      Math.max(0, 1 - Math.abs(first + j + 0.5 - centre) / reach),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** How far a pass over data moved the running statistics: what `updateBatchNorm` and `preciseBatchNorm` report. */
import { formatTable } from "./table.ts";

/** How far one layer's running statistics moved. */
export interface RecalibratedLayer {
  /** Path, as in `namedModules()`. */
  readonly name: string;
  /** Forward calls that were seen; 0 for a layer that none reached, whose statistics stay. */
  readonly batches: number;
  /** Values per channel in all of them. */
  readonly values: number;
  /** Largest move of a channel's mean, in old standard deviations sqrt(variance + eps). */
  readonly largestShift: number;
  /** Average of that over the channels. */
  readonly meanShift: number;
  /** Smallest (new variance + eps) / (old variance + eps) of a channel. */
  readonly leastRatio: number;
  /** Largest of these. */
  readonly largestRatio: number;
  /**
   * The channel that moved most: by its mean's shift, or by the logarithm of the standard deviation's ratio where that is more. -1 without
   * channels.
   */
  readonly channel: number;
}

/** How far a pass moved every layer; as text, a table. */
export interface Recalibration {
  /** The layers that were estimated anew, in the order of `namedModules()`. */
  readonly layers: readonly RecalibratedLayer[];
  /** Batches that were read. */
  readonly batches: number;
  /** The table as text. */
  toString(): string;
}

/** Running statistics on the host. */
export interface HostStatistics {
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
}

/** The figures of one layer that `before` and `after` decide. */
export function shiftBetween(before: HostStatistics, after: HostStatistics, eps: number) {
  const C = after.mean.length;
  let [largestShift, sum, leastRatio, largestRatio] = [0, 0, Number.POSITIVE_INFINITY, 0];
  let [channel, most] = [-1, Number.NEGATIVE_INFINITY];
  for (let c = 0; c < C; c++) {
    const oldVariance = before.variance[c] + eps;
    const shift = Math.abs(after.mean[c] - before.mean[c]) / Math.sqrt(oldVariance);
    const ratio = (after.variance[c] + eps) / oldVariance;
    largestShift = Math.max(largestShift, shift);
    leastRatio = Math.min(leastRatio, ratio);
    largestRatio = Math.max(largestRatio, ratio);
    sum += shift;
    const moved = Math.max(shift, Math.abs(Math.log(ratio) / 2));
    // NaN has moved further than any number.
    const reach = Number.isNaN(moved) ? Number.POSITIVE_INFINITY : moved;
    if (reach > most) [channel, most] = [c, reach];
  }
  const none = C === 0;
  return {
    ...{ largestShift, meanShift: none ? 0 : sum / C, channel },
    ...{ leastRatio: none ? 1 : leastRatio, largestRatio: none ? 1 : largestRatio },
  };
}

const headings = [
  ...["layer", "batches", "values", "largest shift", "mean shift"],
  ...["variance ratio", "channel"],
];

export function recalibrationOf(
  layers: readonly RecalibratedLayer[],
  batches: number,
): Recalibration {
  const cells = layers.map((layer) => [
    layer.name === "" ? "(model)" : layer.name,
    String(layer.batches),
    String(layer.values),
    layer.largestShift.toPrecision(3),
    layer.meanShift.toPrecision(3),
    `${layer.leastRatio.toPrecision(3)} to ${layer.largestRatio.toPrecision(3)}`,
    String(layer.channel),
  ]);
  return { layers, batches, toString: () => formatTable([headings, ...cells]) };
}

import type { BroadcastLayout } from "../../src/backend/backend.ts";
import {
  broadcastShapes,
  broadcastStrides,
  mergeAxes,
  type Shape,
  sizeOf,
} from "../../src/core/shape.ts";

/** The canonical layout of a broadcast, and how many elements its operands have. */
export interface Broadcast {
  readonly name: string;
  readonly layout: BroadcastLayout;
  readonly aLength: number;
  readonly bLength: number;
  readonly outLength: number;
}

/** What a kernel is given for operands of these shapes. */
export function broadcast(a: Shape, b: Shape): Broadcast {
  const full = broadcastShapes("broadcast", a, b);
  const { shape, strides } = mergeAxes(
    "broadcast",
    full,
    broadcastStrides(a, full),
    broadcastStrides(b, full),
  );
  return {
    name: `[${a}] with [${b}]`,
    layout: { shape, aStrides: strides[0], bStrides: strides[1] },
    aLength: sizeOf(a),
    bLength: sizeOf(b),
    outLength: sizeOf(full),
  };
}

/** Every remainder of four SIMD lanes, twice over, then lengths with a long vector part and a tail. */
export const lengths: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 1003];

/** Elements enough to be spread over threads, with a tail. */
export const longLength = 200_003;

/** Equal shapes, a scalar on either side, channels, leading and inner axes, outer products, ranks up to 6. */
export const broadcasts: readonly Broadcast[] = [
  ...lengths.map((n) => broadcast([n], [n])),
  ...lengths.map((n) => broadcast([n], [1])),
  ...lengths.map((n) => broadcast([1], [n])),
  ...[1, 3, 4, 5, 7, 9, 17, 49].map((S) => broadcast([2, 3, S], [3, 1])),
  ...[1, 3, 4, 5, 7, 9, 17, 49].map((S) => broadcast([3, 1], [2, 3, S])),
  ...[1, 3, 4, 5, 8, 17].map((n) => broadcast([3, n], [n])),
  ...[1, 3, 4, 5, 8, 17].map((n) => broadcast([n], [3, n])),
  ...[1, 3, 4, 5, 8, 17].map((n) => broadcast([3, n], [3, 1])),
  ...[1, 3, 4, 5, 8, 17].map((n) => broadcast([3, 1], [3, n])),
  ...[1, 3, 4, 5, 8, 17].map((n) => broadcast([5, 1], [1, n])),
  broadcast([2, 3, 5], [2, 1, 5]),
  broadcast([2, 1, 5], [1, 3, 1]),
  broadcast([1, 3, 1], [2, 1, 9]),
  broadcast([2, 3, 4, 5], [2, 1, 4, 1]),
  broadcast([1, 3, 1, 5], [2, 1, 4, 1]),
  broadcast([2, 3, 2, 3, 2], [1, 3, 1, 3, 1]),
  broadcast([2, 1, 3, 1, 2, 1], [1, 2, 1, 3, 1, 5]),
  broadcast([], []),
  broadcast([0, 3], [3]),
];

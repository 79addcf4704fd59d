/** The convolution and its two gradients along one to three axes, without history: the shortest way onto two axes. */
import type { Conv2dLayout } from "../backend/backend.ts";
import { depthForward, depthGradInput, depthGradWeight } from "./conv-depth.ts";
import type { ConvAxis, ConvGeometry } from "./conv-geometry.ts";
import {
  type ForwardTensors,
  type GradInputTensors,
  type GradWeightTensors,
  planeForward,
  planeGradInput,
  planeGradWeight,
  planeLayout,
} from "./conv-plane.ts";

/** y = x * weight + bias. */
export function convForward(geometry: ConvGeometry, tensors: ForwardTensors): void {
  const short = shorten(geometry);
  if (short.axes.length === 3) depthForward(short, tensors);
  else planeForward(layoutOf(short), tensors);
}

/** The gradient of x; elements that no window reaches are 0. */
export function convGradInput(geometry: ConvGeometry, tensors: GradInputTensors): void {
  const short = shorten(geometry);
  if (short.axes.length === 3) depthGradInput(short, tensors);
  else planeGradInput(layoutOf(short), tensors);
}

/** The gradient of the weight. */
export function convGradWeight(geometry: ConvGeometry, tensors: GradWeightTensors): void {
  const short = shorten(geometry);
  if (short.axes.length === 3) depthGradWeight(short, tensors);
  else planeGradWeight(layoutOf(short), tensors);
}

/** Three axes as two where that takes no copy: neighbours along which nothing mixes are walked as one. */
function shorten(geometry: ConvGeometry): ConvGeometry {
  if (geometry.axes.length < 3) return geometry;
  const [depth, height, width] = geometry.axes;
  const isFlat = isPointwise(depth) && (isPointwise(height) || depth.size === 1);
  // With a depth of 1 the height may be any.
  if (isFlat) return { ...geometry, axes: [merged(depth, height), width] };
  if (!isPointwise(height) || !isPointwise(width)) return geometry;
  return { ...geometry, axes: [depth, merged(height, width)] };
}

/** The axis that walks both, of which the first has one place or neither mixes anything. */
function merged(outer: ConvAxis, inner: ConvAxis): ConvAxis {
  return { ...inner, size: outer.size * inner.size, out: outer.out * inner.out };
}

function isPointwise({ size, kernel, stride, padding, out }: ConvAxis): boolean {
  return kernel === 1 && stride === 1 && padding === 0 && out === size;
}

function layoutOf(geometry: ConvGeometry): Conv2dLayout {
  const { axes } = geometry;
  const height = axes.length === 2 ? axes[0] : onePlace;
  return planeLayout(geometry, height, axes[axes.length - 1]);
}

const onePlace: ConvAxis = { size: 1, kernel: 1, stride: 1, padding: 0, dilation: 1, out: 1 };

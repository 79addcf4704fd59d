/**
 * Convolution along three axes as one along two: the kernel's places along the depth become channels. Plane d of y is a
 * convolution of the kernelD planes of x that it meets, laid side by side:
 *
 *   x (N, C, D, H, W) -> unfolded (N * outD, C * kernelD, H, W) -> planes (N * outD, K, outH, outW) -> y (N, K, outD, outH, outW)
 *
 * The weight (K, C / groups, kernelD, kernelH, kernelW) is (K, C / groups * kernelD, kernelH, kernelW) as it lies.
 */
import { runInScope } from "../tensor/scope.ts";
import { allocate, backendFor, operandOf, type Tensor, viewOf } from "../tensor/tensor.ts";
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
import * as raw from "./raw.ts";

/** Elements of x unfolded at a time, as far as that leaves one image: the images are taken in passes. */
const mostUnfolded = 1 << 24;

const op = "conv3d";

/** Sizes of a pass over some of the images. */
interface Pass {
  readonly first: number;
  readonly images: number;
  readonly C: number;
  readonly K: number;
  readonly groups: number;
  readonly depth: ConvAxis;
  readonly height: ConvAxis;
  readonly width: ConvAxis;
  /** Elements of a plane of x and of y. */
  readonly plane: number;
  readonly outPlane: number;
}

/** y = x * weight + bias. */
export function depthForward(geometry: ConvGeometry, tensors: ForwardTensors): void {
  const { x, weight, bias, y } = tensors;
  forEachPass(geometry, (pass) => {
    const { images, K, depth, outPlane } = pass;
    const unfolded = unfold(pass, x);
    const planes = allocate(backendFor(x), [images, depth.out, K, outPlane], x.dtype);
    planeForward(layoutOf(pass), { x: unfolded, weight, bias, y: planes });
    const strides = [K * depth.out * outPlane, outPlane, depth.out * outPlane, 1];
    raw.writeBlock(planes, y, { op, strides, offset: pass.first * strides[0] });
  });
}

/** dx = dy * weight, back to front. */
export function depthGradInput(geometry: ConvGeometry, tensors: GradInputTensors): void {
  const { dy, weight } = tensors;
  summed(tensors.dx, (dx) => {
    forEachPass(geometry, (pass) => {
      const { images, C, depth, plane } = pass;
      const shape = [images * depth.out, C * depth.kernel, plane];
      const unfolded = allocate(backendFor(dy), shape, dx.dtype);
      planeGradInput(layoutOf(pass), { dy: planesOf(pass, dy), weight, dx: unfolded });
      for (let tap = 0; tap < depth.kernel; tap++) addSlice(pass, { unfolded, dx, tap });
    });
  });
}

/** dWeight = sum over images and places of dy times what the tap meets. */
export function depthGradWeight(geometry: ConvGeometry, tensors: GradWeightTensors): void {
  const { dy, x } = tensors;
  summed(tensors.dWeight, (dWeight) => {
    forEachPass(geometry, (pass) => {
      const part = allocate(backendFor(dy), dWeight.shape, dWeight.dtype);
      const unfolded = unfold(pass, x);
      planeGradWeight(layoutOf(pass), { dy: planesOf(pass, dy), x: unfolded, dWeight: part });
      backendFor(dy).addInto(operandOf(part), operandOf(dWeight));
    });
  });
}

/** Adds up in `out`, from 0: what becomes float16 in float32, to be rounded once. */
function summed(out: Tensor, addUp: (sum: Tensor) => void): void {
  const backend = backendFor(out);
  runInScope(op, () => {
    const sum = out.dtype === "float16" ? allocate(backend, out.shape, "float32") : out;
    backend.fill(operandOf(sum), 0);
    addUp(sum);
    if (sum !== out) backend.cast(operandOf(sum), operandOf(out));
  });
}

function forEachPass(geometry: ConvGeometry, run: (pass: Pass) => void): void {
  const { N, C, K, groups } = geometry;
  const [depth, height, width] = geometry.axes;
  const [plane, outPlane] = [height.size * width.size, height.out * width.out];
  const perImage = depth.out * C * depth.kernel * plane;
  const perPass = Math.max(1, Math.floor(mostUnfolded / perImage));
  for (let first = 0; first < N; first += perPass) {
    const images = Math.min(perPass, N - first);
    const pass = { first, images, C, K, groups, depth, height, width, plane, outPlane };
    runInScope(op, () => run(pass));
  }
}

function layoutOf({ images, C, K, groups, depth, height, width }: Pass) {
  const channels = { N: images * depth.out, C: C * depth.kernel, K, groups };
  return planeLayout(channels, height, width);
}

/** (images, outD, C, kernelD, H * W), from x with its depth padded. */
function unfold(pass: Pass, x: Tensor): Tensor {
  const { images, C, depth, plane } = pass;
  const { source, length, offset } = padDepth(pass, x);
  return raw.readBlock(source, [images, depth.out, C, depth.kernel, plane], {
    op,
    strides: [C * length * plane, depth.stride * plane, length * plane, depth.dilation * plane, 1],
    offset,
  });
}

/** The images of a pass with zeros wherever windows reach beyond the depth; x itself where none does. */
function padDepth({ first, images, C, depth, plane }: Pass, x: Tensor) {
  const { size, padding } = depth;
  const reach = (depth.out - 1) * depth.stride + depth.dilation * (depth.kernel - 1) + 1;
  const image = C * size * plane;
  if (padding === 0 && reach <= size) return { source: x, length: size, offset: first * image };
  const length = Math.max(reach, padding + size);
  const source = raw.zerosLike({ shape: [images, C, length, plane], dtype: x.dtype }, x);
  const strides = [C * length * plane, length * plane, 1];
  const part = viewOf(x, [images, C, size * plane], first * image);
  raw.writeBlock(part, source, { op, strides, offset: padding * plane });
  return { source, length, offset: 0 };
}

/** The planes of dy in the order of those that `unfold` makes: (images, outD, K, outH * outW). */
function planesOf({ first, images, K, depth, outPlane }: Pass, dy: Tensor): Tensor {
  const image = K * depth.out * outPlane;
  const part = viewOf(dy, [images, K, depth.out, outPlane], first * image);
  return raw.permute(part, [0, 2, 1, 3]);
}

/** Adds the planes that one place of the kernel met to the places of dx that they came from. */
function addSlice(
  pass: Pass,
  { unfolded, dx, tap }: { readonly unfolded: Tensor; readonly dx: Tensor; readonly tap: number },
): void {
  const { first, images, C, depth, plane } = pass;
  const { size, kernel, stride, padding, out } = depth;
  const shift = tap * depth.dilation - padding;
  const begin = Math.max(0, Math.ceil(-shift / stride));
  const end = Math.min(out, Math.floor((size - 1 - shift) / stride) + 1);
  if (end <= begin) return;
  const step = C * kernel * plane;
  const slice = raw.readBlock(unfolded, [images, end - begin, C, plane], {
    op,
    strides: [out * step, step, kernel * plane, 1],
    offset: begin * step + tap * plane,
  });
  const image = C * size * plane;
  raw.writeBlock(slice, dx, {
    op,
    strides: [image, stride * plane, size * plane, 1],
    offset: first * image + (begin * stride + shift) * plane,
    accumulate: true,
  });
}

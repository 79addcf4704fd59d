/** The kernels for two axes, as functions of tensors. Only the sizes of the layout count, not the tensors' shapes. */
import type { Conv2dLayout } from "../backend/backend.ts";
import { backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import type { ConvAxis } from "./conv-geometry.ts";

export interface ForwardTensors {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly y: Tensor;
}

export interface GradInputTensors {
  readonly dy: Tensor;
  readonly weight: Tensor;
  readonly dx: Tensor;
}

export interface GradWeightTensors {
  readonly dy: Tensor;
  readonly x: Tensor;
  readonly dWeight: Tensor;
}

export function planeForward(layout: Conv2dLayout, { x, weight, bias, y }: ForwardTensors): void {
  const biasOperand = bias === null ? null : operandOf(bias);
  backendFor(x).conv2d(operandOf(x), operandOf(weight), biasOperand, operandOf(y), layout);
}

export function planeGradInput(layout: Conv2dLayout, { dy, weight, dx }: GradInputTensors): void {
  backendFor(dy).conv2dGradInput(operandOf(dy), operandOf(weight), operandOf(dx), layout);
}

export function planeGradWeight(layout: Conv2dLayout, { dy, x, dWeight }: GradWeightTensors): void {
  backendFor(dy).conv2dGradWeight(operandOf(dy), operandOf(x), operandOf(dWeight), layout);
}

interface Channels {
  readonly N: number;
  readonly C: number;
  readonly K: number;
  readonly groups: number;
}

// Written out: spreading objects is several times slower, and this runs for every convolution.
export function planeLayout({ N, C, K, groups }: Channels, h: ConvAxis, w: ConvAxis): Conv2dLayout {
  return {
    N,
    C,
    K,
    groups,
    H: h.size,
    W: w.size,
    kernelH: h.kernel,
    kernelW: w.kernel,
    strideH: h.stride,
    strideW: w.stride,
    paddingH: h.padding,
    paddingW: w.padding,
    dilationH: h.dilation,
    dilationW: w.dilation,
    outH: h.out,
    outW: w.out,
  };
}

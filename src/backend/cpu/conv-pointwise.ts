/** Convolutions of kernel 1 x 1: matrix products of the weight and the images, whose pixels are the columns. */
import type { Conv2dLayout, Operand } from "../backend.ts";
import { withFloats } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { multiply, type Product } from "./matmul.ts";
import { movementKernels } from "./movement.ts";

/** Whether this is one, of one group, and no window lies outside x. */
export function suitsPointwise(layout: Conv2dLayout): boolean {
  const { kernelH, kernelW, paddingH, paddingW, groups } = layout;
  const isPlain = kernelH === 1 && kernelW === 1 && groups === 1 && paddingH + paddingW === 0;
  const reachH = (layout.outH - 1) * layout.strideH;
  const reachW = (layout.outW - 1) * layout.strideW;
  return isPlain && reachH < layout.H && reachW < layout.W;
}

interface Pointwise {
  readonly source: Operand;
  readonly weight: Operand;
  readonly bias: Operand | null;
  readonly out: Operand;
}

export function pointwise(machine: Machine, layout: Conv2dLayout, conv: Pointwise): void {
  const { C, K } = layout;
  const product = {
    ...{ M: K, N: layout.N * pixelsOf(layout), K: C },
    a: { step: 0, row: C, depth: 1 },
  };
  withPixels(machine, layout, conv.source, (pixels) => {
    multiply(machine, overPixels(layout, product), {
      ...{ a: addressOf(conv.weight), b: pixels, out: addressOf(conv.out) },
      bias: conv.bias === null ? 0 : addressOf(conv.bias),
    });
  });
}

/** dx; `source` is dy. */
export function pointwiseGradInput(
  machine: Machine,
  layout: Conv2dLayout,
  { source, weight, out }: Pointwise,
): void {
  const { C, K } = layout;
  const product = {
    ...{ M: C, N: layout.N * pixelsOf(layout), K },
    a: { step: 0, row: 1, depth: C },
  };
  const multiplyInto = (to: number): void => {
    const addresses = { a: addressOf(weight), b: addressOf(source), out: to, bias: 0 };
    multiply(machine, overPixels(layout, product), addresses);
  };
  if (isDense(layout)) {
    multiplyInto(addressOf(out));
    return;
  }
  const { fill, stridedWrite } = movementKernels(machine);
  withFloats(machine, C * layout.N * pixelsOf(layout), (pixels) => {
    multiplyInto(pixels.handle);
    fill(out, 0);
    stridedWrite(pixels, out, pixelLayout(layout), false);
  });
}

/** Of one channel of y. */
function pixelsOf({ outH, outW }: Conv2dLayout): number {
  return outH * outW;
}

/** A product whose columns are the pixels of all images. */
function overPixels(layout: Conv2dLayout, product: Pick<Product, "M" | "N" | "K" | "a">): Product {
  const { M, K } = product;
  const length = pixelsOf(layout);
  return {
    ...{ batch: 1, ...product },
    b: { step: 0, depth: length, column: 1 },
    out: { step: 0, row: length },
    columnRun: { length, b: K * length, out: M * length },
    depthRun: { length: K, a: 0, b: 0 },
  };
}

function isDense({ H, W, outH, outW }: Conv2dLayout): boolean {
  return H === outH && W === outW;
}

/** The address of the pixels of x that the windows meet, one plane behind the other. */
function withPixels(
  machine: Machine,
  layout: Conv2dLayout,
  x: Operand,
  use: (address: number) => void,
): void {
  if (isDense(layout)) {
    use(addressOf(x));
    return;
  }
  withFloats(machine, layout.N * layout.C * pixelsOf(layout), (pixels) => {
    movementKernels(machine).stridedCopy(x, pixels, pixelLayout(layout));
    use(pixels.handle);
  });
}

/** Where the pixels of y lie in x, plane by plane. */
function pixelLayout({ N, C, H, W, outH, outW, strideH, strideW }: Conv2dLayout) {
  return { shape: [N * C, outH, outW], strides: [H * W, strideH * W, strideW] };
}

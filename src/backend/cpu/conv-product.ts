import type { Conv2dLayout, Operand } from "../backend.ts";
import { sizesOf } from "./conv-plan.ts";
import {
  type Cut,
  cutOf,
  forwardSide,
  gradientSide,
  type Multiplication,
  productWords,
  variantWords,
} from "./conv-product-plan.ts";
import { withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { layoutKey, memoize } from "./memoize.ts";

/** Fewer output channels in a group do not repay packing, and what fewer input channels hold stays in caches as it is. */
const fewestChannels = 16;

interface ConvOperands {
  readonly source: Operand;
  readonly weight: Operand;
  readonly bias: Operand | null;
  readonly out: Operand;
}

/** Whether a convolution between so many channels of a group is faster as a matrix product. */
export function suitsProduct(inChannels: number, outChannels: number): boolean {
  return Math.min(inChannels, outChannels) >= fewestChannels;
}

/** y as a matrix product of the weight and what its taps meet (kernels/conv-product.ts). */
export function convProduct(machine: Machine, layout: Conv2dLayout, operands: ConvOperands): void {
  multiply(machine, operands, forwardPlan(layout));
}

const forwardPlan = memoize(layoutKey, (layout) => {
  const { N, C, K, groups, kernelH, kernelW } = layout;
  const [vertical, horizontal] = sizesOf(layout).map(forwardSide);
  const channelTaps = kernelH * kernelW;
  return planOf({
    ...{ N, groups, vertical, horizontal, kernelW },
    ...{ inChannels: C / groups, outChannels: K / groups },
    ...{ inStride: channelTaps, outStride: (C / groups) * channelTaps },
  });
});

/** dx; `source` is dy. */
export function convProductGradInput(
  machine: Machine,
  layout: Conv2dLayout,
  operands: ConvOperands,
): void {
  multiply(machine, operands, gradientPlan(layout));
}

const gradientPlan = memoize(layoutKey, (layout) => {
  const { N, C, K, groups, kernelH, kernelW } = layout;
  const [vertical, horizontal] = sizesOf(layout).map(gradientSide);
  const channelTaps = kernelH * kernelW;
  return planOf({
    ...{ N, groups, vertical, horizontal, kernelW },
    ...{ inChannels: K / groups, outChannels: C / groups },
    ...{ inStride: (C / groups) * channelTaps, outStride: channelTaps },
  });
});

interface Plan {
  readonly of: Multiplication;
  readonly cut: Cut;
}

function planOf(of: Multiplication): Plan {
  return { of, cut: cutOf(of) };
}

function multiply(machine: Machine, operands: ConvOperands, { of, cut }: Plan): void {
  machine.temporary(4 * (cut.packedFloats + cut.tableWords), (packed) => {
    const variantList = packed + 4 * cut.packedFloats;
    const placeOffsets = writeTables(machine.memory.i32, cut, { packed, variantList });
    withJob(machine, productWords(of, cut, { placeOffsets, variantList }), (plan) => {
      const bias = operands.bias === null ? 0 : addressOf(operands.bias);
      const packings = of.groups * Math.ceil(Math.max(1, of.inChannels) / cut.channelsPerPacking);
      machine.run("convPackProduct", packings, [
        ...[plan, addressOf(operands.weight), bias, operands.weight.length / of.groups],
        ...[of.outStride, of.inStride, cut.channelsPerPacking],
      ]);
      machine.run("convProduct", Math.ceil(cut.units / cut.unitsPerChunk), [
        ...[plan, addressOf(operands.source), addressOf(operands.out)],
        ...[machine.scratch(cut.scratchBytes), cut.scratchBytes],
      ]);
    });
  });
}

/**
 * Writes the words of each `Variant` in kernels/conv-product-plan.ts, and behind them all lists. Gives the address of the last one,
 * the offsets of places.
 */
function writeTables(
  memory: Int32Array,
  cut: Cut,
  at: { readonly packed: number; readonly variantList: number },
): number {
  let end = at.variantList + 4 * variantWords * cut.variants.length;
  const put = (list: ArrayLike<number>): number => {
    const address = end;
    memory.set(list, address / 4);
    end += 4 * list.length;
    return address;
  };
  let weights = at.packed;
  for (const [v, { kernel, offsets, first, packedFloats }] of cut.variants.entries()) {
    const words = [kernel.length, put(offsets), weights, ...first, put(kernel)];
    memory.set(words, at.variantList / 4 + variantWords * v);
    weights += 4 * packedFloats;
  }
  return put(cut.placeOffsets);
}

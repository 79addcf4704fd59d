import type { Backend, Conv2dLayout, Operand } from "../backend.ts";
import {
  depthwise,
  depthwiseGradInput,
  depthwiseGradWeight,
  suitsDepthwise,
  suitsDepthwiseGradient,
} from "./conv-depthwise.ts";
import { phased, phasedGradWeight, suitsPhases } from "./conv-phases.ts";
import {
  columnsWithin,
  forwardAxis,
  gradientAxes,
  imageOf,
  imagePlan,
  type Reading,
  rowsWithin,
  sizesOf,
  tapOffsets,
} from "./conv-plan.ts";
import { pointwise, pointwiseGradInput, suitsPointwise } from "./conv-pointwise.ts";
import { convProduct, convProductGradInput, suitsProduct } from "./conv-product.ts";
import { convGradWeight } from "./conv-weight.ts";
import { roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { layoutKey, memoize } from "./memoize.ts";
import { panelsOf } from "./panels.ts";
import { suitsStrided, suitsWinograd, winograd } from "./winograd.ts";
import { suitsWinogradWeight, winogradGradWeight } from "./winograd-weight.ts";

/** What a thread keeps in scratch at a time: read over and over, it should stay in a second-level cache. */
const scratchFloats = 65536;
/** Work is cut into this many chunks where it can be, whatever the number of threads. */
const enoughChunks = 32;
/** Multiply-adds that are worth a chunk of their own. */
const chunkWork = 1 << 18;

/**
 * Convolutions by the way that is fastest for their shape. The direct one is for few channels: a thread copies images with their
 * padding into scratch, where every tap of neighbouring outputs is a run of neighbouring floats (kernels/conv-image.ts).
 */
export function convKernels(
  machine: Machine,
): Pick<Backend, "conv2d" | "conv2dGradInput" | "conv2dGradWeight"> {
  return {
    conv2d(x, weight, bias, y, layout) {
      if (takesWinograd(machine, layout)) {
        winograd(machine, layout, { source: x, weight, bias, out: y, isGradient: false });
        return;
      }
      if (takesPhases(machine, layout)) {
        phased(machine, layout, { source: x, weight, bias, out: y });
        return;
      }
      if (suitsDepthwise(layout)) {
        depthwise(machine, layout, { source: x, weight, bias, out: y });
        return;
      }
      if (suitsPointwise(layout)) {
        pointwise(machine, layout, { source: x, weight, bias, out: y });
        return;
      }
      const { C, K, groups, kernelH, kernelW } = layout;
      if (suitsProduct(C / groups, K / groups)) {
        convProduct(machine, layout, { source: x, weight, bias, out: y });
        return;
      }
      const [height, width] = sizesOf(layout);
      convolve(machine, layout, {
        source: x,
        weight,
        bias,
        out: y,
        isGradient: false,
        outW: layout.outW,
        outPlane: layout.outH * layout.outW,
        groups,
        channels: C / groups,
        channelStride: kernelH * kernelW,
        outChannels: K / groups,
        outChannelStride: (C / groups) * kernelH * kernelW,
        vertical: forwardAxis(height),
        horizontal: forwardAxis(width),
      });
    },

    conv2dGradInput(dy, weight, dx, layout) {
      if (takesWinograd(machine, layout)) {
        winograd(machine, layout, { source: dy, weight, bias: null, out: dx, isGradient: true });
        return;
      }
      if (suitsDepthwiseGradient(layout)) {
        depthwiseGradInput(machine, layout, { source: dy, weight, bias: null, out: dx });
        return;
      }
      if (suitsPointwise(layout)) {
        pointwiseGradInput(machine, layout, { source: dy, weight, bias: null, out: dx });
        return;
      }
      const { C, K, groups, kernelH, kernelW } = layout;
      if (suitsProduct(K / groups, C / groups)) {
        convProductGradInput(machine, layout, { source: dy, weight, bias: null, out: dx });
        return;
      }
      const [height, width] = sizesOf(layout);
      const horizontals = gradientAxes(width);
      const parts = gradientAxes(height).flatMap((vertical) =>
        horizontals.map((horizontal) => ({ vertical, horizontal })),
      );
      for (const axes of parts) {
        // Places that no tap reached get a zero, for which nothing needs to be read.
        const isReached = axes.vertical.taps.length > 0 && axes.horizontal.taps.length > 0;
        convolve(machine, layout, {
          source: dy,
          weight,
          bias: null,
          out: dx,
          isGradient: true,
          outW: layout.W,
          outPlane: layout.H * layout.W,
          groups,
          channels: isReached ? K / groups : 0,
          channelStride: (C / groups) * kernelH * kernelW,
          outChannels: C / groups,
          outChannelStride: kernelH * kernelW,
          ...axes,
        });
      }
    },

    conv2dGradWeight(dy, x, dWeight, layout) {
      gradWeightFor(machine, layout)(machine, { dy, x, dWeight }, layout);
    },
  };
}

function takesWinograd(machine: Machine, layout: Conv2dLayout): boolean {
  return (
    (machine.winograd !== "off" && suitsWinograd(layout)) ||
    (machine.winograd === "4x4" && suitsStrided(layout))
  );
}

function takesPhases(machine: Machine, layout: Conv2dLayout): boolean {
  return machine.winograd === "4x4" && suitsPhases(layout);
}

function gradWeightFor(machine: Machine, layout: Conv2dLayout) {
  if (takesPhases(machine, layout)) return phasedGradWeight;
  if (takesWinograd(machine, layout) && suitsWinogradWeight(layout)) return winogradGradWeight;
  return suitsDepthwise(layout) ? depthwiseGradWeight : convGradWeight;
}

interface Convolution extends Reading {
  readonly source: Operand;
  readonly weight: Operand;
  readonly bias: Operand | null;
  readonly out: Operand;
  /** Of the convolution's input: `source` is dy, and `out` a part of dx. */
  readonly isGradient: boolean;
  /** Elements of a row and of a channel of `out`. */
  readonly outW: number;
  readonly outPlane: number;
  /** Of one group of `out`. */
  readonly outChannels: number;
  /** From the weight of one channel to that of the next, for the source and for `out`. */
  readonly channelStride: number;
  readonly outChannelStride: number;
}

/** Computes the places of `out` that the axes name, as source * weight + bias. */
function convolve(machine: Machine, layout: Conv2dLayout, conv: Convolution): void {
  const { channels, outChannels, outChannelStride, vertical, horizontal } = conv;
  const { columns, blocks, image, panels, ...tables } = planFor(layout, conv);
  const resultFloats = roundUp(blocks.rows * image.pitch, 16);
  const taps = tables.sources.length;
  const packedBytes = 4 * conv.groups * panels.rows * (taps + 1);
  machine.temporary(packedBytes + 8 * taps, (packed) => {
    const sources = packed + packedBytes;
    const offsets = sources + 4 * taps;
    machine.memory.i32.set(tables.sources, sources / 4);
    machine.memory.i32.set(tables.offsets, offsets / 4);
    const groupStride = channels * outChannels * layout.kernelH * layout.kernelW;
    machine.run("convPackWeights", conv.groups * panels.count, [
      ...[addressOf(conv.weight), conv.bias === null ? 0 : addressOf(conv.bias), sources, taps],
      ...[outChannels, outChannelStride, groupStride, panels.sixes, panels.count, packed],
    ]);
    // The words of `ConvPlan` in kernels/conv.ts.
    const words = [
      ...imagePlan(conv, image),
      ...[outChannels, vertical.outSize, horizontal.outSize, conv.outPlane],
      vertical.outFirst * conv.outW + horizontal.outFirst,
      ...[vertical.outStep * conv.outW, horizontal.outStep, taps, offsets],
      ...[panels.sixes, panels.count],
      ...[blocks.rows, blocks.rowBlocks, columns, blocks.columnBlocks],
      ...[blocks.panels, blocks.panelBlocks],
      ...[blocks.units, blocks.unitsPerChunk, resultFloats],
    ];
    withJob(machine, words, (plan) => {
      const scratchBytes = 4 * (image.floats + 6 * resultFloats);
      machine.run("convolve", Math.ceil(blocks.units / blocks.unitsPerChunk), [
        ...[plan, addressOf(conv.source), packed, addressOf(conv.out)],
        ...[machine.scratch(scratchBytes), scratchBytes],
      ]);
    });
  });
}

/** How the work is cut, and the tables of taps; the gradient has a part for each place of dx that its stride tells apart. */
const planFor = memoize(
  (layout: Conv2dLayout, { isGradient, vertical, horizontal }: Convolution): number[] => {
    return [...layoutKey(layout), Number(isGradient), vertical.outFirst, horizontal.outFirst];
  },
  (layout, conv) => {
    const { horizontal } = conv;
    const columns = columnsWithin(scratchFloats, conv);
    const part = { ...conv, horizontal: { ...horizontal, outSize: columns } };
    const blocks = blocksOf(layout, part, Math.ceil(horizontal.outSize / columns));
    const image = imageOf(part, blocks.rows);
    const [sources, offsets] = [weightSources(conv, layout.kernelW), tapOffsets(conv, image)];
    return { columns, blocks, image, panels: panelsOf(conv.outChannels), sources, offsets };
  },
);

/**
 * How the work is cut: by image and group, by rows, and by columns where rows are very long, so that scratch stays small; by
 * channels where that gives too few pieces.
 */
function blocksOf(layout: Conv2dLayout, conv: Convolution, columnBlocks: number) {
  const { outSize } = conv.vertical;
  const rowBlocks = Math.ceil(outSize / rowsWithin(scratchFloats, conv));
  const rows = Math.ceil(outSize / rowBlocks);
  const images = layout.N * conv.groups * rowBlocks * columnBlocks;
  const wanted = Math.ceil(enoughChunks / Math.max(images, 1));
  const { count } = panelsOf(conv.outChannels);
  const panels = Math.max(3, Math.ceil(count / wanted));
  const panelBlocks = Math.ceil(count / panels);
  const units = images * panelBlocks;
  const taps = conv.channels * conv.vertical.taps.length * conv.horizontal.taps.length;
  const work = rows * conv.horizontal.outSize * 6 * panels * taps;
  const unitsPerChunk = Math.max(
    1,
    Math.min(Math.floor(chunkWork / work), Math.floor(units / enoughChunks)),
  );
  return { rows, rowBlocks, columnBlocks, panels, panelBlocks, units, unitsPerChunk };
}

/** Where the weight of each tap lies, from the first weight of its group and output channel; in the order of `tapOffsets`. */
function weightSources(conv: Convolution, kernelW: number): Int32Array {
  const { channels, channelStride, vertical, horizontal } = conv;
  const sources = new Int32Array(channels * vertical.taps.length * horizontal.taps.length);
  let t = 0;
  for (let c = 0; c < channels; c++) {
    for (const v of vertical.taps) {
      for (const h of horizontal.taps) {
        sources[t++] = c * channelStride + v.kernel * kernelW + h.kernel;
      }
    }
  }
  return sources;
}

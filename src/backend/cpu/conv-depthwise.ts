/** Depthwise convolutions of kernel 3 x 3: the host's side of kernels/conv-depthwise*.ts. Sizes are in floats. */
import type { Conv2dLayout, Operand } from "../backend.ts";
import type { GradWeightOperands } from "./conv-weight.ts";
import { groupUnits, roundUp, withJob } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";

/** Rows that a thread keeps in scratch at a time, in floats, so that they stay in a first-level cache. */
const scratchFloats = 6144;
/** For the gradient of the weight images are summed in parts, of about so many pixels: the planes of an image lie side by side ... */
const partPixels = 2048;
/** ... as far as the sums of the parts do not need more float64 than this. */
const mostTotals = 1 << 19;
/** Products that a lane may sum up in float32. */
const mostProducts = 256;
/** Output channels of a group from which on the general way, which shares what it reads among four, is faster. */
const manyOuts = 4;

export interface DepthwiseOperands {
  readonly source: Operand;
  readonly weight: Operand;
  readonly bias: Operand | null;
  readonly out: Operand;
}

/** Whether `depthwise` and `depthwiseGradWeight` take a convolution. */
export function suitsDepthwise({ C, K, groups, kernelH, kernelW }: Conv2dLayout): boolean {
  return C === groups && groups > 1 && K / C < manyOuts && kernelH === 3 && kernelW === 3;
}

/** Whether `depthwise` takes the gradient of its input. */
export function suitsDepthwiseGradient(layout: Conv2dLayout): boolean {
  const { C, K, strideH, strideW } = layout;
  return suitsDepthwise(layout) && C === K && strideH <= 2 && strideW <= 2;
}

/** out = source * weight + bias. */
export function depthwise(machine: Machine, layout: Conv2dLayout, run: DepthwiseOperands): void {
  launch(machine, layout, { ...run, axes: forwardAxes(layout), isMirrored: false });
}

/** out = the gradient of x from source, the gradient of y: a convolution with the taps in reverse order. */
export function depthwiseGradInput(
  machine: Machine,
  layout: Conv2dLayout,
  run: DepthwiseOperands,
): void {
  launch(machine, layout, { ...run, axes: gradientAxes(layout), isMirrored: true });
}

/** One axis of what is read: tap t of output i is at i * scale + t * step; place p of the source at p * spread + shift. */
interface ReadAxis {
  readonly size: number;
  readonly out: number;
  readonly scale: number;
  readonly step: number;
  readonly spread: number;
  readonly shift: number;
}

type ReadAxes = readonly [vertical: ReadAxis, horizontal: ReadAxis];

function forwardAxes(layout: Conv2dLayout): ReadAxes {
  const { H, W, outH, outW, strideH, strideW, dilationH, dilationW, paddingH, paddingW } = layout;
  const v = { size: H, out: outH, scale: strideH, step: dilationH, spread: 1, shift: paddingH };
  const h = { size: W, out: outW, scale: strideW, step: dilationW, spread: 1, shift: paddingW };
  return [v, h];
}

function gradientAxes(layout: Conv2dLayout): ReadAxes {
  const { H, W, outH, outW, strideH, strideW, dilationH, dilationW, paddingH, paddingW } = layout;
  const v = { size: outH, out: H, scale: 1, step: dilationH, spread: strideH };
  const h = { size: outW, out: W, scale: 1, step: dilationW, spread: strideW };
  return [
    { ...v, shift: 2 * dilationH - paddingH },
    { ...h, shift: 2 * dilationW - paddingW },
  ];
}

interface Launch extends DepthwiseOperands {
  readonly axes: ReadAxes;
  readonly isMirrored: boolean;
}

function launch(machine: Machine, layout: Conv2dLayout, run: Launch): void {
  const { N, K, groups } = layout;
  const rows = rowsOf(run.axes);
  const [{ out: outRows }, { size, out: outColumns }] = run.axes;
  const units = N * groups * rows.rowBlocks;
  const outs = run.isMirrored ? 1 : K / groups;
  const unitFloats = rows.rowsPerBlock * (outColumns * outs + size * run.axes[0].scale);
  const { chunks, perChunk } = groupUnits(units, unitFloats / 2);
  withSlots(machine, rows, (slotList) => {
    // The words of `DepthwisePlan` in kernels/conv-depthwise.ts.
    const words = [
      ...rowsPlan(run.axes, rows, slotList),
      ...[outRows, outColumns, 4 * rows.floats, rows.rowsPerBlock, rows.rowBlocks, groups, outs],
      ...[Number(run.isMirrored), run.bias === null ? 0 : addressOf(run.bias), units, perChunk],
    ];
    withJob(machine, words, (plan) => {
      const scratchBytes = roundUp(4 * (rows.lead + rows.floats), 64);
      machine.run("depthwise", chunks, [
        ...[plan, addressOf(run.source), addressOf(run.weight), addressOf(run.out)],
        ...[machine.scratch(scratchBytes) + 4 * rows.lead, scratchBytes],
      ]);
    });
  });
}

/** dWeight = sum over images and pixels of dy times what the tap meets. */
export function depthwiseGradWeight(
  machine: Machine,
  { dy, x, dWeight }: GradWeightOperands,
  layout: Conv2dLayout,
): void {
  const { N, K, groups, outH, outW } = layout;
  const axes = forwardAxes(layout);
  const rows = rowsOf(axes);
  const leastImages = Math.ceil((N * K * 9) / mostTotals);
  const imagesPerPart = Math.max(1, leastImages, Math.ceil(partPixels / (outH * outW)));
  const parts = Math.ceil(N / imagesPerPart);
  const units = parts * groups;
  const outs = K / groups;
  const { chunks, perChunk } = groupUnits(units, Math.min(N, imagesPerPart) * outH * outW * outs);
  const blockProducts = (rows.rowsPerBlock * roundUp(outW, 4)) / 4;
  const blocksPerSum = Math.ceil(mostProducts / blockProducts);
  machine.temporary(8 * Math.max(1, parts) * K * 9, (totals) => {
    withSlots(machine, rows, (slotList) => {
      const sumsAt = 4 * rows.floats;
      const imageBytes = sumsAt + 144 * outs;
      // The words of `DepthwiseWeightPlan` in kernels/conv-depthwise-weight.ts.
      const words = [
        ...rowsPlan(axes, rows, slotList),
        ...[outH, outW, imageBytes, rows.rowsPerBlock, rows.rowBlocks, groups, outs],
        ...[N, imagesPerPart, units, perChunk, sumsAt, blocksPerSum],
      ];
      withJob(machine, words, (plan) => {
        const scratchBytes = roundUp(4 * rows.lead + imageBytes, 64);
        machine.run("depthwiseGradWeight", chunks, [
          ...[plan, addressOf(dy), addressOf(x), totals],
          ...[machine.scratch(scratchBytes) + 4 * rows.lead, scratchBytes],
        ]);
        const perSum = 4096;
        machine.run("depthwiseSumWeights", Math.ceil((9 * K) / perSum), [
          ...[totals, parts, addressOf(dWeight), 9 * K, perSum],
        ]);
      });
    });
  });
}

interface Slot {
  /** Of the row of the source. */
  readonly first: number;
  /** In the row in scratch. */
  readonly at: number;
  readonly count: number;
}

interface Rows {
  readonly slots: readonly Slot[];
  readonly taps: readonly number[];
  readonly pitch: number;
  /** Floats before the first row, so that the pixels of a row begin at a multiple of 16 bytes. */
  readonly lead: number;
  readonly rowsPerBlock: number;
  readonly rowBlocks: number;
  readonly floats: number;
}

/** How rows lie in scratch, and how many are taken at a time. */
function rowsOf([vertical, horizontal]: ReadAxes): Rows {
  const { size, out, scale, step, spread, shift } = horizontal;
  const phases = Math.min(3, scale / greatestCommonDivisor(scale, step));
  const length = out + Math.floor((2 * step) / scale);
  const taps = [0, 1, 2].map((t) => (t % phases) * length + Math.floor((t * step) / scale));
  const slots = Array.from({ length: phases }, (_, b) => {
    // Column c of the source is place c * spread + shift of the row; the slot holds the places residue + i * scale.
    const residue = (b * step) % scale;
    const reach = (length - 1) * scale + residue - shift;
    const begin = Math.max(0, Math.ceil((residue - shift) / (spread * scale)));
    const first = scale > 1 ? firstColumn(residue - shift, scale) : begin;
    const end = Math.min(size, Math.floor(reach / spread) + 1);
    const at = (first * spread + shift - residue) / scale;
    return { first, at: b * length + at, count: Math.max(0, Math.ceil((end - first) / scale)) };
  });
  const pitch = roundUp(phases * length + 4, 4);
  const wanted = Math.floor((scratchFloats / pitch - 2 * vertical.step - 1) / vertical.scale) + 1;
  const evenRows = Math.ceil(vertical.out / Math.ceil(vertical.out / Math.max(4, wanted)));
  const rowsPerBlock = roundUp(evenRows, vertical.spread);
  const rowBlocks = Math.ceil(vertical.out / rowsPerBlock);
  const kept = (rowsPerBlock - 1) * vertical.scale + 2 * vertical.step + 1;
  const lead = (4 - (slots[0].at % 4)) % 4;
  return { slots, taps, pitch, rowsPerBlock, rowBlocks, lead, floats: kept * pitch + 16 };
}

/** The least column >= 0 that is `residue` modulo `scale`. */
function firstColumn(residue: number, scale: number): number {
  return residue >= 0 ? residue : ((residue % scale) + scale) % scale;
}

/** The fields of the kernels' RowsPlan up to the taps, in order. */
function rowsPlan([vertical, horizontal]: ReadAxes, rows: Rows, slotList: number): number[] {
  return [
    ...[vertical.size, horizontal.size, vertical.spread, vertical.shift],
    ...[vertical.scale, vertical.step, rows.pitch, horizontal.scale, horizontal.spread],
    ...[rows.slots.length, slotList, 4 * rows.taps[1], 4 * rows.taps[2]],
  ];
}

function withSlots(machine: Machine, rows: Rows, use: (slotList: number) => void): void {
  withJob(
    machine,
    rows.slots.flatMap(({ first, at, count }) => [first, at, count]),
    use,
  );
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

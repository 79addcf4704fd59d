/** Pooling, plane by plane. */
import type { AvgPoolLayout, Backend, Operand, PoolAxis, PoolLayout } from "../backend.ts";
import { groupUnits, withJob } from "./job.ts";
import { addressOf, type KernelName, type Machine } from "./machine.ts";

type PoolKernels = Pick<Backend, "maxPool" | "maxPoolGrad" | "avgPool" | "avgPoolGrad">;

export function poolKernels(machine: Machine): PoolKernels {
  return {
    maxPool(x, y, indices, layout) {
      pool(machine, "maxPool", { x, y, indices }, merged(layout));
    },
    maxPoolGrad(dy, indices, dx, layout) {
      const kernel = isTiledByPairs(layout) ? "maxPoolGradOfPairs" : "maxPoolGrad";
      pool(machine, kernel, { x: dx, y: dy, indices }, layout);
    },
    avgPool(x, y, layout) {
      pool(machine, "averagePool", { x, y }, merged(layout));
    },
    avgPoolGrad(dy, dx, layout) {
      pool(machine, "averagePoolGrad", { x: dx, y: dy }, merged(layout));
    },
  };
}

/** True for windows of 2 x 2 that cover planes (1, H, W) without overlap. */
function isTiledByPairs({ axes: [depth, ...plane], isAdaptive }: PoolLayout): boolean {
  if (isAdaptive || depth.size !== 1 || !isWhole(depth)) return false;
  return plane.every(
    ({ size, out, kernel, stride, padding, dilation }) =>
      size === 2 * out && kernel === 2 && stride === 2 && padding === 0 && dilation === 1,
  );
}

/** True if the axis is one window without padding. */
function isWhole({ size, out, kernel, padding, dilation }: PoolAxis): boolean {
  return out === 1 && kernel === size && padding === 0 && dilation === 1;
}

const point: PoolAxis = { size: 1, out: 1, kernel: 1, stride: 1, padding: 0, dilation: 1 };

/**
 * The same windows on fewer axes: one that a single window covers joins the axis before it. Windows are then longer runs of
 * memory, a global pool just one.
 */
function merged<Layout extends PoolLayout>(layout: Layout): Layout {
  const [depth, height, width] = layout.axes;
  const isDone = depth.size === 1 && isWhole(depth) && height.size === 1 && isWhole(height);
  if (layout.isAdaptive || isDone || !isWhole(width) || height.dilation !== 1) return layout;
  const rows: PoolAxis = {
    ...height,
    size: height.size * width.size,
    kernel: height.kernel * width.size,
    stride: height.stride * width.size,
    padding: height.padding * width.size,
  };
  return merged({ ...layout, axes: [point, depth, rows] });
}

interface PoolOperands {
  /** x, y, or their gradients. */
  readonly x: Operand;
  readonly y: Operand;
  readonly indices?: Operand;
}

function pool(
  machine: Machine,
  kernel: KernelName,
  { x, y, indices }: PoolOperands,
  layout: PoolLayout & Partial<AvgPoolLayout>,
): void {
  const { planes, axes, isAdaptive, divisor = 0 } = layout;
  const { chunks, perChunk } = groupUnits(planes, workOf(layout));
  // The words of `Pooling` and of its three axes in kernels/pool-work.ts.
  const words = [
    ...[
      planes,
      perChunk,
      addressOf(x),
      addressOf(y),
      indices === undefined ? 0 : addressOf(indices),
    ],
    ...[typeof divisor === "number" ? divisor : 0, Number(divisor === "padded")],
    ...axes.flatMap(({ size, out, kernel, stride, padding, dilation }) => [
      ...[size, out, kernel, stride, padding, dilation, Number(isAdaptive)],
    ]),
  ];
  withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
}

/** Elements of a plane that are read or written, those in several windows several times. */
function workOf({ axes, isAdaptive }: PoolLayout): number {
  let [elements, taps] = [1, 1];
  for (const { size, out, kernel } of axes) {
    elements *= size;
    taps *= isAdaptive ? size + out : out * Math.min(kernel, size);
  }
  return Math.max(elements, taps);
}

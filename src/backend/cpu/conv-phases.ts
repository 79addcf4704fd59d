/**
 * Convolutions of kernel 7 x 7 and stride 2, with which networks for images begin: the same as one of 4 x 4 and stride 1 over the
 * four phases of each plane, even and odd rows and columns, which Winograd's tiles take (kernels/conv-phases.ts).
 */
import type { Conv2dLayout, Operand } from "../backend.ts";
import type { GradWeightOperands } from "./conv-weight.ts";
import { withFloats } from "./job.ts";
import { addressOf, type Machine } from "./machine.ts";
import { winograd } from "./winograd.ts";
import { winogradGradWeight } from "./winograd-weight.ts";

interface PhasedConvolution {
  readonly source: Operand;
  readonly weight: Operand;
  readonly bias: Operand | null;
  readonly out: Operand;
}

/** What makes up for the transforms: of y, of x. */
const fewestChannels = 3;
const fewestOutChannels = 16;
/** A side of y that tiles of 3 outputs fit well enough. */
const fewestOutputs = 12;
/** Outputs times channels that are worth the copies. */
const enoughWork = 1 << 20;

/** Whether this is one, with work enough. */
export function suitsPhases(layout: Conv2dLayout): boolean {
  const { N, C, K, outH, outW, kernelH, kernelW, strideH, strideW } = layout;
  return (
    [kernelH, kernelW].every((size) => size === 7) &&
    [strideH, strideW].every((size) => size === 2) &&
    [layout.dilationH, layout.dilationW, layout.groups].every((size) => size === 1) &&
    Math.max(layout.paddingH, layout.paddingW) <= 3 &&
    Math.min(outH, outW) >= fewestOutputs &&
    C >= fewestChannels &&
    K >= fewestOutChannels &&
    N * C * K * outH * outW >= enoughWork
  );
}

/**
 * y = x * weight + bias.
 *
 * Numerics: against float64 the root mean square error is at most 5 times that of the direct way.
 */
export function phased(machine: Machine, layout: Conv2dLayout, conv: PhasedConvolution): void {
  const phases = phasesOf(layout);
  withPhases(machine, layout, conv.source, (source) => {
    const { C, K } = layout;
    withFloats(machine, K * phases.C * 16, (weight) => {
      const addresses = [addressOf(conv.weight), C * K, addressOf(weight)];
      machine.run("convPhaseWeights", 1, addresses);
      winograd(machine, phases, { ...conv, source, weight, isGradient: false });
    });
  });
}

/**
 * dWeight.
 *
 * Numerics: as `phased`.
 */
export function phasedGradWeight(
  machine: Machine,
  { dy, x, dWeight }: GradWeightOperands,
  layout: Conv2dLayout,
): void {
  const phases = phasesOf(layout);
  withPhases(machine, layout, x, (source) => {
    const { C, K } = layout;
    withFloats(machine, K * phases.C * 16, (sums) => {
      winogradGradWeight(machine, { dy, x: source, dWeight: sums }, phases);
      machine.run("convJoinWeights", 1, [addressOf(sums), C * K, addressOf(dWeight)]);
    });
  });
}

/** The layout of the convolution over phases, which contain the padding. */
function phasesOf(layout: Conv2dLayout): Conv2dLayout {
  return {
    ...layout,
    ...{ C: 4 * layout.C, H: layout.outH + 3, W: layout.outW + 3 },
    ...{ kernelH: 4, kernelW: 4, strideH: 1, strideW: 1, paddingH: 0, paddingW: 0 },
  };
}

function withPhases(
  machine: Machine,
  layout: Conv2dLayout,
  x: Operand,
  use: (phases: Operand) => void,
): void {
  const { N, C, H, W, paddingH, paddingW, outH, outW } = layout;
  withFloats(machine, 4 * N * C * (outH + 3) * (outW + 3), (phases) => {
    machine.run("convPhases", N * C, [
      ...[addressOf(x), H, W, paddingH, paddingW, addressOf(phases), outH + 3, outW + 3],
    ]);
    use(phases);
  });
}

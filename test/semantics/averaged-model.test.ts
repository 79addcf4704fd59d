import { describe, expect, test } from "vitest";
import { nn, noGrad, optim, tensor } from "../../src/index.ts";

/** A layer that has met `batches` batches whose mean is `mean`. */
function trained(bn: nn.BatchNorm1d, mean: number, batches: number): void {
  for (let i = 0; i < batches; i++) noGrad(() => bn(tensor([[mean - 1], [mean + 1]])));
}

function stateOf(averaged: { readonly module: nn.BatchNorm1d }) {
  const { runningMean, numBatchesTracked } = averaged.module;
  return [runningMean?.dataSync()[0], numBatchesTracked];
}

describe("an averaged model", () => {
  test("H-18 copies buffers from the model at every update: statistics and counter are the latest", () => {
    const bn = new nn.BatchNorm1d(1, { momentum: 1 });
    const averaged = new optim.AveragedModel(bn);
    trained(bn, 2, 1);
    averaged.updateParameters(bn);
    trained(bn, 8, 2);
    averaged.updateParameters(bn);
    expect(stateOf(averaged)).toEqual([8, 3]);
  });

  test("H-18 with useBuffers averages them, the counter cut to a whole number", () => {
    const bn = new nn.BatchNorm1d(1, { momentum: 1 });
    const averaged = new optim.AveragedModel(bn, { useBuffers: true });
    trained(bn, 2, 1);
    averaged.updateParameters(bn);
    trained(bn, 8, 1);
    averaged.updateParameters(bn);
    // The counter's average of 1 and 2 is 1.5.
    expect(stateOf(averaged)).toEqual([5, 1]);
  });
});

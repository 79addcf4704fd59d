/** Scene 6: gradient accumulation and the running statistics. Gradients of k micro-batches add up to one; statistics move k times. */
import { cat, manualSeed, nn, noGrad, randn, type Tensor } from "evenkeel";

const k = 8;
const momentum = 0.1;
manualSeed(4);
// Micro-batches that differ, as those of a sorted or small data set do: means from -2 to 1.5.
const micro = Array.from({ length: k }, (_, i) => randn([4, 1]).add(i / 2 - 2));

function report(name: string, bn: nn.BatchNorm1d) {
  const [mean, variance] = [bn.runningMean, bn.runningVar].map((t) => t?.dataSync()[0].toFixed(4));
  console.log(
    `${name.padEnd(46)} mean ${mean}  variance ${variance}  counted ${bn.numBatchesTracked}`,
  );
}

function after(batches: readonly Tensor[], options: nn.BatchNormLayerOptions): nn.BatchNorm1d {
  const bn = new nn.BatchNorm1d(1, { momentum, ...options });
  noGrad(() => {
    for (const batch of batches) bn(batch);
  });
  return bn;
}

report("one batch of 32", after([cat(micro)], {}));
report("8 micro-batches of 4", after(micro, {}));
report(
  "8 micro-batches, matched momentum",
  after(micro, { momentum: 1 - (1 - momentum) ** (1 / k) }),
);
report("8 micro-batches, batchesPerUpdate: 8", after(micro, { batchesPerUpdate: k }));

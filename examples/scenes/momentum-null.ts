/** Scene 9: `momentum: null` is the plain average of all batches, and what happens when a moving average becomes one. */
import { nn, noGrad, tensor } from "evenkeel";

/** A batch of mean m: with so many values, noise would only blur what is to be seen. */
const batch = (m: number) => tensor([[m - 1], [m + 1]]);
const run = (bn: nn.BatchNorm1d, means: readonly number[]) =>
  means.map((m) => {
    noGrad(() => bn(batch(m)));
    return bn.runningMean?.dataSync()[0].toFixed(3);
  });
const means = [4, 0, 2, 6, 3];

console.log("batch means                    ", means.join("      "));
console.log("momentum 0.1, from 0           ", run(new nn.BatchNorm1d(1), means).join("  "));
console.log(
  "momentum null, the plain mean  ",
  run(new nn.BatchNorm1d(1, { momentum: null }), means).join("  "),
);

const switched = new nn.BatchNorm1d(1);
run(switched, [4, 0, 2]);
switched.momentum = null; // after k moving steps the next weighs 1 / (k + 1); the average so far stands for k batches
console.log(
  "0.1 for three, then null       ",
  ["", "", "   "].join("       "),
  run(switched, [6, 3]).join("  "),
);

// A file from before the counter existed: the counter starts at 0, and the first batch takes all.
const loaded = new nn.BatchNorm1d(1, { momentum: null });
loaded.loadStateDict({
  ...{ weight: tensor([1]), bias: tensor([0]) },
  ...{ running_mean: tensor([2.5]), running_var: tensor([1]) },
});
console.log(`pretrained mean 2.5 without a counter, one batch of mean 9: ${run(loaded, [9])[0]}`);

const restored = new nn.BatchNorm1d(1, { momentum: null });
restored.loadStateDict({ ...Object.fromEntries(loaded.stateDict()), running_mean: tensor([2.5]) });
restored.numBatchesTracked = 1000; // say how many batches stand behind it
console.log(`the same, with the counter set to 1000:                     ${run(restored, [9])[0]}`);

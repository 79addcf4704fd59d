/** Scene 7: dropout before batch norm. Training sees more variance than evaluation, and the running variance is that of training. */
import { data, manualSeed, nn, noGrad, randn } from "evenkeel";
import { accuracy, first, folder, lossOf, row, train } from "./digits.ts";

console.log("variance of what batch norm gets, x of mean 1 and variance 1");
row("dropout before it", "train", "eval", "ratio", "by hand", "std out");
for (const p of [0, 0.1, 0.3, 0.5]) {
  manualSeed(8);
  const net = new nn.Sequential(new nn.Dropout(p), new nn.BatchNorm1d(1, { momentum: null }));
  const x = randn([100_000, 1]).add(1);
  noGrad(() => net(x));
  const inTraining = (net.at(1) as nn.BatchNorm1d).runningVar?.dataSync()[0] ?? 0;
  const inEval = await x.var().item();
  // Kept values grow by 1 / (1 - p): E[x^2] / (1 - p) - E[x]^2, which adds E[x^2] p / (1 - p).
  const byHand = 2 / (1 - p) - 1;
  const out = noGrad(() => net.eval()(x));
  const numbers = [inTraining, inEval, inTraining / inEval, byHand, await out.std().item()];
  row(`p = ${p}`, ...numbers.map((number) => number.toFixed(2)));
}

/** The same layers, dropout before the second batch norm or behind the last. */
function net(place: "before" | "after"): nn.Sequential {
  manualSeed(3);
  const dropout = () => new nn.Dropout(0.5);
  return new nn.Sequential(
    new nn.Flatten(),
    new nn.Linear(784, 64),
    new nn.ReLU(),
    ...(place === "before" ? [dropout()] : []),
    new nn.BatchNorm1d(64),
    new nn.Linear(64, 64),
    new nn.ReLU(),
    ...(place === "before" ? [dropout()] : []),
    new nn.BatchNorm1d(64),
    ...(place === "after" ? [dropout()] : []),
    new nn.Linear(64, 10),
  );
}

const { test, train: training } = await data.mnist(folder);
const images = first(test, 2000);
console.log("\nloss on digits in evaluation (accuracy in %)");
row("", "trained", "", "repaired", "");
for (const place of ["before", "after"] as const) {
  const trained = (await train(net(place))).eval();
  const score = async () => [
    (await lossOf(trained, images)).toFixed(3),
    `(${(await accuracy(trained, images)).toFixed(1)})`,
  ];
  const before = await score();
  // Statistics estimated anew, with dropout off: what evaluation will see.
  const loader = new data.DataLoader(first(training, 6400), { batchSize: 128, dropLast: true });
  await nn.updateBatchNorm(trained, loader, { dropout: false });
  row(`dropout ${place} the batch norms`, ...before, ...(await score()));
}

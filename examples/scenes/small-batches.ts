/** Scene 5: inference without running statistics. Each image is normalised by whatever else is in its batch. */
import { data } from "evenkeel";
import { accuracy, first, folder, makeNet, row, train } from "./digits.ts";

const { test } = await data.mnist(folder);
const images = first(test, 2048);
const sorted = new data.Subset(
  test,
  Array.from({ length: 2048 }, (_, i) => i).sort(
    (a, b) => test.labels[a] - test.labels[b] || a - b,
  ),
);

const tracking = (await train(makeNet())).eval();
const untracked = (await train(makeNet({ trackRunningStats: false }))).eval();

row("accuracy in %, by images in a batch", "running", "batch", "sorted");
for (const size of [1, 2, 4, 8, 16, 32, 64, 128, 256]) {
  row(
    String(size),
    await accuracy(tracking, images, size),
    await accuracy(untracked, images, size),
    await accuracy(untracked, sorted, size),
  );
}

/** Scene 10: the article's program, line for line: load, half, train, fix the batch norms, a batch of 8, mean, backward. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpoint, manualSeed, memory, models, nn, randn } from "evenkeel";

// The article downloads a pretrained model; any file of torchvision's resnet50 does. This one holds weights as drawn.
const path = process.argv[2] ?? join(tmpdir(), `scene-blog-${process.pid}.pth`);
if (process.argv[2] === undefined) {
  manualSeed(0);
  await checkpoint.write(path, models.resnet50().stateDict());
}

function fixBn(m: nn.Module) {
  if (nn.isBatchNorm(m)) m.eval();
}

const model = models.resnet50(); // model = models.resnet50(pretrained=True)
await model.loadStateDict(await checkpoint.open(path));
nn.networkToHalf(model); // model = network_to_half(model)
model.train(); // model.train()
model.apply(fixBn); // model.apply(fix_bn)

const layers = model.modules().filter(nn.isBatchNorm);
const before = layers.map(statistics);
const input = randn([8, 3, 224, 224]); // input = torch.randn(8, 3, 224, 224).cuda()
const output = model(input); // output = model(input)
const loss = output.mean(); // loss = output.mean()
loss.backward(); // loss.backward()

function statistics({ runningMean, runningVar, numBatchesTracked }: nn.AnyBatchNorm): string {
  const bits = (t: typeof runningMean) =>
    Buffer.from(t?.dataSync().buffer ?? new ArrayBuffer(0)).toString("base64");
  return `${bits(runningMean)} ${bits(runningVar)} ${numBatchesTracked}`;
}

const unchanged = layers.filter((layer, i) => statistics(layer) === before[i]).length;
const withGradient = model.parameters().filter(({ grad }) => grad !== null).length;
const inEval = layers.filter(({ training }) => !training).length;
console.log(
  `${layers.length} batch norm layers, ${inEval} of them in eval; statistics of ${unchanged} unchanged, bit for bit`,
);
console.log(
  `output ${output.shape.join(" x ")} in ${output.dtype}; ${withGradient} of ${model.parameters().length} parameters have gradients`,
);
const peak = (memory().devices[0]?.peakBytes ?? 0) / 2 ** 20;
console.log(`peak memory of tensors: ~${peak.toFixed(0)} MiB`);

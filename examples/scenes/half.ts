/** Scene 8: half precision against float32 on a ResNet-18: what 16 bits change, and why batch norm keeps 32. */
import { manualSeed, memory, models, nn, noGrad, randn } from "evenkeel";

manualSeed(6);
const full = models.resnet18({ numClasses: 10 });
for (let i = 0; i < 4; i++) noGrad(() => full(randn([8, 3, 64, 64]))); // statistics that fit the weights
full.eval();
const x = randn([8, 3, 64, 64]);
const expected = noGrad(() => full(x));
const scale = await expected.std().item();

/** Bytes that parameters and buffers take. */
const bytes = (model: nn.Module) => {
  const before = memory().devices[0]?.liveBytes ?? 0;
  const copy = model.clone();
  const taken = (memory().devices[0]?.liveBytes ?? 0) - before;
  for (const [, value] of copy.stateDict()) if (typeof value !== "number") value.dispose();
  return taken;
};

async function report(name: string, model: ReturnType<typeof models.resnet18>, input = x) {
  const y = noGrad(() => model(input)).to("float32");
  const off = (await y.sub(expected).abs().max().item()) / scale;
  const same = await y.argmax(1).eq(expected.argmax(1)).sum().item();
  const dtype = model.bn1.runningVar?.dtype;
  const mib = (bytes(model) / 2 ** 20).toFixed(1);
  console.log(
    `${name.padEnd(28)} ${mib} MiB; statistics in ${dtype}; off by ${off.toFixed(4)} std; ${same} of 8 answers the same`,
  );
}

await report("float32", full);
await report("nn.networkToHalf(model)", nn.networkToHalf(full.clone()));
await report("model.half()", full.clone().half(), x.half());

// What half precision cannot hold: a statistic that moves by less than half of its last place stands still.
const towards = (dtype: "float32" | "float16") => {
  const bn = new nn.BatchNorm1d(1, { momentum: 0.001 }).to(dtype);
  const batch = randn([64, 1]).add(10).to(dtype);
  for (let i = 0; i < 3000; i++) noGrad(() => bn(batch));
  return bn.runningMean?.dataSync()[0].toFixed(2);
};
manualSeed(6);
console.log(
  `running mean after 3000 steps of momentum 0.001 towards 10: float32 ${towards("float32")}, float16 ${towards("float16")}`,
);

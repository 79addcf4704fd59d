/** Scene 4: saved, loaded, and the result differs. What a checkpoint does not hold, cause by cause, with the difference it makes. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpoint, data, type nn, noGrad, type Tensor } from "evenkeel";
import { accuracy, first, folder, makeNet, row, train } from "./digits.ts";

const path = join(tmpdir(), `scene-saved-and-loaded-${process.pid}.pth`);
await checkpoint.write(path, (await train(makeNet())).stateDict());
const saved = await checkpoint.read(path);

const images = first((await data.mnist(folder)).test, 2000);
const [x] = await firstBatch();
const loaded = (options: nn.BatchNormLayerOptions = {}) => {
  const net = makeNet(options);
  net.loadStateDict(saved, { strict: options.trackRunningStats !== false });
  return net.eval();
};
const expected = noGrad(() => loaded()(x));

async function firstBatch(): Promise<[Tensor, Tensor]> {
  for await (const batch of new data.DataLoader(images, { batchSize: 256 })) return batch;
  throw new Error("there are no images");
}

/** Accuracy in one batch size and another, and how far the first 256 answers are off. */
async function compare(name: string, net: nn.Sequential) {
  // What a net in training mode does to its statistics is part of the difference: the answers come first.
  const off = await noGrad(() => net(x).sub(expected))
    .abs()
    .max()
    .item();
  row(name, await accuracy(net, images, 250), await accuracy(net, images, 2), off.toFixed(3));
}

row("loaded into a model that ...", "by 250", "by 2", "off by");
await compare("is the same, in eval", loaded());
await compare("is in training mode (no eval() after loading)", loaded().train());
await compare("was made with trackRunningStats: false", loaded({ trackRunningStats: false }));

// A state dict whose statistics got lost: strict refuses it, not strict keeps mean 0 and variance 1 without a word.
const poor = new Map([...saved].filter(([key]) => !key.includes("running_")));
const careless = makeNet();
console.log(`  strict: ${refusal(() => makeNet().loadStateDict(poor))}`);
careless.loadStateDict(poor, { strict: false });
await compare("lacks the running statistics, not strict", careless.eval());

await compare("has eps 1e-3, as Keras and TensorFlow", loaded({ eps: 1e-3 }));
await compare("has momentum 0.9", loaded({ momentum: 0.9 }));

function refusal(load: () => unknown): string {
  try {
    load();
    return "nothing";
  } catch (error) {
    return String(error).split("; ").at(-1)?.split(":")[0] ?? "";
  }
}

/** Scene 2: `requiresGrad = false` is not frozen. Statistics move in `forward`, whoever asks for gradients, and whether or not an optimizer steps. */
import { manualSeed, nn, noGrad, randn } from "evenkeel";

manualSeed(0);
const net = new nn.Sequential(new nn.Conv2d(3, 8, 3), new nn.BatchNorm2d(8), new nn.ReLU());
const bn = net.at(1) as nn.BatchNorm2d;
const x = randn([16, 3, 12, 12]);
for (let i = 0; i < 50; i++) net(x); // statistics of data like x

const answer = () => {
  const { training } = net;
  net.eval();
  const y = noGrad(() => net(x));
  net.train(training);
  return y;
};
const shifted = randn([16, 3, 12, 12]).mul(2).add(1); // data of another kind

async function afterTwentyForwards(name: string, prepare: (model: nn.Module) => void) {
  net.train().setRequiresGrad(true);
  prepare(net);
  const [before, mean] = [answer(), bn.runningMean?.clone()];
  for (let i = 0; i < 20; i++) noGrad(() => net(shifted)); // no gradient, no optimizer: only forward
  const moved = mean && bn.runningMean?.sub(mean).abs().max();
  const change = await answer().sub(before).abs().max().item();
  const shift = (await moved?.item()) ?? 0;
  console.log(
    `${name.padEnd(34)} running mean moved by ${shift.toFixed(2)}, answers in eval by ${change.toFixed(2)}`,
  );
}

await afterTwentyForwards("model.eval()", (model) => model.eval());
await afterTwentyForwards("nn.freezeBatchNorm(model)", nn.freezeBatchNorm);
nn.unfreezeBatchNorm(net);
await afterTwentyForwards("model.setRequiresGrad(false)", (model) => model.setRequiresGrad(false));

net.train().setRequiresGrad(false);
console.log(String(nn.freezePlan(net)));

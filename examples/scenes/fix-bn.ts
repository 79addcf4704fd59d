/** Scene 1: "fix" the batch norms of a ResNet-50 with `apply`, and what the next `train()` does; against `freezeBatchNorm`. */
import { manualSeed, models, nn, noGrad, randn } from "evenkeel";

manualSeed(0);
const model = models.resnet50({ numClasses: 10 });
const layers = model.modules().filter(nn.isBatchNorm);
const x = randn([2, 3, 64, 64]);

/** How many layers a forward in the present modes moves. */
function moved(): number {
  const before = layers.map((bn) => bn.runningMean?.clone());
  noGrad(() => model(x));
  const count = layers.filter((bn, i) => {
    const [now, then] = [bn.runningMean?.dataSync(), before[i]?.dataSync()];
    return now?.some((value, c) => value !== then?.[c]);
  }).length;
  return count;
}

console.log(`${layers.length} batch norm layers; a forward in training moves ${moved()}`);

// As the article has it: by the name of the class, after train().
function fixBn(module: nn.Module) {
  if (module.constructor.name.includes("BatchNorm")) module.eval();
}
model.train();
model.apply(fixBn);
console.log(`train(), then apply(fixBn): moves ${moved()}`);
model.train(); // the next epoch
console.log(`the next train(): moves ${moved()}`);

nn.freezeBatchNorm(model);
model.train();
console.log(`freezeBatchNorm(model), then train(): moves ${moved()}`);
console.log(`  ${layers[0]}`);
nn.unfreezeBatchNorm(model);
model.train();
console.log(`unfreezeBatchNorm(model): moves ${moved()}`);

// Three ways to know a batch norm. A minifier renames classes: this is what it makes of a subclass.
const minified = new (class t extends nn.BatchNorm2d {})(4);
const tests = {
  "constructor.name": minified.constructor.name.includes("BatchNorm"),
  instanceof: minified instanceof nn.BatchNorm2d,
  "nn.isBatchNorm": nn.isBatchNorm(minified),
};
console.log(`in a minified build: ${JSON.stringify(tests)}`);

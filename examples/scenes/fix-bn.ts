/** Scene 1: "fix" the batch norms of a ResNet-50 with `apply`, and what the next `train()` does; against `freezeBatchNorm`. */
import { execFileSync } from "node:child_process";
import { manualSeed, models, nn, noGrad, randn } from "evenkeel";
import { rolldown } from "rolldown";

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

// Three ways to know a batch norm, in a page or program that was bundled and minified: classes are renamed there.
const program = `
  import { nn } from "evenkeel";
  const bn = new nn.BatchNorm2d(4);
  console.log(JSON.stringify({
    "constructor.name": bn.constructor.name.includes("BatchNorm"),
    "instanceof": bn instanceof nn.BatchNorm2d,
    "nn.isBatchNorm": nn.isBatchNorm(bn),
  }));`;
const entry = {
  name: "program",
  resolveId: (id: string) => (id === "program" ? id : null),
  load: (id: string) => (id === "program" ? program : null),
};
const bundle = await rolldown({
  input: "program",
  plugins: [entry],
  external: [/cli-progress|sharp|zip\.js/],
  platform: "node",
});
const { output } = await bundle.generate({ format: "esm", minify: true, codeSplitting: false });
const minified = { input: output[0].code, encoding: "utf8" } as const;
const tests = execFileSync(process.execPath, ["--input-type=module", "-"], minified);
console.log(`in a minified build: ${tests.trim()}`);

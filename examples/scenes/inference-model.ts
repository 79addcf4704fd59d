/** Scene 3: model A, trained before, works for model B, which is being trained. Its mode decides whether A stays what it was. */
import { manualSeed, nn, noGrad, optim, randn, type Tensor } from "evenkeel";

manualSeed(1);
const conv = (from: number, to: number) =>
  new nn.Sequential(
    new nn.Conv2d(from, to, 3, { padding: 1 }),
    new nn.BatchNorm2d(to),
    new nn.ReLU(),
  );
const pretrained = conv(3, 8);
for (let i = 0; i < 30; i++) pretrained(randn([16, 3, 10, 10])); // "pretrained": its statistics are those of such data
const criterion = new nn.MSELoss();

/** Whether two models hold the same bits. */
function isUnchanged(a: nn.Module, b: nn.Module): boolean {
  const [left, right] = [a.stateDict(), b.stateDict()];
  return [...left].every(([key, value]) => {
    const other = right.get(key);
    if (typeof value === "number" || typeof other === "number") return value === other;
    return (
      other !== undefined &&
      Buffer.from(value.dataSync().buffer).equals(Buffer.from(other.dataSync().buffer))
    );
  });
}

/** Trains the other model for 20 steps; says what became of A. */
async function jointly(
  name: string,
  {
    A,
    before,
    after,
    detached,
  }: { A: typeof pretrained; before: nn.Module; after: nn.Module; detached: boolean },
) {
  manualSeed(2);
  const opt = new optim.SGD([...before.parameters(), ...after.parameters()], { lr: 0.05 });
  let loss = 0;
  for (let step = 0; step < 20; step++) {
    const x = randn([16, 3, 10, 10]).add(0.5);
    const input = Reflect.apply(before, undefined, [x]) as Tensor;
    const features = detached ? noGrad(() => A(input)) : A(input);
    const error = criterion(
      Reflect.apply(after, undefined, [features]) as Tensor,
      x.mean(1, { keepdim: true }),
    );
    opt.zeroGrad();
    error.backward();
    opt.step();
    loss = await error.item();
  }
  const probe = randn([16, 3, 10, 10]);
  const answer = (model: typeof A) => noGrad(() => model.clone().eval()(probe));
  const change = await answer(A).sub(answer(pretrained)).abs().max().item();
  const state = isUnchanged(A, pretrained)
    ? "unchanged, bit by bit"
    : `its answers moved by ${change.toFixed(2)}`;
  console.log(`${name.padEnd(52)} loss ${loss.toFixed(3)}; A ${state}`);
}

const fresh = () => pretrained.clone().setRequiresGrad(false);
const head = () => new nn.Conv2d(8, 1, 1);

await jointly("A in eval, B behind it, under noGrad", {
  ...{ A: fresh().eval(), before: new nn.Identity(), after: head(), detached: true },
});
const adapter = new nn.Conv2d(3, 3, 1);
const start = adapter.weight.clone();
await jointly("A in eval, gradients through it to what is before", {
  ...{ A: fresh().eval(), before: adapter, after: head(), detached: false },
});
console.log(
  `  the layer before A learned: ${(await adapter.weight.sub(start).abs().max().item()) > 0}`,
);
await jointly("A left in train, B behind it, under noGrad", {
  ...{ A: fresh().train(), before: new nn.Identity(), after: head(), detached: true },
});

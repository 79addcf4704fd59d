import { describe, expect, test } from "vitest";
import {
  data,
  LifetimeError,
  manualSeed,
  memory,
  nn,
  noGrad,
  OutOfMemoryError,
  optim,
  randn,
  scope,
  Tensor,
  tensor,
} from "../src/index.ts";

const steps = 2000;
/** A step saves about 0.7 MB for backward: 2,000 of them kept would be 1.4 GB. */
const boundBytes = 500 * 2 ** 20;

const batch = 16;
const side = 16;

/** conv, batch norm, ReLU: either in one fused pass or as three calls. */
class Block extends nn.Module {
  static override readonly kind = "Block";
  readonly conv: nn.Conv2d;
  readonly bn: nn.BatchNorm2d;
  readonly isFused: boolean;

  constructor(inChannels: number, outChannels: number, isFused: boolean) {
    super();
    this.conv = new nn.Conv2d(inChannels, outChannels, 3, { padding: 1, bias: false });
    this.bn = new nn.BatchNorm2d(outChannels);
    this.isFused = isFused;
  }

  forward(x: Tensor): Tensor {
    const h = this.conv(x);
    if (!this.isFused) return this.bn(h).relu();
    const { runningMean, runningVar, weight, bias, training } = this.bn;
    return nn.functional.batchNorm(h, runningMean, runningVar, {
      ...{ weight, bias, training, relu: true },
    });
  }
}

interface Variant {
  readonly isFused: boolean;
  readonly hasHooks: boolean;
}

const variants: readonly (Variant & { readonly name: string })[] = [
  { name: "unfused", isFused: false, hasHooks: false },
  { name: "fused", isFused: true, hasHooks: false },
  { name: "with hooks", isFused: false, hasHooks: true },
];

function classifier({ isFused, hasHooks }: Variant): nn.Sequential {
  manualSeed(1);
  const block = new Block(1, 8, isFused);
  const model = new nn.Sequential(
    block,
    new nn.MaxPool2d(4),
    new nn.Flatten(),
    new nn.Linear(128, 4),
  );
  if (hasHooks) {
    for (const module of model.modules()) {
      module.registerForwardPreHook(() => undefined);
      module.registerForwardHook((_module, _args, output) => {
        // A hook that computes: what it makes must end with the call.
        if (output instanceof Tensor) output.mul(2).mean();
      });
    }
  }
  return model;
}

function dataset() {
  const values = Float32Array.from({ length: 64 * side * side }, (_, i) => Math.sin(i * i));
  return new data.TensorDataset(
    tensor(values, { shape: [64, 1, side, side] }),
    tensor(Int32Array.from({ length: 64 }, (_, i) => i % 4)),
  );
}

function fixedBatch(): readonly [Tensor, Tensor] {
  return [
    randn([batch, 1, side, side]),
    tensor(Int32Array.from({ length: batch }, (_, i) => i % 4)),
  ];
}

function liveBytes(): number {
  return memory().liveBytes;
}

/** Highest live bytes seen at the end of a step, above the level at the start. */
class Watch {
  readonly #start = liveBytes();
  highest = 0;

  look(): void {
    this.highest = Math.max(this.highest, liveBytes() - this.#start);
  }
}

const criterion = new nn.CrossEntropyLoss();

describe.each(variants)("2,000 steps stay bounded, $name", { timeout: 120_000 }, (variant) => {
  test("a PyTorch tutorial's training loop over a loader", async () => {
    const model = classifier(variant);
    const opt = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const loader = new data.DataLoader(dataset(), { batchSize: batch, shuffle: true, seed: 1 });
    const watch = new Watch();
    for (let done = 0; done < steps; ) {
      model.train();
      for await (const [x, label] of loader) {
        const pred = model(x);
        const loss = criterion(pred, label);
        opt.zeroGrad();
        loss.backward();
        opt.step();
        watch.look();
        done++;
      }
    }
    expect(watch.highest).toBeLessThan(boundBytes);
  });

  test("a loop that awaits loss.item()", async () => {
    const model = classifier(variant);
    const opt = new optim.SGD(model.parameters(), { lr: 0.01 });
    const watch = new Watch();
    for (let i = 0; i < steps; i++) {
      const [x, label] = fixedBatch();
      const loss = criterion(model(x), label);
      opt.zeroGrad();
      loss.backward();
      opt.step();
      expect(await loss.item()).toBeGreaterThan(0);
      watch.look();
    }
    expect(watch.highest).toBeLessThan(boundBytes);
  });

  test("a synchronous loop over a fixed batch", () => {
    const model = classifier(variant);
    const opt = new optim.Adam(model.parameters(), { lr: 0.01 });
    const [x, label] = fixedBatch();
    const watch = new Watch();
    for (let i = 0; i < steps; i++) {
      const loss = criterion(model(x), label);
      opt.zeroGrad();
      loss.backward();
      opt.step();
      watch.look();
    }
    // No collector runs inside one job: only the small handles at top level may pile up.
    expect(watch.highest).toBeLessThan(8 * 2 ** 20);
  });

  test("an evaluation that forgot noGrad", async () => {
    const model = classifier(variant).eval();
    const loader = new data.DataLoader(dataset(), { batchSize: batch });
    const watch = new Watch();
    let right = 0;
    for (let done = 0; done < steps; ) {
      for await (const [x, label] of loader) {
        right += await model(x).argmax(1).eq(label).sum().item();
        watch.look();
        done++;
      }
    }
    expect(right).toBeGreaterThanOrEqual(0);
    expect(watch.highest).toBeLessThan(boundBytes);
  });

  test("two models trained against each other", async () => {
    const generator = new nn.Sequential(
      new Block(1, 8, variant.isFused),
      new Block(8, 1, variant.isFused),
    );
    const critic = classifier(variant);
    const optG = new optim.Adam(generator.parameters(), { lr: 1e-3 });
    const optC = new optim.Adam(critic.parameters(), { lr: 1e-3 });
    const loader = new data.DataLoader(dataset(), { batchSize: batch, seed: 2 });
    const watch = new Watch();
    for (let done = 0; done < steps; ) {
      for await (const [real, label] of loader) {
        const fake = generator(randn([batch, 1, side, side]));
        optC.zeroGrad();
        criterion(critic(real), label)
          .add(criterion(critic(fake.detach()), label))
          .backward();
        optC.step();
        optG.zeroGrad();
        criterion(critic(fake), label).backward();
        optG.step();
        watch.look();
        done++;
      }
    }
    expect(watch.highest).toBeLessThan(boundBytes);
  });
});

describe("scopes", () => {
  test("a module call ends what its forward made, except outputs in containers and own properties", () => {
    class Holder extends nn.Module {
      static override readonly kind = "Holder";
      held: unknown = null;
      temporary: WeakRef<Tensor> | null = null;
      forward(x: Tensor) {
        const inside = x.mul(2);
        this.temporary = new WeakRef(inside);
        this.held = new Map([["a", [x.add(1)]]]);
        class Pair {
          readonly left = x.mul(3);
          readonly right = new Set([x.mul(4)]);
        }
        return { list: [inside.add(1)], pair: new Pair() };
      }
    }
    const holder = new Holder();
    const out = holder(tensor([1, 2]));
    const held = holder.held;
    expect(Array.from(out.list[0].dataSync())).toEqual([3, 5]);
    expect(Array.from(out.pair.left.dataSync())).toEqual([3, 6]);
    expect(Array.from([...out.pair.right][0].dataSync())).toEqual([4, 8]);
    expect(held instanceof Map && Array.from(held.get("a")[0].dataSync())).toEqual([2, 3]);
    const ended = holder.temporary?.deref();
    expect(() => ended?.dataSync()).toThrow(LifetimeError);
    expect(() => ended?.dataSync()).toThrow(/Holder.*keep\(\)/);
  });

  test("a handle's life depends neither on noGrad nor on what autograd saved", () => {
    class Leaky extends nn.Module {
      static override readonly kind = "Leaky";
      #hidden: Tensor | null = null;
      readonly weight = new nn.Parameter(tensor([1, 2]));
      forward(x: Tensor): Tensor {
        this.#hidden = x.mul(this.weight);
        return this.#hidden.exp();
      }
      get hidden(): Tensor | null {
        return this.#hidden;
      }
    }
    const leaky = new Leaky();
    const y = leaky(tensor([1, 1]));
    expect(() => leaky.hidden?.dataSync()).toThrow(/keep\(\)/);
    y.sum().backward();
    noGrad(() => leaky(tensor([1, 1])));
    expect(() => leaky.hidden?.dataSync()).toThrow(/keep\(\)/);
  });

  test("keep() takes a tensor out of its scope, dispose() ends it", () => {
    let kept: Tensor | null = null;
    scope(() => {
      kept = tensor([7]).keep();
    });
    expect(kept).toBeInstanceOf(Tensor);
    if (kept === null) return;
    const live: Tensor = kept;
    expect(live.dataSync()[0]).toBe(7);
    live.dispose();
    live.dispose();
    expect(() => live.dataSync()).toThrow(/dispose\(\)/);
  });

  test("views hold their base", () => {
    const base = tensor([1, 2, 3, 4]);
    const view = base.reshape([2, 2]);
    base.dispose();
    expect(Array.from(view.dataSync())).toEqual([1, 2, 3, 4]);
  });

  test("a throw ends what was made and leaves no scope open", () => {
    const before = memory().tensors;
    expect(() =>
      scope(() => {
        tensor([1, 2, 3]);
        throw new Error("stop");
      }),
    ).toThrow("stop");
    expect(memory().tensors).toBe(before);
  });

  test("scope and noGrad refuse promises, and forward refuses promises and generators", () => {
    expect(() => scope(() => Promise.resolve(1))).toThrow(LifetimeError);
    expect(() => noGrad(() => Promise.resolve(1))).toThrow(/await outside/);
    class Later extends nn.Module {
      static override readonly kind = "Later";
      async forward(x: Tensor) {
        return x;
      }
    }
    class Stepwise extends nn.Module {
      static override readonly kind = "Stepwise";
      *forward(x: Tensor) {
        yield x;
      }
    }
    expect(() => new Later()(tensor([1]))).toThrow(LifetimeError);
    expect(() => new Stepwise()(tensor([1]))).toThrow(/generator/);
  });

  test("a using scope ends with its block and refuses to be held across an await", async () => {
    let inside: Tensor | null = null;
    {
      using _scope = scope();
      inside = tensor([1]);
    }
    const ended: Tensor = inside;
    expect(() => ended.dataSync()).toThrow(LifetimeError);
    const open = scope();
    await Promise.resolve();
    expect(() => open[Symbol.dispose]()).toThrow(/across an await/);
    const after = tensor([5]);
    expect(after.dataSync()[0]).toBe(5);
  });

  test("what a hook stashes away is ended with the call, and the error says keep()", () => {
    const model = new nn.Sequential(new nn.ReLU(), new nn.Tanh());
    let stashed: Tensor | null = null;
    const handle = model.at(0).registerForwardHook((_module, _args, output) => {
      if (output instanceof Tensor) stashed = output;
    });
    model(tensor([1, -1]));
    expect(() => (stashed as Tensor | null)?.dataSync()).toThrow(/keep\(\)/);
    handle.remove();
    stashed = null;
    model(tensor([1, -1]));
    expect(stashed).toBeNull();
  });

  test("backward releases what the graph saved unless told to retain it", () => {
    const w = new nn.Parameter(randn([256, 256]));
    const before = memory().liveBytes;
    const loss = scope(() => w.mul(w).exp().sum());
    expect(memory().liveBytes - before).toBeGreaterThan(256 * 256 * 4);
    loss.backward(undefined, { retainGraph: true });
    loss.backward();
    w.grad?.dispose();
    expect(memory().liveBytes - before).toBeLessThan(1024);
    expect(() => loss.backward()).toThrow(/retainGraph/);
  });
});

// Fills the 4 GiB that WebAssembly can address.
test("a synchronous loop that builds graphs and never runs backward ends in an error that names the way out", {
  timeout: 120_000,
}, () => {
  const w = new nn.Parameter(randn([1024, 1024]));
  const kept: Tensor[] = [];
  const build = () => {
    for (let i = 0; i < 2000; i++) kept.push(w.mul(w).exp());
  };
  expect(build).toThrow(OutOfMemoryError);
  expect(build).toThrow(/scope.*noGrad|noGrad.*scope/);
  for (const t of kept) t.dispose();
  w.dispose();
});

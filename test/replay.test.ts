import { describe, expect, test } from "vitest";
import { nn, noGrad, optim, type Tensor, tensor } from "../src/index.ts";
import { expectClose } from "./support/close.ts";
import { Fixture, readStructure } from "./support/fixtures.ts";

interface Run {
  readonly steps: number;
  readonly batch: number;
  readonly classes: number;
  readonly sgd: { readonly lr: number; readonly momentum: number; readonly weightDecay: number };
}

const { maxPool2d, crossEntropy } = nn.functional;

class Network extends nn.Module {
  conv1 = new nn.Conv2d(1, 4, 3, { padding: 1, bias: false });
  bn1 = new nn.BatchNorm2d(4);
  conv2 = new nn.Conv2d(4, 8, 3, { stride: 2, padding: 1 });
  bn2 = new nn.BatchNorm2d(8, { momentum: 0.2 });
  fc = new nn.Linear(8, 4);

  forward(x: Tensor): Tensor {
    const pooled = maxPool2d(this.bn1(this.conv1(x)).relu(), 2);
    const features = this.bn2(this.conv2(pooled)).relu();
    return this.fc(features.mean([2, 3]));
  }
}

const fixture = new Fixture("recorded-run");
const { steps, batch, sgd } = readStructure<Run>("recorded-run");
const place = { device: "cpu", dtype: "float32" } as const;
const keys = fixture.keys().filter((key) => key.startsWith("initial/"));
const names = keys.map((key) => key.slice("initial/".length));

describe("50 recorded steps of a small network, compared with PyTorch in float64", async () => {
  const network = new Network();
  network.loadStateDict(initialState());
  const losses = await train(network);
  const state = network.stateDict();

  test("the loss of every step agrees to 1e-5", () => {
    expectClose(losses, fixture.values("float64/losses"), { rtol: 1e-5, atol: 0 }, "losses");
  });

  test("the state dict has PyTorch's keys in PyTorch's order", () => {
    expect([...state.keys()].sort()).toEqual([...names].sort());
  });

  // PyTorch's own float32 run ends up to 4e-7 away from its float64 run in parameters and 3e-6 in buffers (values up to 3.5);
  // its losses differ by 5e-7, relatively.
  test.each(names)("%s agrees to 1e-5 at the end", async (name) => {
    const pair = { rtol: 1e-5, atol: 1e-6 };
    expectClose(await valuesOf(state.get(name)), fixture.values(`float64/${name}`), pair, name);
  });

  test("logits in eval mode come from the running statistics PyTorch ended with", async () => {
    network.eval();
    const logits = noGrad(() => network(images(0)));
    const expected = fixture.values("float64/eval_logits");
    expectClose(await logits.data(), expected, { rtol: 1e-5, atol: 1e-5 }, "logits");
  });
});

async function train(network: Network): Promise<number[]> {
  const optimizer = new optim.SGD(network.parameters(), sgd);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const loss = crossEntropy(network(images(step)), labels(step));
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
  }
  return losses;
}

function initialState(): Map<string, Tensor | number> {
  return new Map(
    names.map((name) => [
      name,
      name.endsWith("num_batches_tracked") ? 0 : fixture.tensor(`initial/${name}`, place),
    ]),
  );
}

function images(step: number): Tensor {
  const { shape, values } = fixture.get("batches/images");
  const size = values.length / steps;
  const pixels = Float32Array.from(values.subarray(step * size, (step + 1) * size), (p) => p / 255);
  return tensor(pixels, { shape: shape.slice(1) });
}

function labels(step: number): Tensor {
  return tensor(fixture.values("batches/labels").slice(step * batch, (step + 1) * batch));
}

async function valuesOf(entry: Tensor | number | undefined): Promise<ArrayLike<number>> {
  if (entry === undefined) throw new Error("missing from the state dict");
  return typeof entry === "number" ? [entry] : entry.data();
}

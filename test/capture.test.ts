import { expect, test } from "vitest";
import {
  ArgumentError,
  LifetimeError,
  memory,
  nn,
  randn,
  scope,
  type Tensor,
  tensor,
} from "../src/index.ts";

class Net extends nn.Module {
  static override readonly kind = "Net";
  readonly convStem = new nn.Linear(2, 3);
  readonly body = new nn.Sequential(new nn.Tanh(), new nn.Linear(3, 2));
  readonly unused = new nn.ReLU();
  readonly same = new nn.Identity();
  forward(x: Tensor): Tensor {
    const inner = this.convStem(x).mul(2);
    return this.same(this.same(this.body(inner)).add(1));
  }
}

const values = (t: Tensor) => Array.from(t.dataSync());

test("capture gives the outputs of the modules named, and of the model itself", () => {
  const net = new Net();
  const x = randn([4, 2]);
  const found = nn.capture(net, ["conv_stem", "body.0", ""], x);
  expect(Object.keys(found)).toEqual(["conv_stem", "body.0", ""]);
  expect(values(found.conv_stem)).toEqual(values(net.convStem(x)));
  expect(values(found["body.0"])).toEqual(values(net.convStem(x).mul(2).tanh()));
  expect(values(found[""])).toEqual(values(net(x)));
});

test("gradients flow from a captured output into the model, and into its input", () => {
  const net = new Net();
  const x = randn([4, 2]);
  x.requiresGrad = true;
  nn.capture(net, ["body.0"], x)["body.0"].pow(2).sum().backward();
  expect(net.convStem.weight.grad?.shape).toEqual([3, 2]);
  expect(x.grad?.shape).toEqual([4, 2]);
  expect(
    net.body
      .at(1)
      .parameters()
      .map((p) => p.grad),
  ).toEqual([null, null]);
});

test("captured outputs end with the scope around the call, all else with the call", () => {
  const net = new Net();
  const x = randn([4, 2]);
  const before = memory().tensors;
  let escaped: Tensor | undefined;
  scope(() => {
    const found = nn.capture(net, ["conv_stem", "body.0"], x);
    expect(memory().tensors).toBe(before + 2);
    escaped = found.conv_stem;
  });
  expect(memory().tensors).toBe(before);
  expect(() => escaped?.dataSync()).toThrow(LifetimeError);
  const again = scope(() => nn.capture(net, ["conv_stem"], x));
  expect(again.conv_stem.shape).toEqual([4, 3]);
});

test("of a module called twice it is the last output; lists of tensors can be captured too", () => {
  class Twins extends nn.Module {
    static override readonly kind = "Twins";
    forward(x: Tensor): Tensor[] {
      return [x, x.neg()];
    }
  }
  class Pair extends nn.Module {
    static override readonly kind = "Pair";
    readonly twins = new Twins();
    forward(x: Tensor): Tensor {
      this.twins(x);
      return this.twins(x.add(1))[1];
    }
  }
  const { twins } = nn.capture<"twins", Tensor[]>(new Pair(), ["twins"], tensor([1]));
  expect(twins.map(values)).toEqual([[2], [-2]]);
});

test("capture leaves no hook behind, also when forward throws", () => {
  const net = new Net();
  expect(() => nn.capture(net, ["conv_stem"], randn([4, 9]))).toThrow(/features/);
  const before = memory().tensors;
  net(randn([1, 2])).dispose();
  expect(memory().tensors).toBe(before + 1);
});

test("capture refuses names that are not there, suggesting one, and modules that do not run", () => {
  const net = new Net();
  expect(() => nn.capture(net, ["convStem"], randn([1, 2]))).toThrow(ArgumentError);
  expect(() => nn.capture(net, ["convStem"], randn([1, 2]))).toThrow(/did you mean "conv_stem"/);
  expect(() => nn.capture(net, ["unused"], randn([1, 2]))).toThrow(/unused, which did not run/);
});
